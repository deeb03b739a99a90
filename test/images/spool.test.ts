import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import os from "node:os";
import { afterEach, beforeEach, test } from "node:test";

import sharp from "sharp";

import { decodingBudget } from "../../lib/images/budget.js";
import { type OpenImage, openImage } from "../../lib/images/open.js";
import { spooling, spoolingBytes } from "../../lib/images/spool.js";
import { Random } from "../../lib/random.js";
import { failure } from "../datasets/files.js";

const usual = spooling.leastBytes;
beforeEach(() => void (spooling.leastBytes = usual));
afterEach(() => void (spooling.leastBytes = usual));

const random = new Random(0, "spool");

async function encoded(channels: 1 | 3 | 4, format: "png" | "jpeg" | "tiff" | "webp", deep = false): Promise<Buffer> {
  const [width, height] = [37, 300];
  const length = width * height * channels;
  const pixels = deep
    ? Uint16Array.from({ length }, () => random.integer(65536))
    : Uint8Array.from({ length }, () => random.integer(256));
  let image = sharp(pixels, { raw: { width, height, channels } });
  if (channels === 1) image = image.toColourspace(deep ? "grey16" : "b-w");
  else if (deep) image = image.toColourspace("rgb16");
  return image.toFormat(format, format === "webp" ? { lossless: true } : {}).toBuffer();
}

async function all(image: OpenImage): Promise<(readonly number[])[]> {
  const parts: (readonly number[])[] = [];
  for (let row = 0; row < image.height; row += 70) {
    const end = Math.min(image.height, row + 70);
    const { values, firstRow, rows } = await image.rows(row, end);
    assert.ok(firstRow <= row && firstRow + rows >= end);
    const stride = image.width * image.channels;
    parts.push([...values.subarray((row - firstRow) * stride, (end - firstRow) * stride)]);
  }
  return parts;
}

for (const [channels, format, deep] of [
  [1, "png", false],
  [3, "png", false],
  [4, "png", false],
  [1, "png", true],
  [3, "png", true],
  [1, "jpeg", false],
  [3, "jpeg", false],
  [3, "tiff", false],
  [3, "webp", false],
] as const)
  test(`rows of a temporary file are those of memory: ${channels} channels, ${format}${deep ? ", 16 bits" : ""}`, async () => {
    const bytes = await encoded(channels, format, deep);
    const inMemory = await openImage(bytes);
    spooling.leastBytes = 0;
    const inFile = await openImage(bytes);
    assert.deepEqual(
      [inFile.width, inFile.height, inFile.channels, inFile.uniform, inFile.highest],
      [inMemory.width, inMemory.height, inMemory.channels, inMemory.uniform, inMemory.highest],
    );
    assert.deepEqual(await all(inFile), await all(inMemory));
    inFile.close();
    inMemory.close();
  });

test("what cannot be decoded row by row counts as it is in memory", async () => {
  spooling.leastBytes = 0;
  const pixels = 37 * 300;
  const progressive = await sharp(await encoded(3, "jpeg"))
    .jpeg({ progressive: true })
    .toBuffer();
  for (const [bytes, counted] of [
    [await encoded(3, "png"), spoolingBytes],
    [await encoded(3, "webp"), 11 * pixels],
    [progressive, 7 * pixels],
  ] as const) {
    const image = await openImage(bytes);
    assert.equal(decodingBudget().used, counted);
    image.close();
    assert.equal(decodingBudget().used, 0);
  }
});

test("orientation is applied, one value in all pixels is seen", async () => {
  const pixels = Uint8Array.from({ length: 40 * 20 * 3 }, () => random.integer(256));
  const turned = await sharp(pixels, { raw: { width: 40, height: 20, channels: 3 } })
    .withMetadata({ orientation: 6 })
    .tiff()
    .toBuffer();
  const inMemory = await openImage(turned);
  spooling.leastBytes = 0;
  const inFile = await openImage(turned);
  assert.deepEqual([inFile.width, inFile.height], [20, 40]);
  assert.deepEqual(await all(inFile), await all(inMemory));
  inFile.close();
  const flat = await sharp({ create: { width: 8, height: 600, channels: 3, background: "#777" } })
    .png()
    .toBuffer();
  const even = await openImage(flat);
  assert.equal(even.uniform, true);
  even.close();
});

test("nothing is left in the folder for temporary files, of damaged images neither", async () => {
  const mine = async (): Promise<string[]> =>
    (await readdir(os.tmpdir())).filter((name) => /^supersimplenet-[0-9a-f]{16}\.v$/.test(name));
  const before = await mine();
  const bytes = await encoded(3, "png");
  spooling.leastBytes = 0;
  const image = await openImage(bytes);
  if (process.platform !== "win32") assert.deepEqual(await mine(), before);
  image.close();
  await assert.rejects(
    openImage(bytes.subarray(0, bytes.length / 2), { name: "half.png" }),
    failure("IMAGE_UNREADABLE", "half.png"),
  );
  assert.deepEqual(await mine(), before);
});
