import { constants, type Stats } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";

import { fileError, SuperSimpleNetError } from "../errors.js";

/** A file that is open for reading, for formats whose lengths must be checked before anything is allocated. */
export class InputFile {
  readonly #handle: FileHandle;

  private constructor(
    readonly path: string,
    readonly size: number,
    handle: FileHandle,
  ) {
    this.#handle = handle;
  }

  /** Opens a file for `use`, and closes it. Throws FILE_NOT_FOUND, NO_PERMISSION, FILE_ERROR, INVALID_OPTION (NUL). */
  static async with<T>(path: string, use: (file: InputFile) => Promise<T>): Promise<T> {
    checkNul(path);
    try {
      const handle = await openRegular(path);
      try {
        return await use(new InputFile(path, (await handle.stat()).size, handle));
      } finally {
        await handle.close();
      }
    } catch (error) {
      throw fileError(error, "read", path);
    }
  }

  /** Throws FILE_CORRUPT, before it allocates anything, for a range that reaches past the end. */
  async read(offset: number, bytes: number): Promise<Buffer<ArrayBuffer>> {
    if (offset + bytes > this.size)
      throw this.corrupt(`it ends at byte ${this.size}, but ${bytes} bytes at ${offset} are needed`);
    const out = allocate(bytes, this.path);
    for (let done = 0; done < bytes;) {
      // Node refuses to read 2 GiB at once.
      const { bytesRead } = await this.#handle.read(out, done, Math.min(bytes - done, 2 ** 30), offset + done);
      if (bytesRead === 0) throw this.corrupt("it became shorter while it was read");
      done += bytesRead;
    }
    return out;
  }

  corrupt(what: string, cause?: unknown): SuperSimpleNetError {
    const message = `${this.path} is damaged or not what it should be: ${what}.`;
    return new SuperSimpleNetError("FILE_CORRUPT", message, { path: this.path, cause });
  }
}

/** The error for a path that is no regular file: "it is a folder. Give a file." */
type Refusal = (path: string, reason: string) => SuperSimpleNetError;

const refused: Refusal = (path, reason) =>
  new SuperSimpleNetError("FILE_ERROR", `Cannot read ${path}: ${reason}`, { path });

/** The whole of a regular file. Throws the system's errors, and `refuse` for a folder and for what specialFile names. */
export async function readRegular(path: string, refuse?: Refusal): Promise<Buffer> {
  const handle = await openRegular(path, refuse);
  try {
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

/** A small text that the user wrote, such as a token. Throws FILE_NOT_FOUND, NO_PERMISSION, FILE_ERROR. */
export const readText = (path: string): Promise<string> =>
  readRegular(path).then(String, (error: unknown) => Promise.reject(fileError(error, "read", path)));

/** Opens without waiting: a pipe without a writer would keep its reader, and the process, for ever. */
export async function openRegular(path: string, refuse: Refusal = refused): Promise<FileHandle> {
  const check = (found: Stats): void => {
    if (found.isFile()) return;
    if (found.isDirectory()) throw refuse(path, "it is a folder. Give a file.");
    throw refuse(path, `it is ${specialFile(found) ?? "no regular file"}. Give a regular file.`);
  };
  check(await stat(path)); // before it is opened, which a device would notice
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    check(await handle.stat()); // it may have been replaced meanwhile
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

export const isFolder = (name: string): Promise<boolean> =>
  stat(name).then(
    (found) => found.isDirectory(),
    () => false,
  );

/** What is neither a file nor a folder: reading it may wait or go on for ever. */
export function specialFile(
  entry: Pick<Stats, "isFIFO" | "isSocket" | "isCharacterDevice" | "isBlockDevice">,
): string | undefined {
  if (entry.isFIFO()) return "a pipe (FIFO)";
  if (entry.isSocket()) return "a socket";
  return entry.isCharacterDevice() || entry.isBlockDevice() ? "a device" : undefined;
}

/** Zeros in an ArrayBuffer of their own. Throws OUT_OF_MEMORY. */
export function allocate(bytes: number, path: string): Buffer<ArrayBuffer> {
  try {
    return Buffer.from(new ArrayBuffer(bytes));
  } catch (cause) {
    const message = `There is no memory for ${bytes} bytes of ${path}. Close other programs, or use a machine with more.`;
    throw new SuperSimpleNetError("OUT_OF_MEMORY", message, { cause, path });
  }
}

/** Throws INVALID_OPTION for a path with a NUL character: the system would cut the path there and open another file. */
export function checkNul(path: string): void {
  if (!path.includes("\0")) return;
  throw new SuperSimpleNetError(
    "INVALID_OPTION",
    `'${path.replaceAll("\0", "\\0")}' is no path: it holds a NUL character (\\0), at which the system would end it. ` +
      "Take it out.",
    { path },
  );
}
