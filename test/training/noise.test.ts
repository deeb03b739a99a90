import assert from "node:assert/strict";
import { before, test } from "node:test";

import type { Dataset, StartEvent, StepEvent, TrainerOptions } from "../../lib/index.js";
import { epochOrder } from "../../lib/datasets/order.js";
import { loadImage } from "../../lib/images/decode.js";
import { engine } from "../../lib/native/engine.js";
import { regimePresets, relativeNoise } from "../../lib/schema/presets.js";
import { labelledFor, scratchFolder, smallDataset, tinier, train } from "./support.js";
import { testing } from "../support/native.js";
import { detectorConfig, trainerConfig } from "../support/trainer_config.js";

const folder = scratchFolder();
let data: Dataset;
before(async () => void (data = labelledFor(await smallDataset(folder), "unsupervised")));

const config = trainerConfig({ perlinThreshold: regimePresets.unsupervised.anomalies.perlinThreshold });

/** The standard deviation of each feature channel over all positions of all images, from the features themselves. */
async function featureStd(images: Uint8Array[]): Promise<Float64Array> {
  const mean = [0.485, 0.456, 0.406];
  const std = [0.229, 0.224, 0.225];
  const input = new Float32Array(images.length * 3 * 32 * 32);
  images.forEach((pixels, b) => {
    for (let i = 0; i < 1024; i++)
      for (let c = 0; c < 3; c++) input[(b * 3 + c) * 1024 + i] = (pixels[i * 3 + c]! / 255 - mean[c]!) / std[c]!;
  });
  const { features } = await testing().forward(
    detectorConfig(),
    await engine().randomBackbone("resnet18", 0),
    await engine().randomHeads(384, 0),
    { dtype: "float32", shape: [images.length, 3, 32, 32], data: input },
  );
  const [, channels, height, width] = features.shape as [number, number, number, number];
  const plane = height * width;
  return Float64Array.from({ length: channels }, (_, c) => {
    let sum = 0;
    let squares = 0;
    for (let b = 0; b < images.length; b++) {
      for (let i = 0; i < plane; i++) {
        const value = Number(features.data[(b * channels + c) * plane + i]);
        sum += value;
        squares += value * value;
      }
    }
    const count = images.length * plane;
    return Math.sqrt(squares / count - (sum / count) ** 2);
  });
}

test("relative noise is the given multiple of each channel's own standard deviation, in the training itself", async () => {
  const normal = data.samples.filter(({ split }) => split === "train");
  const images = await Promise.all(
    normal.map(async ({ image }) => (await loadImage(image, { height: 32, width: 32 })).pixels),
  );
  const std = await featureStd(images);

  await engine().setThreads(tinier.threads); // as the training below: the last bits depend on it
  const native = await engine().createTrainer(
    config,
    await engine().randomBackbone("resnet18", 0),
    await engine().randomHeads(384, 0),
  );
  await native.observeFeatures(images.map((pixels, key) => ({ key, pixels })));
  const observed = await native.featureStd();
  observed.forEach((value, c) =>
    assert.ok(Math.abs(value - std[c]!) < 1e-5 + 1e-3 * std[c]!, `channel ${c}: ${value}, expected ${std[c]}`),
  );
  assert.ok(
    Math.max(...std) > 1.5 * Math.min(...std),
    "the channels differ, so that one value for all would be noticed",
  );

  const relative = 0.7;
  const steps: StepEvent[] = [];
  const model = await train(
    data,
    { ...tinier, pace: "published", anomalies: { noiseStd: { relative }, noiseVectors: "independent" } },
    { onStep: (event) => steps.push(event) },
  );
  const mean = (relative * observed.reduce((sum, value) => sum + value, 0)) / observed.length;
  assert.ok(Math.abs(model.config.training!.noiseStd - mean) < 1e-6 * mean);
  assert.equal(model.config.training!.noiseRelative, relative);

  // The first steps by hand, noise channel by channel: the losses that the trainer reported.
  await native.setNoiseStd(observed.map((value) => value * relative));
  await native.setTargets(normal.map((_, sample) => ({ key: sample * 4, label: 0, segmented: true })));
  const order = epochOrder({ labels: normal.map(() => "normal"), seed: 0, epoch: 0, balanced: false, flips: false });
  for (let index = 0; index < 2; index++) {
    const items = order
      .slice(index * 4, index * 4 + 4)
      .map(({ sample }) => ({ key: sample * 4, pixels: images[sample]! }));
    const [losses] = await native.step({ index, items, adaptorLearningRate: 1e-4, headsLearningRate: 2e-4 });
    for (const name of ["total", "gradientNorm"] as const)
      assert.equal(steps[index]![name], losses![name], `step ${index} ${name}`);
  }
  native.dispose();
});

test("the noise of each step follows the schedule, by the place of the step in the whole training", async () => {
  const totals = async (noiseSchedule: TrainerOptions["anomalies"] & object): Promise<number[]> => {
    const steps: number[] = [];
    const anomalies = { noiseStd: 0.5, ...noiseSchedule };
    await train(data, { ...tinier, epochs: 2, anomalies }, { onStep: ({ total }) => void steps.push(total) });
    return steps;
  };
  const constant = await totals({ noiseStd: 1 });
  const falling = await totals({ noiseSchedule: { from: 2, to: 1, over: 0.4 } });
  assert.equal(falling[0], constant[0], "the first step has twice 0.5");
  assert.notEqual(falling[1], constant[1]);
  assert.deepEqual(await totals({ noiseSchedule: { from: 2, to: 2, over: 1 } }), constant);
  assert.deepEqual(await totals({ noiseSchedule: false }), await totals({}));
});

test("the ratio of the noise to the features is told, also where the noise is a number", async () => {
  const ratio = async (noiseStd: number | { relative: number }): Promise<number[]> => {
    let out: number[] = [];
    const onStart = ({ noiseStd, noiseRelative }: StartEvent): void => void (out = [noiseStd, noiseRelative]);
    await train(data, { ...tinier, anomalies: { noiseStd } }, { onStart });
    return out;
  };
  const [std, relative] = (await ratio({ relative: 0.7 })) as [number, number];
  assert.equal(relative, 0.7);
  const [same, told] = (await ratio(std)) as [number, number]; // fewer than 32 images: the same features
  assert.equal(same, std);
  assert.ok(Math.abs(told - 0.7) < 1e-6);
});

test("a number is the standard deviation itself; random weights default to relative noise", async () => {
  const { training } = (await train(data, { ...tinier, anomalies: { noiseStd: 0.03 } })).config;
  assert.deepEqual([training!.noiseStd, training!.noiseRelative], [0.03, null]);
  assert.equal((await train(data, tinier)).config.training!.noiseRelative, relativeNoise.full);
});
