import { randomBytes } from "node:crypto";
import { cp, lstat, realpath, rename, rm, stat, symlink } from "node:fs/promises";
import path from "node:path";

import { fileError, SuperSimpleNetError } from "../errors.js";

/** Moves a file or a folder, to another disk too. Errors: FILE_ERROR where something is there already, those of the system. */
export async function moveFile(from: string, to: string): Promise<void> {
  try {
    if (await stat(to).catch(() => undefined))
      throw new SuperSimpleNetError("FILE_ERROR", `${to} exists already.`, { path: to });
    // A link is made anew: where it leads may be written from where it lies.
    if ((await lstat(from)).isSymbolicLink()) {
      await symlink(await realpath(from), to);
      return await rm(from);
    }
    await rename(from, to).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== "EXDEV") throw error;
      await moveToOtherDisk(from, to);
    });
  } catch (error) {
    throw fileError(error, "move", from);
  }
}

/** Whole or not at all, and the original last. */
async function moveToOtherDisk(from: string, to: string): Promise<void> {
  const temporary = path.join(path.dirname(to), `.${randomBytes(8).toString("hex")}.tmp`);
  try {
    await cp(from, temporary, { recursive: true, preserveTimestamps: true });
    await rename(temporary, to);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined); // the first error tells more
    throw error;
  }
  try {
    await rm(from, { recursive: true });
  } catch (error) {
    // Of a folder some may be gone by now.
    if ((await stat(from).catch(() => undefined))?.isFile()) await rm(to);
    throw error;
  }
}
