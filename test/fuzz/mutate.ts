/** Changes of files that know what they change: numbers, lengths, names and nesting, beside flips, cuts and splices. */
import type { Random } from "../../lib/random.js";

/** Where formats break: the borders of integer types, and far beyond any file. */
const numbers = [0, 1, 2, 7, 8, 64, 127, 128, 255, 256, 32767, 65535, 65536, 2 ** 20]
  .map(BigInt)
  .concat([2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n, 2n ** 62n, 2n ** 63n, 2n ** 64n - 1n]);

const at = (random: Random, bytes: Buffer): number => random.integer(bytes.length + 1);

/** An odd number, or one near `before`, as `size` bytes, little-endian. */
function odd(random: Random, size: number, before = 0n): Buffer {
  const value = random.integer(2) === 0 ? random.pick(numbers) : before + BigInt(random.integer(17) - 8);
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt.asUintN(64, value));
  return out.subarray(0, size);
}

const replaced = (bytes: Buffer, from: number, to: number, by: Uint8Array): Buffer =>
  Buffer.concat([bytes.subarray(0, from), by, bytes.subarray(to)]);

function littleAt(bytes: Buffer, offset: number, size: number): bigint {
  let out = 0n;
  for (let i = size - 1; i >= 0; i--) out = (out << 8n) | BigInt(bytes[offset + i] ?? 0);
  return out;
}

type Change = (random: Random, bytes: Buffer, others: readonly Buffer[]) => Buffer;

const changes: readonly Change[] = [
  (random, bytes) => {
    const out = Buffer.from(bytes);
    for (let n = 1 + random.integer(3); n > 0 && out.length > 0; n--)
      out[random.integer(out.length)]! ^= 1 << random.integer(8);
    return out;
  },
  (random, bytes) => {
    const size = random.pick([1, 2, 4, 8]);
    const from = at(random, bytes);
    return replaced(bytes, from, Math.min(bytes.length, from + size), odd(random, size, littleAt(bytes, from, size)));
  },
  (random, bytes) => bytes.subarray(0, at(random, bytes)),
  (random, bytes) => {
    const from = at(random, bytes);
    return replaced(bytes, from, Math.min(bytes.length, from + 1 + random.integer(32)), Buffer.alloc(0));
  },
  (random, bytes) => {
    const from = at(random, bytes);
    const part = bytes.subarray(from, from + 1 + random.integer(64));
    const to = at(random, bytes);
    return replaced(bytes, to, to, part);
  },
  (random, bytes) => {
    const from = at(random, bytes);
    return replaced(
      bytes,
      from,
      from,
      Buffer.from(Array.from({ length: 1 + random.integer(8) }, () => random.integer(256))),
    );
  },
  (random, bytes, others) => {
    const other = random.pick(others);
    return Buffer.concat([bytes.subarray(0, at(random, bytes)), other.subarray(at(random, other))]);
  },
];

/** 1 to 4 changes that know nothing of the format. */
export function mutateBytes(random: Random, bytes: Buffer, others: readonly Buffer[] = [bytes]): Buffer {
  for (let n = 1 + random.integer(4); n > 0; n--) bytes = random.pick(changes)(random, bytes, others);
  return bytes;
}

// --- JSON ---------------------------------------------------------------------------------------------------------

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const oddValues: readonly Json[] = [
  null,
  true,
  -1,
  0,
  1.5,
  1e308,
  2 ** 31,
  2 ** 53,
  -0,
  "",
  "x".repeat(3000),
  "\ud800",
  "\0",
  "__proto__",
  "NaN",
  [],
  {},
  [[[[[[]]]]]],
  [0],
  { a: 1 },
];
const oddNames = ["", "__proto__", "constructor", "toString", "length", "\ud800", "0"];

/** A copy with one place changed: its value, its name, its neighbours or its depth. */
export function mutateJson(random: Random, value: Json): Json {
  const places: { get(): Json; set(to: Json): void; parent: Json; key: string | number }[] = [];
  const root = { value: structuredClone(value) };
  const visit = (parent: Json[] | { [key: string]: Json }, key: string | number): void => {
    const holder = parent as Record<string | number, Json>;
    places.push({ get: () => holder[key]!, set: (to) => void (holder[key] = to), parent, key });
    const own = holder[key];
    if (typeof own === "object" && own !== null && places.length < 5000)
      for (const name of Object.keys(own)) visit(own, Array.isArray(own) ? Number(name) : name);
  };
  visit(root, "value");
  for (let n = 1 + random.integer(2); n > 0; n--) {
    const { get, set, parent, key } = random.pick(places);
    switch (random.integer(7)) {
      case 0:
        set(random.pick(oddValues));
        break;
      case 1:
        set(typeof get() === "number" ? Number(random.pick(numbers)) : structuredClone(random.pick(places).get()));
        break;
      case 2:
        if (Array.isArray(parent)) parent.splice(Number(key), 1);
        else delete (parent as { [key: string]: Json })[key];
        break;
      case 3:
        if (Array.isArray(parent)) parent.push(structuredClone(get() ?? null));
        else
          Object.defineProperty(parent, random.pick(oddNames), {
            value: get(),
            enumerable: true,
            configurable: true,
            writable: true,
          });
        break;
      case 4:
        set(random.integer(2) === 0 ? [get() ?? null] : { a: get() ?? null });
        break;
      case 5:
        if (typeof get() === "number") set((get() as number) + random.pick([-1, 1, 0.5, 8]));
        break;
      default:
        if (typeof get() === "string") set(mutateBytes(random, Buffer.from(get() as string)).toString("latin1"));
    }
  }
  return root.value ?? null;
}

/** JSON text of a mutated value; sometimes the text itself is changed, which gives names twice and broken JSON. */
export function mutateJsonText(random: Random, text: string): Buffer {
  const changed = random.integer(4) === 0 ? text : (JSON.stringify(mutateJson(random, JSON.parse(text) as Json)) ?? "");
  return random.integer(4) === 0 ? mutateBytes(random, Buffer.from(changed)) : Buffer.from(changed);
}

// --- images -------------------------------------------------------------------------------------------------------

/** Bytes, words, long words, and the eight bytes of BigTIFF. */
const tiffTypes = [1, 3, 4, 16] as const;
const tiffTypeBytes = { 1: 1, 3: 2, 4: 4, 16: 8 } as const;

/**
 * Gives a tag of a little-endian TIFF's first directory as many numbers as fill the file, which grows by up to 256 KB:
 * all the same or not, or more than there are.
 */
function mutateTiff(random: Random, bytes: Buffer): Buffer {
  const directory = bytes.readUInt32LE(4);
  const entry = directory + 2 + 12 * random.integer(bytes.readUInt16LE(directory));
  const type = random.pick(tiffTypes);
  const added = Buffer.alloc(2 ** (8 + random.integer(11)), odd(random, tiffTypeBytes[type], 8n));
  if (random.integer(2) === 0) added[added.length - 1] = random.integer(256);
  const out = Buffer.concat([bytes, added]);
  const from = random.integer(4) === 0 ? 0 : bytes.length;
  out.writeUInt16LE(type, entry + 2);
  out.writeUInt32LE(Math.floor((out.length - from) / tiffTypeBytes[type]) + Number(random.integer(8) === 0), entry + 4);
  out.writeUInt32LE(from, entry + 8);
  return out;
}

/** Changes bytes; of a TIFF, in one case of two, how many numbers a tag has. */
export function mutateImage(random: Random, bytes: Buffer, others: readonly Buffer[]): Buffer {
  const tiff = bytes.toString("latin1", 0, 4) === "II*\0";
  return tiff && random.integer(2) === 0 ? mutateTiff(random, bytes) : mutateBytes(random, bytes, others);
}

// --- safetensors --------------------------------------------------------------------------------------------------

/** Changes the header and keeps the length before it right, mostly. */
export function mutateSafetensors(random: Random, bytes: Buffer, others: readonly Buffer[]): Buffer {
  if (random.integer(4) === 0) return mutateBytes(random, bytes, others);
  const length = Number(bytes.readBigUInt64LE());
  const header = mutateJsonText(random, bytes.toString("utf8", 8, 8 + length));
  const size = random.integer(8) === 0 ? odd(random, 8, BigInt(header.length)) : Buffer.alloc(8);
  if (size.every((byte) => byte === 0)) size.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([size, header, bytes.subarray(8 + length)]);
}

// --- zip ----------------------------------------------------------------------------------------------------------

/** Offset and size of the numbers of each record, by its signature. */
const zipFields: Record<string, readonly (readonly [number, number])[]> = {
  "PK\x03\x04": [
    [6, 2],
    [8, 2],
    [14, 4],
    [18, 4],
    [22, 4],
    [26, 2],
    [28, 2],
  ],
  "PK\x01\x02": [
    [8, 2],
    [10, 2],
    [16, 4],
    [20, 4],
    [24, 4],
    [28, 2],
    [30, 2],
    [32, 2],
    [42, 4],
  ],
  "PK\x05\x06": [
    [8, 2],
    [10, 2],
    [12, 4],
    [16, 4],
    [20, 2],
  ],
  "PK\x06\x06": [
    [4, 8],
    [24, 8],
    [32, 8],
    [40, 8],
    [48, 8],
  ],
  "PK\x06\x07": [
    [8, 8],
    [16, 4],
  ],
};

/** Changes a number of a record, or takes records out, doubles and exchanges them. */
export function mutateZip(random: Random, bytes: Buffer, others: readonly Buffer[]): Buffer {
  if (random.integer(4) === 0) return mutateBytes(random, bytes, others);
  const starts: number[] = [];
  for (let i = 0; i + 4 <= bytes.length; i++) if (bytes.toString("latin1", i, i + 4) in zipFields) starts.push(i);
  if (starts.length === 0) return mutateBytes(random, bytes, others);
  let out = Buffer.from(bytes);
  for (let n = 1 + random.integer(2); n > 0; n--) {
    const start = random.pick(starts);
    const [offset, size] = random.pick(zipFields[bytes.toString("latin1", start, start + 4)]!);
    if (start + offset + size <= out.length)
      odd(random, size, littleAt(out, start + offset, size)).copy(out, start + offset);
  }
  if (random.integer(4) === 0) {
    const records = starts.map((start, i) => out.subarray(start, starts[i + 1]));
    const [i, k] = [random.integer(records.length), random.integer(records.length)];
    if (random.integer(3) === 0) records.splice(i, 1);
    else if (random.integer(2) === 0) records.splice(i, 0, records[k]!);
    else [records[i], records[k]] = [records[k]!, records[i]!];
    out = Buffer.concat(records);
  }
  return out;
}

// --- pickle -------------------------------------------------------------------------------------------------------

/** Bytes of the argument after an operation: a number, lines, or a length of so many bytes before data. */
const lines: Record<string, number> = { I: 1, F: 1, L: 1, S: 1, V: 1, p: 1, g: 1, P: 1, c: 2, i: 2 };
const fixed: Record<string, number> = {
  J: 4,
  K: 1,
  M: 2,
  G: 8,
  h: 1,
  j: 4,
  q: 1,
  r: 4,
  "\x80": 1,
  "\x82": 1,
  "\x83": 2,
  "\x84": 4,
  "\x95": 8,
};
const counted: Record<string, number> = {
  U: 1,
  C: 1,
  "\x8c": 1,
  "\x8a": 1,
  X: 4,
  T: 4,
  B: 4,
  "\x8b": 4,
  "\x8d": 8,
  "\x8e": 8,
  "\x96": 8,
};

/** The operations of a stream of pickles; what follows them, or cannot be told apart, is the last part. */
function operationsOf(bytes: Buffer): Buffer[] {
  const out: Buffer[] = [];
  let start = 0;
  while (start < bytes.length) {
    const code = bytes.toString("latin1", start, start + 1);
    let end = start + 1 + (fixed[code] ?? 0);
    for (let n = lines[code] ?? 0; n > 0 && end > 0; n--) end = bytes.indexOf(10, end) + 1;
    const size = counted[code];
    if (size !== undefined) end += size + Number(littleAt(bytes, end, size));
    if (end <= start || end > bytes.length || !/[\x20-\x7e\x80-\x97]/.test(code)) break;
    out.push(bytes.subarray(start, end));
    start = end;
  }
  if (start < bytes.length) out.push(bytes.subarray(start));
  return out;
}

/** One operation each, to put in anywhere. */
const oddOperations = [
  "(",
  "0",
  "1",
  "2",
  "N",
  "]",
  "}",
  ")",
  "l",
  "d",
  "t",
  "a",
  "e",
  "s",
  "u",
  "b",
  "R",
  "o",
  "Q",
  ".",
  "I9\n",
  "h\0",
  "q\0",
  "j\xff\xff\xff\xff",
  "r\xff\xff\xff\x7f",
  "\x81",
  "\x85",
  "\x86",
  "\x87",
  "\x88",
  "\x8f",
  "\x90",
  "\x91",
  "\x92",
  "\x93",
  "\x94",
  "\x8a\0",
  "\x8b\0\0\0\x80",
  "X\xff\xff\xff\xff",
  "\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
  "cos\nsystem\n",
  "ctorch._utils\n_rebuild_tensor_v2\n",
  "ctorch\nFloatStorage\n",
  "ccollections\nOrderedDict\n",
  "\x80\x05",
  "\x82\x01",
  "S'\\x4'\n",
  "V\\u12\n",
  "L-\n",
  "F1e999\n",
].map((text) => Buffer.from(text, "latin1"));

/** Takes out, doubles, exchanges and puts in operations, and changes their arguments. */
export function mutatePickle(random: Random, bytes: Buffer, others: readonly Buffer[]): Buffer {
  if (random.integer(4) === 0) return mutateBytes(random, bytes, others);
  const operations = operationsOf(bytes);
  for (let n = 1 + random.integer(3); n > 0 && operations.length > 0; n--) {
    const i = random.integer(operations.length);
    const own = operations[i]!;
    const other = random.pick(operations);
    switch (random.integer(6)) {
      case 0:
        operations.splice(i, 1 + random.integer(3));
        break;
      case 1:
        operations.splice(i, 0, other);
        break;
      case 2:
        operations[i] = other;
        break;
      case 3:
        operations.splice(i, 0, random.pick(oddOperations));
        break;
      case 4: {
        // Many at once: deep nesting, a long list.
        const part = operations.slice(i, i + 1 + random.integer(4));
        const times = random.pick([10, 300, 3000]);
        if (Buffer.concat(part).length < 100)
          operations.splice(i, 0, ...Array.from({ length: times }, () => part).flat());
        break;
      }
      default: {
        const size = Math.min(own.length - 1, random.pick([1, 2, 4, 8]));
        if (size > 0) operations[i] = replaced(own, 1, 1 + size, odd(random, size, littleAt(own, 1, size)));
      }
    }
  }
  return Buffer.concat(operations);
}

// --- tables -------------------------------------------------------------------------------------------------------

const oddFields = [
  "",
  '"',
  '""',
  '"a',
  "a\nb",
  "\0",
  "\ufeff",
  "../../x",
  "/dev/null",
  "\\",
  "train",
  "normal",
  "1",
  "x".repeat(3000),
  ",,,",
  "sep=;\n",
];

/** Changes fields and lines of a text with separators. */
export function mutateTable(random: Random, bytes: Buffer, others: readonly Buffer[]): Buffer {
  if (random.integer(4) === 0) return mutateBytes(random, bytes, others);
  const rows = bytes.toString("utf8").split("\n");
  const separator = rows[0]!.includes(";") ? ";" : ",";
  for (let n = 1 + random.integer(3); n > 0 && rows.length > 0; n--) {
    const i = random.integer(rows.length);
    const fields = rows[i]!.split(separator);
    const k = random.integer(fields.length);
    switch (random.integer(6)) {
      case 0:
        rows.splice(i, 1);
        break;
      case 1:
        rows.splice(i, 0, random.pick(rows));
        break;
      case 2:
        fields.splice(k, 1);
        rows[i] = fields.join(separator);
        break;
      case 3:
        rows[i] = fields.join(random.pick([";", ",", "\t", "|"]));
        break;
      default:
        fields[k] = random.pick(oddFields);
        rows[i] = fields.join(separator);
    }
  }
  return Buffer.from(rows.join(random.pick(["\n", "\n", "\r\n", "\r"])));
}
