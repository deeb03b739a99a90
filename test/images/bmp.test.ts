import assert from "node:assert/strict";
import { test } from "node:test";

import { decodeImage, imageSize } from "../../lib/images/decode.js";
import { decodeMask, leftOutOfMask } from "../../lib/images/mask.js";
import { isImageFile } from "../../lib/images/formats.js";
import { failure, temporaryFolder } from "../datasets/files.js";
import { bmpFile, type BmpOptions } from "./files.js";
import path from "node:path";
import { writeFile } from "node:fs/promises";

const red = [0, 0, 255, 0];
const green = [0, 255, 0, 0];
const blue = [255, 0, 0, 0];
const palette = [...red, ...green, ...blue];
/** Red, green / blue, red: what each file below holds. */
const expected = [255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 0, 0];
const files: Record<string, BmpOptions> = {
  "4 bits": { width: 2, height: 2, bits: 4, palette, pixels: Uint8Array.of(0x20, 0, 0, 0, 0x01, 0, 0, 0) },
  "8 bits": { width: 2, height: 2, bits: 8, palette, pixels: Uint8Array.of(2, 0, 0, 0, 0, 1, 0, 0) },
  "8 bits, top-down": { width: 2, height: -2, bits: 8, palette, pixels: Uint8Array.of(0, 1, 0, 0, 2, 0, 0, 0) },
  "24 bits": {
    width: 2,
    height: 2,
    bits: 24,
    pixels: Uint8Array.of(255, 0, 0, 0, 0, 255, 0, 0, 0, 0, 255, 0, 255, 0, 0, 0),
  },
  "32 bits": { width: 2, height: 2, bits: 32, pixels: Uint8Array.of(...blue, ...red, ...red, ...green) },
  "32 bits with masks, red first": {
    width: 2,
    height: -2,
    bits: 32,
    compression: 3,
    masks: [0xff, 0xff00, 0xff0000],
    pixels: Uint8Array.of(255, 0, 0, 9, 0, 255, 0, 9, 0, 0, 255, 9, 255, 0, 0, 9),
  },
};

test("BMPs of 4, 8, 24 and 32 bits, bottom-up and top-down", async () => {
  for (const [name, options] of Object.entries(files)) {
    const file = bmpFile(options);
    const { pixels, width, height } = await decodeImage(file);
    assert.deepEqual([...pixels, width, height], [...expected, 2, 2], name);
    assert.deepEqual(await imageSize(file), { width: 2, height: 2 });
  }
  const last = bmpFile(files["8 bits"]!);
  assert.deepEqual(
    [...(await decodeImage(last.subarray(0, last.length - 2))).pixels],
    expected,
    "no padding at the end",
  );
});

test("BMPs of 1 bit, and as masks", async (t) => {
  const white = [255, 255, 255, 0];
  const bits = bmpFile({
    width: 10,
    height: 1,
    bits: 1,
    palette: [0, 0, 0, 0, ...white],
    pixels: Uint8Array.of(0b10000001, 0b01000000, 0, 0),
  });
  assert.deepEqual([...(await decodeMask(bits)).pixels], [1, 0, 0, 0, 0, 0, 0, 1, 0, 1]);
  const file = path.join(await temporaryFolder(t), "empty.bmp");
  await writeFile(file, bmpFile({ width: 2, height: 1, bits: 32, pixels: Uint8Array.of(0, 0, 0, 255, 0, 0, 0, 0) }));
  assert.deepEqual([...(await decodeMask(file)).pixels], [0, 0]);
  assert.equal(await leftOutOfMask(file), undefined);
  assert.ok(isImageFile("camera.BMP"));
});

test("damaged BMPs are refused, and kinds that are not read are named", async () => {
  const refused = (file: Uint8Array, ...parts: string[]): Promise<void> =>
    assert.rejects(decodeImage(file), failure("IMAGE_UNREADABLE", ...parts));
  const good = files["24 bits"]!;
  const changed = (at: number, value: number): Buffer => {
    const file = bmpFile(good);
    file.writeUInt32LE(value, at);
    return file;
  };
  const whole = bmpFile(good);
  for (const length of [3, 20, 40, 54, whole.length - 3]) await refused(whole.subarray(0, length), "truncated");
  await refused(changed(14, 41), "its header has 41 bytes");
  await refused(changed(10, 20), "inside its headers");
  await refused(changed(10, 1e9), "truncated");
  await refused(changed(18, 0), "0 x 2");
  await refused(changed(18, 0x7fffffff), "truncated");
  await refused(changed(30, 77), "77");
  await refused(bmpFile({ ...good, bits: 7 }), "7 bits per pixel");
  const index = files["8 bits"]!;
  await refused(bmpFile({ ...index, palette: palette.slice(0, 8) }), "colour 2, but its palette has 2");
  await refused(bmpFile({ ...index, compression: 1 }), "its compression is RLE8, which is not read");
  await refused(bmpFile({ ...good, bits: 16 }), "16 bits per pixel, which is not read");
  const masked = files["32 bits with masks, red first"]!;
  await refused(bmpFile({ ...masked, masks: [0x3ff, 0xffc00, 0x3ff00000] }), "other than 8 bits");
});
