import { createWriteStream } from "node:fs";
import { type FileHandle, mkdir, open } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { crc32 } from "node:zlib";

import type { RandomAccessReader } from "yauzl";

export interface ExtractOptions {
  onProgress?: ((bytes: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Takes files out of a zip archive (a wheel is one): every entry for which `target(name)` gives a path relative to
 * `folder`; undefined leaves it out. Checks sizes and CRC-32. Returns the number of files. Throws an Error on anything
 * that is not such an archive, and on a path that leaves the folder.
 */
export async function extract(
  archive: string,
  folder: string,
  target: (name: string) => string | undefined,
  { onProgress, signal }: ExtractOptions = {},
): Promise<number> {
  const yauzl = await import("yauzl"); // here: who only detects does not load it
  const handle = await open(archive);
  try {
    const { size } = await handle.stat();
    // Names as bytes: paths are checked where they lead to, after `target`.
    const zip = await yauzl
      .fromRandomAccessReaderPromise(await readerOf(handle, size), size, { autoClose: false, decodeStrings: false })
      .catch((error: unknown) => {
        throw (error as NodeJS.ErrnoException).code
          ? error
          : new Error(`not a zip archive, or cut short`, { cause: error });
      });
    const wanted = [];
    for await (const entry of zip.eachEntry()) {
      const name = entry.fileNameRaw.toString("utf8");
      const to = name.endsWith("/") ? undefined : target(name);
      if (to !== undefined) wanted.push({ name, entry, file: path.resolve(folder, to) });
    }
    const total = wanted.reduce((sum, { entry }) => sum + entry.uncompressedSize, 0);
    let done = 0;
    for (const { name, entry, file } of wanted) {
      signal?.throwIfAborted();
      if (file.includes("\0")) throw new Error(`entry '${name}' has a NUL in its name`);
      if (!file.startsWith(path.resolve(folder) + path.sep)) throw new Error(`entry '${name}' leaves the folder`);
      await mkdir(path.dirname(file), { recursive: true });
      let sum = 0;
      const count = async function* (source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
        for await (const chunk of source) {
          sum = crc32(chunk, sum);
          done += chunk.length;
          yield chunk;
          onProgress?.(done, total);
        }
      };
      await pipeline(await zip.openReadStreamPromise(entry), count, createWriteStream(file), { signal });
      if (sum !== entry.crc32) throw new Error(`entry '${name}' is damaged: its CRC-32 is wrong`);
    }
    return wanted.length;
  } finally {
    await handle.close();
  }
}

/** Bytes `start` to `end` of a file, which stays open: a stream of Node's closes it. */
async function* bytesOf(handle: FileHandle, start: number, end: number): AsyncGenerator<Buffer> {
  while (start < end) {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(Math.min(end - start, 1 << 18)), { position: start });
    if (bytesRead === 0) throw new Error("the archive became shorter while it was read");
    start += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** For yauzl, whose own reader ends the process at an offset in the archive that no file has. */
async function readerOf(handle: FileHandle, size: number): Promise<RandomAccessReader> {
  const { RandomAccessReader: Base } = await import("yauzl");
  return new (class extends Base {
    override _readStreamForRange(start: number, end: number): Readable {
      return Readable.from(bytesOf(handle, start, end), { objectMode: false });
    }
    override read(
      to: Buffer,
      offset: number,
      length: number,
      position: number,
      done: (error: Error | null, bytesRead?: number) => void,
    ): void {
      if (position + length > size) return void setImmediate(done, new Error("an offset lies beyond the end"));
      handle.read(to, offset, length, position).then(({ bytesRead }) => setImmediate(done, null, bytesRead), done);
    }
    override close(done: (error: Error | null) => void): void {
      done(null);
    }
  })();
}
