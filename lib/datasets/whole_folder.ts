import { readdir, rename, rm, rmdir } from "node:fs/promises";
import path from "node:path";

import { fileError, SuperSimpleNetError } from "../errors.js";
import { makeFolder, makeUniqueFolder } from "../write.js";

/** The names in the folder of a data set that is to be written; none where there is no such folder. Throws file errors. */
export async function namesThere(base: string): Promise<string[]> {
  try {
    return await readdir(base);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw fileError(error, "write data set", base);
  }
}

/** FILE_ERROR for a folder that holds something else. */
export const notOurs = (base: string, what: string): SuperSimpleNetError =>
  new SuperSimpleNetError(
    "FILE_ERROR",
    `Cannot write data set ${base}: ${what}. Choose another folder, or delete this one.`,
    { path: base },
  );

/**
 * Writes the folder of a data set whole or not at all: `fill` writes into a temporary one beside it, which is then renamed.
 * `base` is absolute, and empty or not there. Errors: those of `fill`, NO_PERMISSION, NO_SPACE, FILE_ERROR.
 */
export async function writeWholeFolder(base: string, fill: (folder: string) => Promise<void>): Promise<void> {
  let temporary: string | undefined;
  try {
    await makeFolder(path.dirname(base));
    temporary = await makeUniqueFolder(path.join(path.dirname(base), `.${path.basename(base)}.`));
    await fill(temporary);
    await rmdir(base).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
    await rename(temporary, base);
  } catch (error) {
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true, maxRetries: 3 });
    throw fileError(error, "write data set", base);
  }
}
