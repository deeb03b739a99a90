import type { Sharp } from "sharp";

import { bmpPixels } from "./bmp.js";
import { rgbOfCmyk } from "./cmyk.js";
import type { Header } from "./header.js";
import { sharp } from "./sharp.js";
import { decodeFailure } from "./unreadable.js";

/** The samples of an image as its file holds them, row-major, channels interleaved, without alpha. One channel is grey. */
export interface Samples {
  values: Uint8Array | Uint16Array;
  channels: 1 | 3;
  width: number;
  height: number;
}

/** Decodes the pixels of a file whose header was read. Throws IMAGE_UNREADABLE. */
export async function decodeSamples(bytes: Uint8Array, header: Header, name: string): Promise<Samples> {
  try {
    if (header.bmp) {
      const { width, height } = header;
      return { values: bmpPixels(bytes, header.bmp, name), channels: 3, width, height };
    }
    const image = sharp(bytes, header.input).removeAlpha();
    if (header.bits === 16) return await deepSamples(image, header);
    return header.colours === "cmyk" ? await cmykSamples(image) : await rgbSamples(image);
  } catch (error) {
    throw decodeFailure(name, error);
  }
}

async function rgbSamples(image: Sharp): Promise<Samples> {
  const { data, info } = await image
    .toColourspace("srgb")
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true });
  return { values: data, channels: 3, width: info.width, height: info.height };
}

/** Raw CMYK: libvips converts by a profile of its own, which makes (232, 0, 0) of pure red and (20, 5, 0) of black. */
async function cmykSamples(image: Sharp): Promise<Samples> {
  const { data, info } = await image
    .pipelineColourspace("cmyk")
    .toColourspace("cmyk")
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true });
  return { values: rgbOfCmyk(data), channels: 3, width: info.width, height: info.height };
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
