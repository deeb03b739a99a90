import { createReadStream, createWriteStream } from "node:fs";
import { type FileHandle, mkdir, open } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createInflateRaw } from "node:zlib";

interface Entry {
  name: string;
  /** 0 stored, 8 deflated. */
  method: number;
  compressedSize: number;
  size: number;
  offset: number;
}

export interface ExtractOptions {
  onProgress?: ((bytes: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Takes files out of a zip archive (a wheel is one): every entry for which `target(name)` gives a path relative to
 * `folder`; undefined leaves it out. Stored and deflated entries, without zip64, which archives under 4 GB do not use.
 * What the files hold is not checked: check the archive's SHA-256 first. Returns their number; throws an Error on anything
 * that is not such an archive and on a path that leaves the folder.
 */
export async function extract(
  archive: string,
  folder: string,
  target: (name: string) => string | undefined,
  { onProgress, signal }: ExtractOptions = {},
): Promise<number> {
  const handle = await open(archive, "r");
  try {
    const wanted = (await entriesOf(handle)).flatMap((entry) => {
      const to = entry.name.endsWith("/") ? undefined : target(entry.name);
      return to === undefined ? [] : [{ ...entry, file: path.join(folder, to) }];
    });
    const total = wanted.reduce((sum, entry) => sum + entry.size, 0);
    let done = 0;
    for (const { name, method, compressedSize, size, offset, file } of wanted) {
      signal?.throwIfAborted();
      if (!path.resolve(file).startsWith(path.resolve(folder) + path.sep))
        throw new Error(`entry '${name}' leaves the folder`);
      if (method !== 0 && method !== 8) throw new Error(`entry '${name}' has compression method ${method}`);
      await mkdir(path.dirname(file), { recursive: true });
      const local = await read(handle, offset, 30);
      const start = offset + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
      const before = done;
      const count = async function* (source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
        for await (const chunk of source) {
          done += chunk.length;
          yield chunk;
          onProgress?.(done, total);
        }
      };
      const input =
        compressedSize === 0
          ? Readable.from([])
          : createReadStream(archive, { start, end: start + compressedSize - 1 });
      await (method === 8 && compressedSize > 0
        ? pipeline(input, createInflateRaw(), count, createWriteStream(file), { signal })
        : pipeline(input, count, createWriteStream(file), { signal }));
      if (done - before !== size) throw new Error(`entry '${name}' has ${done - before} bytes instead of ${size}`);
    }
    return wanted.length;
  } finally {
    await handle.close();
  }
}

async function entriesOf(handle: FileHandle): Promise<Entry[]> {
  const { size } = await handle.stat();
  const tail = await read(handle, Math.max(0, size - 65_557), Math.min(size, 65_557)); // the last record and the longest comment
  const end = tail.lastIndexOf("PK\x05\x06", undefined, "latin1");
  if (end < 0 || end + 22 > tail.length) throw new Error(cutShort);
  const directory = await read(handle, tail.readUInt32LE(end + 16), tail.readUInt32LE(end + 12));
  const entries: Entry[] = [];
  for (let at = 0, count = tail.readUInt16LE(end + 10); entries.length < count;) {
    if (at + 46 > directory.length || directory.readUInt32LE(at) !== 0x02014b50)
      throw new Error("damaged zip directory");
    const nameLength = directory.readUInt16LE(at + 28);
    entries.push({
      name: directory.toString("utf8", at + 46, at + 46 + nameLength),
      method: directory.readUInt16LE(at + 10),
      compressedSize: directory.readUInt32LE(at + 20),
      size: directory.readUInt32LE(at + 24),
      offset: directory.readUInt32LE(at + 42),
    });
    at += 46 + nameLength + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
  }
  return entries;
}

const cutShort = "not a zip archive, or cut short";

async function read(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, position);
  if (bytesRead !== length) throw new Error(cutShort);
  return buffer;
}
