import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";

import sharp from "sharp";

import { SuperSimpleNetError } from "../../lib/errors.js";

/** A folder that is deleted after the test, alone in its parent: some tests look there. */
export async function temporaryFolder(t: TestContext): Promise<string> {
  const parent = await mkdtemp(path.join(os.tmpdir(), "supersimplenet-test-"));
  t.after(() => rm(parent, { recursive: true, force: true }));
  const folder = path.join(parent, "data");
  await mkdir(folder);
  return folder;
}

/** A PNG whose colour makes it different from others, with one pixel of another; the format follows `file`'s extension. */
export async function writeImage(file: string, { width = 40, height = 36, value = 90 } = {}): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => [value, value * 7, 30][i % 3]! % 256);
  pixels.fill(60, 0, 3);
  const image = sharp(pixels, { raw: { width, height, channels: 3 } });
  await writeFile(file, await (/\.jpe?g$/i.test(file) ? image.jpeg() : image.png()).toBuffer());
}

/** A mask with a square of `value`, or none. */
export async function writeMask(
  file: string,
  { width = 40, height = 36, value = 255, empty = false } = {},
): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  const pixels = new Uint8Array(width * height);
  if (!empty) for (let y = 5; y < 12; y++) pixels.fill(value, y * width + 5, y * width + 12);
  await writeFile(
    file,
    await sharp(pixels, { raw: { width, height, channels: 1 } })
      .toColourspace("b-w")
      .png()
      .toBuffer(),
  );
}

/** Images (and with `masks`, masks) at these relative paths, each with its own content. */
export async function writeTree(root: string, images: readonly string[], masks: readonly string[] = []): Promise<void> {
  for (const [i, image] of images.entries()) await writeImage(path.join(root, image), { value: i + 1 });
  for (const mask of masks) await writeMask(path.join(root, mask));
}

/** For assert.rejects and assert.throws: our error with this code, whose message has all of these in it. */
export function failure(code: string, ...parts: readonly (string | RegExp)[]) {
  return (error: unknown): boolean => {
    if (!(error instanceof SuperSimpleNetError)) throw error;
    for (const part of parts) {
      const found = typeof part === "string" ? error.message.includes(part) : part.test(error.message);
      if (!found) throw new Error(`Expected ${String(part)} in: ${error.message}`);
    }
    if (error.code !== code) throw new Error(`Expected ${code} but it is ${error.code}: ${error.message}`);
    return true;
  };
}
