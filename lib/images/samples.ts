import { stat } from "node:fs/promises";

import type { Sharp } from "sharp";

import { engine } from "../native/engine.js";
import { bmpPixels } from "./bmp.js";
import { Budget, decodingBudget, readingBudget } from "./budget.js";
import { type Header, readHeader } from "./header.js";
import { sharp } from "./sharp.js";
import { copiedAtOnce, readImageFile } from "./source.js";
import { decodeFailure } from "./unreadable.js";

/** The samples of an image as its file holds them, row-major, channels interleaved, without alpha. One channel is grey. */
export interface Samples {
  values: Uint8Array | Uint16Array;
  channels: 1 | 3;
  width: number;
  height: number;
}

/** Images whose files are read and decoded at once: enough for libuv's pool of threads to have the next at hand. */
const AT_ONCE = 2 * Math.max(4, Number(process.env["UV_THREADPOOL_SIZE"]) || 4);
const entrance = new Budget(AT_ONCE, () => Infinity);

/** An encoded image whose header was read. It keeps its place in the budgets of memory until it is closed. */
export interface OpenFile {
  header: Header;
  bytes: Uint8Array;
  /** Waits for memory for the pixels. */
  takePixels: (bytes: number) => Promise<void>;
  close: () => void;
}

/** The same with its samples. */
export interface OpenSamples extends Omit<OpenFile, "takePixels"> {
  samples: Samples;
}

export interface OpenOptions {
  own?: boolean;
  maxPixels?: number | undefined;
}

/** Decodes a file or an encoded image within the budgets of memory. */
export async function openSamples(
  source: string | Uint8Array,
  name: string,
  options?: OpenOptions,
): Promise<OpenSamples> {
  const { header, bytes, takePixels, close } = await openEncoded(source, name, options);
  try {
    await takePixels(bytesToDecode(header));
    return { samples: await decodeSamples(bytes, header, name), header, bytes, close };
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * Reads a file or an encoded image, not yet its pixels. A buffer is copied at once, unless it is `own`: its owner may use
 * it again before the image is decoded.
 */
export async function openEncoded(
  source: string | Uint8Array,
  name: string,
  { own = false, maxPixels }: OpenOptions = {},
): Promise<OpenFile> {
  const given: (() => void)[] = [];
  const close = (): void => given.splice(0).forEach((giveBack) => giveBack());
  try {
    let bytes: Uint8Array;
    if (typeof source === "string") {
      given.push(await entrance.take(1, name));
      given.push(await readingBudget().take(await sizeOfFile(source), name));
      bytes = await readImageFile(source);
    } else {
      bytes = own ? source : copiedAtOnce(source, name);
      given.push(readingBudget().add(bytes.length), await entrance.take(1, name));
    }
    const header = await readHeader(bytes, name, maxPixels);
    const takePixels = async (needed: number): Promise<void> =>
      void given.push(await decodingBudget().take(needed, name));
    return { header, bytes, takePixels, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Decodes an image for `use`, and closes it when that is done. */
export async function withSamples<T>(
  source: string | Uint8Array,
  name: string,
  use: (samples: Samples, header: Header, bytes: Uint8Array) => Promise<T>,
  options?: OpenOptions,
): Promise<T> {
  const { samples, header, bytes, close } = await openSamples(source, name, options);
  try {
    return await use(samples, header, bytes);
  } finally {
    close();
  }
}

/** 0 for a file that cannot be read; reading it says why. */
const sizeOfFile = (file: string): Promise<number> =>
  stat(file).then(
    ({ size }) => size,
    () => 0,
  );

/** Bytes per pixel that libvips and the codec take beside the samples, measured with images of 20 megapixels. */
const WORKING: Readonly<Record<string, number>> = { webp: 8, gif: 5, heif: 17 };

/** Memory that decoding takes at most beside the file: samples, what the codec keeps, and the RGB that is made of them. */
export function bytesToDecode({ width, height, format, bits, colours, whole }: Header): number {
  const sample = bits / 8;
  const channels = colours === "grey" ? 1 : colours === "cmyk" ? 4 : 3;
  const made = bits === 16 ? 3 + channels : colours === "rgb" ? 0 : 3;
  const working = WORKING[format] ?? (whole ? channels * sample + 1 : 1);
  return width * height * (channels * sample + working + made);
}

/** Decodes the pixels of a file whose header was read. Throws IMAGE_UNREADABLE. */
export async function decodeSamples(bytes: Uint8Array, header: Header, name: string): Promise<Samples> {
  try {
    if (header.bmp) {
      const { width, height } = header;
      return { values: await bmpPixels(bytes, header.bmp, name), channels: 3, width, height };
    }
    const image = sharp(bytes, header.input).removeAlpha();
    if (header.bits === 16) return await deepSamples(image, header);
    return header.colours === "cmyk" ? await cmykSamples(image) : await plainSamples(image, header.colours === "grey");
  } catch (error) {
    throw decodeFailure(name, error, bytesToDecode(header));
  }
}

/** Grey stays one channel: a third of the memory and of the work. */
async function plainSamples(image: Sharp, grey: boolean): Promise<Samples> {
  const { data, info } = await image
    .toColourspace(grey ? "b-w" : "srgb")
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true });
  return { values: data, channels: grey ? 1 : 3, width: info.width, height: info.height };
}

/** Raw CMYK: libvips converts by a profile of its own, which makes (232, 0, 0) of pure red and (20, 5, 0) of black. */
async function cmykSamples(image: Sharp): Promise<Samples> {
  const { data, info } = await image
    .pipelineColourspace("cmyk")
    .toColourspace("cmyk")
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true });
  return { values: await engine().cmykToRgb(data), channels: 3, width: info.width, height: info.height };
}

async function deepSamples(image: Sharp, { colours }: Header): Promise<Samples> {
  const { data, info } = await image
    .toColourspace(colours === "grey" ? "grey16" : "rgb16")
    .raw({ depth: "ushort" })
    .toBuffer({ resolveWithObject: true });
  const { width, height } = info;
  const channels = colours === "grey" ? 1 : 3;
  return { values: new Uint16Array(data.buffer, data.byteOffset, width * height * channels), channels, width, height };
}
