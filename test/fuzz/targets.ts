/**
 * One target for each format that is read: how a file of it is made from a seed, and the call that reads it. A new format
 * is one more entry of `targets`.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

import sharp from "sharp";

import { oneProblem } from "../../lib/datasets/dataset.js";
import { manifest } from "../../lib/datasets/manifest.js";
import { open } from "../../lib/datasets/registry.js";
import { type ErrorCode, SuperSimpleNetError } from "../../lib/errors.js";
import { extract } from "../../lib/download/zip.js";
import { readPublished } from "../../lib/experiments/published.js";
import { readResults } from "../../lib/experiments/results.js";
import { encodeSafetensors, sealSafetensors } from "../../lib/files/safetensors.js";
import { readTensors } from "../../lib/files/tensors.js";
import { loadImage } from "../../lib/images/decode.js";
import { decodeMask } from "../../lib/images/mask.js";
import { datasets, Trainer } from "../../lib/index.js";
import { convertCheckpoint } from "../../lib/models/convert.js";
import { type ModelConfig, modelFormatVersion, networkConfigOf } from "../../lib/models/config.js";
import { Model } from "../../lib/models/model.js";
import type { NativeTensor, TensorMap } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import type { DatasetKind } from "../../lib/schema/datasets.js";
import type { Random } from "../../lib/random.js";
import {
  checkCheckpoint,
  checkpointFile,
  foldFile,
  readCheckpoint,
  readFold,
  savedOption,
} from "../../lib/training/checkpoint.js";
import { zip as wheelZip } from "../download/zips.js";
import { bmpFile } from "../images/files.js";
import { orderedDict, pickle, type Py, type Storage, tensor, torchLegacy, torchZip, zip } from "../files/torch_save.js";
import { trainerConfig } from "../support/trainer_config.js";
import {
  mutateBytes,
  mutateImage,
  mutateJson,
  mutateJsonText,
  mutatePickle,
  mutateSafetensors,
  mutateTable,
  mutateZip,
} from "./mutate.js";
import { pickleSeeds, torchLegacySeeds, torchZipSeeds } from "./seeds.js";

export interface Target {
  /** Where the file lies in its folder. */
  file: string;
  make(random: Random): Buffer | Promise<Buffer>;
  /** Reads `file`, in `folder`. Its errors must have one of `codes`. */
  read(file: string, folder: string): Promise<unknown>;
  codes: readonly ErrorCode[];
  /** Puts what else belongs there into a folder, once. */
  prepare?(folder: string): Promise<void> | void;
  /** Files that are read at once. Default: 32, for waiting takes longer than reading on a busy machine. */
  atOnce?: number;
  /** Whether an error is one that the reader promises, where it promises others than SuperSimpleNetError. */
  promises?(error: unknown): boolean;
}

type Mutate = (random: Random, bytes: Buffer, others: readonly Buffer[]) => Buffer;
const from =
  (seeds: readonly Buffer[], mutate: Mutate) =>
  (random: Random): Buffer =>
    mutate(random, random.pick(seeds), seeds);

const damaged = ["FILE_CORRUPT", "PICKLE_REFUSED", "WEIGHTS_INVALID"] as const;

/** Mutated tensors and metadata in a file that is whole, with a checksum that is right. */
async function sealed(random: Random, tensors: TensorMap, metadata: Record<string, string>): Promise<Buffer> {
  const changedTensors: TensorMap = { ...tensors };
  const names = Object.keys(tensors);
  for (let n = random.integer(3); n > 0; n--) {
    const name = random.pick(names);
    const { dtype, shape, data } = tensors[name]!;
    const float = data as Float32Array;
    const options: (NativeTensor | undefined)[] = [
      undefined,
      { dtype: "int32", shape, data: new Int32Array(data.length) },
      { dtype, shape: [...shape, 1], data },
      { dtype, shape: [data.length], data },
      { dtype, shape: [0], data: new Float32Array(0) },
      { dtype: "float32", shape, data: Float32Array.from(float, () => random.pick([NaN, Infinity, -1, 0, 1e38])) },
    ];
    const changed = dtype === "float32" ? random.pick(options) : undefined;
    if (changed === undefined) delete changedTensors[name];
    else changedTensors[random.integer(4) === 0 ? `${name}.0` : name] = changed;
  }
  const changedMetadata = { ...metadata };
  for (let n = 1 + random.integer(2); n > 0; n--) {
    const key = random.pick(Object.keys(metadata));
    const text = metadata[key]!;
    if (random.integer(6) === 0) delete changedMetadata[key];
    else if (text.startsWith("{")) changedMetadata[key] = mutateJsonText(random, text).toString("latin1");
    else changedMetadata[key] = random.pick(["", "0", "-1", "1e3", "99999999999999999999", "NaN", "2", "x"]);
  }
  return encodeSealed(changedTensors, changedMetadata);
}

async function encodeSealed(tensors: TensorMap, metadata: Record<string, string>): Promise<Buffer> {
  const encoded = await encodeSafetensors("", tensors, metadata);
  await sealSafetensors(encoded);
  return encoded.file;
}

/** A seed that is mutated inside in two cases of three, and as bytes, with a wrong checksum, in the third. */
function sealedTarget(tensors: TensorMap, metadata: Record<string, string>): Target["make"] {
  const whole = encodeSealed(tensors, metadata);
  return async (random) => {
    if (random.integer(3) > 0) return sealed(random, tensors, metadata);
    return mutateSafetensors(random, await whole, [await whole]);
  };
}

const floats = (shape: number[]): NativeTensor => {
  const count = shape.reduce((a, b) => a * b, 1);
  return { dtype: "float32", shape, data: Float32Array.from({ length: count }, (_, i) => (i % 7) / 7) };
};

// --- formats of tensors -------------------------------------------------------------------------------------------

async function safetensorsTarget(): Promise<Target> {
  const encode = async (tensors: TensorMap, metadata: Record<string, string>): Promise<Buffer> =>
    (await encodeSafetensors("", tensors, metadata)).file;
  const bool: NativeTensor = { dtype: "bool", shape: [5], data: Uint8Array.of(0, 1, 2, 1, 0) };
  const foreign = Buffer.from(
    JSON.stringify({
      a: { dtype: "U32", shape: [2], data_offsets: [0, 8] },
      b: { dtype: "F8_E4M3", shape: [0], data_offsets: [8, 8] },
    }),
  );
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(foreign.length));
  const seeds = [
    await encode(
      { a: floats([3, 4]), b: floats([]), c: bool, d: { dtype: "int64", shape: [1], data: BigInt64Array.of(1n) } },
      { format: "pt", note: "ü" },
    ),
    await encode({}, {}),
    await encode({ empty: floats([0, 3]), half: { dtype: "float16", shape: [2], data: Uint16Array.of(1, 2) } }, {}),
    Buffer.concat([length, foreign, Buffer.alloc(8)]),
  ];
  return {
    file: "f.safetensors",
    codes: [...damaged, "OUT_OF_MEMORY"],
    make: from(seeds, mutateSafetensors),
    read: (file) => readTensors(file),
  };
}

function pytorchZipTarget(): Target {
  const pickles = pickleSeeds();
  const archives = torchZipSeeds();
  return {
    file: "f.pth",
    codes: damaged,
    make(random) {
      if (random.integer(2) === 0) return mutateZip(random, random.pick(archives), archives);
      // The pickle in an archive that is right.
      const data = mutatePickle(random, random.pick(pickles), pickles);
      const storages = [0, 1, 2, 3].map((key) => ({ name: `a/data/${key}`, data: Buffer.alloc(96, key) }));
      return zip([{ name: "a/data.pkl", data }, ...storages], random.integer(2) === 0);
    },
    read: (file) => readTensors(file),
  };
}

function pytorchLegacyTarget(): Target {
  return {
    file: "f.pth",
    codes: damaged,
    make: from(torchLegacySeeds(), mutatePickle),
    read: (file) => readTensors(file),
  };
}

function convertTarget(): Target {
  const channels = 4;
  const wanted = engine().headTensors(channels);
  const seed = (name: (own: string) => string, legacy: boolean): Buffer => {
    const storages: Storage[] = [];
    const entries = Object.entries(wanted).map(([own, shape], i): [Py, Py] => {
      const data = Buffer.alloc(4 * shape.reduce((a, b) => a * b, 1));
      storages.push({ key: String(i), type: "Float", data });
      return [name(own), tensor(storages[i]!, shape, undefined, 0, legacy)];
    });
    return legacy ? torchLegacy(orderedDict(entries), storages) : torchZip(orderedDict(entries), storages);
  };
  const seeds = [seed((name) => name, false), seed((name) => `model.${name}`, true)];
  return {
    file: "f.ckpt",
    codes: damaged,
    make: (random) => (random.integer(2) === 0 ? mutateZip : mutatePickle)(random, random.pick(seeds), seeds),
    read: (path) => convertCheckpoint({ path, channels }),
  };
}

function pickleTarget(): Target {
  return {
    file: "f.pkl",
    codes: damaged,
    make: from(pickleSeeds(), mutatePickle),
    read: (file) => engine().readPickle(file),
  };
}

// --- what the package writes itself -------------------------------------------------------------------------------

type Trained = { config: ModelConfig; checkpoint: Awaited<ReturnType<typeof readTensors>> };
let training: Promise<Trained> | undefined;

/** The smallest training: its model's configuration, and its checkpoint. Once in a process. */
const trained = (folder: string): Promise<Trained> => (training ??= train(folder));

async function train(folder: string): Promise<Trained> {
  const data = await datasets.generated(path.join(folder, "data"), {
    imageSize: [64, 64],
    trainNormal: 6,
    trainAnomalous: 2,
    testNormal: 1,
    testAnomalous: 1,
  });
  const out = path.join(folder, "run");
  const controller = new AbortController();
  const options = {
    backbone: "resnet18",
    backboneWeights: "random",
    network: { layers: ["layer2"] },
    imageSize: [32, 32],
    batchSize: 8,
    threads: 1,
  } as const;
  const { config } = await new Trainer({ ...options, epochs: 1, calibration: { method: "crossFit", folds: 2 } }).fit(
    data,
  );
  await new Trainer({ ...options, epochs: 2, calibration: { fraction: 0 } })
    .fit(data, { out, signal: controller.signal, onEpoch: () => controller.abort() })
    .catch((error: unknown) => {
      if (!(error instanceof SuperSimpleNetError) || error.code !== "ABORTED") throw error;
    });
  return { config, checkpoint: await readTensors(checkpointFile(out)) };
}

async function modelTarget(scratch: string): Promise<Target> {
  const { config } = await trained(scratch);
  // The smallest heads that there are.
  const small = { ...config, classificationHead: "mapMax", mapInput: true } as ModelConfig;
  const network = networkConfigOf("resnet18", small);
  const heads = await engine().randomHeads(engine().featureShape(network).channels, 0, network);
  const { bitDepth: _bitDepth, ...older } = small;
  const versions = [
    [modelFormatVersion, small],
    [3, older],
  ] as const;
  const makes = versions.map(([version, own]) =>
    sealedTarget(heads, {
      format: "supersimplenet",
      format_version: String(version),
      config: JSON.stringify(own),
    }),
  );
  return {
    file: "model.safetensors",
    codes: [...damaged, "MODEL_INVALID", "MODEL_TOO_NEW", "OUT_OF_MEMORY"],
    make: (random) => random.pick(makes)(random),
    read: (file) => Model.load(file),
  };
}

async function checkpointTarget(scratch: string): Promise<Target> {
  const { checkpoint } = await trained(scratch);
  const small = Object.fromEntries(Object.entries(checkpoint.tensors).filter(([, { data }]) => data.length < 1000));
  const fingerprint = JSON.parse(checkpoint.metadata["fingerprint"]!) as Record<string, unknown>;
  return {
    file: path.relative("", checkpointFile("")),
    codes: ["FILE_CORRUPT", "CHECKPOINT_MISMATCH", "WEIGHTS_INVALID", "FILE_NOT_FOUND", "OUT_OF_MEMORY"],
    make: sealedTarget(small, checkpoint.metadata),
    async read(_file, folder) {
      await savedOption(folder, "backbone");
      await checkCheckpoint(folder, { ...fingerprint, imageSize: undefined });
      return readCheckpoint(folder, fingerprint);
    },
  };
}

function foldTarget(): Target {
  const fingerprint = { epochs: 2, backbone: "resnet18", bitDepth: 16 };
  const metadata = {
    format: "supersimplenet-fold",
    format_version: "1",
    fold: "1",
    fingerprint: JSON.stringify(fingerprint),
  };
  return {
    file: path.relative("", foldFile("", 1)),
    codes: ["FILE_CORRUPT", "CHECKPOINT_MISMATCH", "WEIGHTS_INVALID", "OUT_OF_MEMORY"],
    make: sealedTarget({ logits: floats([3]), peaks: floats([3]), maps: floats([2, 4, 4]) }, metadata),
    read: (_file, folder) => readFold(folder, 1, [true, false, true], [4, 4], fingerprint),
  };
}

async function featuresTarget(scratch: string): Promise<Target> {
  const layers = ["layer2"];
  const config = trainerConfig({ layers });
  const [backbone, heads] = await Promise.all([
    engine().randomBackbone("resnet18", 0),
    engine().randomHeads(128, 0, config),
  ]);
  const used = Object.fromEntries(Object.entries(backbone).filter(([name]) => !/^(layer3|layer4|fc)/.test(name)));
  const all = Object.keys(used).length < Object.keys(backbone).length ? backbone : used;
  const identity = Buffer.alloc(32, 1);
  const items = [1, 2].map((key) => {
    const pixels = new Uint8Array(32 * 32 * 3).fill(40 * key);
    return { key, pixels, content: createHash("sha256").update(pixels).digest() };
  });
  const observe = async (file: string): Promise<void> => {
    const trainer = await engine().createTrainer(
      { ...config, featureCacheFile: { path: file, bytes: 2 ** 20, identity } },
      all,
      heads,
    );
    try {
      await trainer.observeFeatures(items);
      await trainer.cacheReport();
    } finally {
      trainer.dispose();
    }
  };
  const file = path.join(scratch, "seed.features");
  await observe(file);
  const seed = readFileSync(file);
  const record = (seed.length - 64) / items.length;
  const reseal = (bytes: Buffer): Buffer => {
    const out = Buffer.from(bytes);
    if (out.length >= 64) out.writeBigUInt64LE(engine().checksum(out.subarray(0, 48), 0n), 48);
    for (let slot = 0; 64 + (slot + 1) * record <= out.length; slot++) {
      const head = out.subarray(64 + slot * record, 64 + (slot + 1) * record);
      head.writeBigUInt64LE(engine().checksum(head.subarray(64), 0n), 32);
      head.writeBigUInt64LE(engine().checksum(head.subarray(0, 40), BigInt(slot)), 40);
    }
    return out;
  };
  return {
    file: "f.features",
    codes: ["FILE_CORRUPT"],
    atOnce: 4,
    make(random) {
      const bytes = mutateBytes(random, seed);
      return random.integer(2) === 0 ? reseal(bytes) : bytes;
    },
    read: observe,
  };
}

// --- data sets ----------------------------------------------------------------------------------------------------

const put = (file: string, bytes: Buffer | string): void => {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, bytes);
};

function manifestTarget(extension: "csv" | "jsonl"): Target {
  const rows = [
    { image: "a.png", label: "normal", split: "train" },
    { image: "b.png", label: "anomalous", mask: "m.png", split: "test", defect: "scratch" },
    { image: "c.png", label: "ok" },
  ];
  const seeds =
    extension === "jsonl"
      ? [Buffer.from(rows.map((row) => JSON.stringify(row)).join("\n"))]
      : [
          "image,label,mask,split,defect\na.png,normal,,train,\nb.png,bad,m.png,test,scratch\n",
          'image;label\n"a.png";ok\nc.png;"good"\n',
          "sep=;\nimage;label;mask\nb.png;1;m.png\n",
        ].map((text) => Buffer.from(text));
  return {
    file: `samples.${extension}`,
    codes: ["DATASET_INVALID"],
    prepare: (folder) => ["a.png", "b.png", "c.png", "m.png"].forEach((name) => put(path.join(folder, name), "")),
    make:
      extension === "csv"
        ? from(seeds, mutateTable)
        : (random) =>
            random.integer(2) === 0
              ? Buffer.from(
                  rows.map((row) => mutateJsonText(random, JSON.stringify(row)).toString("latin1")).join("\n"),
                )
              : mutateTable(random, seeds[0]!, seeds),
    read: (file) => manifest(file),
  };
}

function visaTarget(): Target {
  const seed = Buffer.from(
    "object,split,label,image,mask\ncandle,train,normal,candle/Data/Images/Normal/0.JPG,\n" +
      "candle,test,anomaly,candle/Data/Images/Anomaly/0.JPG,candle/Data/Masks/Anomaly/0.png\n",
  );
  return {
    file: path.join("split_csv", "1cls.csv"),
    codes: ["DATASET_INVALID", "INVALID_OPTION"],
    prepare(folder) {
      for (const name of ["Images/Normal/0.JPG", "Images/Anomaly/0.JPG", "Masks/Anomaly/0.png"])
        put(path.join(folder, "candle", "Data", name), "");
    },
    make: from([seed], mutateTable),
    read: (_file, folder) => open(folder, { kind: "visa", category: "candle" }),
  };
}

/** A list of (id, is_segmented). */
const listed = (entries: [Py, Py][]): Py => entries.map((tuple): Py => ({ tuple }));

async function ksdd2Target(): Promise<Target> {
  const png = (value: number): Promise<Buffer> =>
    sharp(Buffer.alloc(64, value), { raw: { width: 8, height: 8, channels: 1 } })
      .png()
      .toBuffer();
  const [empty, full] = [await png(0), await png(255)];
  const seeds = [
    pickle({
      tuple: [
        listed([
          [1, true],
          [2, false],
        ]),
        listed([[3, true]]),
      ],
    }),
    pickle([
      listed([
        ["1", 1],
        ["2", 0],
      ]),
      listed([["3", false]]),
    ]),
  ];
  return {
    file: "split_weakly_16.pyb",
    codes: ["DATASET_INVALID", "PICKLE_REFUSED", "FILE_CORRUPT"],
    prepare(folder) {
      for (const [name, mask] of [
        ["train/1", empty],
        ["train/2", full],
        ["test/3", full],
      ] as const) {
        put(path.join(folder, `${name}.png`), empty);
        put(path.join(folder, `${name}_GT.png`), mask);
      }
    },
    make: from(seeds, mutatePickle),
    read: (_file, folder) => open(folder, { kind: "ksdd2", segmentedCount: 16 }),
  };
}

function sensumTarget(): Target {
  const negative = pickle(
    listed([
      [0, true],
      ["1", true],
    ]),
  );
  const positive = pickle(
    listed([
      [0, true],
      ["001", false],
    ]),
  );
  const splits = path.join("sensum_splits", "softgel", "0");
  return {
    file: path.join(splits, "train", "pos_100.pckl"),
    codes: ["DATASET_INVALID", "PICKLE_REFUSED", "FILE_CORRUPT"],
    prepare(folder) {
      for (const part of ["negative/data", "positive/data", "positive/annotation"])
        for (const name of ["000", "001", "002"]) put(path.join(folder, "softgel", part, `${name}.png`), "");
      put(path.join(folder, splits, "train", "neg.pckl"), negative);
      put(path.join(folder, splits, "test", "neg.pckl"), pickle(listed([[2, true]])));
      put(path.join(folder, splits, "test", "pos.pckl"), pickle(listed([[2, true]])));
    },
    make: from([positive, negative], mutatePickle),
    read: (_file, folder) => open(folder, { kind: "sensum", category: "softgel", fold: 0 }),
  };
}

/** Annotations beside two images; what an image's own annotations have is reported, and counts as refused here. */
function annotationsTarget(file: string, kind: DatasetKind, seeds: readonly (string | object)[]) {
  return (scratch: string): Target => {
    engine(); // libtorch may lie in the usual cache folder
    process.env["SUPERSIMPLENET_CACHE"] = path.join(scratch, "cache");
    const texts = seeds.map((seed) => (typeof seed === "string" ? seed : JSON.stringify(seed)));
    return {
      file,
      codes: ["DATASET_INVALID"],
      async prepare(folder) {
        const image = sharp({ create: { width: 12, height: 10, channels: 3, background: "red" } });
        for (const name of ["a.png", "b.png"]) put(path.join(folder, name), await image.clone().png().toBuffer());
      },
      make(random) {
        const text = random.pick(texts);
        return text.startsWith("<") ? mutateBytes(random, Buffer.from(text)) : mutateJsonText(random, text);
      },
      async read(name) {
        const { problems = [] } = await open(name, { kind, ignoreClass: ["c"] });
        if (problems.length > 0) throw oneProblem(name, problems[0]!.message);
      },
    };
  };
}

const square = [1, 1, 6, 1, 6, 5, 1, 5];

const cvatTarget = annotationsTarget("annotations.xml", "cvat", [
  `<annotations><version>1.1</version>
<image id="0" name="a.png" subset="train" width="12" height="10">
<polygon label="s" points="1,1;6,1;6,5" z_order="0"></polygon><box label="c" xtl="1" ytl="1" xbr="6.5" ybr="5" rotation="3"/>
<mask label="m" rle="3, 2, 4, 3" left="1" top="2" width="4" height="3"/></image>
<image id="1" name="b.png" width="12" height="10"><ellipse label="e" cx="5" cy="5" rx="3" ry="2"/></image></annotations>`,
]);

const cocoTarget = annotationsTarget("instances.json", "coco", [
  {
    images: [
      { id: 1, file_name: "a.png", width: 12, height: 10 },
      { id: 2, file_name: "b.png", width: 12, height: 10 },
    ],
    annotations: [
      { id: 1, image_id: 1, category_id: 1, segmentation: [square] },
      { id: 2, image_id: 1, category_id: 2, segmentation: { counts: [20, 30, 70], size: [10, 12] } },
      { id: 3, image_id: 2, category_id: 1, segmentation: { counts: "d0n0V2", size: [10, 12] } },
    ],
    categories: [
      { id: 1, name: "s" },
      { id: 2, name: "c" },
    ],
  },
]);

const points = [
  [1, 1],
  [6, 1],
  [6, 5],
];
const labelmeTarget = annotationsTarget("a.json", "labelme", [
  {
    version: "5",
    flags: {},
    shapes: [
      { label: "s", points, shape_type: "polygon" },
      { label: "c", points: points.slice(1), shape_type: "circle" },
      {
        label: "m",
        points: points.slice(1),
        shape_type: "mask",
        mask: bmpFile({ width: 4, height: 2, bits: 24, pixels: new Uint8Array(24).fill(9) }).toString("base64"),
      },
    ],
    imagePath: "a.png",
    imageWidth: 12,
    imageHeight: 10,
  },
]);

const drawn = { original_width: 12, original_height: 10, image_rotation: 0 };
const labelstudioTarget = annotationsTarget("project.json", "labelstudio", [
  [
    {
      data: { image: "/data/upload/1/a.png" },
      annotations: [
        {
          was_cancelled: false,
          result: [
            { ...drawn, type: "polygonlabels", value: { points, polygonlabels: ["s"] } },
            { ...drawn, type: "rectanglelabels", value: { x: 9, y: 9, width: 30, height: 30, rectanglelabels: ["c"] } },
          ],
        },
      ],
    },
    {
      data: { image: "b.png" },
      annotations: [
        {
          result: [
            {
              ...drawn,
              type: "brushlabels",
              // 480 values of 8 bits, all 255, in one run of 9 bits.
              value: { format: "rle", rle: [0, 0, 1, 224, 57, 27, 199, 239, 255, 128], brushlabels: ["s"] },
            },
          ],
        },
      ],
    },
  ],
]);

/** Crash, hang and untyped error only: a changed header may ask for a large image, which takes its memory for a while. */
async function imagesTarget(): Promise<Target> {
  const picture = sharp(Buffer.from(Array.from({ length: 24 * 20 * 3 }, (_, i) => (i * 7) % 256)), {
    raw: { width: 24, height: 20, channels: 3 },
  });
  const seeds: Buffer[] = [];
  for (const format of ["png", "jpeg", "tiff", "webp", "gif", "avif"] as const)
    seeds.push(await picture.clone().toFormat(format).toBuffer());
  seeds.push(await picture.clone().tiff({ tile: true, tileWidth: 16, tileHeight: 16 }).toBuffer());
  const bmp = { width: 24, height: -20 };
  seeds.push(bmpFile({ ...bmp, bits: 24, pixels: new Uint8Array(24 * 20 * 3).fill(9) }));
  const palette = Array.from({ length: 64 }, (_, i) => i);
  seeds.push(bmpFile({ ...bmp, bits: 4, palette, pixels: new Uint8Array(12 * 20).fill(0x3a) }));
  return {
    file: "f.image",
    codes: ["IMAGE_UNREADABLE", "OUT_OF_MEMORY"],
    atOnce: 2,
    make: from(seeds, mutateImage),
    async read(file) {
      await loadImage(file, { height: 16, width: 16, resize: "bilinear" });
      await decodeMask(file);
    },
  };
}

// --- others -------------------------------------------------------------------------------------------------------

/** Results of experiments, and the authors' published ones. */
function resultsTarget(): Target {
  const result = {
    format: 1,
    key: "k",
    protocol: "p",
    dataset: "d",
    published: null,
    order: 0,
    part: "a",
    category: null,
    seed: 0,
    condition: { name: "c", title: "t", summary: "s", published: null },
    options: { parts: ["a"] },
    data: { counts: {}, samples: "s" },
    metrics: { "I-AUROC": 1 },
    seconds: 1,
    version: "0",
  };
  const line = JSON.stringify(result);
  return {
    file: "results.jsonl",
    codes: ["FILE_CORRUPT"],
    make: (random) => Buffer.concat([mutateJsonText(random, line), Buffer.from(`\n${line}\n`)]),
    read: (_file, folder) => readResults(folder),
  };
}

function publishedTarget(): Target {
  const table = { avg: { visa: { "I-AUROC": { total: 93 } } }, std: { visa: { "I-AUROC": { total: 0.1 } } } };
  const seed = { unsup: { ssn: table }, sup: { ssn: table } };
  return {
    file: "published.json",
    codes: ["FILE_CORRUPT"],
    make: (random) =>
      random.integer(4) === 0
        ? mutateJsonText(random, JSON.stringify(seed))
        : Buffer.from(JSON.stringify(mutateJson(random, seed)) ?? ""),
    read: (file) => readPublished(file),
  };
}

/** Archives of wheels, which are checked by their SHA-256 before: this one alone promises plain errors. */
function wheelTarget(): Target {
  const entries = { "torch/a.txt": "a".repeat(500), "torch/b/c.so": "xyz", "torch/": "" };
  const seeds = [wheelZip(entries, true), wheelZip(entries, false), wheelZip(entries, true, true)];
  return {
    file: "f.whl",
    codes: [],
    promises: (error) =>
      error instanceof Error &&
      !(error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError),
    make: from(seeds, mutateZip),
    read: (file, folder) => extract(file, path.join(folder, "unpacked"), (name) => name),
  };
}

/** By name; each is made when its turn comes, with a folder of its own. */
export const targets: Record<string, (scratch: string) => Target | Promise<Target>> = {
  safetensors: safetensorsTarget,
  "pytorch-zip": pytorchZipTarget,
  "pytorch-legacy": pytorchLegacyTarget,
  pickle: pickleTarget,
  convert: convertTarget,
  model: modelTarget,
  checkpoint: checkpointTarget,
  fold: foldTarget,
  features: featuresTarget,
  "manifest-csv": () => manifestTarget("csv"),
  "manifest-jsonl": () => manifestTarget("jsonl"),
  visa: visaTarget,
  ksdd2: ksdd2Target,
  sensum: sensumTarget,
  cvat: cvatTarget,
  coco: cocoTarget,
  labelme: labelmeTarget,
  labelstudio: labelstudioTarget,
  images: imagesTarget,
  results: resultsTarget,
  published: publishedTarget,
  wheel: wheelTarget,
};
