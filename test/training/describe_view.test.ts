import assert from "node:assert/strict";
import path from "node:path";
import { before, test } from "node:test";

import {
  type Dataset,
  datasets,
  describeView,
  type DescribeViewOptions,
  type FitOptions,
  type Regime,
  type StartEvent,
  type TrainerOptions,
} from "../../lib/index.js";
import { failure, writeMask } from "../datasets/files.js";
import { labelledFor, scratchFolder, train } from "./support.js";

const folder = scratchFolder();
let data: Dataset;
before(async () => {
  const generated = {
    imageSize: [128, 128],
    trainNormal: 6,
    trainAnomalous: 4,
    testNormal: 2,
    testAnomalous: 2,
  } as const;
  data = await datasets.generated(path.join(folder, "data"), { ...generated, seed: 5 });
});

/** What a training says before it begins. */
async function started(dataset: Dataset, options: TrainerOptions): Promise<StartEvent> {
  let event: StartEvent | undefined;
  const onStart: NonNullable<FitOptions["onStart"]> = (start) => void (event = start);
  await train(dataset, { epochs: 1, ...options }, { onStart });
  return event!;
}

const tiled = { view: { tiles: { size: 64, overlap: 16 } } } as const;

test("tiles in an epoch are those that a training shows", async () => {
  const trainer = { ...tiled, imageSize: [64, 64], calibration: { fraction: 0 } } as const;
  const cases: [Regime, NonNullable<TrainerOptions["tiling"]>][] = [
    ["unsupervised", {}],
    ["weak", { tilesPerImage: 2 }],
    ["mixed", { fixedTiles: true, tilesPerImage: 4 }],
    ["full", { tilesPerImage: 3 }],
  ];
  for (const [regime, tiling] of cases) {
    const dataset = labelledFor(data, regime);
    const { tilesPerEpoch, layouts, images } = await describeView(dataset, { ...tiled, tiling });
    const start = await started(dataset, { ...trainer, tiling });
    assert.equal(start.view!.tilesPerEpoch, tilesPerEpoch, regime);
    assert.equal(start.stepsPerEpoch, Math.ceil(tilesPerEpoch! / 4));
    assert.equal(start.view!.images, regime === "unsupervised" ? 6 : 10);
    assert.equal(images, dataset.samples.length);
    assert.deepEqual([layouts[0]!.tiles, start.view!.tilesPerImage], [9, { least: 9, most: 9 }]);
  }
});

test("before a training: no view without one, and the warning all the same", async () => {
  const plain = await started(data, {});
  assert.equal(plain.view, null);
  const isTold = ({ warnings }: Pick<StartEvent, "warnings">): boolean =>
    warnings.some((warning) => /below 2 cells/.test(warning));
  const mask = path.join(folder, "speck.png");
  await writeMask(mask, { width: 128, height: 128 }); // 7 pixels: less than 4 at half the size
  const samples = data.samples.map((sample) => (sample.mask === undefined ? sample : { ...sample, mask }));
  const specks = { ...data, samples };
  const small = { imageSize: [64, 64] } as const;
  const described = await describeView({ ...data, samples: samples.filter(({ split }) => split === "train") }, small);
  assert.equal(isTold(described), true);
  const [told] = described.warnings;
  assert.ok((await started(specks, small)).warnings.includes(told!));
  assert.equal(isTold(await started(labelledFor(specks, "unsupervised"), small)), false, "test masks are not read");
  const padded = await started(data, { view: { fit: "pad", roi: { x: 8, y: 8, width: 100, height: 80 } } });
  assert.deepEqual(padded.view!.layouts[0]!.region, { x: 8, y: 8, width: 100, height: 80 });
  assert.equal(padded.view!.tilesPerEpoch, null);
  const own = data.samples.map((sample) => ({ ...sample, roi: { x: 0, y: 0, width: 128, height: 64 } }));
  assert.equal((await started({ ...data, samples: own }, {})).view!.layouts[0]!.region.height, 64);
});

test("the view of a model", async () => {
  const model = await train(data, { ...tiled, imageSize: [64, 64], epochs: 1 });
  const file = path.join(folder, "model.safetensors");
  await model.save(file);
  const { view, imageSize, ...numbers } = await describeView(data, { model: file });
  assert.deepEqual(view, model.config.view);
  assert.deepEqual(imageSize, [64, 64]);
  const { view: _, imageSize: __, ...asked } = await describeView(data, tiled);
  assert.deepEqual(numbers, asked);
  const refused = (options: DescribeViewOptions, name: string): Promise<void> =>
    assert.rejects(describeView(data, { model: file, ...options }), failure("INVALID_OPTION", name, "beside a model"));
  await refused({ imageSize: [64, 64] }, "imageSize");
  await refused({ view: { scale: 1 } }, "view.scale");
  await refused(tiled, "view.tiles.size");
});

test("wrong options, and data without images", async () => {
  const refused = (options: unknown, ...texts: string[]): Promise<void> =>
    assert.rejects(
      describeView(data, options as DescribeViewOptions),
      failure("INVALID_OPTION", "describeView", ...texts),
    );
  await refused({ view: { scale: 0.5 } }, "view.scale");
  await refused({ ...tiled, imageSize: [128, 128] }, "imageSize");
  await refused({ tiling: { tilesPerImage: 3 } }, "tiling.tilesPerImage");
  for (const model of ["", 3, null]) await refused({ model }, "model");
  await refused({ onProgress: 3 }, "onProgress");
  await assert.rejects(describeView(data, { count: 4 } as DescribeViewOptions), failure("UNKNOWN_OPTION"));
  await assert.rejects(describeView({ ...data, samples: [] }), failure("DATASET_INVALID", "no images"));
  await assert.rejects(describeView(data, { signal: AbortSignal.abort() }), failure("ABORTED"));
  const good = data.samples.filter(({ split, label }) => split === "test" || label === "anomalous");
  assert.equal((await describeView({ ...data, samples: good }, tiled)).tilesPerEpoch, null);
});
