import assert from "node:assert/strict";
import path from "node:path";
import { before, test } from "node:test";

import { readTensors, writeTensors } from "../../lib/files/tensors.js";
import {
  type AblationName,
  ablations,
  type Dataset,
  Detector,
  mergeOptions,
  Model,
  type StepEvent,
  Trainer,
  type TrainerOptions,
} from "../../lib/index.js";
import type {
  EngineConfig,
  NativeTensor,
  NetworkConfig,
  StepLosses,
  TensorMap,
  TrainerConfig,
} from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { recordOf } from "../../lib/schema/record.js";
import { trainerOptions } from "../../lib/schema/training.js";
import { recordedOptions, resolveOptions } from "../../lib/training/resolve.js";
import { failure } from "../datasets/files.js";
import { config, trainerConfig } from "../golden/cases.js";
import { assertClose, norm, numbers } from "../golden/compare.js";
import { formulaBackbone, formulaHeads, uniform } from "../golden/formula.js";
import {
  bytesOf,
  distance,
  headsOf,
  labelledFor,
  scratchFolder,
  settled,
  smallDataset,
  tinier,
  train,
} from "./support.js";
import { type GoldenStepInput, type GoldenStepResult, testing } from "../support/native.js";
import { changedConfig, networkConfig, type TrainerChanges } from "../support/trainer_config.js";

const folder = scratchFolder();
let data: Dataset;
/** Anomalies so large that they meet the real ones. */
const small = {
  ...tinier,
  anomalies: { perlinThreshold: 0 },
  calibration: { fraction: 0.3 },
} as const satisfies TrainerOptions;
/** The heads of the default network, trained so. */
let plain: Record<string, Float32Array>;
before(async () => {
  data = await smallDataset(folder);
  plain = headsOf(await train(data, small));
});

const size = [64, 64] as const;
const features = 384;
const input = uniform("ablations/input", [2, 3, ...size], 1.7);

function forward(heads: TensorMap, changed: Partial<EngineConfig> = {}) {
  return testing().forward(
    { ...config("jims", "direct", ...size), ...changed },
    formulaBackbone("resnet18"),
    heads,
    input,
  );
}

const filled = (shape: number[], value: number): NativeTensor => ({
  dtype: "float32",
  shape,
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value),
});

/** A defect with a mask, and a normal image, of 16 x 16 features. */
function step(changed: TrainerChanges = {}, given: Partial<GoldenStepInput> = {}): Promise<GoldenStepResult> {
  const mask = filled([2, 1, 16, 16], 0);
  (mask.data as Float32Array).fill(1, 40, 90);
  const perlinMask = filled([4, 1, 16, 16], 0);
  (perlinMask.data as Float32Array).forEach((_, i, all) => (all[i] = i % 5 < 2 ? 1 : 0));
  return testing().goldenStep({
    config: changedConfig(trainerConfig(config("jims", "direct", ...size), "supervised"), changed),
    backbone: formulaBackbone("resnet18"),
    heads: formulaHeads(features, changed),
    input,
    noise: uniform("ablations/noise", [4, features, 16, 16], 0.2),
    perlinMask,
    mask,
    label: { dtype: "float32", shape: [2], data: Float32Array.of(1, 0) },
    isSegmented: filled([2], 1),
    distanceWeight: filled([2, 1, 16, 16], 1),
    adaptorLearningRate: 1e-4,
    headsLearningRate: 2e-4,
    ...given,
  });
}

/** Names and shapes that `layout` has more of, less of or otherwise than the paper's heads. */
function difference(layout: Partial<NetworkConfig>): Record<string, number[] | undefined> {
  const standard = engine().headTensors(features);
  const other = engine().headTensors(features, networkConfig(layout));
  const names = new Set([...Object.keys(standard), ...Object.keys(other)]);
  return Object.fromEntries(
    [...names].filter((name) => String(standard[name]) !== String(other[name])).map((name) => [name, other[name]]),
  );
}

test("the paper's heads have 17 tensors of these shapes", () => {
  const batchNorm = (name: string, channels: number) =>
    Object.fromEntries(
      ["weight", "bias", "running_mean", "running_var"].map((part) => [`${name}.${part}`, [channels]]),
    );
  assert.deepEqual(engine().headTensors(features), {
    "feature_adaptor.projection.weight": [features, features, 1, 1],
    "feature_adaptor.projection.bias": [features],
    "discriminator.seg.0.weight": [1024, features, 1, 1],
    "discriminator.seg.0.bias": [1024],
    ...batchNorm("discriminator.seg.1", 1024),
    "discriminator.seg.3.weight": [1, 1024, 1, 1],
    "discriminator.dec_head.0.weight": [128, features + 1, 5, 5],
    "discriminator.dec_head.0.bias": [128],
    ...batchNorm("discriminator.dec_head.1", 128),
    "discriminator.fc_score.weight": [1, 258],
    "discriminator.fc_score.bias": [1],
  });
});

test("upscale: false leaves the features at the largest layer map's size, and nothing else is new", async () => {
  assert.deepEqual(difference({ upscale: false }), {});
  const result = await forward(formulaHeads(features), { upscale: false });
  assert.deepEqual(
    [result.features.shape, result.mapLogits.shape, result.anomalyMap.shape],
    [
      [2, 384, 8, 8],
      [2, 1, 8, 8],
      [2, 1, 64, 64],
    ],
  );
  // By hand: layer2 as it is, layer3 from 4 to 8 with aligned corners, 3x3 means that count the zeros outside.
  const expected = new Float64Array(2 * 384 * 64);
  for (let image = 0; image < 2; image++) {
    for (let channel = 0; channel < 384; channel++) {
      const [layerMap, own, count] =
        channel < 128 ? [result.layerMaps[0]!, channel, 128] : [result.layerMaps[1]!, channel - 128, 256];
      const side = layerMap.shape[2]!;
      const at = (y: number, x: number): number => Number(layerMap.data[((image * count + own) * side + y) * side + x]);
      const value = (y: number, x: number): number => {
        if (Math.min(y, x) < 0 || Math.max(y, x) > 7) return 0;
        const [sy, sx] = [(y * (side - 1)) / 7, (x * (side - 1)) / 7];
        const [y0, x0] = [Math.floor(sy), Math.floor(sx)];
        const [y1, x1] = [Math.min(y0 + 1, side - 1), Math.min(x0 + 1, side - 1)];
        const [ty, tx] = [sy - y0, sx - x0];
        return (1 - ty) * ((1 - tx) * at(y0, x0) + tx * at(y0, x1)) + ty * ((1 - tx) * at(y1, x0) + tx * at(y1, x1));
      };
      for (let y = 0; y < 8; y++) {
        for (let x = 0; x < 8; x++) {
          let sum = 0;
          for (let dy = -1; dy <= 1; dy++) for (let dx = -1; dx <= 1; dx++) sum += value(y + dy, x + dx);
          expected[((image * 384 + channel) * 8 + y) * 8 + x] = sum / 9;
        }
      }
    }
  }
  assertClose(numbers(result.features), expected, 1e-5, "features");
});

test("no upscaling is the same in both forms of the heads", async () => {
  const heads = formulaHeads(features);
  for (const variant of ["jims", "icpr"] as const) {
    const direct = await forward(heads, { upscale: false, variant });
    const fast = await forward(heads, { upscale: false, variant, compute: "lowResolution" });
    assertClose(numbers(fast.mapLogits), numbers(direct.mapLogits), 1e-4, "map");
    assertClose(numbers(fast.scoreLogit), numbers(direct.scoreLogit), 1e-4, "score");
  }
});

test("mapMax: the map is unchanged, the score is its maximum, and there is no head, no loss and no gradient behind it", async () => {
  const gone = [
    "dec_head.0.weight",
    "dec_head.0.bias",
    ...["weight", "bias", "running_mean", "running_var"].map((part) => `dec_head.1.${part}`),
    "fc_score.weight",
    "fc_score.bias",
  ];
  assert.deepEqual(
    difference({ classificationHead: "mapMax" }),
    Object.fromEntries(gone.map((name) => [`discriminator.${name}`, undefined])),
  );
  const standard = await forward(formulaHeads(features));
  const result = await forward(formulaHeads(features, { classificationHead: "mapMax" }), {
    classificationHead: "mapMax",
  });
  assert.deepEqual(result.mapLogits, standard.mapLogits);
  const logits = numbers(result.mapLogits);
  const maxima = [0, 1].map((image) => Math.max(...Array.from({ length: 256 }, (_, i) => logits[image * 256 + i]!)));
  assert.deepEqual(Array.from(numbers(result.scoreLogit)), maxima);

  // Without the score's gradient into the map, the segmentation head learns the same with and without a classification head.
  const [other, own] = [
    await step({ optimizer: { stopGradient: true, gradientClip: 0 } }),
    await step({ classificationHead: "mapMax", optimizer: { gradientClip: 0 } }),
  ];
  assert.deepEqual(
    { ...own.losses, total: 0, gradientNorm: 0 },
    { ...other.losses, focalScore: 0, total: 0, gradientNorm: 0 },
  );
  assert.deepEqual(
    Object.keys(own.gradients).filter((name) => /dec_head|fc_score/.test(name)),
    [],
  );
  for (const name of Object.keys(own.gradients))
    assertClose(numbers(own.gradients[name]!), numbers(other.gradients[name]!), 1e-5, name);
});

test("complex: two more blocks of 128 channels, the map untouched; blocks that do nothing give the standard score", async () => {
  const block = (conv: number): [string, number[]][] => [
    [`dec_head.${conv}.weight`, [128, 128, 5, 5]],
    ...["bias"].map((part): [string, number[]] => [`dec_head.${conv}.${part}`, [128]]),
    ...["weight", "bias", "running_mean", "running_var"].map((part): [string, number[]] => [
      `dec_head.${conv + 1}.${part}`,
      [128],
    ]),
  ];
  assert.deepEqual(
    difference({ classificationHead: "complex" }),
    Object.fromEntries([...block(3), ...block(6)].map(([name, shape]) => [`discriminator.${name}`, shape])),
  );
  const heads = formulaHeads(features, { classificationHead: "complex" });
  const standard = await forward(formulaHeads(features));
  const complex = await forward(heads, { classificationHead: "complex" });
  assert.deepEqual(complex.mapLogits, standard.mapLogits);
  assert.notDeepEqual(complex.scoreLogit, standard.scoreLogit);
  // A convolution that copies every channel, and a batch norm that changes nothing: what comes in is positive already.
  for (const conv of [3, 6]) {
    const weight = filled([128, 128, 5, 5], 0);
    for (let c = 0; c < 128; c++) weight.data[(c * 128 + c) * 25 + 12] = 1;
    heads[`discriminator.dec_head.${conv}.weight`] = weight;
    for (const [name, value] of [
      [`${conv}.bias`, 0],
      [`${conv + 1}.weight`, Math.sqrt(1 + 1e-5)],
      [`${conv + 1}.bias`, 0],
      [`${conv + 1}.running_mean`, 0],
      [`${conv + 1}.running_var`, 1],
    ] as const) {
      heads[`discriminator.dec_head.${name}`] = filled([128], value);
    }
  }
  assertClose(
    numbers((await forward(heads, { classificationHead: "complex" })).scoreLogit),
    numbers(standard.scoreLogit),
    1e-4,
    "score",
  );
  // All three blocks learn, and their running statistics move.
  const { gradients, after } = await step({ classificationHead: "complex" });
  const start = formulaHeads(features, { classificationHead: "complex" });
  for (const conv of [0, 3, 6]) {
    assert.ok(norm(numbers(gradients[`discriminator.dec_head.${conv}.weight`]!)) > 0);
    assert.notDeepEqual(
      after[`discriminator.dec_head.${conv + 1}.running_mean`],
      start[`discriminator.dec_head.${conv + 1}.running_mean`],
    );
  }
});

test("mapInput: false is the standard head with nothing coming from the map", async () => {
  assert.deepEqual(difference({ mapInput: false }), {
    "discriminator.dec_head.0.weight": [128, features, 5, 5],
    "discriminator.fc_score.weight": [1, 256],
  });
  const heads = formulaHeads(features, { mapInput: false });
  const result = await forward(heads, { mapInput: false });
  const weight = filled([128, features + 1, 5, 5], 0);
  const narrow = heads["discriminator.dec_head.0.weight"]!.data as Float32Array;
  for (let k = 0; k < 128; k++)
    (weight.data as Float32Array).set(
      narrow.subarray(k * features * 25, (k + 1) * features * 25),
      k * (features + 1) * 25,
    );
  const last = filled([1, 258], 0);
  (last.data as Float32Array).set(heads["discriminator.fc_score.weight"]!.data as Float32Array);
  const blind = { ...heads, "discriminator.dec_head.0.weight": weight, "discriminator.fc_score.weight": last };
  const standard = await forward(blind);
  assert.deepEqual(result.mapLogits, standard.mapLogits);
  assertClose(numbers(result.scoreLogit), numbers(standard.scoreLogit), 1e-5, "score");
  // The score does not train the segmentation head: with or without its gradient stopped, the same.
  const [stopped, free] = [
    await step({ mapInput: false, optimizer: { stopGradient: true } }),
    await step({ mapInput: false, optimizer: { stopGradient: false } }),
  ];
  for (const name of Object.keys(free.gradients))
    assertClose(numbers(free.gradients[name]!), numbers(stopped.gradients[name]!), 1e-6, name);
});

test("truncatedL1: the map's focal term is gone, everything before the losses is the same", async () => {
  const [standard, result] = [await step(), await step({ ablation: { loss: "truncatedL1" } })];
  assert.ok(standard.losses.focalMap > 0);
  const { total, focalMap, gradientNorm: _, ...kept } = standard.losses;
  const { total: less, focalMap: none, gradientNorm: __, ...same } = result.losses;
  assert.deepEqual([same, none], [kept, 0]);
  assert.ok(Math.abs(total - focalMap - less) < 1e-6);
  assert.deepEqual(
    [result.mapLogits, result.scoreLogit, result.targetMask],
    [standard.mapLogits, standard.scoreLogit, standard.targetMask],
  );
  assert.notDeepEqual(result.gradients["discriminator.seg.0.weight"], standard.gradients["discriminator.seg.0.weight"]);
  // What only the score reaches learns the same.
  assertClose(
    numbers(result.gradients["discriminator.fc_score.weight"]!),
    numbers(standard.gradients["discriminator.fc_score.weight"]!),
    1e-6,
    "last layer",
  );
});

test("overlap: noise reaches real defects, targets stay the same", async () => {
  const everywhere = { mask: filled([2, 1, 16, 16], 1), label: filled([2], 1) };
  const loud = { ...everywhere, noise: uniform("ablations/other noise", [4, features, 16, 16], 0.4) };
  const same = (a: GoldenStepResult, b: GoldenStepResult): boolean =>
    Buffer.from(a.mapLogits.data.buffer).equals(Buffer.from(b.mapLogits.data.buffer));
  assert.ok(same(await step({}, everywhere), await step({}, loud)), "by default real defects get no noise");
  assert.ok(
    !same(await step({ ablation: { overlap: true } }, everywhere), await step({ ablation: { overlap: true } }, loud)),
  );
  const [without, over] = [await step(), await step({ ablation: { overlap: true } })];
  assert.deepEqual([over.targetMask, over.targetLabel], [without.targetMask, without.targetLabel]);
  assert.ok(!same(without, over));
  const empty = { mask: filled([2, 1, 16, 16], 0) };
  assert.ok(
    same(await step({}, empty), await step({ ablation: { overlap: true } }, empty)),
    "without masks there is nothing to overlap",
  );
});

/** Losses of the trainer's first step, and of the golden step with this Perlin mask and the trainer's noise. */
async function synthetic(
  syntheticAnomalies: TrainerConfig["ablation"]["syntheticAnomalies"],
  perlinMask: NativeTensor,
): Promise<[StepLosses, StepLosses]> {
  const settings = changedConfig(trainerConfig(config("jims", "direct", ...size), "unsupervised"), {
    noiseStd: Float32Array.of(0.3),
    ablation: { syntheticAnomalies },
  });
  const pixels = [0, 1].map((image) =>
    Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * (37 + image) + image * 11) % 256),
  );
  const weights = { backbone: formulaBackbone("resnet18"), heads: formulaHeads(features) };
  const rates = { adaptorLearningRate: 1e-4, headsLearningRate: 2e-4 };
  const trainer = await engine().createTrainer(settings, weights.backbone, weights.heads);
  await trainer.setTargets([0, 1].map((key) => ({ key, label: 0, segmented: true })));
  const [own] = await trainer.step({ index: 3, items: pixels.map((image, key) => ({ key, pixels: image })), ...rates });
  trainer.dispose();

  const normalised = filled([2, 3, ...size], 0);
  const [mean, std] = [
    [0.485, 0.456, 0.406],
    [0.229, 0.224, 0.225],
  ];
  pixels.forEach((image, b) =>
    image.forEach(
      (value, i) =>
        (normalised.data[(b * 3 + (i % 3)) * 4096 + Math.floor(i / 3)] = (value / 255 - mean[i % 3]!) / std[i % 3]!),
    ),
  );
  const noise = filled([4, features, 16, 16], 0);
  const positions = Int32Array.from({ length: 256 }, (_, i) => i);
  for (let sample = 0; sample < 4; sample++) {
    const unit = testing().latentNoise(settings.seed, 3, sample, positions, features);
    for (let p = 0; p < 256; p++)
      for (let c = 0; c < features; c++) noise.data[(sample * features + c) * 256 + p] = 0.3 * unit[p * features + c]!;
  }
  const normal = { mask: filled([2, 1, 16, 16], 0), label: filled([2], 0) };
  const { losses } = await testing().goldenStep({
    config: settings,
    ...weights,
    input: normalised,
    noise,
    perlinMask,
    ...normal,
    isSegmented: filled([2], 1),
    distanceWeight: filled([2, 1, 16, 16], 1),
    ...rates,
  });
  return [own!, losses];
}

test("simplenet: noise on the whole map of the second copy, none on the first; none: nowhere", async () => {
  const second = filled([4, 1, 16, 16], 0);
  (second.data as Float32Array).fill(1, 2 * 256);
  const perlin = {
    dtype: "float32",
    shape: [4, 1, 16, 16],
    data: testing().perlinMasks(0, 3, 4, 16, 16, 0.2),
  } as NativeTensor;
  for (const [kind, mask] of [
    ["simplenet", second],
    ["none", filled([4, 1, 16, 16], 0)],
    ["perlin", perlin],
  ] as const) {
    const [own, expected] = await synthetic(kind, mask);
    for (const name of Object.keys(expected) as (keyof StepLosses)[])
      assert.ok(
        Math.abs(own[name] - expected[name]) <= 1e-4 * Math.abs(expected[name]),
        `${kind}: ${name} is ${own[name]}, expected ${expected[name]}`,
      );
    assert.equal(own.l1Anomalous > 0, kind !== "none");
  }
});

test("every ablation resolves to the defaults but for its own options", () => {
  const resolved = (options: TrainerOptions, regime: "full" | "unsupervised"): Record<string, unknown> =>
    recordedOptions(resolveOptions(settled(options), regime));
  for (const [name, { options }] of Object.entries(ablations)) {
    const regime = options.regime === "unsupervised" ? "unsupervised" : "full";
    const [own, base] = [resolved(options, regime), resolved({}, regime)];
    const changed = Object.keys(own).filter((key) => JSON.stringify(own[key]) !== JSON.stringify(base[key]));
    assert.ok(changed.length > 0, name);
    // A score that is the map's maximum decides alone.
    const follows = (key: string): boolean =>
      (key === "heads" && own["heads"] === "direct") ||
      (key === "decision" && options.ablation?.classificationHead === "mapMax" && own["decision"] === "score");
    for (const key of changed)
      assert.ok(Object.hasOwn(recordOf(trainerOptions, options), key) || follows(key), `${name} changes ${key}`);
    assert.equal(
      own["heads"],
      options.ablation?.classificationHead !== undefined || options.ablation?.mapInput === false
        ? "direct"
        : "lowResolution",
      name,
    );
  }
});

for (const name of Object.keys(ablations) as AblationName[]) {
  test(`${name}: trains, is saved, loaded and detects like any other model`, async () => {
    const steps: StepEvent[] = [];
    const { options } = ablations[name];
    // Batches and epochs are not what is tested here.
    const model = await train(data, mergeOptions<TrainerOptions>(small, options, { epochs: 1, batchSize: 4 }), {
      onStep: (event) => steps.push(event),
    });
    for (const [key, value] of Object.entries(recordOf(trainerOptions, options)))
      if (key !== "epochs" && key !== "batchSize") assert.deepEqual(model.config.training!.options[key], value, key);
    assert.ok(steps.every(({ total }) => Number.isFinite(total)));
    assert.equal(
      steps.every(({ focalMap }) => focalMap === 0),
      options.ablation?.loss === "truncatedL1",
    );
    assert.equal(
      steps.every(({ focalScore }) => focalScore === 0),
      options.ablation?.classificationHead === "mapMax",
    );
    const heads = headsOf(model);
    const names = Object.keys(heads).filter(
      (tensor) => tensor in plain && heads[tensor]!.length === plain[tensor]!.length,
    );
    assert.ok(
      names.some((tensor) => distance(heads[tensor]!, plain[tensor]!) > 0),
      "it learns something else",
    );

    const file = path.join(folder, `${name}.safetensors`);
    await model.save(file);
    const detector = await Detector.load(file);
    const image = data.samples[0]!.image;
    const detection = await detector.detect(image);
    assert.deepEqual(detection.logit, (await (await Detector.load(model)).detect(image)).logit);
    assert.ok(Number.isFinite(detection.logit) && detection.map.data.every(Number.isFinite));
    assert.deepEqual([detection.map.height, detection.map.width], tinier.imageSize);
    detector.dispose();
  });
}

test("the low-resolution form is refused where it does not exist", async () => {
  const make = (options: TrainerOptions) => () => new Trainer(options);
  for (const options of [
    { ablation: { classificationHead: "complex" } },
    { ablation: { classificationHead: "mapMax" } },
    { ablation: { mapInput: false } },
  ] as const) {
    assert.throws(
      make({ ...options, network: { heads: "lowResolution" } }),
      failure("INVALID_OPTION", "heads", "direct", "lowResolution"),
    );
    assert.equal(new Trainer(options).options.network.heads, "direct");
  }
  assert.equal(
    new Trainer({ ablation: { upscale: false, overlap: true, loss: "truncatedL1" } }).options.network.heads,
    "lowResolution",
  );
  const model = await train(data, { ...tinier, ablation: { classificationHead: "mapMax" } });
  await assert.rejects(Detector.load(model, { heads: "lowResolution" }), failure("INVALID_OPTION", "heads", "direct"));
  assert.throws(
    make({ ablation: { classificationHead: "mapMax", mapInput: false } }),
    failure("INVALID_OPTION", "mapInput"),
  );
});

test("without synthetic anomalies the unsupervised regime has nothing to learn from", async () => {
  await assert.rejects(
    train(labelledFor(data, "unsupervised"), { ...tinier, ablation: { syntheticAnomalies: "none" } }),
    failure("INVALID_OPTION", "syntheticAnomalies", "unsupervised"),
  );
});

test("an ablated training continues as it would have gone on", async () => {
  const options = mergeOptions<TrainerOptions>(tinier, ablations.complexClassificationHead.options, { epochs: 2 });
  const whole = await train(data, options);
  const out = path.join(folder, "interrupted");
  const stop = new AbortController();
  await assert.rejects(train(data, options, { out, signal: stop.signal, onEpoch: () => stop.abort() }), {
    code: "ABORTED",
  });
  const resumed = await train(data, options, { out, resume: true });
  assert.ok((await bytesOf(resumed, folder)).equals(await bytesOf(whole, folder)));
  await assert.rejects(
    train(data, mergeOptions(options, { ablation: { overlap: true } }), { out, resume: true }),
    failure("CHECKPOINT_MISMATCH", "overlap"),
  );
});

test("a model file from before the ablations is the paper's network", async () => {
  const model = await train(data, tinier);
  const file = path.join(folder, "before.safetensors");
  await model.save(file);
  const { tensors, metadata } = await readTensors(file);
  const { upscale, classificationHead, mapInput, ...older } = JSON.parse(metadata["config"]!) as Record<
    string,
    unknown
  >;
  assert.deepEqual([upscale, classificationHead, mapInput], [true, "standard", true]);
  await writeTensors(file, tensors, { ...metadata, config: JSON.stringify(older) });
  const loaded = await Model.load(file);
  assert.deepEqual(loaded.networkConfig, model.networkConfig);
  const image = data.samples[0]!.image;
  assert.equal(
    (await (await Detector.load(loaded)).detect(image)).logit,
    (await (await Detector.load(model)).detect(image)).logit,
  );
  await writeTensors(file, tensors, {
    ...metadata,
    config: JSON.stringify({ ...older, classificationHead: "other" }),
  });
  await assert.rejects(Model.load(file), failure("MODEL_INVALID", "classificationHead"));
  await writeTensors(file, tensors, { ...metadata, config: JSON.stringify({ ...older, mapInput: false }) });
  await assert.rejects(Model.load(file), failure("MODEL_INVALID", "dec_head.0.weight"));
});
