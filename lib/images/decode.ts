import { types } from "node:util";

import type { ConversionOptions, ResizeMethod } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { fullDepth } from "../schema/common.js";
import { decodingBudget } from "./budget.js";
import { readHeader, refuseTooLarge } from "./header.js";
import { withSamples } from "./samples.js";
import { bytesOf, type ImageSource, nameOfSource, plainSource, type RawImage } from "./source.js";

/** uint8 RGB, interleaved, row-major: height x width x 3. */
export interface RgbImage {
  pixels: Uint8Array;
  width: number;
  height: number;
}

/** What is known of an image's pixels once they are decoded, before they are resized. */
export interface PixelFacts {
  /** Every pixel has the same value. */
  uniform: boolean;
  /** The highest sample of a file with 16 bits per channel. Undefined for 8 bits. */
  highest: number | undefined;
}

export interface DecodedImage extends RgbImage, PixelFacts {}

export interface DecodeOptions {
  /** Bits that the samples of files with 16 bits per channel hold, 8 to 16. Default 16. */
  bitDepth?: number | undefined;
  /** Stands for the image in error messages; a path by default. */
  name?: string;
  /** The largest image that is read, in pixels. Default 2^29, which is also the most. */
  maxPixels?: number;
  /** The bytes of an encoded image are not copied: they stay as they are until it is decoded. */
  own?: boolean;
}

type Target = Pick<ConversionOptions, "toHeight" | "toWidth" | "method">;

/** Decodes an image and turns it into RGB of the target's size; without a target it keeps its own. */
async function decodeTo(source: ImageSource, target: Target | undefined, options: DecodeOptions): Promise<LoadedImage> {
  const { bitDepth = fullDepth } = options;
  const convert = async (
    samples: Uint8Array | Uint16Array,
    image: Pick<RawImage, "height" | "width" | "channels">,
    copy: boolean,
  ): Promise<LoadedImage> => {
    const { height, width, channels } = image;
    const to = target ?? { toHeight: height, toWidth: width, method: "bilinear" };
    const { pixels, uniform, highest } = await engine().imageToRgb(samples, {
      height,
      width,
      channels,
      bitDepth,
      copy,
      ...to,
    });
    return {
      pixels,
      height: to.toHeight,
      width: to.toWidth,
      sourceHeight: height,
      sourceWidth: width,
      uniform,
      highest: types.isUint16Array(samples) ? highest : undefined,
    };
  };
  const settling = plainSource(source);
  const ofBlob = types.isPromise(settling);
  const plain = ofBlob ? await settling : settling;
  if (typeof plain !== "string" && !types.isUint8Array(plain)) {
    const { name = "(raw image)", maxPixels = Infinity, own = false } = options;
    refuseTooLarge(plain, name, maxPixels);
    // Copied at once: the caller may use its buffer for the next image before this one is through.
    const giveBack = decodingBudget().add(plain.data.length);
    return convert(plain.data, plain, !own).finally(giveBack);
  }
  const { name = nameOfSource(plain), maxPixels, own = ofBlob } = options;
  return withSamples(plain, name, (samples) => convert(samples.values, samples, false), { own, maxPixels });
}

/**
 * Decodes an image to 8-bit RGB at its own size.
 *
 * 16-bit samples keep the high byte of their `bitDepth` bits (65535 -> 255 for 16, as OpenCV does), grey and palette images
 * become RGB, alpha is dropped without blending, CMYK is converted as OpenCV and Pillow do, ICC profiles are ignored, EXIF
 * orientation is applied. Of several pages or frames the first counts. The result never shares memory with `source`, which
 * may be used again as soon as this has been called.
 *
 * Errors: IMAGE_UNREADABLE (damaged, truncated, empty, too large, of a kind that is not read), FILE_NOT_FOUND,
 * NO_PERMISSION, OUT_OF_MEMORY, INVALID_OPTION.
 */
export async function decodeImage(source: ImageSource, options: DecodeOptions = {}): Promise<DecodedImage> {
  const { pixels, height, width, uniform, highest } = await decodeTo(source, undefined, options);
  return { pixels, height, width, uniform, highest };
}

/** Width and height in pixels after EXIF orientation, from the header alone. `name` and errors as for decodeImage. */
export async function imageSize(
  source: string | Uint8Array,
  name = nameOfSource(source),
): Promise<{ width: number; height: number }> {
  const { width, height } = await readHeader(await bytesOf(source, name), name);
  return { width, height };
}

/** EXIF orientation, 1 (upright, or none given) to 8, from the header alone. `name` and errors as for decodeImage. */
export async function imageOrientation(source: string | Uint8Array, name = nameOfSource(source)): Promise<number> {
  return (await readHeader(await bytesOf(source, name), name)).orientation;
}

export interface LoadOptions extends DecodeOptions {
  /** Model size in pixels. */
  height: number;
  width: number;
  /** "bilinear" (default): the authors' resize, without anti-aliasing. "antialias": anomalib's. */
  resize?: ResizeMethod;
}

/** An image at model size, the size that it came in, and what its pixels were like there. */
export interface LoadedImage extends DecodedImage {
  sourceWidth: number;
  sourceHeight: number;
}

/** Decodes an image and resizes it to model size with the engine's exact resize (docs/method.md, Features); the aspect is not kept. */
export function loadImage(
  source: ImageSource,
  { height, width, resize = "bilinear", ...decoding }: LoadOptions,
): Promise<LoadedImage> {
  return decodeTo(source, { toHeight: height, toWidth: width, method: resize }, decoding);
}
