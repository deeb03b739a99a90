import { types } from "node:util";

import { engine } from "../native/engine.js";
import { fullDepth } from "../schema/common.js";
import { unheeded } from "../turns.js";
import { decodingBudget } from "./budget.js";
import type { DecodeOptions, PixelFacts } from "./decode.js";
import { refuseTooLarge } from "./header.js";
import { bytesToDecode, decodeSamples, openEncoded } from "./samples.js";
import {
  copiedAtOnce,
  type ImageSource,
  nameOfSource,
  type PlainSource,
  plainSource,
  type RawImage,
} from "./source.js";
import { bytesToSpool, canSpool, spool, type Spooled, spoolingBytes } from "./spool.js";

/** Rows of an image, with its channels interleaved. */
export interface SampleRows {
  values: Uint8Array | Uint16Array;
  firstRow: number;
  rows: number;
}

/** A decoded image whose samples are at hand until it is closed. */
export interface OpenImage extends PixelFacts {
  width: number;
  height: number;
  channels: 1 | 3 | 4;
  /** Memory that its samples take, or the rows of a file that are at hand. */
  bytes: number;
  /** At least the rows from `first` until `end`. */
  rows(first: number, end: number): Promise<SampleRows>;
  /** Gives back its place in the memory for images, for who counts what it takes by himself. */
  release: () => void;
  /** The same; no rows can be read afterwards. */
  close: () => void;
}

/** What stands for a source in messages, before it is read. */
export const imageName = (source: ImageSource, { name }: DecodeOptions): string => {
  if (name !== undefined) return name;
  if (typeof source === "string" || types.isUint8Array(source)) return nameOfSource(source);
  return "(image)";
};

/** A source for who opens it later: what belongs to the caller is copied at once. */
export function copiedSource(source: ImageSource, options: DecodeOptions): PlainSource | Promise<PlainSource> {
  const plain = plainSource(source);
  if (types.isPromise(plain)) return unheeded(plain);
  if (typeof plain === "string" || options.own) return plain;
  if (types.isUint8Array(plain)) return copiedAtOnce(plain, imageName(source, options));
  return { ...plain, data: plain.data.slice() };
}

/**
 * Decodes an image and keeps its samples, in memory or, of a very large one, in a temporary file. As decodeImage: what
 * belongs to the caller is copied at once, unless it is `own`.
 */
export async function openImage(source: ImageSource, options: DecodeOptions = {}): Promise<OpenImage> {
  const { bitDepth = fullDepth } = options;
  const settling = plainSource(source);
  const ofBlob = types.isPromise(settling);
  const plain = ofBlob ? await settling : settling;
  if (typeof plain !== "string" && !types.isUint8Array(plain)) return openRaw(plain, options);
  const { name = nameOfSource(plain), maxPixels, own = ofBlob } = options;
  const { header, bytes, takePixels, close } = await openEncoded(plain, name, { own, maxPixels });
  try {
    if (!canSpool(header)) {
      await takePixels(bytesToDecode(header));
      return await inMemory({ ...(await decodeSamples(bytes, header, name)), close }, bitDepth);
    }
    await takePixels(bytesToSpool(header));
    const { width, height } = header;
    return await inFile(await spool(bytes, header, name), { width, height, bitDepth, close });
  } catch (error) {
    close();
    throw error;
  }
}

async function openRaw(image: RawImage, options: DecodeOptions): Promise<OpenImage> {
  const { name = "(raw image)", maxPixels = Infinity, own = false, bitDepth = fullDepth } = options;
  refuseTooLarge(image, name, maxPixels);
  const close = decodingBudget().add(image.data.length);
  const { width, height, channels } = image;
  const values = own ? image.data : image.data.slice();
  return inMemory({ values, width, height, channels, close }, bitDepth).catch((error: unknown) => {
    close();
    throw error;
  });
}

type InMemory = Pick<OpenImage, "width" | "height" | "channels" | "close"> & { values: Uint8Array | Uint16Array };

async function inMemory({ values, ...image }: InMemory, bitDepth: number): Promise<OpenImage> {
  const facts = await factsOf(values, { ...image, bitDepth });
  const all = { values, firstRow: 0, rows: image.height };
  return { ...image, ...facts, bytes: values.byteLength, rows: async () => all, release: image.close };
}

/** So many rows are read at a time to see what the samples are. */
const factRows = 256;

async function inFile(
  file: Spooled,
  { close, bitDepth, ...size }: { width: number; height: number; bitDepth: number; close: () => void },
): Promise<OpenImage> {
  const { width, height } = size;
  const { channels } = file;
  try {
    let [uniform, highest] = [true, 0];
    let first: number | undefined;
    for (let row = 0; row < height; row += factRows) {
      const rows = Math.min(factRows, height - row);
      const values = await file.rows(row, rows);
      const facts = await factsOf(values, { width, height: rows, channels, bitDepth });
      uniform &&= facts.uniform && values[0] === (first ??= values[0]!);
      highest = facts.highest === undefined ? -1 : Math.max(highest, facts.highest);
    }
    let last: Promise<SampleRows> | undefined;
    let kept = { first: 0, end: 0 };
    return {
      ...size,
      channels,
      uniform,
      highest: highest < 0 ? undefined : highest,
      bytes: spoolingBytes,
      rows(from, end) {
        // The tiles of a row of tiles need the same rows.
        if (!last || from < kept.first || end > kept.end) {
          kept = { first: from, end };
          last = file.rows(from, end - from).then((values) => ({ values, firstRow: from, rows: end - from }));
        }
        return last;
      },
      release: close,
      close() {
        file.close();
        close();
      },
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

interface Kind {
  width: number;
  height: number;
  channels: 1 | 3 | 4;
  bitDepth: number;
}

async function factsOf(
  values: Uint8Array | Uint16Array,
  { width, height, channels, bitDepth }: Kind,
): Promise<PixelFacts> {
  const size = { width, height, toHeight: 1, toWidth: 1 };
  const how = { channels, bitDepth, method: "bilinear", copy: false } as const;
  const { uniform, highest } = await engine().imageToRgb(values, { ...size, ...how });
  return { uniform, highest: types.isUint16Array(values) ? highest : undefined };
}
