import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { before, test } from "node:test";

import { tensorsSha256 } from "../../lib/backbones/check.js";
import { modelProto, refuseTooLarge } from "../../lib/export/export.js";
import { Graph } from "../../lib/export/graph.js";
import { halfBits } from "../../lib/export/half.js";
import { addImageInput, normalised } from "../../lib/export/image_input.js";
import { metadataIn } from "../../lib/export/metadata.js";
import { notBelow } from "../../lib/export/network.js";
import { decodeModel, encodeModel } from "../../lib/export/onnx_format.js";
import { OnnxRuntime } from "../../lib/export/runtime.js";
import {
  type ExportOptions,
  Model,
  type OnnxVerification,
  type SuperSimpleNetError,
  type Thresholds,
  verifyOnnx,
} from "../../lib/index.js";
import { defaultThresholds, networkConfigOf } from "../../lib/models/config.js";
import type { Architecture, ResizeMethod } from "../../lib/native/binding.js";
import { engine, openEngine } from "../../lib/native/engine.js";
import { Random } from "../../lib/random.js";
import { architectures } from "../../lib/schema/common.js";
import { opsets } from "../../lib/schema/export.js";
import type { NetworkSettings } from "../../lib/schema/types.js";
import { supersimplenet } from "../cli/run.js";
import { withSmallFileSystem } from "../support/mounts.js";
import { scratchFolder, smallDataset } from "../training/support.js";

const folder = scratchFolder();
const at = (name: string): string => path.join(folder, name);

/** The error that a call fails with. */
const failure = (work: Promise<unknown>): Promise<SuperSimpleNetError> =>
  work.then(
    () => assert.fail("it did not fail"),
    (error: unknown) => error as SuperSimpleNetError,
  );

function hasRuntime(): boolean {
  try {
    createRequire(__filename).resolve("onnxruntime-node");
    return true;
  } catch {
    return false;
  }
}
const skip = hasRuntime() ? false : "onnxruntime-node is not found: CONTRIBUTING.md, Test, says how";

before(() => openEngine("cpu"));

/** Random weights. */
async function randomModel(
  changed: Partial<NetworkSettings> = {},
  architecture: Architecture = "resnet18",
): Promise<Model> {
  const settings: NetworkSettings = {
    layers: ["layer2", "layer3"],
    imageSize: [64, 64],
    resize: "bilinear",
    variant: "jims",
    alignCorners: true,
    ...changed,
  };
  const config = networkConfigOf(architecture, settings);
  const tensors = await engine().randomBackbone(architecture, 1);
  const heads = await engine().randomHeads(engine().featureShape(config).channels, 2, config);
  const sha256 = await tensorsSha256(tensors);
  const backbone = { architecture, trained: false, source: "random, seed 1", sha256 };
  const thresholds = { ...defaultThresholds, decision: "either" as const };
  const parts = { ...settings, backbone, thresholds, training: null, createdBy: "test" };
  return new Model(parts, heads, { tensors, embedded: true });
}

type Case = [name: string, network: Partial<NetworkSettings>, options: ExportOptions, architecture?: Architecture];

const cases: Case[] = [
  ["image input", {}, {}],
  ["normalised input, fixed batch, newest opset", {}, { input: "normalised", batch: 3, opset: 21 }],
  ["oldest opset", {}, { opset: 13 }],
  ["float16", {}, { precision: "float16" }],
  ["icpr", { variant: "icpr" }, { input: "normalised" }],
  [
    "corners not aligned, odd size, other layers",
    { alignCorners: false, imageSize: [72, 45], layers: ["layer3", "layer1"] },
    {},
  ],
  ["antialias", { resize: "antialias", imageSize: [33, 95] }, {}],
  ["no upscaling", { upscale: false }, { input: "normalised" }],
  ["complex head", { classificationHead: "complex" }, { input: "normalised" }],
  ["map's maximum as score", { classificationHead: "mapMax" }, { input: "normalised" }],
  ["head without the map", { mapInput: false }, { input: "normalised" }],
  ["layers of one size less", { layers: ["layer2"], imageSize: [48, 64] }, { batch: 2 }],
  ["resnet34", {}, { input: "normalised" }, "resnet34"],
  [
    "resnet50, its layers side by side",
    { imageSize: [32, 32], layers: ["layer1", "layer2"] },
    { input: "normalised" },
    "resnet50",
  ],
  ["resnet101", { imageSize: [32, 32], layers: ["layer3"] }, { input: "normalised" }, "resnet101"],
  ["wide_resnet50_2", { imageSize: [32, 32], layers: ["layer3"] }, { input: "normalised" }, "wide_resnet50_2"],
  ["wide_resnet101_2", { imageSize: [32, 32], layers: ["layer2"] }, { input: "normalised" }, "wide_resnet101_2"],
];

test("every backbone is among them", () => {
  const tested = new Set(cases.map(([, , , architecture]) => architecture ?? "resnet18"));
  assert.deepEqual([...tested].sort(), [...architectures].sort());
});

for (const [name, network, options, architecture] of cases) {
  test(`the graph computes what the engine does: ${name}`, { skip }, async () => {
    const model = await randomModel(network, architecture);
    const { parity } = await model.exportOnnx(at("model.onnx"), { threads: 1, ...options });
    assert.ok(parity && parity.images >= 8);
    assert.ok(parity.logit <= parity.bound && parity.map <= parity.bound);
    if (options.precision !== "float16") assert.ok(parity.map < 1e-5, `maps differ by ${parity.map}`);
  });
}

/** A graph of the image input alone. */
function imageInput(resize: ResizeMethod, [height, width]: readonly [number, number]): Uint8Array {
  const graph = new Graph();
  const image = graph.input("image", "uint8", [1, "height", "width", 3], "");
  graph.output(addImageInput(graph, image, { height, width, resize }), "pixels", "float32", [1, 3, height, width], "");
  return encodeModel(modelProto(graph, opsets.oldest, []));
}

test("the graph resizes to the same pixels as the engine, every one of them", { skip }, async () => {
  const sizes: [from: [number, number], to: [number, number]][] = [
    [
      [33, 95],
      [33, 95],
    ],
    [
      [57, 91],
      [33, 95],
    ],
    [
      [200, 311],
      [64, 45],
    ],
    [
      [64, 64],
      [32, 16],
    ], // ties between two bytes
    [
      [21, 17],
      [64, 64],
    ],
    [
      [1, 3],
      [7, 5],
    ],
    [
      [640, 479],
      [64, 64],
    ],
  ];
  const random = new Random(0, "resize");
  const runtime = await OnnxRuntime.need();
  try {
    for (const resize of ["bilinear", "antialias"] as const)
      for (const [[height, width], to] of sizes) {
        const data = Uint8Array.from({ length: height * width * 3 }, () => random.integer(256));
        writeFileSync(at("resize.onnx"), imageInput(resize, to));
        await runtime.load(at("resize.onnx"), 1);
        const outputs = await runtime.run({ image: { type: "uint8", dims: [1, height, width, 3], data } });
        const { pixels } = outputs as unknown as { pixels: Float32Array };
        const bytes = await engine().resizeImage(data, height, width, 3, to[0], to[1], resize);
        const plane = to[0] * to[1];
        const expected = Float32Array.from(pixels, (_, i) =>
          normalised(bytes[(i % plane) * 3 + Math.floor(i / plane)]!, Math.floor(i / plane)),
        );
        assert.deepEqual(pixels, expected, `${resize} ${height} x ${width} to ${to.join(" x ")}`);
      }
  } finally {
    runtime.close();
  }
});

test(
  "a graph that computes something else gets no file, nor does one whose comparison was stopped",
  { skip },
  async () => {
    const model = await randomModel();
    const { backbone } = model;
    // What is exported has another first convolution than what the engine then gets.
    let calls = 0;
    model.backbone = async (...given) => {
      const tensors = await backbone.apply(model, given);
      if (calls++ > 0) return tensors;
      const weight = tensors["conv1.weight"]!;
      return {
        ...tensors,
        "conv1.weight": { ...weight, data: (weight.data as Float32Array).map((value) => value * 1.01) },
      };
    };
    await assert.rejects(model.exportOnnx(at("other.onnx"), { threads: 1 }), { code: "EXPORT_DIFFERS" });
    const controller = new AbortController();
    const stopped = { threads: 1, signal: controller.signal, onProgress: () => controller.abort() };
    await assert.rejects(model.exportOnnx(at("other.onnx"), stopped), { code: "ABORTED" });
    assert.deepEqual(
      readdirSync(folder).filter((name) => name === "other.onnx" || name.endsWith(".tmp")),
      [],
    );
  },
);

test("verify compares both on a data set, and refuses other models and changed files", { skip }, async () => {
  const model = await randomModel();
  const file = at("verified.onnx");
  await model.exportOnnx(file, { threads: 1 });
  const dataset = await smallDataset(folder);
  const result = await verifyOnnx(model, file, dataset, { threads: 1 });
  assert.equal(result.images.length, 6);
  assert.ok(result.withinBound && result.difference.map < 1e-5);
  assert.deepEqual([result.otherVerdicts, result.imageAuroc.engine], [0, result.imageAuroc.graph]);
  const other = await randomModel();
  (other.heads["discriminator.fc_score.bias"]!.data as Float32Array)[0]! += 1;
  assert.equal((await failure(verifyOnnx(other, file, dataset))).code, "CHECKSUM_MISMATCH");
  const bytes = readFileSync(file);
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(at("changed.onnx"), bytes);
  assert.equal((await failure(verifyOnnx(model, at("changed.onnx"), dataset))).code, "FILE_CORRUPT");
  writeFileSync(at("text.onnx"), "not ONNX");
  assert.equal((await failure(verifyOnnx(model, at("text.onnx"), dataset))).code, "FILE_CORRUPT");
});

test("all three verdicts are those of the detector, and new thresholds are told of", { skip }, async () => {
  const model = await randomModel();
  const dataset = await smallDataset(folder);
  const file = at("verdicts.onnx");
  await model.exportOnnx(file, { threads: 1 });
  const logits = (await verifyOnnx(model, file, dataset)).images
    .map(({ engine: { logit } }) => logit)
    .sort((a, b) => a - b);
  const between = (i: number): number => (logits[i - 1]! + logits[i]!) / 2;
  const thresholds: Thresholds = {
    ...model.config.thresholds,
    decision: "score",
    scoreLogit: between(4),
    unsure: {
      scoreLogit: between(2),
      mapLogit: 0,
      missRate: 0.05,
      method: "good-parts",
      normal: { count: 0, of: 0, share: 0, low: 0, high: 0 },
      anomalous: null,
    },
  };
  const strict = new Model({ ...model.config, thresholds }, model.heads, {
    tensors: await model.backbone("auto"),
    embedded: true,
  });
  assert.ok((await verifyOnnx(strict, file, dataset)).thresholdsChanged);
  await strict.exportOnnx(file, { threads: 1 });
  const { images, otherVerdicts, thresholdsChanged } = await verifyOnnx(strict, file, dataset);
  assert.deepEqual(images.map(({ graph }) => graph.verdict).sort(), [
    "defect",
    "defect",
    "good",
    "good",
    "unsure",
    "unsure",
  ]);
  assert.deepEqual([otherVerdicts, thresholdsChanged], [0, false]);
});

test("verify on the command line: a table, and exit code 1 for a graph that was changed", { skip }, async () => {
  const [model, onnx] = [at("table.safetensors"), at("table.onnx")];
  const random = await randomModel();
  await random.save(model);
  await random.exportOnnx(onnx, { threads: 1, input: "normalised" });
  await smallDataset(folder);
  const args = ["verify", "--model", model, "--onnx", onnx, "--data", path.join(folder, "data")];
  const same = await supersimplenet(args);
  assert.equal(same.code, 0, same.stderr);
  assert.match(same.stdout, /^I-AUROC +(\d\.\d{4}) +\1$/m);
  const read = decodeModel(readFileSync(onnx));
  const leaky = read.graph.node.find(({ opType }) => opType === "LeakyRelu")!;
  leaky.attribute[0]!.f! *= 1.5;
  writeFileSync(onnx, encodeModel(read));
  const changed = await supersimplenet([...args, "--json"]);
  assert.equal(changed.code, 1, changed.stderr);
  assert.equal((JSON.parse(changed.stdout) as OnnxVerification).withinBound, false);
});

/** The environment in which onnxruntime-node is not installed, or is of version 2. */
function runtimeEnv(found: "missing" | "other"): Record<string, string> {
  const hook = at(`${found}.cjs`);
  const missing = `throw Object.assign(new Error("Cannot find module 'onnxruntime-node'"), { code: "MODULE_NOT_FOUND" });`;
  writeFileSync(
    hook,
    `const Module = require("node:module"), resolve = Module._resolveFilename;
     module.exports = { env: { versions: { node: "2.0.0" } } };
     Module._resolveFilename = function (name, ...rest) {
       if (name !== "onnxruntime-node") return resolve.call(this, name, ...rest);
       ${found === "missing" ? missing : "return __filename;"}
     };`,
  );
  return { NODE_OPTIONS: `--require ${hook}` };
}

test("on the command line: unverified without the runtime, refused with another major version", async () => {
  const [model, out] = [at("model.safetensors"), at("cli.onnx")];
  await (await randomModel()).save(model);
  const args = ["export", "--model", model, "--out", out];
  const other = await supersimplenet(args, { env: runtimeEnv("other") });
  assert.equal(other.code, 1, other.stderr);
  assert.match(other.stderr, /ONNXRUNTIME_UNUSABLE.*2\.0\.0/);
  assert.ok(!existsSync(out));
  const missing = await supersimplenet(args, { env: runtimeEnv("missing") });
  assert.equal(missing.code, 0, missing.stderr);
  assert.match(missing.stderr, /unverified/);
  const onnx = decodeModel(readFileSync(out));
  const { parity, config, form, version } = metadataIn(onnx.metadataProps);
  assert.equal(parity, "unverified");
  assert.ok(version);
  assert.equal((JSON.parse(form!) as ExportOptions).input, "image");
  assert.equal((JSON.parse(config!) as { thresholds: { decision: string } }).thresholds.decision, "either");
  assert.deepEqual(
    onnx.graph.output.map(({ name }) => name),
    ["score", "logit", "map", "verdict"],
  );
  const again = await supersimplenet(args);
  assert.equal(again.code, 2);
  assert.match(again.stderr, /exists already/);
});

test("a disk that is full: nothing is left", (t) => {
  const small = at("small");
  mkdirSync(small);
  if (process.platform !== "linux" || withSmallFileSystem(small, "1m", "true").status !== 0)
    return t.skip("needs Linux and the right to mount in a namespace");
  const main = path.resolve(__dirname, "../../lib/cli/main.js");
  const script = `"$0" "$1" export --model "$2" --out "$3/full.onnx"; code=$?; ls -A "$3"; exit $code`;
  const run = withSmallFileSystem(
    small,
    "4m",
    "sh",
    "-c",
    script,
    process.execPath,
    main,
    at("model.safetensors"),
    small,
  );
  assert.equal(run.status, 1, run.stderr);
  assert.match(run.stderr, /NO_SPACE/);
  assert.equal(run.stdout, "");
});

test("a backbone that is missing: nothing is left", async () => {
  const whole = await randomModel({ imageSize: [32, 32] });
  const config = { ...whole.config, backbone: { ...whole.config.backbone, source: "official" } };
  const without = new Model(config, whole.heads, undefined);
  assert.equal((await failure(without.exportOnnx(at("never.onnx")))).code, "WEIGHTS_MISSING");
  const options = { backboneWeights: at("nowhere.safetensors") };
  assert.equal((await failure(without.exportOnnx(at("never.onnx"), options))).code, "FILE_NOT_FOUND");
  assert.ok(!existsSync(at("never.onnx")));
});

test("options out of range, a folder that is not there", async () => {
  const model = await randomModel({ imageSize: [32, 32] });
  for (const options of [{ opset: 12 }, { opset: 99 }, { batch: 0 }] satisfies ExportOptions[])
    assert.equal((await failure(model.exportOnnx(at("never.onnx"), options))).code, "INVALID_OPTION");
  assert.equal((await failure(model.exportOnnx(at("nowhere/never.onnx")))).code, "FILE_NOT_FOUND");
  const signal = AbortSignal.abort();
  assert.equal((await failure(model.exportOnnx(at("never.onnx"), { signal }))).code, "ABORTED");
  assert.throws(() => refuseTooLarge(2 ** 31), { code: "INVALID_OPTION" });
  assert.ok(!existsSync(at("never.onnx")));
});

test("float16 is rounded half to even, thresholds never down", () => {
  const half = (value: number): number => halfBits(new Uint32Array(Float32Array.of(value).buffer)[0]!);
  const known: [number, number][] = [
    [1, 0x3c00],
    [-2, 0xc000],
    [65504, 0x7bff],
    [65520, 0x7c00],
    [1 + 2 ** -11, 0x3c00],
    [1 + 3 * 2 ** -11, 0x3c02],
    [2 ** -14, 0x0400],
    [2 ** -24, 0x0001],
    [2 ** -25, 0x0000],
    [3 * 2 ** -25, 0x0002],
  ];
  for (const [value, bits] of known) assert.equal(half(value), bits, String(value));
  for (const threshold of [0.1, -0.1, 1 / 3, -1e-3, 5, 0]) {
    const least = notBelow(threshold);
    assert.equal(Math.fround(least), least);
    assert.ok(least >= threshold && least - threshold < 1e-6);
  }
});
