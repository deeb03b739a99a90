// Takes files out of a zip archive (a wheel is one): stored and deflated entries, without zip64, which wheels under 4 GB do not use.
import { closeSync, createReadStream, createWriteStream, mkdirSync, openSync, readSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { createInflateRaw } from "node:zlib";

/** The entries of an archive: [{name, method, compressedSize, size, offset}]. Throws on anything that is not such an archive. */
function entriesOf(fd, fileSize) {
  const tail = read(fd, Math.max(0, fileSize - 65_557), Math.min(fileSize, 65_557));
  const end = tail.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
  if (end < 0 || end + 22 > tail.length) throw new Error("not a zip archive, or cut short");
  const count = tail.readUInt16LE(end + 10);
  const directory = read(fd, tail.readUInt32LE(end + 16), tail.readUInt32LE(end + 12));
  const entries = [];
  for (let at = 0, i = 0; i < count; i++) {
    if (directory.readUInt32LE(at) !== 0x02014b50) throw new Error("damaged zip directory");
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

/** Extracts every entry for which `target(name)` gives a path relative to `folder`; undefined leaves it out. */
export async function extract(archive, folder, target, progress) {
  const fd = openSync(archive, "r");
  try {
    const wanted = entriesOf(fd, statSync(archive).size).filter((entry) => !entry.name.endsWith("/") && target(entry.name) !== undefined);
    const total = wanted.reduce((sum, entry) => sum + entry.size, 0);
    let done = 0;
    for (const entry of wanted) {
      const file = path.join(folder, target(entry.name));
      if (!path.resolve(file).startsWith(path.resolve(folder) + path.sep)) throw new Error(`entry '${entry.name}' leaves the folder`);
      mkdirSync(path.dirname(file), { recursive: true });
      const local = read(fd, entry.offset, 30);
      const start = entry.offset + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
      if (entry.method !== 0 && entry.method !== 8) throw new Error(`entry '${entry.name}' has compression method ${entry.method}`);
      if (entry.compressedSize === 0) writeFileSync(file, "");
      else {
        const out = createWriteStream(file);
        const input = createReadStream(archive, { start, end: start + entry.compressedSize - 1 });
        await (entry.method === 8 ? pipeline(input, createInflateRaw(), out) : pipeline(input, out));
        if (out.bytesWritten !== entry.size) throw new Error(`entry '${entry.name}' has ${out.bytesWritten} bytes instead of ${entry.size}`);
      }
      done += entry.size;
      progress?.(`unpacking ${Math.round((100 * done) / total)} %`);
    }
    return wanted.length;
  } finally {
    closeSync(fd);
  }
}

function read(fd, position, length) {
  const buffer = Buffer.alloc(length);
  if (readSync(fd, buffer, 0, length, position) !== length) throw new Error("not a zip archive, or cut short");
  return buffer;
}
