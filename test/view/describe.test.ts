import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";

import sharp from "sharp";

import { plainView, type View } from "../../lib/schema/view.js";
import { describeSamples, type SeenSample } from "../../lib/view/describe.js";
import { defectWarnings } from "../../lib/view/numbers.js";
import { failure, temporaryFolder, writeImage } from "../datasets/files.js";

type Box = readonly [x: number, y: number, width: number, height: number];

async function writeBoxes(file: string, boxes: readonly Box[], width = 200, height = 100): Promise<void> {
  const pixels = new Uint8Array(width * height);
  for (const [x, y, across, down] of boxes)
    for (let row = y; row < y + down; row++) pixels.fill(255, row * width + x, row * width + x + across);
  await sharp(pixels, { raw: { width, height, channels: 1 } })
    .toColourspace("b-w")
    .png()
    .toFile(file);
}

const describe = (samples: readonly SeenSample[], view: Partial<View> = {}, side = 64) =>
  describeSamples(
    samples,
    { view: { ...plainView, ...view }, tile: { width: side, height: side }, resize: "bilinear", bitDepth: 16 },
    { width: side / 4, height: side / 4 },
  );
const tiles = (...scales: (number | "whole")[]): Partial<View> => ({
  scale: 1,
  tiles: { size: 64, overlap: 16, scales },
});

/** Images of 200 x 100 with masks of these boxes. */
async function marked(folder: string, ...masks: readonly (readonly Box[])[]): Promise<SeenSample[]> {
  const samples: SeenSample[] = [];
  for (const [i, boxes] of masks.entries()) {
    const [image, mask] = [path.join(folder, `${i}.png`), path.join(folder, `${i}m.png`)];
    await writeImage(image, { width: 200, height: 100 });
    await writeBoxes(mask, boxes);
    samples.push({ id: `${i}.png`, image, mask });
  }
  return samples;
}

test("the smallest defect: the longer side of an 8-connected region, in pixels of the network and in feature cells", async (t) => {
  const [one] = await marked(await temporaryFolder(t), [
    [10, 10, 12, 3],
    [50, 50, 4, 9],
    // Two that touch at a corner are one.
    [100, 20, 3, 3],
    [103, 23, 5, 2],
  ]);
  const tiled = (await describe([one!], tiles(1))).numbers;
  assert.deepEqual(tiled.cell, { width: 4, height: 4 });
  assert.equal(tiled.defects!.count, 3);
  assert.deepEqual(tiled.defects!.smallest, { pixels: 8, cells: 2, image: "0.png" });
  assert.deepEqual(tiled.defects!.small, { pixels: 12, cells: 3, image: "0.png" });
  // The finest of several scales counts.
  assert.equal((await describe([one!], tiles("whole", 0.7, 1))).numbers.defects!.smallest.pixels, 8);
  assert.equal((await describe([one!], { ...tiles(1), scale: 2 })).numbers.defects!.smallest.cells, 4);
  // Stretched to 64 x 64, what is wide shrinks more: 3.84 x 1.92, 1.28 x 5.76, 2.56 x 3.2.
  const whole = (await describe([one!])).numbers.defects!;
  assert.ok(Math.abs(whole.smallest.pixels - 3.2) < 1e-9 && Math.abs(whole.small.pixels - 5.76) < 1e-9);
});

test("defects count as far as they are looked at", async (t) => {
  const samples = await marked(
    await temporaryFolder(t),
    [
      [2, 2, 2, 2],
      [40, 40, 20, 20],
      [120, 40, 3, 3],
    ],
    [[5, 5, 4, 4]],
  );
  const roi = { x: 30, y: 20, width: 140, height: 70 };
  const ignore = { x: 110, y: 30, width: 60, height: 50 };
  const { numbers, smallest } = await describe(samples, { ...tiles(1), roi, ignore });
  assert.equal(numbers.defects!.count, 1);
  assert.deepEqual([...smallest], [["0.png", 5]]);
  const cut = { x: 50, y: 20, width: 140, height: 70 };
  const half = (await describe(samples, { ...tiles(1), roi: cut, ignore })).numbers.defects!;
  assert.deepEqual([half.count, half.smallest.pixels], [1, 20], "half of it is 10 wide, and 20 high");
  const nothing = (await describe([samples[1]!], { ...tiles(1), roi })).numbers;
  assert.equal(nothing.defects, null);
  assert.deepEqual(defectWarnings(nothing), []);
});

test("sizes, regions, planes and tiles; images that are alike stand together", async (t) => {
  const folder = await temporaryFolder(t);
  const names = ["a", "b", "c"].map((name) => path.join(folder, `${name}.png`));
  await writeImage(names[0]!, { width: 100, height: 80 });
  await writeImage(names[1]!, { width: 200, height: 100 });
  await writeImage(names[2]!, { width: 200, height: 100 });
  const samples = names.map((image) => ({ id: path.basename(image), image }));
  const done: number[] = [];
  const eye = { view: { ...plainView, ...tiles("whole", 1) }, tile: { width: 64, height: 64 } };
  const { numbers } = await describeSamples(
    samples,
    { ...eye, resize: "bilinear", bitDepth: 16 },
    { width: 8, height: 8 },
    { onProgress: (count) => done.push(count) },
  );
  assert.deepEqual(done, [1, 2, 3]);
  assert.deepEqual(numbers.cell, { width: 8, height: 8 });
  assert.deepEqual(numbers.tilesPerImage, { least: 5, most: 9 });
  const [wide, small] = numbers.layouts;
  assert.deepEqual([wide!.images, wide!.width, wide!.height, wide!.tiles], [2, 200, 100, 9]);
  assert.deepEqual(wide!.region, { x: 0, y: 0, width: 200, height: 100 });
  assert.deepEqual(wide!.planes, [
    { scale: { x: 1, y: 1 }, width: 200, height: 100, tiles: 8 },
    { scale: { x: 0.32, y: 0.64 }, width: 64, height: 64, tiles: 1 },
  ]);
  assert.deepEqual([small!.images, small!.tiles], [1, 5]);
  const own = samples.map((sample, i) => ({ ...sample, roi: { x: i, y: 0, width: 80, height: 70 } }));
  const apart = (await describe(own, tiles(1))).numbers;
  assert.equal(apart.layouts.length, 3);
  assert.deepEqual((await describe([])).numbers.tilesPerImage, { least: 0, most: 0 });
});

test("the warning goes by each image's largest defect: specks beside defects are quiet, small defects are not", async (t) => {
  const folder = await temporaryFolder(t);
  const speck: Box = [3, 3, 1, 1];
  const large = await marked(folder, [speck, [20, 20, 30, 9]], [[60, 20, 8, 8], speck]);
  const quiet = (await describe(large, tiles(1))).numbers;
  assert.equal(quiet.defects!.smallest.pixels, 1);
  assert.deepEqual(defectWarnings(quiet), []);
  const [small] = await marked(await temporaryFolder(t), [[60, 20, 7, 5], speck]);
  const named = defectWarnings((await describe([{ ...small!, id: "small.png" }, ...large], tiles(1))).numbers);
  assert.equal(named.length, 1);
  assert.match(
    named[0]!,
    /small\.png is 7 pixels of the network, 1\.75 feature cells.*below 2.*scale, tiles, or a smaller/,
  );
  // Of 40 images the second: one that is small is no rule.
  const many = Array.from({ length: 39 }, (_, i) => ({ ...large[0]!, id: String(i) }));
  assert.deepEqual(defectWarnings((await describe([small!, ...many], tiles(1))).numbers), []);
  const two = defectWarnings(
    (await describe([small!, { ...small!, id: "other" }, ...many.slice(1)], tiles(1))).numbers,
  );
  assert.match(two[0]!, /5 % of the 40 images with labelled defects have none longer than 7 pixels/);
});

test("a mask of another size, an image that does not fit, abort", async (t) => {
  const folder = await temporaryFolder(t);
  const [one] = await marked(folder, [[5, 5, 4, 4]]);
  const other = path.join(folder, "other.png");
  await writeBoxes(other, [[5, 5, 4, 4]], 100, 100);
  await assert.rejects(describe([{ ...one!, mask: other }]), failure("VIEW_MISMATCH", "0.png", "200x100", "100x100"));
  await assert.rejects(describe([one!], { ...tiles(1), scale: 0.1 }), failure("VIEW_MISMATCH", "0.png"));
  const gone = describeSamples(
    [one!],
    { view: plainView, tile: { width: 64, height: 64 }, resize: "bilinear", bitDepth: 16 },
    { width: 16, height: 16 },
    { signal: AbortSignal.abort() },
  );
  await assert.rejects(gone, failure("ABORTED"));
});

test("masks of more pixels than a strip: regions go on from one to the next", async (t) => {
  const folder = await temporaryFolder(t);
  const [image, mask] = [path.join(folder, "a.png"), path.join(folder, "m.png")];
  await writeImage(image, { width: 1500, height: 1500 });
  await writeBoxes(
    mask,
    [
      [700, 600, 5, 200],
      [10, 1495, 2, 5],
    ],
    1500,
    1500,
  );
  const { numbers } = await describe([{ id: "a", image, mask }], tiles(1));
  assert.deepEqual(
    [numbers.defects!.count, numbers.defects!.small.pixels, numbers.defects!.smallest.pixels],
    [2, 200, 5],
  );
});
