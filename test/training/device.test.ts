import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import type {
  CacheReport,
  NativeGroup,
  NativeTrainer,
  StepLosses,
  Target,
  TensorMap,
} from "../../lib/native/binding.js";
import { datasets, SuperSimpleNetError, Trainer } from "../../lib/index.js";
import { engine } from "../../lib/native/engine.js";
import { config, devices, trainerConfig } from "../golden/cases.js";
import { changedConfig, type TrainerChanges } from "../support/trainer_config.js";
import { norm, numbers } from "../golden/compare.js";
import { formulaBackbone, formulaHeads } from "../golden/formula.js";
import { filesUnder, freePort, scratchFolder, tinier } from "./support.js";
import { testing } from "../support/native.js";

const images = [0, 1, 2].map((image) =>
  Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * (37 + image) + image * 11) % 256),
);
/** Images of each step, by key: their number changes, as at the end of an epoch. */
const batches = [[0, 1, 2], [2], [1, 0], [0, 1, 2], [1, 2, 0], [2, 0, 1], [0], [0, 2, 1]];

/** One normal image, one defect with a mask, one without; features are 16x16. */
const targets: Target[] = [
  { key: 0, label: 0, segmented: true },
  {
    key: 1,
    label: 1,
    segmented: true,
    mask: Float32Array.from({ length: 256 }, (_, i) => Number(i % 16 < 6)),
    weight: Float32Array.from({ length: 256 }, (_, i) => 1 + (i % 3)),
  },
  { key: 2, label: 1, segmented: false },
];

interface Result {
  /** As the steps returned them, the last entry is what was left at the end. */
  returned: StepLosses[][];
  all: StepLosses[];
  heads: TensorMap;
  cache: CacheReport;
}

async function trainerWith(changes: TrainerChanges, group?: NativeGroup): Promise<NativeTrainer> {
  const standard = trainerConfig(config("jims", "lowResolution", 64, 64), "supervised");
  const own = { noiseStd: Float32Array.of(0.3), featureCacheBytes: 2 ** 20, cudaGraphs: 8 };
  const settings = changedConfig(standard, { ...own, ...changes });
  const place = group ?? engine();
  const trainer = await place.createTrainer(settings, formulaBackbone("resnet18"), formulaHeads(384));
  await trainer.setTargets(targets);
  return trainer;
}

/** `planned`: how many steps are planned at a time, 0 none. The next are planned while the losses of those before may be out, as Trainer.fit does. */
async function train(
  changes: TrainerChanges,
  { planned = batches.length, group }: { planned?: number; group?: NativeGroup } = {},
): Promise<Result> {
  const trainer = await trainerWith(changes, group);
  const plan = batches.map((keys, index) => ({ index, keys }));
  const returned: StepLosses[][] = [];
  for (const { index, keys } of plan) {
    if (planned > 0 && index % planned === 0) await trainer.plan(plan.slice(index, index + planned));
    returned.push(
      await trainer.step({
        index,
        items: keys.map((key) => ({ key, pixels: images[key]! })),
        noiseScale: 1 + index / 4,
        adaptorLearningRate: 1e-4,
        headsLearningRate: 2e-4,
      }),
    );
  }
  returned.push(await trainer.finishSteps());
  assert.deepEqual(await trainer.finishSteps(), []);
  const { heads } = await trainer.state();
  const cache = await trainer.cacheReport();
  trainer.dispose();
  return { returned, all: returned.flat(), heads, cache };
}

async function portable<T>(body: () => Promise<T>): Promise<T> {
  await testing().setPortable(true);
  try {
    return await body();
  } finally {
    await testing().setPortable(false);
  }
}

/** Largest difference of any loss term, relative to the total. */
function difference(a: readonly StepLosses[], b: readonly StepLosses[]): number {
  assert.equal(a.length, b.length);
  return Math.max(
    ...a.flatMap((losses, i) => [
      ...(["l1Normal", "l1Anomalous", "focalMap", "focalScore"] as const).map(
        (name) => Math.abs(losses[name] - b[i]![name]) / b[i]!.total,
      ),
      Math.abs(losses.gradientNorm / b[i]!.gradientNorm - 1),
    ]),
  );
}

/** Largest distance of a trained tensor, relative to its norm. AdamW makes whole steps of gradients that are rounding alone (of biases in front of a batch norm): not those. */
const headsDifference = (a: TensorMap, b: TensorMap): number =>
  Math.max(
    ...Object.keys(a)
      .filter((name) => !/seg\.0\.bias|dec_head\.0\.bias|projection\.bias/.test(name))
      .map(
        (name) =>
          norm(Float64Array.from(numbers(a[name]!), (value, i) => value - numbers(b[name]!)[i]!)) /
          norm(numbers(b[name]!)),
      ),
  );

type Run = (changes?: TrainerChanges, options?: { planned?: number }) => Promise<Result>;
const elsewhere: [string, Run][] = [
  ["portable", (changes, options) => portable(() => train(changes ?? {}, options))],
  ...devices
    .slice(1)
    .map((device): [string, Run] => [device, (changes, options) => train({ device, ...changes }, options)]),
];

test("training on the CPU returns the losses of each step", async () => {
  const { returned } = await train({});
  assert.deepEqual(
    returned.map((losses) => losses.length),
    [...batches.map(() => 1), 0],
  );
});

for (const [where, run] of elsewhere) {
  for (const [what, changes] of [
    ["Perlin masks", {}],
    ["noise on real defects too", { ablation: { overlap: true } }],
    ["SimpleNet's noise", { ablation: { syntheticAnomalies: "simplenet" } }],
    ["no synthetic anomalies", { ablation: { syntheticAnomalies: "none" } }],
    ["no clipping", { optimizer: { gradientClip: 0 } }],
    ["direct heads", { compute: "direct" }],
    ["shared noise vectors", { noiseVectors: 5 }],
    ["shared noise vectors, direct heads", { noiseVectors: 5, compute: "direct" }],
  ] as const satisfies [string, TrainerChanges][]) {
    test(`training ${where}, ${what}: losses and heads are those of the CPU, masks and noise included`, async () => {
      const expected = await train(changes);
      const actual = await run(changes);
      assert.equal(actual.all.length, batches.length);
      const [losses, heads] = [difference(actual.all, expected.all), headsDifference(actual.heads, expected.heads)];
      assert.ok(losses < 1e-3 && heads < 5e-3, `losses ${losses}, heads ${heads}`);
    });
  }

  test(`training ${where}: twice the same, bit for bit, planned or not, with the features in the device's memory, the host's or nowhere`, async () => {
    const expected = await run();
    for (const actual of [
      await run(),
      await run({}, { planned: 0 }),
      await run({}, { planned: 3 }),
      await run({ featureCacheBytes: 0, featureCacheHostBytes: 2 ** 20 }),
      await run({ featureCacheBytes: 0 }),
      await run({ cudaGraphs: 0 }),
    ]) {
      assert.deepEqual(actual.all, expected.all);
      for (const name of Object.keys(expected.heads))
        assert.deepEqual(numbers(actual.heads[name]!), numbers(expected.heads[name]!), name);
    }
  });

  test(`training ${where}: features that do not fit on the device are kept in the host's memory, up to its limit`, async () => {
    const layerMaps = (128 * 8 * 8 + 256 * 4 * 4) * 4; // of one image
    const [first, second, third] = [0, 1, 2].map((key) => batches.flat().filter((other) => other === key).length) as [
      number,
      number,
      number,
    ];
    assert.deepEqual((await run({ featureCacheBytes: layerMaps })).cache, {
      memory: first - 1,
      host: 0,
      file: 0,
      computed: 1 + second + third,
      warnings: [],
    });
    assert.deepEqual((await run({ featureCacheBytes: layerMaps, featureCacheHostBytes: layerMaps })).cache, {
      memory: first - 1,
      host: second - 1,
      file: 0,
      computed: 2 + third,
      warnings: [],
    });
    assert.deepEqual((await run({ featureCacheBytes: 0, featureCacheHostBytes: 2 * layerMaps })).cache, {
      memory: 0,
      host: first + second - 2,
      file: 0,
      computed: 2 + third,
      warnings: [],
    });
  });
}

// Whole maps of noise: every step of three images has the same size, so that its graph is recorded and replayed. On the CPU there are none.
for (const device of devices.slice(1)) {
  for (const precision of ["float32", "tf32", "bfloat16"] as const) {
    test(`training ${device}, ${precision}: with CUDA graphs as without, bit for bit, also when they are dropped`, async () => {
      const expected = await train({ device, precision, ablation: { syntheticAnomalies: "simplenet" }, cudaGraphs: 0 });
      for (const cudaGraphs of [8, 1]) {
        const actual = await train({ device, precision, ablation: { syntheticAnomalies: "simplenet" }, cudaGraphs });
        assert.deepEqual(actual.all, expected.all);
        for (const name of Object.keys(expected.heads))
          assert.deepEqual(numbers(actual.heads[name]!), numbers(expected.heads[name]!), name);
      }
    });
  }
}

// As much of several ranks as one GPU shows: NCCL refuses two ranks on it, and one rank sums with itself.
for (const [where, changes] of [
  ["on the CPU", {}],
  ...devices.slice(1).flatMap((device) => [
    [`${device}, sums on the CPU`, { device }],
    [`${device}, sums by NCCL`, { device, nccl: true }],
  ]),
] as [string, TrainerChanges][]) {
  test(`training in a group of one rank, ${where}: losses and heads as without a group`, async () => {
    const group = engine().createGroup({
      rank: 0,
      worldSize: 1,
      masterAddress: "127.0.0.1",
      masterPort: await freePort(),
      launcherStore: false,
      prefix: "test",
      timeoutSeconds: 20,
      joinTimeoutSeconds: 20,
    });
    await group.join();
    const actual = await train(changes, { group });
    await group.leave();
    const expected = await train({ ...changes, nccl: false });
    const [losses, heads] = [difference(actual.all, expected.all), headsDifference(actual.heads, expected.heads)];
    assert.ok(losses < 1e-3 && heads < 5e-3, `losses ${losses}, heads ${heads}`);
  });
}

/** What steps read is put elsewhere between them: larger batches, other targets, other noise, another state. */
async function changing(changes: TrainerChanges): Promise<StepLosses[]> {
  const trainer = await trainerWith({ ablation: { syntheticAnomalies: "simplenet" }, ...changes });
  const all: StepLosses[] = [];
  let index = 0;
  const steps = async (...keys: number[]): Promise<void> => {
    // Three of each size: as it is, recorded, replayed.
    for (let i = 0; i < 3; i++)
      all.push(
        ...(await trainer.step({
          index: index++,
          items: keys.map((key) => ({ key, pixels: images[key]! })),
          adaptorLearningRate: 1e-4,
          headsLearningRate: 2e-4,
        })),
      );
    all.push(...(await trainer.finishSteps()));
  };
  await steps(0);
  const before = await trainer.state();
  await steps(0, 1); // one image comes again, which balanced sampling does too
  await steps(1, 1, 0);
  await trainer.setTargets([
    { key: 0, label: 1, segmented: true, mask: Float32Array.from({ length: 256 }, (_, i) => Number(i < 100)) },
  ]);
  await steps(1, 1, 0);
  await trainer.setNoiseStd(Float32Array.of(0.6));
  await steps(1, 1, 0);
  await trainer.restore(before);
  await steps(1, 1, 0);
  trainer.dispose();
  return all;
}

for (const [where, run] of [
  ["portable", () => portable(() => changing({}))],
  ...devices.slice(1).map((device) => [device, () => changing({ device })]),
] as [string, () => Promise<StepLosses[]>][]) {
  test(`training ${where}: what changes between steps is seen by them`, async () => {
    const [actual, expected] = [await run(), await changing({})];
    const off = difference(actual, expected);
    assert.ok(off < 2e-3, `${off}`);
    assert.ok(
      difference(expected.slice(9, 12), expected.slice(6, 9)) > 0.01 &&
        difference(expected.slice(12, 15), expected.slice(9, 12)) > 0.01,
      "the changes are seen at all",
    );
  });
}

test("on the CPU there is no second memory for features", async () => {
  assert.equal((await train({ featureCacheBytes: 0, featureCacheHostBytes: 2 ** 20 })).cache.host, 0);
});

test("shared noise vectors: the low-resolution heads train as the direct ones", async () => {
  const [direct, fast] = [await train({ noiseVectors: 5, compute: "direct" }), await train({ noiseVectors: 5 })];
  const [losses, heads] = [difference(fast.all, direct.all), headsDifference(fast.heads, direct.heads)];
  assert.ok(losses < 1e-3 && heads < 5e-3, `losses ${losses}, heads ${heads}`);
  assert.ok(difference(fast.all, (await train({})).all) > 1e-3, "independent noise is another");
});

test("noiseScale is a factor on noiseStd, with shared vectors too", async () => {
  for (const noiseVectors of [0, 5]) {
    const step = async (noiseStd: number, noiseScale: number): Promise<StepLosses> => {
      const trainer = await trainerWith({
        noiseStd: Float32Array.of(noiseStd),
        noiseVectors,
        ablation: { syntheticAnomalies: "simplenet" },
      });
      const items = [0, 1].map((key) => ({ key, pixels: images[key]! }));
      const rates = { adaptorLearningRate: 1e-4, headsLearningRate: 2e-4 };
      const [losses] = await trainer.step({ index: 0, items, noiseScale, ...rates });
      trainer.dispose();
      return losses!;
    };
    const expected = await step(0.5, 1);
    assert.ok(difference([await step(0.25, 2)], [expected]) < 1e-6);
    assert.ok(difference([await step(0.25, 1)], [expected]) > 1e-4, "the noise matters at all");
  }
});

test("bfloat16 products: near float32, and not it", async () => {
  const expected = await train({});
  for (const actual of [
    await train({ precision: "bfloat16" }),
    await portable(() => train({ precision: "bfloat16" })),
  ]) {
    const off = difference(actual.all, expected.all);
    assert.ok(off > 1e-6 && off < 0.1, `${off}`);
  }
});

const kAhead = 8; // kStepsAhead of native/training/trainer.h

test("losses that come late: in order, so many steps ahead at most, and the good ones before a divergence", async () => {
  const steps = 12;
  const late = async (
    each: (trainer: NativeTrainer, index: number) => Promise<void> = async () => {},
  ): Promise<{ returned: number[]; totals: number[]; error?: unknown }> => {
    const trainer = await trainerWith({});
    const result: { returned: number[]; totals: number[]; error?: unknown } = { returned: [], totals: [] };
    const take = (known: StepLosses[]): void => {
      result.returned.push(known.length);
      result.totals.push(...known.map(({ total }) => total));
    };
    try {
      for (let index = 0; index < steps; index++) {
        await each(trainer, index);
        take(
          await trainer.step({
            index,
            items: [{ key: 0, pixels: images[0]! }],
            adaptorLearningRate: 1e-4,
            headsLearningRate: 2e-4,
          }),
        );
      }
      for (;;) {
        const rest = await trainer.finishSteps();
        take(rest);
        if (rest.length === 0) break;
      }
    } catch (error) {
      result.error = error;
    }
    trainer.dispose();
    return result;
  };
  const expected = await late();
  const actual = await portable(() => late());
  assert.deepEqual(actual.returned, [
    ...Array.from({ length: kAhead }, () => 0),
    ...Array.from({ length: steps - kAhead }, () => 1),
    kAhead,
    0,
  ]);
  actual.totals.forEach((total, i) => assert.ok(Math.abs(total / expected.totals[i]! - 1) < 1e-3, `step ${i}`));
  // The fourth step breaks; its losses are known with the twelfth. Those of the three before are told nonetheless.
  const broken = await portable(() =>
    late(async (trainer, index) => (index === 3 ? trainer.setNoiseStd(Float32Array.of(1e30)) : undefined)),
  );
  assert.ok(
    broken.error instanceof Error && "code" in broken.error && broken.error.code === "DIVERGED",
    String(broken.error),
  );
  assert.deepEqual(broken.totals, actual.totals.slice(0, 3));
});

test("a divergence in an epoch's last step is that epoch's error: what was good is told, no checkpoint is written", async () => {
  const folder = scratchFolder();
  const data = await datasets.generated(path.join(folder, "data"), {
    imageSize: [64, 64],
    trainNormal: 2,
    trainAnomalous: 0,
    testNormal: 1,
    testAnomalous: 1,
  });
  /** Noise that breaks a step, unless both of its masks are empty, as a quarter are. */
  const fit = async (seed: number, out: string): Promise<{ steps: number; code: unknown }> => {
    let steps = 0;
    const fitted = new Trainer({ ...tinier, batchSize: 1, anomalies: { noiseStd: 1e30 }, seed }).fit(data, {
      out,
      onStep: () => void steps++,
    });
    const code = await fitted.then(
      () => "done",
      (error: unknown) => error instanceof SuperSimpleNetError && error.code,
    );
    return { steps, code };
  };
  for (let seed = 0; ; seed++) {
    const alone = await fit(seed, path.join(folder, `${seed}`));
    if (alone.steps !== 1) continue;
    assert.equal(alone.code, "DIVERGED");
    const out = path.join(folder, "late");
    assert.deepEqual(await portable(() => fit(seed, out)), alone);
    assert.ok(!existsSync(out) || filesUnder(out).every((file) => !file.endsWith(".safetensors")));
    return;
  }
});

test("a step that diverges says so, late or not", async () => {
  const broken = { noiseStd: Float32Array.of(1e30) };
  await assert.rejects(train(broken), { code: "DIVERGED" });
  await portable(() => assert.rejects(train(broken), { code: "DIVERGED" }));
});
