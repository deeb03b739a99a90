import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { crc32 } from "node:zlib";

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
  // Names as bytes: paths are checked where they lead to, after `target`.
  const zip = await yauzl.openPromise(archive, { autoClose: false, decodeStrings: false }).catch((error: unknown) => {
    throw (error as NodeJS.ErrnoException).code
      ? error
      : new Error(`not a zip archive, or cut short`, { cause: error });
  });
  try {
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
    zip.close();
  }
}
