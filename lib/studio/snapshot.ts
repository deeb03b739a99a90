import { constants, copyFile, link, realpath, rename, rm } from "node:fs/promises";
import path from "node:path";

import { listFolder } from "../datasets/listing.js";
import { fileError } from "../errors.js";
import { makeFolder } from "../write.js";

/** Folders of a data set lie so deep at most: ground_truth/train/KIND/IMAGE_mask. A link may lead round in a circle. */
const deepest = 6;

/**
 * The files of a data set as they are now, under other names in `to`: what is moved or replaced later stays here as it was.
 * Links on the same disk, which take no room, else copies. Whole or not at all. Errors: those of the system.
 */
export async function takeSnapshot(data: string, to: string): Promise<void> {
  const temporary = `${to}.tmp`;
  const take = async (from: string, into: string, depth: number): Promise<void> => {
    await makeFolder(into);
    const { files, folders } = await listFolder(from);
    for (const name of files) await linkOrCopy(path.join(from, name), path.join(into, name));
    if (depth < deepest)
      for (const name of folders) await take(path.join(from, name), path.join(into, name), depth + 1);
  };
  try {
    await rm(to, { recursive: true, force: true });
    await rm(temporary, { recursive: true, force: true });
    await take(data, temporary, 1);
    await rename(temporary, to);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined); // the first error tells more
    throw fileError(error, "copy", data);
  }
}

async function linkOrCopy(from: string, to: string): Promise<void> {
  // A link to a link could lead elsewhere from there.
  const file = await realpath(from);
  await link(file, to).catch(() => copyFile(file, to, constants.COPYFILE_FICLONE));
}
