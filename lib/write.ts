import { mkdir, open, rename, rm } from "node:fs/promises";
import path from "node:path";

import { fileError } from "./errors.js";

/**
 * Writes a file under a temporary name in the same folder and renames it, so that no reader ever sees half of it; the
 * temporary file is removed when that fails. Creates the folder. Errors: NO_PERMISSION, NO_SPACE, FILE_ERROR.
 */
export async function writeWholeFile(file: string, data: string | Uint8Array): Promise<void> {
  await makeFolder(path.dirname(file));
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    const handle = await open(temporary, "w");
    try {
      await handle.writeFile(data);
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw fileError(error, "write", file);
  }
}

/** Creates a folder and its parents. Errors: NO_PERMISSION, NO_SPACE, FILE_ERROR. */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw fileError(error, "create folder", folder);
  }
}
