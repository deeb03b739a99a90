import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { before, test } from "node:test";

import sharp from "sharp";

import {
  type Dataset,
  datasets,
  Detector,
  type FitOptions,
  mergeOptions,
  type Model,
  type Regime,
  type Sample,
  Trainer,
  type TrainerOptions,
} from "../../lib/index.js";
import { decodeMask } from "../../lib/images/mask.js";
import { spooling } from "../../lib/images/spool.js";
import type { NativeTrainer } from "../../lib/native/binding.js";
import { Random } from "../../lib/random.js";
import { viewOf } from "../../lib/view/options.js";
import { TilePlan } from "../../lib/training/examples/tile_plan.js";
import { grouping, Tiles } from "../../lib/training/examples/tiles.js";
import { resolveOptions } from "../../lib/training/resolve.js";
import { failure } from "../datasets/files.js";
import { bytesOf, headsOf, labelledFor, scratchFolder, settled, tiny, train } from "./support.js";

const folder = scratchFolder();
const { imageSize: _, ...others } = tiny;
const tiled: TrainerOptions = {
  ...others,
  view: { tiles: { size: 32, overlap: 8 } },
  tiling: { tilesPerImage: 4 },
};

let data: Dataset;
before(async () => {
  data = await datasets.generated(path.join(folder, "data"), {
    imageSize: [96, 96],
    trainNormal: 4,
    trainAnomalous: 3,
    testNormal: 2,
    testAnomalous: 2,
    seed: 5,
  });
});

const trainTiles = (of: Dataset, more: TrainerOptions = {}, fit: FitOptions = {}): Promise<Model> =>
  new Trainer(mergeOptions<TrainerOptions>(tiled, more)).fit(of, fit);

const planOf = (of: Dataset, regime: Regime, more: TrainerOptions = {}): Promise<TilePlan> => {
  const settings = resolveOptions(settled(mergeOptions<TrainerOptions>(tiled, more)), regime);
  return TilePlan.lay(
    of.samples.filter(({ split }) => split === "train"),
    settings,
    undefined,
  );
};

test("the grid covers the image, and the tiles with a defect are those whose part of the mask has one", async () => {
  const plan = await planOf(data, "full");
  const samples = data.samples.filter(({ split }) => split === "train");
  for (const [i, { kind, grid, defects, defectPixels, firstKey }] of plan.samples.entries()) {
    assert.equal(grid.length, 16);
    assert.equal(firstKey, i * 64);
    const { mask, label } = samples[i]!;
    assert.equal(kind, label === "normal" ? "normal" : "masked");
    if (mask === undefined) continue;
    const { pixels } = await decodeMask(mask);
    const shows = grid.map(({ x, y }) => {
      for (let row = y; row < y + 32; row++)
        if (pixels.subarray(row * 96 + x, row * 96 + x + 32).includes(1)) return true;
      return false;
    });
    assert.deepEqual(
      defects,
      [...shows.keys()].filter((place) => shows[place]),
    );
    for (const [x, y] of defectPixels[0]!) assert.equal(pixels[y * 96 + x], 1);
  }
});

for (const regime of ["unsupervised", "weak", "mixed", "full"] as const)
  test(`${regime}: every epoch has the examples that were counted, and learns`, async () => {
    const of = labelledFor(data, regime);
    for (const fixedTiles of [true, false]) {
      const tiling = { tilesPerImage: 4, fixedTiles };
      const plan = await planOf(of, regime, { tiling });
      const count = plan.perEpoch([...plan.samples.keys()]);
      // 4 images of 4 tiles; with labels 12 draws of a defect and as many of good images.
      const normals = regime === "unsupervised" ? 16 : 48;
      if (regime === "unsupervised") assert.equal(count, normals);
      if (regime === "weak") assert.equal(count, normals + 12);
      if (regime === "full" && !fixedTiles) assert.equal(count, normals + 12 * 4);
      const seen: number[] = [];
      const losses: number[] = [];
      const model = await trainTiles(
        of,
        { tiling, epochs: 3 },
        {
          onEpoch: ({ images, loss }) => {
            seen.push(images);
            losses.push(loss);
          },
        },
      );
      assert.deepEqual(seen, [count, count, count]);
      assert.ok(losses.every(Number.isFinite) && losses[2]! < losses[0]!, losses.join());
      assert.deepEqual(model.config.view, viewOf({ tiles: { size: 32, overlap: 8 } }));
      assert.deepEqual(model.config.imageSize, [32, 32]);
    }
  });

test("fixed tiles come out of the cache from the second epoch on; others are computed anew", async () => {
  const cached = async (fixedTiles: boolean): Promise<number[]> => {
    const computed: number[] = [];
    await trainTiles(
      labelledFor(data, "unsupervised"),
      { tiling: { tilesPerImage: 16, fixedTiles }, epochs: 3 },
      {
        onEpoch: ({ features }) => computed.push(features.computed),
      },
    );
    return computed.slice(1);
  };
  assert.deepEqual(await cached(true), [0, 0]);
  assert.deepEqual(await cached(false), [64, 64]);
});

for (const regime of ["weak", "full"] as const)
  test(`${regime}: the same seed gives the same bits, and so does a training that was interrupted`, async () => {
    const of = labelledFor(data, regime);
    const whole = await bytesOf(await trainTiles(of), folder);
    assert.ok(whole.equals(await bytesOf(await trainTiles(of), folder)));
    const out = path.join(folder, `run-${regime}`);
    const controller = new AbortController();
    await assert.rejects(
      trainTiles(
        of,
        {},
        {
          out,
          signal: controller.signal,
          onStep: ({ epoch, step }) => epoch === 2 && step === 2 && controller.abort(),
        },
      ),
      failure("ABORTED"),
    );
    assert.ok(whole.equals(await bytesOf(await trainTiles(of, {}, { out, resume: true }), folder)));
    await assert.rejects(
      trainTiles(of, { view: { tiles: { size: 32, overlap: 4 } } }, { out, resume: true }),
      failure("CHECKPOINT_MISMATCH", "tileOverlap"),
    );
  });

test("of images that are too many to be at hand, the tiles of each come together", async () => {
  const of = labelledFor(data, "full");
  const tiling = { fixedTiles: true, tilesPerImage: 4 };
  const plan = await planOf(of, "full", { tiling });
  const sampleOf = (key: number): number => plan.samples.findLastIndex(({ firstKey }) => firstKey <= key);
  const usual = grouping.bytes;
  const order = async (bytes: number): Promise<{ keys: number[]; model: Buffer }> => {
    grouping.bytes = bytes;
    const keys: number[] = [];
    const show = Tiles.prototype.show;
    Tiles.prototype.show = function (key) {
      keys.push(key);
      return show.call(this, key);
    };
    try {
      const model = await trainTiles(of, { epochs: 1, tiling });
      return { keys, model: await bytesOf(model, folder) };
    } finally {
      Tiles.prototype.show = show;
      grouping.bytes = usual;
    }
  };
  const changes = (keys: readonly number[]): number =>
    keys.slice(1).filter((key, i) => sampleOf(key) !== sampleOf(keys[i]!)).length;
  const together = await order(1);
  const mixed = await order(usual);
  assert.deepEqual(new Set(together.keys), new Set(mixed.keys));
  assert.ok(changes(mixed.keys) > 3 * changes(together.keys));
  assert.ok((await order(1)).model.equals(together.model));
});

/** Copies of the training images with other values where `inside` says so. */
async function disturbed(of: Dataset, inside: (x: number, y: number) => boolean): Promise<Dataset> {
  const samples: Sample[] = [];
  for (const [i, sample] of of.samples.entries()) {
    const { data: pixels, info } = await sharp(await readFile(sample.image))
      .raw()
      .toBuffer({ resolveWithObject: true });
    const random = new Random(i, "disturbed");
    for (let y = 0; y < info.height; y++)
      for (let x = 0; x < info.width; x++)
        if (inside(x, y)) for (let c = 0; c < 3; c++) pixels[(y * info.width + x) * 3 + c] = random.integer(256);
    const image = path.join(folder, `disturbed-${i}.png`);
    await writeFile(
      image,
      await sharp(pixels, { raw: { ...info, channels: 3 } })
        .png()
        .toBuffer(),
    );
    samples.push({ ...sample, image });
  }
  return { ...of, samples };
}

test("what is ignored changes no bit of what is learned: in tiles, and in whole images", async () => {
  const ignore = { x: 60, y: 10, width: 30, height: 70 };
  const inside = (x: number, y: number): boolean => x >= 60 && x < 90 && y >= 10 && y < 80;
  for (const view of [{ tiles: { size: 32, overlap: 8 }, ignore }, { ignore }, { ignore, fit: "crop" }] as const) {
    const of = labelledFor(data, "full");
    const options = "tiles" in view ? { ...tiled, view } : { ...others, imageSize: [48, 64] as const, view };
    const short = { ...options, epochs: undefined, steps: 3 };
    const learned = async (set: Dataset): Promise<Record<string, Float32Array>> =>
      headsOf(await new Trainer(short).fit(set));
    const other = await disturbed(of, inside);
    assert.deepEqual(await learned(of), await learned(other));
    const seen = await disturbed(of, (x, y) => inside(x + 5, y));
    assert.notDeepEqual(await learned(of), await learned(seen), "the pixels beside it do change it");
  }
});

test("images in temporary files are trained on as those in memory", async () => {
  const of = labelledFor(data, "full");
  const usual = spooling.leastBytes;
  const known = await bytesOf(await trainTiles(of), folder);
  try {
    spooling.leastBytes = 0;
    assert.ok(known.equals(await bytesOf(await trainTiles(of), folder)));
  } finally {
    spooling.leastBytes = usual;
  }
});

test(
  "images with masks of their own: a step of more of them than are opened at once ends",
  { timeout: 60_000 },
  async () => {
    const of = labelledFor(data, "unsupervised");
    const { mask } = data.samples.find((sample) => sample.mask !== undefined)!;
    const normal = of.samples.filter(({ label, split }) => label === "normal" && split === "train");
    const samples = Array.from({ length: 4 }, (_, i) =>
      normal.map((sample) => ({ ...sample, id: `${i}-${sample.id}`, ignore: mask })),
    ).flat();
    const model = await new Trainer({ ...others, imageSize: [32, 32], batchSize: 16, epochs: 1 }).fit({
      ...of,
      samples,
    });
    assert.deepEqual(model.config.imageSize, [32, 32]);
  },
);

test("tiles at the edges of an image come in a training, about as often as detection looks at them", async () => {
  const [width, height] = [320, 320];
  const pixels = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) pixels.set([x >> 1, y >> 1, 0], (y * width + x) * 3);
  const image = path.join(folder, "places.png");
  await sharp(pixels, { raw: { width, height, channels: 3 } }).toFile(image);
  const samples: Sample[] = [{ id: "places", image, label: "normal", split: "train" }];
  const more = { tiling: { tilesPerImage: 400 } };
  const settings = { ...resolveOptions(settled(mergeOptions<TrainerOptions>(tiled, more)), "unsupervised"), seed: 0 };
  const plan = await TilePlan.lay(samples, settings, undefined);
  const native = { clearTargets: async () => undefined, setTargets: async () => undefined } as unknown as NativeTrainer;
  const tiles = new Tiles({ native, settings, samples, ranks: undefined, signal: undefined }, plan);
  await tiles.begin(0, [0]);
  const shown = await Promise.all(tiles.order().map((key) => tiles.show(key)));
  tiles.close();
  const atLeft = shown.filter((tile) => tile.pixels[0] === 0).length;
  // 169 tiles are shown, 13 of 13 x 13 at each edge; of all places an edge is one of 289.
  assert.ok(atLeft >= 3 && atLeft < 40, `${atLeft} of ${shown.length}`);
});

test("thresholds are set on what a detector says of whole images", async () => {
  const of = labelledFor(data, "full");
  const calibration = { method: "crossFit", folds: 2, fraction: undefined } as const;
  const model = await new Trainer({ ...tiled, calibration, epochs: 1 }).fit(of);
  const { thresholds } = model.config;
  assert.equal(thresholds.calibrationNormal, 4);
  assert.equal(thresholds.pixelMethod, "best-f1");
  const detector = await Detector.load(model);
  const { map } = await detector.detect(of.samples[0]!.image);
  assert.deepEqual([map.width, map.height], [96, 96]);
});

async function plainModel(of: Dataset): Promise<string> {
  const file = path.join(folder, "plain.safetensors");
  await (await train(of, { imageSize: [32, 32], epochs: 1 })).save(file);
  return file;
}

test("a training that begins with a model has its view", async () => {
  const of = labelledFor(data, "unsupervised");
  const model = await trainTiles(of, { epochs: 1 });
  const init = path.join(folder, "tiled.safetensors");
  await model.save(init);
  const go = (more: TrainerOptions): Promise<Model> =>
    new Trainer({ init, batchSize: 4, threads: 1, epochs: 1, ...more }).fit(of);
  assert.deepEqual((await go({ tiling: { tilesPerImage: 2 } })).config.view, model.config.view);
  await assert.rejects(
    new Trainer({ init: await plainModel(of), tiling: { fixedTiles: true } }).fit(of),
    failure("INVALID_OPTION", "without tiles"),
  );
  for (const [view, name] of [
    [{ tiles: { size: 64 } }, "view.tiles.size"],
    [{ tiles: { size: 32, overlap: 9 } }, "view.tiles.overlap"],
    [{ roi: { x: 0, y: 0, width: 40, height: 40 } }, "view.roi"],
  ] as const)
    await assert.rejects(go({ view }), (error: Error & { option?: string }) => {
      assert.equal(error.option, name, error.message);
      return failure("INVALID_OPTION")(error);
    });
});

test("an image that is too small for a tile ends the training before its first step", async () => {
  await assert.rejects(
    trainTiles(data, { view: { scale: 0.25, tiles: { size: 32 } } }),
    failure("VIEW_MISMATCH", "96x96", "24x24", "32x32"),
  );
});
