import type { Metadata, SharpOptions } from "sharp";

import { SuperSimpleNetError } from "../errors.js";
import type { BmpLayout } from "../native/binding.js";
import { isBmp, readBmpHeader } from "./bmp.js";
import { SUPPORTED } from "./formats.js";
import { sharp } from "./sharp.js";
import { checkTiff, isTiff } from "./tiff.js";
import { firstLine, memoryFailure, notRead, unreadable } from "./unreadable.js";

/** Of the largest image that is read: 32768 lines of a line-scan camera with 16384 pixels. As RGB they take 1.5 GiB, and several images are read at once. */
const MAX_PIXELS = 2 ** 29;

const FORMATS: readonly string[] = ["png", "jpeg", "tiff", "webp", "gif", "heif"];

// sharp's caches and thread counts belong to the application, which may use sharp itself: they are left as they are. Its
// cache of open files cannot serve stale pixels here, because every file is read by us and handed over as a buffer.
// ICC profiles are ignored, as OpenCV and PIL ignore them: networks are trained on the numbers in the file.
// sharp's own limit of pixels is half of ours, and its error reads like a damaged file: readHeader has the check.
// failOn: "warning" would refuse readable files, such as some phones' JPEGs; "error" passes over the errors of TIFF's tiles.
const INPUT = { failOn: "error", autoOrient: true, ignoreIcc: true, limitInputPixels: false } as const;

/** What a file says of its image before the pixels are decoded. */
export interface Header {
  format: string;
  /** Bits of a sample. */
  bits: 8 | 16;
  colours: "grey" | "rgb" | "cmyk";
  hasAlpha: boolean;
  /** EXIF orientation, 1 (upright, or none given) to 8. */
  orientation: number;
  /** Decoded as a whole before the first row comes out: interlaced, progressive or turned by EXIF. */
  whole: boolean;
  /** After EXIF orientation. */
  width: number;
  height: number;
  /** How sharp reads the file; a BMP is read by us. */
  input: SharpOptions;
  bmp?: BmpLayout;
}

/** What the name of a file with this image ends with: folders of images are read by it. */
export function extensionOf({ format }: Header): string {
  const others: Readonly<Record<string, string>> = { jpeg: ".jpg", tiff: ".tif", heif: ".avif" };
  return others[format] ?? `.${format}`;
}

/** Reads the header of an encoded image. Throws IMAGE_UNREADABLE for what is no image, damaged, too large or of a kind that is not read. */
export async function readHeader(bytes: Uint8Array, name: string, maxPixels = MAX_PIXELS): Promise<Header> {
  const header = isBmp(bytes) ? bmpHeader(bytes, name) : await sharpHeader(bytes, name);
  refuseTooLarge(header, name, Math.min(maxPixels, MAX_PIXELS));
  return header;
}

/** Throws IMAGE_UNREADABLE for an image with more pixels. */
export function refuseTooLarge(
  { width, height }: { width: number; height: number },
  name: string,
  maxPixels: number,
): void {
  if (width * height <= maxPixels) return;
  throw unreadable(
    name,
    `it has ${width} x ${height} = ${width * height} pixels. At most ${maxPixels} are read, for each takes 3 bytes of memory. Cut it into pieces, so that small defects can be seen, or scale it down.`,
  );
}

function bmpHeader(bytes: Uint8Array, name: string): Header {
  const bmp = readBmpHeader(bytes, name);
  const { width, height } = bmp;
  const plain = { format: "bmp", bits: 8, colours: "rgb", hasAlpha: false, orientation: 1, whole: false } as const;
  return { ...plain, width, height, input: INPUT, bmp };
}

async function sharpHeader(bytes: Uint8Array, name: string): Promise<Header> {
  const tiled = isTiff(bytes) && (await checkTiff(bytes, name)).tiled;
  const input = tiled ? { ...INPUT, failOn: "warning" as const } : INPUT;
  let metadata: Metadata;
  try {
    metadata = await sharp(bytes, input).metadata();
  } catch (error) {
    if (error instanceof SuperSimpleNetError) throw error;
    throw (
      memoryFailure(name, error) ??
      unreadable(name, `it is damaged or not an image. Supported are ${SUPPORTED}. (${firstLine(error)})`, error)
    );
  }
  const { format, depth, space, hasAlpha, isProgressive, orientation = 1, autoOrient } = metadata;
  if (!FORMATS.includes(format)) throw unreadable(name, `its format is ${format}. Supported are ${SUPPORTED}.`);
  if (depth !== "uchar" && depth !== "ushort")
    throw unreadable(name, `its samples are of type ${depth}. Supported are 8 and 16 bits per channel: convert it.`);
  const bits = depth === "uchar" ? 8 : 16;
  const colours = space === "cmyk" ? "cmyk" : space === "b-w" || space === "grey16" ? "grey" : "rgb";
  if (colours === "cmyk" && bits === 16)
    throw notRead(name, "it is CMYK with 16 bits per channel", "Convert it to RGB, or to 8 bits.");
  const { width, height } = autoOrient;
  const whole = isProgressive || orientation > 1;
  return { format, bits, colours, hasAlpha, orientation, whole, width, height, input };
}
