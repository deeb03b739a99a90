import { engine } from "../native/engine.js";
import type { Header } from "./header.js";
import { withSamples } from "./samples.js";
import { sharp } from "./sharp.js";
import { nameOfSource, readImageFile } from "./source.js";
import { decodeFailure } from "./unreadable.js";

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
 * channel is at least 128. Alpha is dropped. Errors as for decodeImage.
 */
export function decodeMask(source: string | Uint8Array, name = nameOfSource(source)): Promise<DecodedMask> {
  return withSamples(source, name, async ({ values, channels, width, height }, { format }) => {
    const found = await engine().markDefects(values, channels, LOSSY.includes(format) ? LOSSY_LEAST : 1);
    return { ...found, width, height };
  });
}

/**
 * What decodeMask leaves out of a file whose mask is empty: what the alpha channel shows, and in JPEG, WebP and AVIF values
 * below 128. A sentence, or undefined when there is nothing else in the file. Errors as for decodeImage.
 */
export function leftOutOfMask(file: string): Promise<string | undefined> {
  return withSamples(file, file, async ({ values, channels, width, height }, { format, hasAlpha, input }) => {
    if (LOSSY.includes(format)) {
      const size = { height, width, toHeight: height, toWidth: width };
      const how = { channels, bitDepth: 8, method: "bilinear", copy: false } as const;
      const { highest } = await engine().imageToRgb(values, { ...size, ...how });
      if (highest > 0)
        return `in ${LOSSY_NAMES} only values from ${LOSSY_LEAST} count, and its highest is ${highest}. Save it as PNG, with 0 and 255`;
    }
    return hasAlpha && (await alphaVaries(file, input))
      ? "its alpha channel, which is not blank, is ignored. Draw the defect in white on black, without transparency"
      : undefined;
  });
}

async function alphaVaries(file: string, input: Header["input"]): Promise<boolean> {
  try {
    const { min, max } = (await sharp(await readImageFile(file), input).stats()).channels.at(-1)!;
    return min !== max;
  } catch (error) {
    throw decodeFailure(file, error);
  }
}

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
