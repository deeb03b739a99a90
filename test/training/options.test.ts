import assert from "node:assert/strict";
import { test } from "node:test";

import {
  type Dataset,
  type FitOptions,
  SuperSimpleNetError,
  type Regime,
  Trainer,
  trainerDefaults,
  type TrainerOptions,
} from "../../lib/index.js";
import { assemble } from "../../lib/schema/flags.js";
import { entries } from "../../lib/schema/option.js";
import { trainerOptions } from "../../lib/schema/training.js";
import { rankSettings } from "../../lib/training/ranks.js";
import { epochsOf, resolveOptions } from "../../lib/training/resolve.js";
import { learningRateScale, noiseScale } from "../../lib/training/schedules.js";
import { failure } from "../datasets/files.js";
import { settled } from "./support.js";

/** Whatever JavaScript may pass. */
const make = (options: unknown): Trainer => new Trainer(options as TrainerOptions);

const wrongAreas: unknown[] = [
  "",
  3,
  null,
  {},
  [0, 0, 64, 64],
  { x: 0, y: 0, width: 0, height: 4 },
  { x: -1, y: 0, width: 4, height: 4 },
  { x: 0.5, y: 0, width: 4, height: 4 },
  { x: 0.5, y: 0, width: 0.6, height: 1, unit: "fractions" },
  { x: 0, y: 0, width: 4, height: 4, unit: "percent" },
  { polygons: [] },
  {
    polygons: [
      [
        [0, 0],
        [4, 4],
      ],
    ],
  },
  {
    polygons: [
      [
        [0, 0],
        [4, 4],
        [4, 0],
        [0, 4],
      ],
    ],
  },
  { width: 4, height: 4, runs: [15] },
];

/** Wrong values of every option. */
const wrong: Record<string, unknown[]> = {
  backbone: ["resnet52", 18, null, ""],
  backboneWeights: ["", 3, null],
  "network.layers": [[], ["layer4"], ["layer2", "layer2"], "layer2", [2], null],
  imageSize: [256, [256], [256, 256, 3], [31, 64], [64, 8193], [64.5, 64], ["64", "64"], [64, NaN], null],
  bitDepth: [7, 17, 10.5, "10", "full", NaN, null],
  "network.resize": ["nearest", true],
  "network.variant": ["JIMS", 1],
  "network.alignCorners": ["true", 1, null],
  regime: ["supervised", null],
  pace: ["fast", true, 1, null],
  epochs: [0, -1, 1.5, NaN, Infinity, "3", null],
  batchSize: [0, 2.5, 5000, "8"],
  seed: [-1, 0.5, 2 ** 53, NaN, "1"],
  threads: [0, 1.5, 2000, "2"],
  memoryMiB: [0, -1, 1.5, 2 ** 21, "64", null],
  device: ["gpu", "cuda:", "cuda:-1", "CPU", "", 0, null],
  precision: ["float16", "bf16", 16],
  "optimizer.adaptorLearningRate": [0, -1e-4, 1.1, NaN],
  "optimizer.headsLearningRate": [0, Infinity, "1e-4"],
  "optimizer.adaptorWeightDecay": [-0.1, 1.1, NaN],
  "optimizer.headsWeightDecay": [-1e-9, "0"],
  "optimizer.learningRateMilestones": [0.8, [1.1], [-0.1], ["0.8"], [NaN], null],
  "optimizer.learningRateFactor": [0, 1.5, NaN],
  "optimizer.gradientClip": [-1, NaN, Infinity, "1"],
  "anomalies.noiseStd": [0, -0.1, NaN, Infinity, "0.015", null, {}, { relative: 0 }, { relative: "1" }, []],
  "anomalies.noiseSchedule": [
    true,
    {},
    { from: 3, to: 0.3 },
    { from: 0, to: 1, over: 1 },
    { from: 1, to: 1, over: 1.1 },
    "3,1,1",
    null,
  ],
  "anomalies.noiseVectors": [0, 1.5, 5000, "512", "shared", null],
  "anomalies.perlinThreshold": [NaN, 3, -3, "0.2"],
  "masks.dilation": [-1, 2.5, 300],
  "masks.distanceWeight": [true, 3, {}, { w: 3 }, { w: -1, p: 2 }, { w: 3, p: -1 }, { w: 3, p: NaN }, null],
  "optimizer.stopGradient": [0, "false", null],
  "optimizer.balancedSampling": [1, "true"],
  "masks.segmentedRatio": [-0.1, 1.1, NaN, "0.4"],
  "masks.segmentedCount": [-1, 1.5, NaN, "53"],
  steps: [0, 1.5, -1, NaN, "100"],
  "calibration.method": ["crossfit", "cross-fit", true, null],
  "calibration.folds": [0, 1, 2.5, 21, "3"],
  "calibration.falseRejectRate": [0, -0.1, 0.51, NaN, "0.01"],
  "calibration.decision": ["both", "Score", "", null],
  "calibration.missRate": [-0.1, 0.51, NaN, "0.01", null],
  "calibration.objective": ["F1", "", null],
  "calibration.fraction": [-0.1, 0.6, NaN, "0.1"],
  "cache.memoryMiB": [-1, NaN, Infinity, "64"],
  "cache.hostMiB": [-1, NaN, Infinity, "64"],
  "cache.fileMiB": [-1, NaN, Infinity, "64"],
  "cuda.graphs": [-1, 0.5, 65, true],
  "cache.dir": ["", 3, null],
  "cache.precision": ["bfloat16", 16, null],
  init: ["", 3, null, "model\0"],
  "network.heads": ["fast", true, null],
  "ablation.upscale": [0, "true", null],
  "ablation.classificationHead": ["simple", "mapmax", true, null],
  "ablation.mapInput": [0, "false", null],
  "ablation.syntheticAnomalies": ["Perlin", false, null],
  "ablation.overlap": [1, "true", null],
  "ablation.loss": ["old", true, null],
  "view.roi": wrongAreas,
  "view.ignore": wrongAreas,
  "view.fit": ["padded", true, null],
  "view.scale": [0, -1, 17, NaN, "1", null],
  "view.tiles.size": [0, 31, 64.5, 8193, "64", null],
  "view.tiles.overlap": [-1, 1.5, 8192, "16", null],
  "view.tiles.scales": [[], [0], [1.5], ["half"], [1, 1], [1, "whole", 1], 1, "whole", [NaN], null],
  "tiling.tilesPerImage": [0, 1.5, 4097, "8", null],
  "tiling.fixedTiles": [1, "true", null],
  distributed: [
    true,
    "on",
    null,
    [],
    { rank: -1 },
    { worldSize: 0 },
    { worldSize: 2, rank: 2 },
    { masterPort: 70000 },
    { masterAddress: "" },
    { timeoutSeconds: 0 },
    { joinTimeoutSeconds: "5" },
  ],
  "network.embedBackbone": [1, "yes", null],
};

test("the table above has every option", () => {
  const paths = entries(trainerOptions).map(({ path }) => path.join("."));
  assert.deepEqual(Object.keys(wrong).sort(), paths.filter((name) => !name.startsWith("distributed.")).sort());
});

for (const [name, values] of Object.entries(wrong)) {
  test(`${name}: wrong values are refused with the value`, () => {
    for (const value of values)
      assert.throws(
        () => make(assemble([[name.split("."), value]])),
        failure("INVALID_OPTION", name),
        `${name}: ${JSON.stringify(value)}`,
      );
  });
}

test("options of a view that do not go together are refused", () => {
  const refused = (options: TrainerOptions, name: string, ...texts: string[]): void =>
    assert.throws(() => make(options), failure("INVALID_OPTION", name, ...texts), JSON.stringify(options));
  const size = 64;
  refused({ view: { tiles: { overlap: 8 } } }, "view.tiles.overlap", "nothing without tiles");
  refused({ view: { tiles: { scales: [1] } } }, "view.tiles.scales", "nothing without tiles");
  refused({ view: { tiles: { size, overlap: 64 } } }, "view.tiles.overlap", "below the tiles' side, 64");
  refused({ view: { scale: 0.5 } }, "view.scale", "fit is 'pad' or 'crop'");
  refused({ view: { fit: "pad", tiles: { size } } }, "view.fit", "seen as a whole too");
  refused({ view: { tiles: { size } }, imageSize: [128, 128] }, "imageSize", "64x64, the size of the tiles");
  refused({ tiling: { tilesPerImage: 4 } }, "tiling.tilesPerImage", "nothing without tiles");
  refused({ tiling: { fixedTiles: false } }, "tiling.fixedTiles", "nothing without tiles");
  assert.deepEqual(make({ view: { tiles: { size } } }).options.imageSize, [64, 64]);
  make({ view: { fit: "pad", scale: 0.5, tiles: { size, scales: ["whole", 1] } }, imageSize: [64, 64] });
  make({ view: { fit: "crop", scale: 2 } });
});

test("unknown options are refused, with the nearest name", () => {
  assert.throws(() => make({ batchsize: 3 }), failure("UNKNOWN_OPTION", "Did you mean 'batchSize'?"));
  assert.throws(
    () => make({ anomalies: { noiseStd: { relativ: 1 } } }),
    failure("UNKNOWN_OPTION", "Did you mean 'anomalies.noiseStd.relative'?"),
  );
  assert.throws(() => make({ masks: { distanceWeight: { w: 3, q: 2 } } }), failure("UNKNOWN_OPTION", "'q'"));
  assert.throws(() => make({ colour: 3 }), failure("UNKNOWN_OPTION", "It takes: ", "batchSize"));
  for (const options of [null, "resnet18", 3]) assert.throws(() => make(options), failure("INVALID_OPTION", "options"));
});

test("torchrun's store is used only at the address that torchrun gave", () => {
  const saved = { ...process.env };
  const torchrun = {
    RANK: "0",
    WORLD_SIZE: "2",
    MASTER_ADDR: "a",
    MASTER_PORT: "1",
    TORCHELASTIC_USE_AGENT_STORE: "True",
  };
  Object.assign(process.env, torchrun);
  try {
    const store = (distributed: TrainerOptions["distributed"]): unknown =>
      rankSettings("new Trainer", distributed!)?.launcherStore;
    assert.equal(store("auto"), true);
    assert.equal(store({ timeoutSeconds: 5 }), true);
    assert.equal(store({ masterPort: 1 }), false);
    assert.equal(store({ masterAddress: "b" }), false);
    delete process.env["TORCHELASTIC_USE_AGENT_STORE"];
    assert.equal(store("auto"), false);
  } finally {
    process.env = saved;
  }
});

test("options are a plain object, and what means the same everywhere is checked everywhere", async () => {
  class Options {
    get epochs(): number {
      return 1;
    }
  }
  for (const options of [
    null,
    5,
    "epochs",
    true,
    [],
    new Options(),
    Object.create({ epochs: 1 }),
    new Map(),
    new AbortController().signal,
    () => 1,
  ])
    assert.throws(() => make(options), failure("INVALID_OPTION", "a plain object"), String(options));
  make(Object.assign(Object.create(null), { epochs: 1 }));
  const data: Dataset = { kind: "folder", name: "none", root: "/none", samples: [] };
  const fit = (options: unknown): Promise<unknown> => make({}).fit(data, options as FitOptions);
  for (const options of [null, () => 1, new AbortController().signal])
    await assert.rejects(fit(options), failure("INVALID_OPTION", "a plain object"));
  for (const name of ["onStage", "onStart", "onStep", "onEpoch", "onSnapshot"])
    await assert.rejects(fit({ [name]: "log" }), failure("INVALID_OPTION", name, "a function"));
  for (const signal of [{}, "abort", 1, new AbortController()])
    await assert.rejects(fit({ signal }), failure("INVALID_OPTION", "signal", "an AbortSignal"));
  for (const out of ["", 123, Buffer.from("run"), "run\0"])
    await assert.rejects(fit({ out }), failure("INVALID_OPTION", "out", "a folder"));
  await assert.rejects(fit({ out: "run", resume: 1 }), failure("INVALID_OPTION", "resume"));
  for (const snapshotEvery of [0, 1.5, -1, NaN, "10", null])
    await assert.rejects(fit({ snapshotEvery }), failure("INVALID_OPTION", "snapshotEvery"));
  await assert.rejects(fit({ out: "run", resume: true, overwrite: true }), failure("INVALID_OPTION", "overwrite"));
});

test("a data set that a program made: every sample that is none is named", async () => {
  const sample = { id: "a", image: "/a.png", label: "normal", split: "train" };
  const fit = (data: unknown): Promise<unknown> => make({}).fit(data as Dataset);
  for (const data of [undefined, null, 5, {}, { samples: 3 }, "data"])
    await assert.rejects(fit(data), failure("INVALID_OPTION", "dataset"));
  const samples = [
    sample,
    { ...sample, label: "defective" },
    { ...sample, split: "Train" },
    { ...sample, id: 7 },
    { ...sample, image: undefined },
    { ...sample, mask: null },
    null,
    { ...sample, ignore: 1 },
    { ...sample, roi: { x: 0, y: 0, width: 0, height: 4 } },
    { ...sample, roi: { x: 0.5, y: 0, width: 4, height: 4 } },
    { ...sample, roi: "" },
    { ...sample, ignore: "/a_mask.png", roi: { x: 0, y: 2, width: 4, height: 4 } },
    { ...sample, ignore: undefined, roi: "/roi.png" },
  ];
  await assert.rejects(fit({ kind: "folder", name: "made", root: "/data", samples }), (error: unknown) => {
    assert.ok(error instanceof SuperSimpleNetError && error.code === "DATASET_INVALID");
    const shown = [
      "samples[1] (a): 'label'",
      "samples[2] (a): 'split'",
      "samples[3]: 'id'",
      "samples[4] (a): 'image'",
      "samples[5] (a): 'mask'",
      "samples[6]: 'id'",
      "samples[7] (a): 'ignore'",
      "samples[8] (a): 'roi'",
      "samples[9] (a): 'roi'",
      "samples[10] (a): 'roi'",
    ];
    assert.equal(error.problems.filter((problem) => /^samples\[(1[12])\]/.test(problem)).length, 0);
    for (const text of shown)
      assert.ok(
        error.problems.some((problem) => problem.startsWith(text)),
        `${text} in ${error.problems.join("; ")}`,
      );
    return true;
  });
});

test("fit refuses unknown options before anything else", async () => {
  const fit = (options: object): Promise<unknown> => new Trainer().fit({} as Dataset, options);
  await assert.rejects(fit({ onEpocs: () => undefined }), failure("UNKNOWN_OPTION", "Did you mean 'onEpoch'?"));
});

test("undefined is the default", () => {
  const { imageSize, batchSize } = make({ imageSize: undefined, batchSize: undefined, regime: undefined }).options;
  assert.deepEqual([imageSize, batchSize], [trainerDefaults.imageSize, trainerDefaults.batchSize]);
});

test("lists are not shared: neither with the caller nor with the defaults", () => {
  const imageSize: [number, number] = [64, 64];
  const trainer = make({ imageSize });
  imageSize[0] = 128;
  assert.deepEqual(trainer.options.imageSize, [64, 64]);
  assert.throws(() => void ((trainer.options as { epochs: number }).epochs = 0), TypeError, "what was checked stays");
  assert.throws(() => (trainer.options.imageSize as unknown as number[]).push(3), TypeError);
  const resolved = resolveOptions(settled({}), "full");
  for (const list of [resolved.imageSize, resolved.network.layers, resolved.optimizer.learningRateMilestones])
    (list as unknown[]).push("changed");
  (resolved.masks.distanceWeight as { w: number }).w = 99;
  assert.deepEqual(
    [make({}).options.imageSize, resolveOptions(settled({}), "full").masks.distanceWeight],
    [[256, 256], { w: 3, p: 2 }],
  );
  assert.deepEqual(
    [trainerDefaults.network.layers, trainerDefaults.optimizer.learningRateMilestones],
    [
      ["layer2", "layer3"],
      [0.8, 0.9],
    ],
  );
});

test("a random backbone must be in the model file", () => {
  assert.throws(
    () => make({ backboneWeights: "random", network: { embedBackbone: false } }),
    failure("INVALID_OPTION", "random backbone"),
  );
  make({ backboneWeights: "random", network: { embedBackbone: true } });
});

test("the published noise scale is for the trained network it was tuned to", () => {
  const noise = (options: TrainerOptions, regime: Regime = "unsupervised") =>
    resolveOptions(settled(options), regime).anomalies.noiseStd;
  assert.equal(noise({}), 0.015);
  assert.equal(noise({ backboneWeights: "a.pth" }), 0.015);
  assert.deepEqual(noise({ backboneWeights: "random" }), { relative: 0.5 });
  assert.deepEqual(noise({ backbone: "resnet50" }), { relative: 0.5 });
  assert.deepEqual(noise({ backbone: "resnet50" }, "weak"), { relative: 1 });
  assert.equal(noise({ backbone: "resnet50", anomalies: { noiseStd: 0.2 } }), 0.2);
});

test("the learning rates' factor: by the share of epochs that is done", () => {
  const scales = Array.from({ length: 10 }, (_, epoch) => learningRateScale(epoch, 10, [0.8, 0.9], 0.4));
  assert.deepEqual(scales.slice(0, 8), Array(8).fill(1));
  assert.equal(scales[8], 0.4);
  assert.ok(Math.abs(scales[9]! - 0.16) < 1e-12);
  // Every share of a third, seventh, ... of the epochs falls on a whole epoch.
  for (const epochs of [3, 7, 30, 49]) {
    for (let k = 0; k < epochs; k++) {
      assert.equal(learningRateScale(k, epochs, [k / epochs], 0.5), 0.5);
      if (k > 0) assert.equal(learningRateScale(k - 1, epochs, [k / epochs], 0.5), 1);
    }
  }
  assert.equal(learningRateScale(5, 10, [], 0.4), 1);
  assert.equal(learningRateScale(0, 10, [1], 0.4), 1);
});

test("without a calibration nothing can be asked of it", () => {
  for (const asked of [
    { decision: "map" },
    { missRate: 0.1 },
    { objective: "rate" },
    { falseRejectRate: 0.05 },
  ] as const)
    for (const none of [{ method: "none" }, { fraction: 0 }] as const)
      assert.throws(
        () => new Trainer({ calibration: { ...asked, ...none } }),
        failure("INVALID_OPTION", `calibration.${Object.keys(asked)[0]!}`),
      );
});

test("the noise falls geometrically over its share of the steps, and stays", () => {
  const schedule = { from: 2, to: 0.5, over: 0.5 };
  const scales = [0, 25, 50, 51, 100].map((step) => noiseScale(step, 101, schedule));
  assert.deepEqual(
    scales.map((scale) => Number(scale.toFixed(12))),
    [2, 1, 0.5, 0.5, 0.5],
  );
  assert.equal(noiseScale(0, 1, schedule), 0.5, "the only step is the last one");
  assert.equal(noiseScale(100, 101, { ...schedule, over: 1 }), 0.5);
});

test("the pace decides epochs, learning rates and noise schedule where they are not given", () => {
  const paced = (options: TrainerOptions, regime: Regime = "unsupervised") => {
    const resolved = resolveOptions(settled(options), regime);
    const { adaptorLearningRate, headsLearningRate } = resolved.optimizer;
    const { noiseSchedule } = resolved.anomalies;
    const epochs = [7, 1].map((stepsPerEpoch) => epochsOf(resolved, stepsPerEpoch));
    return [resolved.pace, epochs, adaptorLearningRate, headsLearningRate, noiseSchedule];
  };
  const short = ["short", [60, 240], 5e-4, 1e-3, { from: 2, to: 0.8, over: 0.3 }];
  const published = ["published", [300, 300], 1e-4, 2e-4, false];
  const resnet = { backbone: "resnet18" } as const;
  assert.deepEqual(paced(resnet), short);
  assert.deepEqual(paced({}), published, "the trained paper's backbone has the published noise");
  assert.deepEqual(paced({ ...resnet, anomalies: { noiseStd: 0.1 } }), published);
  for (const regime of ["weak", "mixed", "full"] as const) assert.deepEqual(paced(resnet, regime), published);
  assert.deepEqual(paced({ pace: "short" }, "full"), short);
  assert.deepEqual(paced({ ...resnet, pace: "published" }), published);
  const own = { epochs: 5, optimizer: { headsLearningRate: 0.1 }, anomalies: { noiseSchedule: false } } as const;
  assert.deepEqual(paced({ ...resnet, pace: "short", ...own }), ["short", [5, 5], 5e-4, 0.1, false]);
  // Measured as a whole: who chooses a part of it gets the published rest.
  assert.deepEqual(paced({ ...resnet, epochs: 5 }), ["published", [5, 5], 1e-4, 2e-4, false]);
  assert.equal(paced({ ...resnet, steps: 50 })[0], "published");
  assert.equal(paced({ ...resnet, optimizer: { adaptorLearningRate: 1e-4 } })[0], "published");
  assert.equal(paced({ ...resnet, optimizer: own.optimizer })[0], "published");
  assert.equal(paced({ ...resnet, anomalies: own.anomalies })[0], "published");
  assert.deepEqual(paced({ ...resnet, init: "model" }), ["published", [30, 30], 1e-4, 2e-4, false]);
  assert.throws(
    () => make({ init: "model", pace: "short" }),
    failure("INVALID_OPTION", "'published' where a model's heads are trained on"),
  );
});
