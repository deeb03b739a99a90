import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";

import sharp from "sharp";

import { decodeImage } from "../../lib/images/decode.js";
import { decodeMask, leftOutOfMask } from "../../lib/images/mask.js";
import { imageWarnings, ImageWarnings, pixelWarnings, uniformWarning } from "../../lib/images/warnings.js";
import { temporaryFolder } from "../datasets/files.js";
import { tiffFile } from "./files.js";

/** 16 x 16 of one CMYK colour, 0 to 255, 255 = all ink. */
const cmyk = (...colour: number[]): Buffer =>
  tiffFile({
    width: 16,
    height: 16,
    bits: [8, 8, 8, 8],
    photometric: 5,
    segments: [Buffer.concat(Array<Uint8Array>(256).fill(Uint8Array.from(colour)))],
  });
const cmykJpeg = (...colour: number[]): Promise<Buffer> =>
  sharp(cmyk(...colour))
    .pipelineColourspace("cmyk")
    .toColourspace("cmyk")
    .jpeg({ quality: 100 })
    .toBuffer();

test("CMYK is (255 - C) (255 - K) / 255, as OpenCV and Pillow read it", async () => {
  for (const [colour, expected] of [
    [
      [0, 255, 255, 0],
      [255, 0, 0],
    ],
    [
      [0, 0, 0, 255],
      [0, 0, 0],
    ],
    [
      [0, 0, 0, 0],
      [255, 255, 255],
    ],
    [
      [150, 90, 200, 40],
      [89, 139, 46],
    ], // by Pillow 12.3
  ] as const) {
    const tiff = await decodeImage(cmyk(...colour));
    assert.deepEqual([...tiff.pixels.subarray(0, 3)], expected);
    const jpeg = await sharp(await cmykJpeg(...colour)).metadata();
    assert.equal(jpeg.space, "cmyk");
    const { pixels } = await decodeImage(await cmykJpeg(...colour));
    for (let c = 0; c < 3; c++) assert.ok(Math.abs(pixels[c]! - expected[c]!) <= 2, `${[...pixels.subarray(0, 3)]}`);
  }
});

test("a black CMYK mask marks nothing, in TIFF and in JPEG", async (t) => {
  const folder = await temporaryFolder(t);
  for (const [name, file] of [
    ["black.tif", cmyk(0, 0, 0, 255)],
    ["black.jpg", await cmykJpeg(0, 0, 0, 255)],
  ] as const) {
    assert.ok((await decodeMask(file)).pixels.every((value) => value === 0));
    await writeFile(path.join(folder, name), file);
    assert.equal(await leftOutOfMask(path.join(folder, name)), undefined);
  }
  assert.ok((await decodeMask(cmyk(0, 0, 0, 0))).pixels.every((value) => value === 1));
});

const deep = (values: number[]): Promise<Buffer> =>
  sharp(Uint16Array.from(values), { raw: { width: values.length, height: 1, channels: 1 } })
    .toColourspace("grey16")
    .png()
    .toBuffer();

test("a bit depth scales 16-bit samples; what lies above is white; 8-bit files stay", async () => {
  const file = await deep([0, 4, 512, 1023, 1024, 65535]);
  const greys = async (bitDepth?: number): Promise<number[]> =>
    [...(await decodeImage(file, { bitDepth })).pixels].filter((_, i) => i % 3 === 0);
  assert.deepEqual(await greys(10), [0, 1, 128, 255, 255, 255]);
  assert.deepEqual(await greys(12), [0, 0, 32, 63, 64, 255]);
  assert.deepEqual(await greys(8), [0, 4, 255, 255, 255, 255]);
  assert.deepEqual(await greys(), [0, 0, 2, 3, 4, 255]);
  assert.equal((await decodeImage(file)).highest, 65535);
  const flat = await sharp(Uint8Array.of(1, 2, 3, 4, 5, 6), { raw: { width: 2, height: 1, channels: 3 } })
    .png()
    .toBuffer();
  const shallow = await decodeImage(flat, { bitDepth: 10 });
  assert.deepEqual([...shallow.pixels, shallow.highest], [1, 2, 3, 4, 5, 6, undefined]);
  const coloured = await sharp(Uint16Array.of(0, 1023, 5000, 4, 8, 12), { raw: { width: 2, height: 1, channels: 3 } })
    .toColourspace("rgb16")
    .png()
    .toBuffer();
  const { pixels, highest } = await decodeImage(coloured, { bitDepth: 10 });
  assert.deepEqual([[...pixels], highest], [[0, 255, 255, 1, 2, 3], 5000]);
});

test("warnings about one image: all pixels alike, nearly black, cut off", async () => {
  const warned = async (values: number[], bitDepth: number): Promise<string[]> =>
    imageWarnings(await decodeImage(await deep(values), { bitDepth }), bitDepth);
  assert.deepEqual(await warned([20000, 20001], 16), [uniformWarning]);
  const [dark] = await warned([9, 1023], 16);
  assert.match(dark!, /below 1024, but the model reads 16 bits.*--bit-depth/);
  assert.deepEqual(await warned([300, 1023], 10), []);
  assert.deepEqual(await warned([300, 20000], 16), []);
  const [bright] = await warned([9, 1024], 10);
  assert.match(bright!, /reach 1024 and more, but the model reads 10 bits/);
  // All black once the low bits are gone: the second warning says why.
  assert.deepEqual((await warned([1, 255], 16)).length, 2);
  const several = new ImageWarnings();
  for (const name of ["a", "b"]) several.add(name, [uniformWarning]);
  several.add("c", [dark!]);
  assert.deepEqual(
    several.texts((names) => names.join(" and ")),
    [`a and b: ${uniformWarning}`, `c: ${dark}`],
  );
});

test("warnings about a data set: one dark image among others is none", () => {
  const images = (...highest: (number | undefined)[]) =>
    highest.map((value, i) => ({ id: `${i}.png`, facts: { uniform: false, highest: value } }));
  const warned = (bitDepth: number, ...highest: (number | undefined)[]): string[] =>
    pixelWarnings(images(...highest), bitDepth, (names) => names.join(", "));
  for (const [highest, bits] of [
    [255, 8],
    [1023, 10],
    [4095, 12],
    [16383, 14],
  ] as const) {
    const [warning, ...others] = warned(16, 40, highest, undefined);
    assert.match(
      warning!,
      new RegExp(`All 16-bit images \\(2\\) .* below ${2 ** bits}.*--bit-depth\\) to ${bits}, or to auto`),
    );
    assert.deepEqual([others, warned(bits, 40, highest, undefined)], [[], []]);
  }
  assert.deepEqual(warned(16, 1023, 16384), []);
  assert.deepEqual(warned(16, undefined), []);
  const [above] = warned(10, 700, 1024);
  assert.match(above!, /1 image has samples of more than 10 bits, which become white: 1\.png\. .* to 12/);
});
