import { types } from "node:util";

import type { ResizeMethod } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { fullDepth } from "../schema/common.js";
import { rgbOfDeep } from "./depth.js";
import { readHeader } from "./header.js";
import { decodeSamples } from "./samples.js";
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
}

function rgbOfRaw({ data, width, height, channels }: RawImage): RgbImage {
  // A copy: the caller may use its buffer for the next image, or shrink it, before this one is through.
  if (channels === 3) return { pixels: new Uint8Array(data), width, height };
  const pixels = new Uint8Array(width * height * 3);
  for (let i = 0, from = 0; i < pixels.length; i += 3, from += channels) {
    pixels[i] = data[from]!;
    pixels[i + 1] = data[channels === 1 ? from : from + 1]!;
    pixels[i + 2] = data[channels === 1 ? from : from + 2]!;
  }
  return { pixels, width, height };
}

/** Whether all pixels of RGB are alike. Ends at the first that differs. */
function isUniform(pixels: Uint8Array): boolean {
  for (let i = 3; i < pixels.length; i++) if (pixels[i] !== pixels[i - 3]) return false;
  return true;
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
 * NO_PERMISSION, INVALID_OPTION.
 */
export async function decodeImage(source: ImageSource, options: DecodeOptions = {}): Promise<DecodedImage> {
  const { bitDepth = fullDepth } = options;
  const settling = plainSource(source);
  const plain = types.isPromise(settling) ? await settling : settling;
  if (typeof plain !== "string" && !types.isUint8Array(plain)) {
    const image = rgbOfRaw(plain);
    return { ...image, uniform: isUniform(image.pixels), highest: undefined };
  }
  const { name = nameOfSource(plain) } = options;
  const bytes = await bytesOf(plain, name);
  const samples = await decodeSamples(bytes, await readHeader(bytes, name), name);
  const { values, width, height } = samples;
  const { pixels, highest } = types.isUint16Array(values)
    ? rgbOfDeep(samples, bitDepth)
    : { pixels: values, highest: undefined };
  return { pixels, width, height, uniform: isUniform(pixels), highest };
}

/** Width and height in pixels after EXIF orientation, from the header alone. `name` and errors as for decodeImage. */
export async function imageSize(
  source: string | Uint8Array,
  name = nameOfSource(source),
): Promise<{ width: number; height: number }> {
  const { width, height } = await readHeader(await bytesOf(source, name), name);
  return { width, height };
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
export async function loadImage(
  source: ImageSource,
  { height, width, resize = "bilinear", ...decoding }: LoadOptions,
): Promise<LoadedImage> {
  const image = await decodeImage(source, decoding);
  const same = image.height === height && image.width === width;
  const pixels = same
    ? image.pixels
    : await engine().resizeImage(image.pixels, image.height, image.width, 3, height, width, resize);
  return { ...image, pixels, width, height, sourceWidth: image.width, sourceHeight: image.height };
}
