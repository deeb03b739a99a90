/** Writes what torch.save writes (zip and legacy format), byte by byte, so that the tests need no Python. */

/** A Python value to pickle. */
export type Py =
  | null
  | boolean
  | number
  | bigint
  | string
  | Py[] // list
  | { tuple: Py[] }
  | { dict: [Py, Py][] }
  | { name: string } // a global, "module.name"
  | { call: string; args: Py[]; state?: Py }
  | { storage: Storage }
  | { raw: Buffer }; // ready-made operations that leave one value

export interface Storage {
  key: string;
  type: "Float" | "Double" | "Half" | "BFloat16" | "Long" | "Int" | "Short" | "Char" | "Byte" | "Bool";
  data: Buffer;
  /** Defaults to what fits the data. */
  elements?: number;
}

const elementBytes = {
  Float: 4,
  Double: 8,
  Half: 2,
  BFloat16: 2,
  Long: 8,
  Int: 4,
  Short: 2,
  Char: 1,
  Byte: 1,
  Bool: 1,
};
const elementsOf = (storage: Storage): number => storage.elements ?? storage.data.length / elementBytes[storage.type];

function little(value: number | bigint, bytes: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
  return out.subarray(0, bytes);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from("X"), little(bytes.length, 4), bytes]);
}

function global(name: string): Buffer {
  const dot = name.lastIndexOf(".");
  return Buffer.from(`c${name.slice(0, dot)}\n${name.slice(dot + 1)}\n`);
}

function operations(value: Py, legacy: boolean): Buffer {
  const many = (values: Py[]): Buffer => Buffer.concat(values.map((v) => operations(v, legacy)));
  if (value === null) return Buffer.from("N");
  if (typeof value === "boolean") return Buffer.from([value ? 0x88 : 0x89]);
  if (typeof value === "string") return text(value);
  if (typeof value === "bigint") return Buffer.concat([Buffer.from([0x8a, 8]), little(value, 8)]);
  if (typeof value === "number") {
    if (Number.isInteger(value) && Math.abs(value) < 2 ** 31)
      return Buffer.concat([Buffer.from("J"), little(value, 4)]);
    const bits = Buffer.alloc(9, "G");
    bits.writeDoubleBE(value, 1);
    return bits;
  }
  if (Array.isArray(value)) return Buffer.concat([Buffer.from("]("), many(value), Buffer.from("e")]);
  if ("tuple" in value) return Buffer.concat([Buffer.from("("), many(value.tuple), Buffer.from("t")]);
  if ("dict" in value) return Buffer.concat([Buffer.from("}("), many(value.dict.flat()), Buffer.from("u")]);
  if ("name" in value) return global(value.name);
  if ("raw" in value) return value.raw;
  if ("call" in value) {
    const made = Buffer.concat([global(value.call), operations({ tuple: value.args }, legacy), Buffer.from("R")]);
    return value.state === undefined ? made : Buffer.concat([made, operations(value.state, legacy), Buffer.from("b")]);
  }
  const { storage } = value;
  const id: Py[] = ["storage", { name: `torch.${storage.type}Storage` }, storage.key, "cpu", elementsOf(storage)];
  return Buffer.concat([operations({ tuple: legacy ? [...id, null] : id }, legacy), Buffer.from("Q")]);
}

export function pickle(value: Py, legacy = false): Buffer {
  return Buffer.concat([Buffer.from([0x80, 2]), operations(value, legacy), Buffer.from(".")]);
}

export function orderedDict(items: [Py, Py][]): Py {
  const fill = Buffer.concat([
    global("collections.OrderedDict"),
    Buffer.from(")R("),
    ...items.flat().map((v) => operations(v, false)),
    Buffer.from("u"),
  ]);
  // As a real state_dict: its attribute _metadata is set by BUILD.
  return {
    raw: Buffer.concat([
      fill,
      operations({ dict: [["_metadata", { dict: [["", { dict: [["version", 1]] }]] }]] }, false),
      Buffer.from("b"),
    ]),
  };
}

export function tensor(storage: Storage, shape: number[], strides?: number[], offset = 0, legacy = false): Py {
  const dense = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
  const args: Py[] = [
    { storage },
    offset,
    { tuple: shape },
    { tuple: strides ?? dense },
    false,
    { call: "collections.OrderedDict", args: [] },
  ];
  // Strings inside orderedDict() are written without knowing the format, so the tensor fixes its own.
  return { raw: operations({ call: "torch._utils._rebuild_tensor_v2", args }, legacy) };
}

export interface ZipFile {
  name: string;
  data: Buffer;
  /** 0 stored (default), 8 deflated: `data` is written as it is. */
  method?: number;
}

/** A zip archive; `zip64` writes sizes and offsets the long way, as torch.save does for large files. */
export function zip(files: ZipFile[], zip64 = false): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, data, method = 0 } of files) {
    const bytes = Buffer.from(name);
    const crc = little(crc32(data), 4);
    const sizes = zip64 ? Buffer.alloc(8, 0xff) : Buffer.concat([little(data.length, 4), little(data.length, 4)]);
    const extra = zip64
      ? Buffer.concat([little(1, 2), little(24, 2), little(data.length, 8), little(data.length, 8), little(offset, 8)])
      : Buffer.alloc(0);
    const common = Buffer.concat([
      little(20, 2),
      little(0, 2),
      little(method, 2),
      little(0, 4),
      crc,
      sizes,
      little(bytes.length, 2),
      little(extra.length, 2),
    ]);
    const local = Buffer.concat([Buffer.from("PK\x03\x04"), common, bytes, extra, data]);
    directory.push(
      Buffer.concat([
        Buffer.from("PK\x01\x02"),
        little(20, 2),
        common,
        little(0, 2),
        little(0, 2),
        little(0, 2),
        little(0, 4),
        zip64 ? Buffer.alloc(4, 0xff) : little(offset, 4),
        bytes,
        extra,
      ]),
    );
    parts.push(local);
    offset += local.length;
  }
  const central = Buffer.concat(directory);
  const count = files.length;
  const end64 = Buffer.concat([
    Buffer.from("PK\x06\x06"),
    little(44, 8),
    little(45, 2),
    little(45, 2),
    little(0, 8),
    little(count, 8),
    little(count, 8),
    little(central.length, 8),
    little(offset, 8),
    Buffer.from("PK\x06\x07"),
    little(0, 4),
    little(offset + central.length, 8),
    little(1, 4),
  ]);
  const end = Buffer.concat([
    Buffer.from("PK\x05\x06"),
    little(0, 4),
    little(count, 2),
    little(count, 2),
    ...(zip64 ? [Buffer.alloc(8, 0xff)] : [little(central.length, 4), little(offset, 4)]),
    little(0, 2),
  ]);
  return Buffer.concat([...parts, central, ...(zip64 ? [end64] : []), end]);
}

function crc32(data: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

/** torch.save(value, file) since PyTorch 1.6. */
export function torchZip(
  value: Py,
  storages: Storage[],
  options: { byteorder?: string; zip64?: boolean; method?: number } = {},
): Buffer {
  return zip(
    [
      { name: "archive/data.pkl", data: pickle(value) },
      { name: "archive/byteorder", data: Buffer.from(options.byteorder ?? "little") },
      ...storages.map((s) => ({ name: `archive/data/${s.key}`, data: s.data, method: options.method ?? 0 })),
      { name: "archive/version", data: Buffer.from("3\n") },
    ],
    options.zip64,
  );
}

/** torch.save(value, file, _use_new_zipfile_serialization=False). Tensors must be made with `legacy`. */
export function torchLegacy(value: Py, storages: Storage[], options: { littleEndian?: boolean } = {}): Buffer {
  const magic = Buffer.from([0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e]);
  const system: Py = {
    dict: [
      ["protocol_version", 1001],
      ["little_endian", options.littleEndian ?? true],
      [
        "type_sizes",
        {
          dict: [
            ["short", 2],
            ["int", 4],
            ["long", 4],
          ],
        },
      ],
    ],
  };
  return Buffer.concat([
    magic,
    pickle(1001),
    pickle(system),
    pickle(value, true),
    pickle(storages.map((s) => s.key)),
    ...storages.flatMap((s) => [little(elementsOf(s), 8), s.data]),
  ]);
}
