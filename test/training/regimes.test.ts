import assert from "node:assert/strict";
import { before, test } from "node:test";

import {
  type Dataset,
  Detector,
  type EpochEvent,
  mergeOptions,
  type Regime,
  regimePresets,
  type StartEvent,
  type StepEvent,
  Trainer,
  type TrainerOptions,
} from "../../lib/index.js";
import { recordOf } from "../../lib/schema/record.js";
import { trainerOptions } from "../../lib/schema/training.js";
import { bytesOf, distance, headsOf, labelledFor, scratchFolder, smallDataset, tinier, train } from "./support.js";

const folder = scratchFolder();
let data: Dataset;
before(async () => void (data = await smallDataset(folder)));

async function run(dataset: Dataset, options: TrainerOptions = {}) {
  const steps: StepEvent[] = [];
  const epochs: EpochEvent[] = [];
  let start: StartEvent | undefined;
  const model = await train(dataset, mergeOptions<TrainerOptions>(tinier, options), {
    onStart: (event) => (start = event),
    onStep: (event) => steps.push(event),
    onEpoch: (event) => epochs.push(event),
  });
  return { model, start: start!, steps, epochs, used: model.config.training!.options };
}

// docs/method.md, Regimes, written out a second time on purpose.
const expected: Record<Regime, { preset: object; counts: number[]; steps: number }> = {
  // Every normal image once: 10 in batches of 4, the last with 2.
  unsupervised: {
    preset: {
      gradientClip: 0,
      perlinThreshold: 0.2,
      maskDilation: 0,
      distanceWeight: false,
      stopGradient: true,
      balancedSampling: false,
    },
    counts: [10, 0, 0],
    steps: 3,
  },
  // 3 anomalous images in 4 flips and as many normal ones, of which there are only 10: drawn with replacement.
  weak: {
    preset: {
      gradientClip: 1,
      perlinThreshold: 0.2,
      maskDilation: 0,
      distanceWeight: false,
      stopGradient: false,
      balancedSampling: true,
    },
    counts: [10, 3, 0],
    steps: 6,
  },
  mixed: {
    preset: {
      gradientClip: 1,
      perlinThreshold: 0.6,
      maskDilation: 7,
      distanceWeight: { w: 3, p: 2 },
      stopGradient: false,
      balancedSampling: true,
    },
    counts: [10, 3, 2],
    steps: 6,
  },
  full: {
    preset: {
      gradientClip: 1,
      perlinThreshold: 0.6,
      maskDilation: 7,
      distanceWeight: { w: 3, p: 2 },
      stopGradient: false,
      balancedSampling: true,
    },
    counts: [10, 3, 3],
    steps: 6,
  },
};

for (const regime of Object.keys(expected) as Regime[]) {
  test(`${regime}: inferred from the labels, trained with its preset`, async () => {
    const { preset, counts, steps } = expected[regime];
    const { model, start, steps: events, epochs, used } = await run(labelledFor(data, regime));
    assert.equal(start.regime, regime);
    assert.equal(model.config.training!.regime, regime);
    assert.deepEqual(Object.fromEntries(Object.keys(preset).map((name) => [name, used[name]])), preset);
    assert.deepEqual([start.counts.trainNormal, start.counts.trainAnomalous, start.counts.trainSegmented], counts);
    assert.equal(start.stepsPerEpoch, steps);
    assert.deepEqual(
      events.map(({ step }) => step),
      Array.from({ length: steps }, (_, i) => i + 1),
    );
    assert.ok(
      events.every(
        (event) =>
          event.steps === steps && event.epochs === 1 && [event.total, event.gradientNorm].every(Number.isFinite),
      ),
    );
    for (const event of events)
      assert.ok(Math.abs(event.l1Normal + event.l1Anomalous + event.focalMap + event.focalScore - event.total) < 1e-6);
    const mean = events.reduce((sum, { total }) => sum + total, 0) / steps;
    assert.equal(epochs.length, 1);
    assert.ok(Math.abs(epochs[0]!.loss - mean) < 1e-9);
    const { score } = await (await Detector.load(model)).detect(data.samples[0]!.image);
    assert.ok(score > 0 && score < 1);
  });
}

test("a regime asked for wins over the labels, as far as they allow", async () => {
  const { start } = await run(data, { regime: "unsupervised" });
  assert.deepEqual([start.regime, start.counts.trainAnomalous], ["unsupervised", 0]);
  assert.ok(
    start.warnings.includes("Regime 'unsupervised' leaves out the 3 anomalous training images."),
    start.warnings.join("\n"),
  );
  const weak = await run(data, { regime: "weak" });
  assert.deepEqual([weak.start.regime, weak.start.counts.trainSegmented], ["weak", 0]);
  assert.ok(!weak.start.warnings.some((warning) => warning.includes("leaves out")));
  await assert.rejects(run(labelledFor(data, "weak"), { regime: "full" }), { code: "DATASET_INVALID" });
});

test("missing weights are found before an image is read", async () => {
  const stages: string[] = [];
  const onStage = ({ stage }: { stage: string }): void => void stages.push(stage);
  await assert.rejects(train(data, { ...tinier, backboneWeights: `${folder}/none.pth` }, { onStage }), {
    code: "FILE_NOT_FOUND",
    message: /none\.pth/,
  });
  process.env["SUPERSIMPLENET_CACHE"] = `${folder}/empty`;
  await assert.rejects(train(data, { ...tinier, backboneWeights: "auto" }, { onStage }), {
    code: "WEIGHTS_MISSING",
    message: /weights pull resnet18/,
  });
  assert.deepEqual(stages, []);
});

test("a preset written out is the preset; every option that differs from it changes what is learned", async () => {
  const base = await run(data);
  const preset = await run(data, { ...regimePresets.full });
  assert.ok((await bytesOf(base.model, folder)).equals(await bytesOf(preset.model, folder)));
  const overrides: TrainerOptions[] = [
    { optimizer: { gradientClip: 1e-3 } },
    { anomalies: { perlinThreshold: 0.1 } },
    { masks: { dilation: 0 } },
    { masks: { distanceWeight: false } },
    { masks: { distanceWeight: { w: 5, p: 1 } } },
    { optimizer: { stopGradient: true } },
    { optimizer: { balancedSampling: false } },
    { network: { variant: "icpr" } },
    { network: { alignCorners: false } },
  ];
  for (const override of overrides) {
    const { model, used, steps } = await run(data, override);
    const [[name, value]] = Object.entries(recordOf(trainerOptions, override)) as [[string, unknown]];
    assert.deepEqual(used[name], value);
    assert.notDeepEqual(headsOf(model), headsOf(base.model), name);
    if (name === "balancedSampling") assert.equal(steps.length, 4, "13 images once each");
  }
});

test("a gradient clipped to nearly nothing moves nearly nothing", async () => {
  const weight = "discriminator.seg.0.weight";
  const still = headsOf(
    (await run(data, { optimizer: { headsLearningRate: 1e-12, adaptorLearningRate: 1e-12 } })).model,
  )[weight]!;
  const moved = (heads: Record<string, Float32Array>): number => distance(heads[weight]!, still);
  const clipped = await run(data, { optimizer: { gradientClip: 1e-12, headsWeightDecay: 0, adaptorWeightDecay: 0 } });
  const free = await run(data);
  assert.ok(clipped.steps[0]!.gradientNorm > 1e-3, "the norm that is reported is the one before clipping");
  // AdamW divides by the gradient's own size plus 1e-8, so only a clip far below that shows.
  assert.ok(moved(headsOf(clipped.model)) < 0.01 * moved(headsOf(free.model)));
});

test("learning rates fall at the milestones", async () => {
  const { epochs } = await run(labelledFor(data, "unsupervised"), {
    epochs: 5,
    pace: "published",
    optimizer: { learningRateMilestones: [0.4, 0.8], learningRateFactor: 0.5 },
  });
  const rates = epochs.map(({ adaptorLearningRate, headsLearningRate }) => [adaptorLearningRate, headsLearningRate]);
  assert.deepEqual(rates, [
    [1e-4, 2e-4],
    [1e-4, 2e-4],
    [5e-5, 1e-4],
    [5e-5, 1e-4],
    [2.5e-5, 5e-5],
  ]);
});

const shapes: [string, TrainerOptions][] = [
  ["not square", { imageSize: [32, 64] }],
  ["no multiple of 32", { imageSize: [45, 75] }],
  ["one layer, the deeper", { network: { layers: ["layer3"] } }],
  ["one layer, the shallower", { network: { layers: ["layer1"] } }],
  ["three layers", { network: { layers: ["layer1", "layer2", "layer3"] } }],
  ["layers in another order", { network: { layers: ["layer3", "layer2"] } }],
  ["icpr with the other corners", { network: { variant: "icpr", alignCorners: false } }],
  ["antialias", { network: { resize: "antialias" } }],
  ["one batch for all", { batchSize: 100 }],
  ["ResNet-34", { backbone: "resnet34" }],
];
for (const [name, options] of shapes) {
  test(`trains and detects: ${name}`, async () => {
    const { model, steps } = await run(data, options);
    assert.ok(steps.every(({ total }) => Number.isFinite(total)));
    if (options.batchSize === 100) assert.equal(steps.length, 1);
    const detector = await Detector.load(model);
    const { logit, map } = await detector.detect(data.samples[0]!.image);
    const [height, width] = options.imageSize ?? tinier.imageSize;
    assert.ok(Number.isFinite(logit) && map.data.every(Number.isFinite));
    assert.deepEqual([map.height, map.width, map.data.length], [height, width, height * width]);
  });
}

test("batches of one, and one image drawn several times in one batch", async () => {
  const few = {
    ...data,
    samples: data.samples.filter(({ split, label }, i) => split === "test" || label === "anomalous" || i < 2),
  };
  const normals = few.samples.filter(({ split, label }) => split === "train" && label === "normal").length;
  assert.equal(normals, 2);
  // 12 anomalous draws and 12 of two normal images in one batch, with no cache behind them.
  const together = await run(few, { batchSize: 24, cache: { memoryMiB: 0 } });
  assert.equal(together.steps.length, 1);
  const cached = await run(few, { batchSize: 24 });
  assert.deepEqual(headsOf(together.model), headsOf(cached.model));
  const one = await run(labelledFor(few, "unsupervised"), { batchSize: 1 });
  assert.equal(one.steps.length, 2);
});

test("few images get more epochs, so that the training has enough steps", async () => {
  const { epochs: _, ...others } = tinier;
  const stop = new AbortController();
  let start: StartEvent | undefined;
  const onStart = (event: StartEvent): void => {
    start = event;
    stop.abort();
  };
  const trainer = new Trainer({ ...others, regime: "unsupervised" });
  await assert.rejects(trainer.fit(data, { signal: stop.signal, onStart }), { code: "ABORTED" });
  assert.deepEqual([start!.stepsPerEpoch, start!.epochs], [3, 80]);
});
