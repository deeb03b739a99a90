import { types } from "node:util";

import { engine } from "../native/engine.js";
import { decodingBudget } from "./budget.js";
import type { DecodeOptions, PixelFacts } from "./decode.js";
import { refuseTooLarge } from "./header.js";
import { openSamples } from "./samples.js";
import { type ImageSource, nameOfSource, plainSource, type RawImage } from "./source.js";

/** A decoded image whose samples are at hand until it is closed. */
export interface OpenImage extends PixelFacts {
  values: Uint8Array | Uint16Array;
  width: number;
  height: number;
  channels: 1 | 3 | 4;
  close: () => void;
}

/** What stands for a source in messages, before it is read. */
export const imageName = (source: ImageSource, { name }: DecodeOptions): string => {
  if (name !== undefined) return name;
  if (typeof source === "string" || types.isUint8Array(source)) return nameOfSource(source);
  return "(image)";
};

/** Decodes an image and keeps its samples. As decodeImage: what belongs to the caller is copied at once, unless it is `own`. */
export async function openImage(source: ImageSource, options: DecodeOptions = {}): Promise<OpenImage> {
  const settling = plainSource(source);
  const ofBlob = types.isPromise(settling);
  const plain = ofBlob ? await settling : settling;
  if (typeof plain !== "string" && !types.isUint8Array(plain)) return openRaw(plain, options);
  const { name = nameOfSource(plain), maxPixels, own = ofBlob } = options;
  const { samples, close } = await openSamples(plain, name, { own, maxPixels });
  return withFacts({ ...samples, close }, options);
}

async function openRaw(image: RawImage, options: DecodeOptions): Promise<OpenImage> {
  const { name = "(raw image)", maxPixels = Infinity, own = false } = options;
  refuseTooLarge(image, name, maxPixels);
  const close = decodingBudget().add(image.data.length);
  const { width, height, channels } = image;
  return withFacts({ values: own ? image.data : image.data.slice(), width, height, channels, close }, options);
}

async function withFacts(
  image: Omit<OpenImage, keyof PixelFacts>,
  { bitDepth = 16 }: DecodeOptions,
): Promise<OpenImage> {
  try {
    const { values, width, height, channels } = image;
    const size = { width, height, toHeight: 1, toWidth: 1 };
    const how = { channels, bitDepth, method: "bilinear", copy: false } as const;
    const { uniform, highest } = await engine().imageToRgb(values, { ...size, ...how });
    return { ...image, uniform, highest: types.isUint16Array(values) ? highest : undefined };
  } catch (error) {
    image.close();
    throw error;
  }
}
