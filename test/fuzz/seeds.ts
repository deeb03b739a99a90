/** Small valid files of the formats that the engine reads: what both fuzzers begin with. */
import { engine } from "../../lib/native/engine.js";
import { orderedDict, pickle, type Py, type Storage, tensor, torchLegacy, torchZip } from "../files/torch_save.js";

const storages: Storage[] = [
  { key: "0", type: "Float", data: Buffer.from(Float32Array.from({ length: 24 }, (_, i) => i).buffer) },
  { key: "1", type: "Half", data: Buffer.from(Uint16Array.of(0x3c00, 0xc100, 0x0001).buffer) },
  { key: "2", type: "Long", data: Buffer.from(BigInt64Array.of(7n).buffer) },
  { key: "3", type: "Bool", data: Buffer.from([1, 0, 2]) },
];

/** Whole, transposed, cut out, repeated, empty and scalar tensors, and something else. */
function stateDict(legacy: boolean): Py {
  const [matrix, half, long, bool] = storages as [Storage, Storage, Storage, Storage];
  return orderedDict([
    ["whole", tensor(matrix, [4, 6], undefined, 0, legacy)],
    ["transposed", tensor(matrix, [6, 4], [1, 6], 0, legacy)],
    ["slice", tensor(matrix, [2, 3], [6, 1], 8, legacy)],
    ["expanded", tensor(matrix, [3, 2], [0, 1], 5, legacy)],
    ["half", tensor(half, [3], undefined, 0, legacy)],
    ["scalar", tensor(long, [], [], 0, legacy)],
    ["flags", tensor(bool, [3], undefined, 0, legacy)],
    ["empty", tensor(matrix, [0, 3], undefined, 0, legacy)],
    ["epoch", 5],
  ]);
}

/** A checkpoint as training frameworks write it: objects that are skipped, and the weights one level down. */
const nested = (legacy: boolean): Py => ({
  dict: [
    ["epoch", 3],
    ["hyper_parameters", { call: "argparse.Namespace", args: [], state: { dict: [["lr", 0.1]] } }],
    ["where", { call: "pathlib.PosixPath", args: ["/", "tmp"] }],
    ["dtype", { name: "torch.float32" }],
    ["state_dict", stateDict(legacy)],
  ],
});

export const pickleSeeds = (): Buffer[] => [
  pickle([
    { tuple: [10246, true] },
    { dict: [["a", 2n ** 40n]] },
    { call: "builtins.set", args: [[1, 2]] },
    "text",
    -2.5,
    null,
  ]),
  pickle({ tuple: [[{ tuple: [10000, true] }, { tuple: ["10001", false] }], [{ tuple: [20000, true] }]] }),
  pickle({ call: "collections.defaultdict", args: [{ name: "builtins.list" }], state: null }),
  pickle(nested(false)),
  Buffer.from("(lp0\n(Va\\u0142\np1\nI1\ntp2\na(dp3\nS'x\\x41'\np4\nF2.5\nsaL77L\na.", "latin1"), // protocol 0
  Buffer.from(
    "\x80\x04\x95\x20\0\0\0\0\0\0\0(\x8f\x94(K\x01M\x02\x03\x90C\x01x\x94]\x94(K\x03\x91\x94a\x8c\x02\xc3\xbc\x94t\x94.",
    "latin1",
  ),
  Buffer.from("\x80\x02\x8a\x09\0\0\0\0\0\0\0\0\x01\x8b\x02\0\0\0\xff\x7f\x86.", "latin1"),
];

export const torchZipSeeds = (): Buffer[] => [
  torchZip(stateDict(false), storages),
  torchZip(stateDict(false), storages, { zip64: true }),
  torchZip(nested(false), storages),
];

export const torchLegacySeeds = (): Buffer[] => [
  torchLegacy(stateDict(true), storages),
  torchLegacy(nested(true), storages),
];

/** Feature caches of native/fuzz/feature_file.cc: identity of ones, records of 4 x 2 x 2 and 2 numbers; whole and cut. */
export function featureFileSeeds(): Buffer[] {
  const little = (value: bigint): Buffer => {
    const out = Buffer.alloc(8);
    out.writeBigUInt64LE(value);
    return out;
  };
  const numbers = 4 * 2 * 2;
  const record = (slot: number): Buffer => {
    const maps = [new Float32Array(numbers).fill(slot), new Float32Array(2).fill(-slot)];
    const data = maps.map((map) => Buffer.from(map.buffer));
    const sum = data.reduce((seed, part) => engine().checksum(part, seed), 0n);
    const content = Buffer.concat([Buffer.alloc(32, slot + 2), little(sum)]);
    return Buffer.concat([content, little(engine().checksum(content, BigInt(slot))), Buffer.alloc(16), ...data]);
  };
  const head = Buffer.concat([Buffer.from("SSNFEAT1"), Buffer.alloc(32, 1), little(BigInt(64 + 4 * (numbers + 2)))]);
  const header = Buffer.concat([head, little(engine().checksum(head, 0n)), Buffer.alloc(8)]);
  const whole = Buffer.concat([header, ...[0, 1, 2].map(record)]);
  return [whole, header, whole.subarray(0, whole.length - 10)];
}

/** Layouts of native/fuzz/bmp.cc: nine numbers, whether the first row is on top, palette and file. One of each depth. */
export const bmpSeeds = (): Buffer[] =>
  [1, 4, 8, 24, 32].map((bits, i) => {
    const [width, height, offset] = [9, 3, 10];
    const stride = 4 * Math.ceil((width * bits) / 32);
    const colours = bits > 8 ? 0 : 2 ** bits;
    const fields = BigInt64Array.from([width, height, bits, offset, stride, 2, 1, 0, colours].map(BigInt));
    const file = Buffer.from(Array.from({ length: offset + stride * height }, (_, k) => (37 * k) % 256));
    return Buffer.concat([Buffer.from(fields.buffer), Buffer.from([i % 2]), Buffer.alloc(3 * colours, i), file]);
  });
