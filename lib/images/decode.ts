import { readdir, readFile, stat } from "node:fs/promises";
import path from "node:path";
import { types } from "node:util";

import type { Metadata } from "sharp";
import { z } from "zod";

import { fileError, invalid, SuperSimpleNetError } from "../errors.js";
import { engine } from "../native/engine.js";
import type { ResizeMethod } from "../native/binding.js";
import { checkNames, checkPath, checkValue } from "../schema/check.js";
import { sharp } from "./sharp.js";

/** Pixels that are already decoded: uint8, row-major, channels interleaved. One channel is grey; a fourth (alpha) is dropped. */
export interface RawImage {
  data: Uint8Array;
  width: number;
  height: number;
  channels: 1 | 3 | 4;
}

/** A file's path, an encoded image, or raw pixels. */
export type ImageSource = string | Uint8Array | RawImage;

/** uint8 RGB, interleaved, row-major: height x width x 3. */
export interface RgbImage {
  pixels: Uint8Array;
  width: number;
  height: number;
}

/** 0 or 1 per pixel, row-major: height x width. */
export interface Mask {
  pixels: Uint8Array;
  width: number;
  height: number;
}

/** What a data set's folder may contain. Decoding goes by content: the extension only says which files are images. */
export const IMAGE_EXTENSIONS: readonly string[] = [".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".gif", ".avif"];

/** Names of other images: what is read from a folder must not leave a part out unsaid. First pictures, then raw and scientific data. */
const OTHER_PICTURES =
  /\.(bmp|dib|heic|heif|jfif|jpe|jp2|j2k|jpf|jpx|jxl|jxr|tga|psd|exr|hdr|pbm|pgm|ppm|pnm|pam|pfm)$/i;
const OTHER_RECORDS = /\.(dng|raw|arw|cr2|cr3|nef|orf|raf|rw2|dcm|fit|fits)$/i;

/** Of the largest image that is read: 32768 lines of a line-scan camera with 16384 pixels. As RGB they take 1.5 GiB, and several images are read at once. */
const MAX_PIXELS = 2 ** 29;

const FORMATS: readonly string[] = ["png", "jpeg", "tiff", "webp", "gif", "heif"];
const SUPPORTED = "PNG, JPEG, TIFF, WebP, GIF and AVIF";
/** Formats whose compression leaves ringing around a mask's edges: there only pixels of this value and more count. */
const LOSSY: readonly string[] = ["jpeg", "webp", "heif"];
const LOSSY_NAMES = "JPEG, WebP and AVIF";
const LOSSY_LEAST = 128;

// sharp's caches and thread counts belong to the application, which may use sharp itself: they are left as they are. Its
// cache of open files cannot serve stale pixels here, because every file is read by us and handed over as a buffer.
// ICC profiles are ignored, as OpenCV and PIL ignore them: networks are trained on the numbers in the file.
// sharp's own limit of pixels is half of ours, and its error reads like a damaged file: readHeader has the check.
const INPUT = { failOn: "error", autoOrient: true, ignoreIcc: true, limitInputPixels: false } as const;

export function isImageFile(file: string): boolean {
  return IMAGE_EXTENSIONS.includes(path.extname(file).toLowerCase());
}

/** Whether a file's name is that of an image in a format that is not read. */
export function isUnsupportedImage(file: string): boolean {
  return OTHER_PICTURES.test(file) || OTHER_RECORDS.test(file);
}

function unreadable(name: string, reason: string, cause?: unknown): SuperSimpleNetError {
  return new SuperSimpleNetError("IMAGE_UNREADABLE", `Cannot read image ${name}: ${reason}`, { cause, path: name });
}

/** The bytes of an image file. Errors: FILE_NOT_FOUND, NO_PERMISSION, IMAGE_UNREADABLE (a folder, an empty file). */
export async function readImageFile(file: string): Promise<Buffer> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EISDIR")
      throw unreadable(file, "it is a folder. Give a file.", error);
    throw fileError(error, "read image", file);
  }
  if (bytes.length === 0) throw unreadable(file, "the file is empty (0 bytes). Copy or export it again.");
  return bytes;
}

const side = z.int().min(1);

function checkRaw(image: RawImage): void {
  const where = "raw image";
  checkNames(where, image, ["data", "width", "height", "channels"]);
  checkValue(where, "width", side, image.width);
  checkValue(where, "height", side, image.height);
  if (![1, 3, 4].includes(image.channels)) throw invalid(where, "channels", "1, 3 or 4", image.channels);
  if (!types.isUint8Array(image.data)) throw invalid(where, "data", "a Uint8Array", image.data);
  const expected = image.width * image.height * image.channels;
  if (image.data.length !== expected) {
    const size = `${image.width} x ${image.height} x ${image.channels} = ${expected} bytes`;
    throw invalid(where, "data", size, `${image.data.length} bytes`);
  }
}

function rgbOf({ data, width, height, channels }: RawImage): RgbImage {
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

interface Header {
  format: string;
  depth: string;
  hasAlpha: boolean;
  width: number;
  height: number;
  /** EXIF orientation, 1 (upright) to 8. */
  orientation: number;
}

async function readHeader(bytes: Uint8Array, name: string): Promise<Header> {
  let metadata: Metadata;
  try {
    metadata = await sharp(bytes, INPUT).metadata();
  } catch (error) {
    if (error instanceof SuperSimpleNetError) throw error;
    if (bytes[0] === 0x42 && bytes[1] === 0x4d)
      throw unreadable(name, `BMP is not supported. Convert it to one of ${SUPPORTED}.`, error);
    throw unreadable(name, `it is damaged or not an image. Supported are ${SUPPORTED}. (${messageOf(error)})`, error);
  }
  const { format, depth, hasAlpha, autoOrient, orientation = 1 } = metadata;
  if (!FORMATS.includes(format)) throw unreadable(name, `its format is ${format}. Supported are ${SUPPORTED}.`);
  const { width, height } = autoOrient;
  if (width * height > MAX_PIXELS) {
    throw unreadable(
      name,
      `it has ${width} x ${height} = ${width * height} pixels. At most ${MAX_PIXELS} are read, for each takes 3 bytes of memory. Cut it into pieces, so that small defects can be seen, or scale it down.`,
    );
  }
  if (depth !== "uchar" && depth !== "ushort")
    throw unreadable(name, `its samples are of type ${depth}. Supported are 8 and 16 bits per channel: convert it.`);
  return { format, depth, hasAlpha, width, height, orientation };
}

/** One line of sharp's message, which can repeat itself over several. */
function messageOf(error: unknown): string {
  return (types.isNativeError(error) ? error.message : String(error)).split("\n")[0]!.trim();
}

function isRaw(source: Uint8Array | RawImage): source is RawImage {
  return !types.isUint8Array(source);
}

/** What stands for an image in messages. */
function nameOf(source: string | Uint8Array, name: string | undefined): string {
  return name ?? (typeof source === "string" ? source : `(buffer of ${source.length} bytes)`);
}

async function bytesOf(source: string | Uint8Array, name: string): Promise<Uint8Array> {
  if (typeof source === "string") return readImageFile(source);
  if (source.length === 0) throw unreadable(name, "the buffer is empty (0 bytes).");
  return new Uint8Array(source); // a copy, as in rgbOf
}

function checkSource(source: unknown): void {
  if (typeof source === "string") return void checkPath("an image", "path", source);
  const wrongArray = ArrayBuffer.isView(source) && !types.isUint8Array(source);
  if (typeof source === "object" && source !== null && !wrongArray) return;
  const shown = wrongArray
    ? Object.prototype.toString.call(source).slice(8, -1)
    : source === null
      ? "null"
      : typeof source;
  throw new SuperSimpleNetError(
    "INVALID_OPTION",
    `Expected an image as a path, a Buffer or Uint8Array, or {data, width, height, channels} but received ${shown}.`,
  );
}

/**
 * Decodes an image to 8-bit RGB at its own size.
 *
 * 16-bit samples keep their high byte (65535 -> 255, as OpenCV does), grey and palette images become RGB, alpha is dropped
 * without blending, CMYK is converted, ICC profiles are ignored, EXIF orientation is applied. Of several pages or frames
 * the first counts. The result never shares memory with `source`, which may be used again as soon as this has been called.
 *
 * `name` stands for the image in error messages; a path by default.
 * Errors: IMAGE_UNREADABLE (damaged, truncated, empty, too large, BMP, ...), FILE_NOT_FOUND, NO_PERMISSION, INVALID_OPTION.
 */
export async function decodeImage(source: ImageSource, name?: string): Promise<RgbImage> {
  checkSource(source);
  if (typeof source !== "string" && isRaw(source)) {
    checkRaw(source);
    return rgbOf(source);
  }
  const label = nameOf(source, name);
  const bytes = await bytesOf(source, label);
  await readHeader(bytes, label);
  try {
    const { data, info } = await sharp(bytes, INPUT)
      .removeAlpha()
      .toColourspace("srgb")
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    return { pixels: data, width: info.width, height: info.height };
  } catch (error) {
    throw unreadable(label, `it is damaged or truncated. (${messageOf(error)})`, error);
  }
}

/**
 * Decodes a ground-truth mask at its own size. A pixel is defect when any colour channel is not zero, at the file's full
 * depth (so masks of 0/1, 0/255 and 16-bit ids all work); in JPEG, WebP and AVIF, whose compression blurs edges, when any
 * channel is at least 128. Alpha is dropped. A path may be that of a folder: a pixel is defect when any mask in it says so.
 * Errors as for decodeImage; IMAGE_UNREADABLE for a folder without masks, or with masks of different sizes.
 */
export async function decodeMask(source: string | Uint8Array, name?: string): Promise<Mask> {
  if (typeof source === "string" && (await isFolder(source))) return decodeMasks(source);
  const label = nameOf(source, name);
  const bytes = await bytesOf(source, label);
  const { format, depth } = await readHeader(bytes, label);
  const deep = depth === "ushort";
  const least = LOSSY.includes(format) ? LOSSY_LEAST : 1;
  try {
    const { data, info } = await sharp(bytes, INPUT)
      .removeAlpha()
      .toColourspace(deep ? "rgb16" : "srgb")
      .raw({ depth: deep ? "ushort" : "uchar" })
      .toBuffer({ resolveWithObject: true });
    const count = info.width * info.height * info.channels;
    const values = deep ? new Uint16Array(data.buffer, data.byteOffset, count) : data;
    const pixels = new Uint8Array(info.width * info.height);
    for (let i = 0, from = 0; i < pixels.length; i++, from += info.channels) {
      for (let c = 0; c < info.channels; c++) if (values[from + c]! >= least) pixels[i] = 1;
    }
    return { pixels, width: info.width, height: info.height };
  } catch (error) {
    throw unreadable(label, `it is damaged or truncated. (${messageOf(error)})`, error);
  }
}

async function decodeMasks(folder: string): Promise<Mask> {
  const [first, ...others] = await maskFiles(folder);
  if (first === undefined) throw unreadable(folder, "it is a folder without masks. Give a file.");
  const merged = await decodeMask(first);
  for (const file of others) {
    const { pixels, width, height } = await decodeMask(file);
    if (width !== merged.width || height !== merged.height) {
      const sizes = `${merged.width} x ${merged.height} and ${path.basename(file)} ${width} x ${height}`;
      throw unreadable(folder, `its masks differ in size: ${path.basename(first)} is ${sizes}.`);
    }
    for (let i = 0; i < pixels.length; i++) merged.pixels[i]! |= pixels[i]!;
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

const isFolder = (file: string): Promise<boolean> =>
  stat(file).then(
    (found) => found.isDirectory(),
    () => false,
  );

/**
 * What decodeMask leaves out of a file whose mask is empty: what the alpha channel shows, and in JPEG, WebP and AVIF values
 * below 128. A sentence, or undefined when there is nothing else in the file. Errors as for decodeImage.
 */
export async function leftOutOfMask(file: string): Promise<string | undefined> {
  if (await isFolder(file)) return undefined;
  const bytes = await readImageFile(file);
  const { format, hasAlpha } = await readHeader(bytes, file);
  try {
    const { channels } = await sharp(bytes, INPUT).stats();
    const alpha = hasAlpha ? channels.pop() : undefined;
    const brightest = Math.max(...channels.map(({ max }) => max));
    if (brightest > 0 && LOSSY.includes(format))
      return `in ${LOSSY_NAMES} only values from ${LOSSY_LEAST} count, and its highest is ${brightest}. Save it as PNG, with 0 and 255`;
    if (alpha !== undefined && alpha.min !== alpha.max)
      return "its alpha channel, which is not blank, is ignored. Draw the defect in white on black, without transparency";
    return undefined;
  } catch (error) {
    throw unreadable(file, `it is damaged or truncated. (${messageOf(error)})`, error);
  }
}

/** Width and height in pixels after EXIF orientation, from the header alone. `name` and errors as for decodeImage. */
export async function imageSize(
  source: string | Uint8Array,
  name?: string,
): Promise<{ width: number; height: number }> {
  const label = nameOf(source, name);
  const { width, height } = await readHeader(await bytesOf(source, label), label);
  return { width, height };
}

/** EXIF orientation, 1 (upright, or none given) to 8, from the header alone. `name` and errors as for decodeImage. */
export async function imageOrientation(source: string | Uint8Array, name?: string): Promise<number> {
  const label = nameOf(source, name);
  return (await readHeader(await bytesOf(source, label), label)).orientation;
}

export interface LoadOptions {
  /** Model size in pixels. */
  height: number;
  width: number;
  /** "bilinear" (default): the authors' resize, without anti-aliasing. "antialias": anomalib's. */
  resize?: ResizeMethod;
}

/** An image at model size, and the size that it came in. */
export interface LoadedImage extends RgbImage {
  sourceWidth: number;
  sourceHeight: number;
}

/** Decodes an image and resizes it to model size with the engine's exact resize (docs/method.md, Features); the aspect is not kept. */
export async function loadImage(
  source: ImageSource,
  { height, width, resize = "bilinear" }: LoadOptions,
  name?: string,
): Promise<LoadedImage> {
  const image = await decodeImage(source, name);
  const same = image.height === height && image.width === width;
  const pixels = same
    ? image.pixels
    : await engine().resizeImage(image.pixels, image.height, image.width, 3, height, width, resize);
  return { pixels, width, height, sourceWidth: image.width, sourceHeight: image.height };
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
