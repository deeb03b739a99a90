import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";

import sharp from "sharp";

import { viewPicture } from "../../lib/report/view.js";
import { plainView, type View } from "../../lib/schema/view.js";
import type { SeenSample } from "../../lib/view/describe.js";
import { failure, temporaryFolder, writeImage, writeMask } from "../datasets/files.js";

/** Pixels of the first panel, which is 640 on its longer side. */
async function drawn(sample: SeenSample, view: Partial<View>, side = 64) {
  const eye = { view: { ...plainView, ...view }, tile: { width: side, height: side } };
  const png = await viewPicture([sample], { ...eye, resize: "bilinear", bitDepth: 16 });
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  return (x: number, y: number): number[] => {
    const at = ((10 + 28 + y) * info.width + 10 + x) * 3;
    return [...data.subarray(at, at + 3)];
  };
}

/** What writeImage draws. */
const plain = [100, 188, 30];
const tiles = (overlap: number, scales: (number | "whole")[] = [1]): Partial<View> => ({
  scale: 1,
  tiles: { size: 64, overlap, scales },
});

async function sampleOf(folder: string, width: number, height: number): Promise<SeenSample> {
  const image = path.join(folder, "image.png");
  await writeImage(image, { width, height, value: 100 });
  return { id: "image.png", image };
}

test("outside of the region it is dark, ignored pixels are tinted, defects are outlined", async (t) => {
  const folder = await temporaryFolder(t);
  const sample = await sampleOf(folder, 320, 160); // twice as large in the picture
  const mask = path.join(folder, "mask.png");
  await writeMask(mask, { width: 320, height: 160 }); // 5..11 in both directions
  const roi = { x: 0, y: 0, width: 160, height: 160 };
  const ignore = { x: 80, y: 80, width: 20, height: 20 };
  const at = await drawn({ ...sample, mask }, { roi, ignore });
  assert.deepEqual(at(100, 50), plain);
  assert.ok(at(400, 50)[1]! < 80, "outside");
  const hatched = at(180, 180);
  assert.ok(hatched[2]! > 100 && hatched[2]! > plain[2]!, String(hatched));
  assert.deepEqual(at(150, 180), plain);
  assert.deepEqual(at(9, 17), [60, 205, 255], "the mask's left edge");
  assert.deepEqual(
    at(319, 100),
    at(318, 100).map((_, i) => at(319, 60)[i]!),
    "the edge of the region",
  );
  assert.notDeepEqual(at(319, 100), plain);
});

test("a region that a mask gives is dark around it, and not hatched", async (t) => {
  const folder = await temporaryFolder(t);
  const sample = await sampleOf(folder, 320, 160);
  const polygon = {
    polygons: [
      [
        [0, 0],
        [320, 0],
        [0, 160],
      ],
    ],
  } as unknown as NonNullable<View["roi"]>;
  const at = await drawn(sample, { roi: polygon });
  assert.deepEqual(at(60, 60), plain);
  const [red, green, blue] = at(600, 250);
  assert.deepEqual([red, green, blue], [35, 66, 11]);
});

test("tiles are outlined and tinted where they overlap; beyond 400 only the outline and the number are drawn", async (t) => {
  const folder = await temporaryFolder(t);
  const at = await drawn(await sampleOf(folder, 112, 64), tiles(16)); // tiles from 0 and from 48; 640 / 112 times as large
  const [left, right] = [Math.round((48 * 640) / 112), Math.round((64 * 640) / 112)];
  assert.deepEqual(at(100, 100), plain);
  assert.notDeepEqual(at(left, 100), plain, "the left edge of the second");
  assert.notDeepEqual(at(right - 1, 100), plain, "the right edge of the first");
  const [middle, single] = [at((left + right) >> 1, 100), at(left - 20, 100)];
  assert.ok(middle[0]! > plain[0]! + 20, `tinted: ${String(middle)}`);
  assert.deepEqual(single, plain);
  const side = 64 * 21;
  const many = await drawn(await sampleOf(folder, side, side), tiles(0));
  const across = Math.round((64 * 640) / side);
  for (let tile = 1; tile < 21; tile++) assert.deepEqual(many(across * tile, 100), plain, `tile ${tile}`);
  assert.notDeepEqual(many(0, 100), plain, "the outline");
  let written = false;
  for (let x = 280; x < 360; x++) if (many(x, 320)[0] === 255) written = true;
  assert.ok(written, "the number");
});

test("what a crop cuts off is dark; several images stand in two columns; abort", async (t) => {
  const folder = await temporaryFolder(t);
  const sample = await sampleOf(folder, 128, 64);
  const at = await drawn(sample, { fit: "crop" });
  assert.ok(at(20, 100)[1]! < 80);
  assert.deepEqual(at(320, 100), plain);
  const eye = { view: plainView, tile: { width: 64, height: 64 }, resize: "bilinear", bitDepth: 16 } as const;
  const sizeOf = async (count: number) => {
    const { width, height } = await sharp(await viewPicture(Array<SeenSample>(count).fill(sample), eye)).metadata();
    return [width, height];
  };
  const [one, two, three] = [await sizeOf(1), await sizeOf(2), await sizeOf(3)];
  assert.deepEqual([one![0], two![0], three![0]], [660, 1310, 1310]);
  assert.ok(one![1] === two![1] && three![1]! > two![1]!);
  const done: string[] = [];
  await viewPicture([sample, sample], eye, { onProgress: (count, total) => done.push(`${count}/${total}`) });
  assert.deepEqual(done, ["1/2", "2/2"]);
  await assert.rejects(viewPicture([sample], eye, { signal: AbortSignal.abort() }), failure("ABORTED"));
});
