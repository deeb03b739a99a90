import { crc32, deflateRawSync } from "node:zlib";

/** A zip archive with one entry per name, deflated when `deflate`; `zip64`: sizes and places in 64 bits, as beyond 4 GB. */
export function zip(entries: Record<string, string>, deflate: boolean, zip64 = false): Buffer {
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, text] of Object.entries(entries)) {
    const data = deflate ? deflateRawSync(text) : Buffer.from(text);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(name.length, 26);
    const sizes = [Buffer.byteLength(text), data.length, offset];
    const extra = zip64 ? Buffer.concat([numbers(16, 1, 24), numbers(64, ...sizes)]) : Buffer.alloc(0);
    const [size, compressed, place] = zip64 ? [0xffffffff, 0xffffffff, 0xffffffff] : sizes;
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE(deflate ? 8 : 0, 10);
    central.writeUInt32LE(crc32(text), 16);
    central.writeUInt32LE(compressed!, 20);
    central.writeUInt32LE(size!, 24);
    central.writeUInt16LE(name.length, 28);
    central.writeUInt16LE(extra.length, 30);
    central.writeUInt32LE(place!, 42);
    locals.push(local, Buffer.from(name), data);
    directory.push(central, Buffer.from(name), extra);
    offset += 30 + name.length + data.length;
  }
  const central = Buffer.concat(directory);
  const count = Object.keys(entries).length;
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(zip64 ? 0xffff : count, 10);
  end.writeUInt32LE(zip64 ? 0xffffffff : central.length, 12);
  end.writeUInt32LE(zip64 ? 0xffffffff : offset, 16);
  const end64 = Buffer.concat([
    numbers(32, 0x06064b50),
    numbers(64, 44),
    numbers(32, 0, 0, 0),
    numbers(64, count, count, central.length, offset),
    numbers(32, 0x07064b50, 0),
    numbers(64, offset + central.length),
    numbers(32, 1),
  ]);
  return Buffer.concat([...locals, central, ...(zip64 ? [end64] : []), end]);
}

/** Little-endian, without a sign. */
function numbers(bits: 16 | 32 | 64, ...values: number[]): Buffer {
  const bytes = Buffer.alloc((values.length * bits) / 8);
  values.forEach((value, i) => {
    if (bits === 64) bytes.writeBigUInt64LE(BigInt(value), i * 8);
    else bytes.writeUIntLE(value, (i * bits) / 8, bits / 8);
  });
  return bytes;
}
