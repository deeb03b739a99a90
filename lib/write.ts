import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, rmdirSync } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";

import { fileError, SuperSimpleNetError } from "./errors.js";

/** Creates the folder and writes a file as replaceFile does. Errors: NO_PERMISSION, NO_SPACE, FILE_ERROR. */
export async function writeWholeFile(file: string, data: string | Uint8Array): Promise<void> {
  await makeFolder(path.dirname(file));
  await replaceFile(file, data).catch((error: unknown) => Promise.reject(fileError(error, "write", file)));
}

/** Writes a value as a JSON file for people to read. */
export const writeJson = (file: string, value: unknown): Promise<void> =>
  writeWholeFile(file, `${JSON.stringify(value, null, 2)}\n`);

/**
 * Writes a file under a temporary name in the same folder and renames it, so that no reader ever sees half of it; the
 * temporary file is removed when that fails. With `flush`, the data are on the disk before the name is, and the name before
 * this resolves. `finish` looks at the temporary file and returns what is still to be added; when it fails there is no file.
 * Throws the system's errors, and FILE_ERROR rather than replacing a pipe or a device, such as /dev/null.
 */
export async function replaceFile(
  file: string,
  data: string | Uint8Array | Iterable<string>,
  { flush: flushed = false, finish }: { flush?: boolean; finish?: (temporary: string) => Promise<Uint8Array> } = {},
): Promise<void> {
  const temporary = temporaryIn(path.dirname(file));
  await refuseSpecial(file);
  try {
    const handle = await open(temporary, "wx");
    try {
      await writeFile(handle, data);
      if (finish) await handle.writeFile(await finish(temporary));
      if (flushed) await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
    if (flushed) await flushName(file);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined); // the first error tells more
    throw error;
  }
}

/**
 * Renames a file that is written, in its folder: after a power failure the old one is there or the new one, whole. Throws the
 * system's errors; the old one is there then.
 */
export async function putInPlace(temporary: string, file: string): Promise<void> {
  await flush(temporary, "r+");
  await rename(temporary, file);
  await flushName(file);
}

/** The file is there already, and some systems cannot flush a folder: Windows, and some shares. */
const flushName = (file: string): Promise<void> => flush(path.dirname(file), "r").catch(() => undefined);

async function flush(file: string, flags: string): Promise<void> {
  const handle = await open(file, flags);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Throws FILE_ERROR for a pipe, a socket or a device: writing into a pipe without a reader would wait for ever. */
export async function refuseSpecial(file: string): Promise<void> {
  const found = await stat(file).catch(() => undefined);
  if (found === undefined || found.isFile() || found.isDirectory()) return;
  throw new SuperSimpleNetError("FILE_ERROR", `Cannot write ${file}: it is a pipe, a socket or a device.`, {
    path: file,
    fix: "Give the name of a file.",
  });
}

/** A name that no file has. Of one length, so that where a file's name is not too long, this one is not either. */
const temporaryIn = (folder: string): string => path.join(folder, `.${randomBytes(8).toString("hex")}.tmp`);

/** Removes what replaceFile left in a folder when the process was killed. Nobody else may be writing there. */
export async function removeTemporaries(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => []))
    if (/^\.[0-9a-f]{16}\.tmp$/.test(name)) await rm(path.join(folder, name), { force: true }).catch(() => undefined);
}

/** Creates a folder whose name begins so. Not mkdtemp, whose folders nobody else may read: what becomes of this one has the usual rights. */
export async function makeUniqueFolder(prefix: string): Promise<string> {
  const folder = `${prefix}${randomBytes(6).toString("hex")}`;
  await mkdir(folder);
  return folder;
}

/** Creates a folder and its parents. Errors: NO_PERMISSION, NO_SPACE, FILE_ERROR. */
export async function makeFolder(folder: string): Promise<void> {
  await create(path.resolve(folder));
}

/** Call it before `folder` is made; what it returns removes those folders on the way to it that were not there and are empty. */
export function emptyFolders(folder: string): () => void {
  const missing: string[] = [];
  for (let at = path.resolve(folder); !existsSync(at); at = path.dirname(at)) missing.push(at);
  return () => {
    try {
      for (const made of missing) if (existsSync(made) && readdirSync(made).length === 0) rmdirSync(made);
    } catch {
      // The error that led here tells more.
    }
  };
}

/** Creates the folder, and finds out now, not after hours, that it cannot be written. */
export async function probeFolder(folder: string): Promise<void> {
  await makeFolder(folder);
  const probe = temporaryIn(folder);
  try {
    await writeFile(probe, "", { flag: "wx" });
    await rm(probe, { force: true }); // another process may have removed it, with what it took for left over
  } catch (error) {
    throw fileError(error, "write into", folder);
  }
}

// Not mkdir's own `recursive`: it never ends where a file system answers ENOENT although the parent exists, as /proc does.
async function create(folder: string): Promise<void> {
  const first = await attempt(folder);
  if (first === undefined) return;
  if (first.code !== "ENOENT" || path.dirname(folder) === folder) throw fileError(first, "create folder", folder);
  await create(path.dirname(folder));
  const second = await attempt(folder);
  if (second === undefined) return;
  if (second.code !== "ENOENT") throw fileError(second, "create folder", folder);
  throw new SuperSimpleNetError(
    "FILE_ERROR",
    `Cannot create folder ${folder}: no folder can be made in ${path.dirname(folder)}. Choose another place.`,
    { cause: second, path: folder },
  );
}

/** Why there is no such folder afterwards; undefined when there is. */
async function attempt(folder: string): Promise<NodeJS.ErrnoException | undefined> {
  try {
    await mkdir(folder);
    return undefined;
  } catch (error) {
    const exists = await stat(folder).then(
      (found) => found.isDirectory(),
      () => false,
    );
    return exists ? undefined : (error as NodeJS.ErrnoException);
  }
}
