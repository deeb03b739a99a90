import assert from "node:assert/strict";
import { test } from "node:test";

import type { NativeTrainer, StepLosses, TrainerConfig } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { config, devices, trainerConfig } from "../golden/cases.js";
import { formulaBackbone, formulaHeads } from "../golden/formula.js";

const steps = 4;
const images = [0, 1, 2].map((image) => Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * (37 + image) + image * 11) % 256));

/** Losses as the steps returned them, and those that were left at the end. */
async function train(changes: Partial<TrainerConfig>): Promise<{ returned: StepLosses[][]; rest: StepLosses[]; all: StepLosses[] }> {
  const settings: TrainerConfig = { ...trainerConfig(config("jims", "lowResolution", 64, 64), "supervised"), noiseStd: Float32Array.of(0.3), featureCacheBytes: 2 ** 20, ...changes };
  const trainer: NativeTrainer = await engine().createTrainer(settings, formulaBackbone("resnet18"), formulaHeads(384));
  await trainer.setTargets(images.map((_, key) => ({ key, label: 0, segmented: true })));
  const returned: StepLosses[][] = [];
  for (let index = 0; index < steps; index++) returned.push(await trainer.step({ index, items: images.map((pixels, key) => ({ key, pixels })), adaptorLearningRate: 1e-4, headsLearningRate: 2e-4 }));
  const rest = await trainer.finishSteps();
  assert.deepEqual(await trainer.finishSteps(), []);
  trainer.dispose();
  return { returned, rest, all: [...returned.flat(), ...rest] };
}

async function portable<T>(body: () => Promise<T>): Promise<T> {
  await engine().setPortable(true);
  try {
    return await body();
  } finally {
    await engine().setPortable(false);
  }
}

/** Largest relative difference of any loss term. */
function difference(a: readonly StepLosses[], b: readonly StepLosses[]): number {
  assert.equal(a.length, b.length);
  return Math.max(...a.flatMap((losses, i) => (["total", "gradientNorm", "l1Normal", "focalMap"] as const).map((name) => Math.abs(losses[name] / b[i]![name] - 1))));
}

const elsewhere: [string, () => ReturnType<typeof train>][] = [
  ["portable", () => portable(() => train({}))],
  ...devices.slice(1).map((device): [string, () => ReturnType<typeof train>] => [device, () => train({ device })]),
];

for (const [where, run] of elsewhere) {
  test(`training ${where}: losses come one step late and are those of the CPU, noise and masks included`, async () => {
    const expected = await train({});
    assert.deepEqual(expected.returned.map((losses) => losses.length), [1, 1, 1, 1]);
    assert.deepEqual(expected.rest, []);
    const actual = await run();
    assert.deepEqual(actual.returned.map((losses) => losses.length), [0, 1, 1, 1]);
    assert.equal(actual.rest.length, 1);
    const off = difference(actual.all, expected.all);
    assert.ok(off < 1e-3, `${off}`);
  });

  test(`training ${where}: twice the same, bit for bit`, async () => assert.deepEqual((await run()).all, (await run()).all));
}

test("bfloat16 products: near float32, and not it", async () => {
  const expected = await train({});
  for (const actual of [await train({ precision: "bfloat16" }), await portable(() => train({ precision: "bfloat16" }))]) {
    const off = difference(actual.all, expected.all);
    assert.ok(off > 1e-6 && off < 0.1, `${off}`);
  }
});

test("a step that diverges says so, late or not", async () => {
  const broken = { noiseStd: Float32Array.of(1e30) };
  await assert.rejects(train(broken), { code: "DIVERGED" });
  await portable(() => assert.rejects(train(broken), { code: "DIVERGED" }));
});
