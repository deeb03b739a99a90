import assert from "node:assert/strict";
import { test } from "node:test";

import sharp from "sharp";

import { decodeMask } from "../../../lib/images/mask.js";
import { Random } from "../../../lib/random.js";
import { encodePng } from "../../../web/studio/masks/png.js";
import { type Bitmap, createBitmap, drawSegment } from "../../../web/studio/masks/raster.js";
import { noisy, pixelsOf, sizes } from "./support.js";

async function decoded(blob: Blob): Promise<{ pixels: Uint8Array; width: number; height: number; channels: number }> {
  const image = sharp(Buffer.from(await blob.arrayBuffer()), { failOn: "warning" }).raw();
  const { data, info } = await image.toBuffer({ resolveWithObject: true });
  return { pixels: new Uint8Array(data), ...info };
}

async function assertReads(blob: Blob, { width, height }: Bitmap, expected: Uint8Array): Promise<void> {
  const read = await decoded(blob);
  assert.deepEqual([read.width, read.height], [width, height]);
  assert.equal(read.pixels.length, width * height * read.channels);
  const marked = expected.findIndex((pixel, i) => read.pixels[i * read.channels] !== 255 * pixel);
  assert.equal(marked, -1, "the first pixel that differs");
}

test("a mask is a greyscale PNG of 0 and 255, pixel by pixel", async () => {
  const random = new Random(11);
  for (const [width, height] of [...sizes, [3001, 2000] as const])
    for (const share of [0, 0.5, 1]) {
      const bitmap = noisy(width, height, share, random);
      const blob = await encodePng(bitmap);
      assert.equal(blob.type, "image/png");
      await assertReads(blob, bitmap, pixelsOf(bitmap));
    }
});

test("a data set reads it as it was drawn", async () => {
  const bitmap = noisy(203, 141, 0.3, new Random(14));
  const bytes = new Uint8Array(await (await encodePng(bitmap)).arrayBuffer());
  const { pixels, width, height } = await decodeMask(bytes);
  assert.deepEqual([width, height], [203, 141]);
  assert.deepEqual(new Uint8Array(pixels), pixelsOf(bitmap));
});

test("what is drawn meanwhile is not in it", async () => {
  const random = new Random(12);
  const bitmap = noisy(3000, 4000, 0.5, random);
  const before = pixelsOf(bitmap);
  const encoding = encodePng(bitmap);
  bitmap.data.fill(0);
  await assertReads(await encoding, bitmap, before);
});

test("a mask of 50 megapixels is small, and other work goes on while it is encoded", async () => {
  const bitmap = createBitmap(8192, 6144);
  drawSegment(bitmap, { x: 100, y: 100 }, { x: 8000, y: 6000 }, 40, true);
  let turns = 0;
  const clock = setInterval(() => turns++, 1);
  const blob = await encodePng(bitmap);
  clearInterval(clock);
  assert.ok(turns >= 5, `${turns} turns`);
  assert.ok(blob.size < 200_000, `${blob.size} bytes`);
  const { width, height } = await sharp(Buffer.from(await blob.arrayBuffer())).metadata();
  assert.deepEqual([width, height], [8192, 6144]);
});
