import { engine } from "../native/engine.js";
import { type Header, readHeader } from "./header.js";
import { decodeSamples, type Samples } from "./samples.js";
import { sharp } from "./sharp.js";
import { bytesOf, nameOfSource, readImageFile } from "./source.js";
import { decodeFailure } from "./unreadable.js";

/** 0 or 1 per pixel, row-major: height x width. */
export interface Mask {
  pixels: Uint8Array;
  width: number;
  height: number;
}

/** Formats whose compression leaves ringing around a mask's edges: there only pixels of this value and more count. */
const LOSSY: readonly string[] = ["jpeg", "webp", "heif"];
const LOSSY_NAMES = "JPEG, WebP and AVIF";
const LOSSY_LEAST = 128;

/** 1 where any channel of a pixel is at least `least`. */
function markedPixels({ values, channels, width, height }: Samples, least: number): Uint8Array {
  const pixels = new Uint8Array(width * height);
  for (let i = 0, from = 0; i < pixels.length; i++, from += channels) {
    for (let c = 0; c < channels; c++) if (values[from + c]! >= least) pixels[i] = 1;
  }
  return pixels;
}

/**
 * Decodes a ground-truth mask at its own size. A pixel is defect when any colour channel is not zero, at the file's full
 * depth (so masks of 0/1, 0/255 and 16-bit ids all work); in JPEG, WebP and AVIF, whose compression blurs edges, when any
 * channel is at least 128. Alpha is dropped. Errors as for decodeImage.
 */
export async function decodeMask(source: string | Uint8Array, name = nameOfSource(source)): Promise<Mask> {
  const bytes = await bytesOf(source, name);
  const header = await readHeader(bytes, name);
  const samples = await decodeSamples(bytes, header, name);
  const { width, height } = samples;
  return { pixels: markedPixels(samples, LOSSY.includes(header.format) ? LOSSY_LEAST : 1), width, height };
}

/**
 * What decodeMask leaves out of a file whose mask is empty: what the alpha channel shows, and in JPEG, WebP and AVIF values
 * below 128. A sentence, or undefined when there is nothing else in the file. Errors as for decodeImage.
 */
export async function leftOutOfMask(file: string): Promise<string | undefined> {
  const bytes = await readImageFile(file);
  const header = await readHeader(bytes, file);
  if (LOSSY.includes(header.format)) {
    const { values } = await decodeSamples(bytes, header, file);
    const brightest = (values as Uint8Array).reduce((a, b) => Math.max(a, b), 0);
    if (brightest > 0)
      return `in ${LOSSY_NAMES} only values from ${LOSSY_LEAST} count, and its highest is ${brightest}. Save it as PNG, with 0 and 255`;
  }
  return header.hasAlpha && (await alphaVaries(bytes, header, file))
    ? "its alpha channel, which is not blank, is ignored. Draw the defect in white on black, without transparency"
    : undefined;
}

async function alphaVaries(bytes: Uint8Array, { input }: Header, name: string): Promise<boolean> {
  try {
    const { min, max } = (await sharp(bytes, input).stats()).channels.at(-1)!;
    return min !== max;
  } catch (error) {
    throw decodeFailure(name, error);
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
