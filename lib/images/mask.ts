import { readdir } from "node:fs/promises";
import path from "node:path";

import { fileError } from "../errors.js";
import { isFolder } from "../files/input.js";
import { engine } from "../native/engine.js";
import { isImageFile } from "./formats.js";
import type { Header } from "./header.js";
import { withSamples } from "./samples.js";
import { sharp } from "./sharp.js";
import { nameOfSource } from "./source.js";
import { decodeFailure, unreadable } from "./unreadable.js";

/** 0 or 1 per pixel, row-major: height x width. */
export interface Mask {
  pixels: Uint8Array;
  width: number;
  height: number;
}

/** A mask, and how many of its pixels are 1. */
export interface DecodedMask extends Mask {
  marked: number;
}

/** Formats whose compression leaves ringing around a mask's edges: there only pixels of this value and more count. */
const LOSSY: readonly string[] = ["jpeg", "webp", "heif"];
const LOSSY_NAMES = "JPEG, WebP and AVIF";
const LOSSY_LEAST = 128;

/**
 * Decodes a ground-truth mask at its own size. A pixel is defect when any colour channel is not zero, at the file's full
 * depth (so masks of 0/1, 0/255 and 16-bit ids all work); in JPEG, WebP and AVIF, whose compression blurs edges, when any
 * channel is at least 128. Alpha is dropped. A path may be that of a folder: a pixel is defect when any mask in it says so.
 * Errors as for decodeImage; IMAGE_UNREADABLE for a folder without masks, or with masks of different sizes.
 */
export async function decodeMask(source: string | Uint8Array, name = nameOfSource(source)): Promise<DecodedMask> {
  if (typeof source === "string" && (await isFolder(source))) return decodeMasks(source);
  return withSamples(source, name, async ({ values, channels, width, height }, { format }) => {
    const found = await engine().markDefects(values, channels, LOSSY.includes(format) ? LOSSY_LEAST : 1);
    return { ...found, width, height };
  });
}

async function decodeMasks(folder: string): Promise<DecodedMask> {
  const [first, ...others] = await maskFiles(folder);
  if (first === undefined) throw unreadable(folder, "it is a folder without masks. Give a file.");
  let merged = await decodeMask(first);
  for (const file of others) {
    const { pixels, width, height } = await decodeMask(file);
    if (width !== merged.width || height !== merged.height) {
      const sizes = `${merged.width} x ${merged.height} and ${path.basename(file)} ${width} x ${height}`;
      throw unreadable(folder, `its masks differ in size: ${path.basename(first)} is ${sizes}.`);
    }
    merged = { ...(await engine().mergeMasks(merged.pixels, pixels)), width, height };
  }
  return merged;
}

/** The files that make up a mask: the file itself, or all masks in the folder. Errors: NO_PERMISSION, FILE_ERROR. */
export async function maskFiles(mask: string): Promise<string[]> {
  if (!(await isFolder(mask))) return [mask];
  try {
    const names = (await readdir(mask)).filter((name) => isImageFile(name) && !name.startsWith("."));
    return names.sort().map((name) => path.join(mask, name));
  } catch (error) {
    throw fileError(error, "list folder", mask);
  }
}

/**
 * What decodeMask leaves out of a file whose mask is empty: what the alpha channel shows, and in JPEG, WebP and AVIF values
 * below 128. A sentence, or undefined when there is nothing else in the file. Errors as for decodeImage.
 */
export async function leftOutOfMask(file: string): Promise<string | undefined> {
  if (await isFolder(file)) return undefined;
  return withSamples(file, file, async ({ values, channels, width, height }, header, bytes) => {
    const { format, hasAlpha } = header;
    if (LOSSY.includes(format)) {
      const size = { height, width, toHeight: height, toWidth: width };
      const how = { channels, bitDepth: 8, method: "bilinear", copy: false } as const;
      const { highest } = await engine().imageToRgb(values, { ...size, ...how });
      if (highest > 0)
        return `in ${LOSSY_NAMES} only values from ${LOSSY_LEAST} count, and its highest is ${highest}. Save it as PNG, with 0 and 255`;
    }
    return hasAlpha && (await alphaVaries(bytes, header, file))
      ? "its alpha channel, which is not blank, is ignored. Draw the defect in white on black, without transparency"
      : undefined;
  });
}

async function alphaVaries(bytes: Uint8Array, { input }: Header, file: string): Promise<boolean> {
  try {
    const { min, max } = (await sharp(bytes, input).stats()).channels.at(-1)!;
    return min !== max;
  } catch (error) {
    throw decodeFailure(file, error, 0);
  }
}

/** A mask as a PNG, black and white, as people expect to see one. */
export const maskPng = ({ pixels, width, height }: Mask): Promise<Buffer> =>
  sharp(pixels, { raw: { width, height, channels: 1 }, limitInputPixels: false })
    .threshold(1)
    .toColourspace("b-w")
    .png()
    .toBuffer();

/** Decodes a mask and resizes it to model size, nearest neighbour. */
export async function loadMask(file: string, { height, width }: { height: number; width: number }): Promise<Mask> {
  const mask = await decodeMask(file);
  if (mask.height === height && mask.width === width) return mask;
  return {
    pixels: await engine().resizeImage(mask.pixels, mask.height, mask.width, 1, height, width, "nearest"),
    width,
    height,
  };
}
