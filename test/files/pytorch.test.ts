import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { deflateRawSync } from "node:zlib";

import { toFloat32 } from "../../lib/backbones/check.js";
import { readTensors } from "../../lib/files/tensors.js";
import type { NativeTensor } from "../../lib/native/binding.js";
import { failsWith, floats, mutate, temporaryFolder } from "./support.js";
import { type Py, type Storage, orderedDict, pickle, tensor, torchLegacy, torchZip, zip } from "./torch_save.js";

const folder = temporaryFolder();
const file = path.join(folder, "f.pth");

const matrix: Storage = { key: "0", type: "Float", data: floats(...Array.from({ length: 24 }, (_, i) => i)) };
const halves: Storage = { key: "1", type: "Half", data: Buffer.from(Uint16Array.of(0x3c00, 0xc100, 0x0001).buffer) };
const brains: Storage = { key: "2", type: "BFloat16", data: Buffer.from(Uint16Array.of(0x3f80, 0xc020).buffer) };
const counter: Storage = { key: "3", type: "Long", data: Buffer.from(BigInt64Array.of(7n).buffer) };
const flags: Storage = { key: "4", type: "Bool", data: Buffer.from([1, 0, 2]) };
const storages = [matrix, halves, brains, counter, flags];

function stateDict(legacy: boolean): Py {
  const parameter: Py = {
    raw: pickleBody(
      { name: "torch._utils._rebuild_parameter" },
      { tuple: [tensor(matrix, [2], [1], 3, legacy), true, { call: "collections.OrderedDict", args: [] }] },
    ),
  };
  return orderedDict([
    ["whole", tensor(matrix, [4, 6], undefined, 0, legacy)],
    ["transposed", tensor(matrix, [6, 4], [1, 6], 0, legacy)],
    ["slice", tensor(matrix, [2, 3], [6, 1], 8, legacy)],
    ["expanded", tensor(matrix, [3, 2], [0, 1], 5, legacy)],
    ["parameter", parameter],
    ["half", tensor(halves, [3], undefined, 0, legacy)],
    ["bfloat16", tensor(brains, [2], undefined, 0, legacy)],
    ["scalar", tensor(counter, [], [], 0, legacy)],
    ["flags", tensor(flags, [3], undefined, 0, legacy)],
    ["empty", tensor(matrix, [0, 3], undefined, 0, legacy)],
    ["not a tensor", 5],
  ]);
}

/** callee, arguments, REDUCE without the frame of a whole pickle. */
function pickleBody(callee: Py, args: Py): Buffer {
  const strip = (value: Py): Buffer => pickle(value).subarray(2, -1);
  return Buffer.concat([strip(callee), strip(args), Buffer.from("R")]);
}

const write = (bytes: Buffer): string => {
  writeFileSync(file, bytes);
  return file;
};
const values = (t: NativeTensor | undefined): number[] => Array.from(t!.data as Float32Array);

for (const [format, bytes] of [
  ["pytorch-zip", torchZip(stateDict(false), storages)],
  ["pytorch-zip", torchZip(stateDict(false), storages, { zip64: true })],
  ["pytorch-legacy", torchLegacy(stateDict(true), storages)],
] as const) {
  test(`${format}: views, shared storages and every kind of element`, async () => {
    const read = await readTensors(write(bytes));
    assert.equal(read.format, format);
    const t = read.tensors;
    assert.deepEqual(Object.keys(t), [
      "bfloat16",
      "empty",
      "expanded",
      "flags",
      "half",
      "parameter",
      "scalar",
      "slice",
      "transposed",
      "whole",
    ]);
    assert.deepEqual(
      values(t["whole"]),
      Array.from({ length: 24 }, (_, i) => i),
    );
    assert.deepEqual(t["transposed"]!.shape, [6, 4]);
    assert.deepEqual(values(t["transposed"]).slice(0, 8), [0, 6, 12, 18, 1, 7, 13, 19]);
    assert.deepEqual(values(t["slice"]), [8, 9, 10, 14, 15, 16]);
    assert.deepEqual(values(t["expanded"]), [5, 6, 5, 6, 5, 6]);
    assert.deepEqual(values(t["parameter"]), [3, 4]);
    assert.deepEqual(t["scalar"], { dtype: "int64", shape: [], data: BigInt64Array.of(7n) });
    assert.deepEqual(t["flags"], { dtype: "bool", shape: [3], data: Uint8Array.of(1, 0, 1) });
    assert.deepEqual(t["empty"]!.shape, [0, 3]);
    assert.equal(t["half"]!.dtype, "float16");
    assert.deepEqual(values(toFloat32(t["half"]!)), [1, -2.5, 2 ** -24]);
    assert.deepEqual(values(toFloat32(t["bfloat16"]!)), [1, -2.5]);
    assert.deepEqual(Object.keys((await readTensors(file, ["s"])).tensors), ["scalar", "slice"]);
  });
}

test("float16 and float64 convert exactly; integers do not convert", () => {
  const half = toFloat32({
    dtype: "float16",
    shape: [5],
    data: Uint16Array.of(0x7bff, 0x7c00, 0xfc00, 0x7e00, 0x8000),
  });
  assert.deepEqual(Array.from(half.data), [65504, Infinity, -Infinity, NaN, -0]);
  assert.equal(toFloat32({ dtype: "float64", shape: [1], data: Float64Array.of(0.1) }).data[0], Math.fround(0.1));
  assert.throws(() => toFloat32({ dtype: "int64", shape: [1], data: BigInt64Array.of(1n) }), {
    code: "WEIGHTS_INVALID",
  });
});

test("a Lightning checkpoint gives its state_dict; its other objects are skipped", async () => {
  const config: Py = {
    call: "omegaconf.dictconfig.DictConfig",
    args: [],
    state: { dict: [["_content", { dict: [["lr", 0.1]] }]] },
  };
  const checkpoint: Py = {
    dict: [
      ["epoch", 3],
      ["pytorch-lightning_version", "2.4.0"],
      ["hyper_parameters", { call: "lightning.fabric.utilities.data.AttributeDict", args: [] }],
      ["config", config],
      ["where", { call: "pathlib.PosixPath", args: ["/", "tmp"] }],
      ["namespace", { call: "argparse.Namespace", args: [], state: { dict: [["x", 1]] } }],
      ["dtype", { name: "torch.float32" }],
      ["transform", { call: "torchvision.transforms.v2._container.Compose", args: [] }],
      ["optimizer_states", [{ dict: [["state", { dict: [[0, { dict: [["exp_avg", tensor(matrix, [2])]] }]] }]] }]],
      ["state_dict", orderedDict([["model.w", tensor(matrix, [24])]])],
    ],
  };
  const { tensors } = await readTensors(write(torchZip(checkpoint, [matrix])));
  assert.deepEqual(Object.keys(tensors), ["model.w"]);
});

test("every other name is refused, whatever it is", async () => {
  const names = [
    "os.system",
    "posix.system",
    "builtins.eval",
    "builtins.getattr",
    "__builtin__.exec",
    "subprocess.Popen",
    "torch.storage._load_from_bytes",
    "torch.load",
    "torch.nn.modules.linear.Linear",
    "collections.OrderedDictX",
    "numpy.load",
    "functools.partial",
    "torchvision.models.resnet.ResNet",
    "__torch__.Model",
    "anomalib.os.system",
  ];
  for (const name of names) {
    for (const value of [{ call: name, args: ["touch /tmp/owned"] }, { dict: [["x", { name }]] }] as Py[]) {
      await failsWith(
        readTensors(write(torchZip(value, []))),
        "PICKLE_REFUSED",
        new RegExp(`the file asks to run '${name.replace(/\./g, "\\.")}'`),
      );
      await failsWith(
        readTensors(write(torchLegacy(value, []))),
        "PICKLE_REFUSED",
        new RegExp(`the file asks to run '${name.replace(/\./g, "\\.")}'`),
      );
    }
  }
  // The same through STACK_GLOBAL, INST, OBJ and the extension registry.
  const raw = (text: string): Promise<unknown> =>
    readTensors(write(torchZip({ raw: Buffer.from(text, "latin1") }, [])));
  await failsWith(raw("\x8c\x02os\x8c\x06system\x93\x8c\x01x\x85R"), "PICKLE_REFUSED", /'os\.system'/);
  await failsWith(raw("(\x8c\x01xios\nsystem\n"), "PICKLE_REFUSED", /'os\.system'/);
  await failsWith(raw("(cos\nsystem\n\x8c\x01xo"), "PICKLE_REFUSED", /'os\.system'/);
  await failsWith(raw("\x82\x01"), "PICKLE_REFUSED", /extension registry/);
});

test("what contradicts itself is refused with the reason", async () => {
  const dict = (value: Py): Py => ({ dict: [["w", value]] });
  const cases: [Buffer, RegExp][] = [
    [torchZip(dict(tensor(matrix, [25])), [matrix]), /'w' reaches element 24 of a storage of 24/],
    [torchZip(dict(tensor(matrix, [2, 2], [20, 5])), [matrix]), /'w' reaches element 25/],
    [torchZip(dict(tensor(matrix, [2 ** 30, 2 ** 30, 2 ** 30], [0, 0, 0])), [matrix]), /overflows/],
    [torchZip(dict(tensor(matrix, [2 ** 30, 1], [0, 0])), [matrix]), /much larger than the file/],
    [torchZip(dict(tensor(matrix, [0, 2 ** 30, 2 ** 30, 2 ** 30], [0, 0, 0, 0])), [matrix]), /overflows/],
    [torchZip(dict(tensor(matrix, [2], [1], -1)), [matrix]), /lacks storage, offset/],
    [torchZip(dict(tensor({ ...matrix, elements: 1000 }, [1000])), [matrix]), /should have 1000 elements/],
    [torchZip(dict(tensor(matrix, [2])), []), /'data\/0' is missing/],
    [torchZip(dict(tensor(matrix, [2])), [matrix], { byteorder: "big" }), /big-endian/],
    [
      torchZip(dict(tensor(matrix, [2])), [{ ...matrix, data: deflateRawSync(matrix.data) }], { method: 8 }),
      /compressed \(method 8\)/,
    ],
    [torchZip([1, 2], []), /no dictionary of tensors/],
    [torchZip({ raw: Buffer.from("]".repeat(50) + "a".repeat(49)) }, []), /no dictionary of tensors/],
    [torchZip({ raw: Buffer.concat([Buffer.alloc(2_100_000, "N")]) }, []), /more than 2000000 operations/],
    [torchZip({ raw: Buffer.from("h\x05") }, []), /referred to before it exists/],
    [torchZip({ raw: Buffer.from("\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", "latin1") }, []), /reaches past its end/],
    [torchZip({ raw: Buffer.from("a") }, []), /stack is empty/],
    [torchZip({ raw: Buffer.from("}(Nu") }, []), /key without a value/],
    [zip([{ name: "a.npy", data: Buffer.from("x") }]), /no data\.pkl/],
    [
      zip([
        { name: "a/data.pkl", data: pickle(1) },
        { name: "b/data.pkl", data: pickle(1) },
      ]),
      /two data\.pkl/,
    ],
    [torchLegacy(dict(tensor(matrix, [2], undefined, 0, true)), [matrix], { littleEndian: false }), /big-endian/],
    [torchLegacy(dict(tensor(matrix, [2], undefined, 0, true)), []), /storage '0' is missing/],
    [torchLegacy(dict(1), [matrix]), /storage that nothing uses/],
    [
      torchLegacy(dict(tensor(matrix, [2], undefined, 0, true)), [{ ...matrix, elements: 2 ** 60 }]),
      /reaches past the end of the file/,
    ],
    [pickle({ dict: [] }), /not one that torch\.save wrote/],
  ];
  for (const [bytes, message] of cases) await failsWith(readTensors(write(bytes)), "FILE_CORRUPT", message);
});

test("a changed storage is found by its checksum", async () => {
  const bytes = torchZip({ dict: [["w", tensor(matrix, [24])]] }, [matrix]);
  bytes[bytes.indexOf(matrix.data) + 5]! ^= 1;
  await failsWith(readTensors(write(bytes)), "FILE_CORRUPT", /checksum of 'data\/0' is wrong/);
});

test("cut and changed files are read or refused, never worse", async () => {
  for (const bytes of [
    torchZip(stateDict(false), storages),
    torchZip(stateDict(false), storages, { zip64: true }),
    torchLegacy(stateDict(true), storages),
  ]) {
    const outcome = await mutate(path.join(folder, "fuzz"), bytes, 1000, (path) => readTensors(path));
    assert.ok(outcome.read > 50 && outcome.refused > bytes.length, JSON.stringify(outcome));
  }
});

const heads = path.resolve("../shared/golden/heads.pt");
test("a real torch.save file", { skip: !existsSync(heads) && "../shared is absent" }, async () => {
  const { tensors, format } = await readTensors(heads);
  assert.equal(format, "pytorch-zip");
  assert.equal(Object.keys(tensors).length, 19);
  assert.deepEqual(tensors["discriminator.dec_head.0.weight"]!.shape, [128, 385, 5, 5]);
});
