import { type Bitmap, createBitmap } from "./raster.js";
import { maskTexts as texts } from "../texts.js";
import type { Size } from "./view.js";

/** The image as it is drawn. Some browsers cannot hold all of a large one: then `full` is smaller than the image. */
export interface Picture extends Size {
  full: ImageBitmap;
  /** For a look at all of a large image: quick to draw and without moiré. */
  small?: ImageBitmap;
}

const smallSide = 2048;

export async function loadPicture(address: string): Promise<Picture> {
  const blob = await fetched(address);
  const { full, width, height } = await bitmapOf(blob, address);
  const factor = smallSide / Math.max(full.width, full.height);
  if (factor > 0.5) return { full, width, height };
  const size = { resizeWidth: Math.round(full.width * factor), resizeHeight: Math.round(full.height * factor) };
  return { full, width, height, small: await createImageBitmap(full, { ...size, resizeQuality: "medium" }) };
}

async function bitmapOf(blob: Blob, address: string): Promise<Size & { full: ImageBitmap }> {
  try {
    const full = await createImageBitmap(blob);
    return { full, width: full.width, height: full.height };
  } catch {
    // Too large, or no image: an element knows the size without holding the pixels.
    const { width, height } = await sizeOf(address);
    for (let part = 2; Math.max(width, height) / part >= smallSide / 2; part *= 2) {
      const size = { resizeWidth: Math.round(width / part), resizeHeight: Math.round(height / part) };
      const full = await createImageBitmap(blob, { ...size, resizeQuality: "medium" }).catch(() => undefined);
      if (full !== undefined) return { full, width, height };
    }
    throw new Error(texts.unreadable);
  }
}

function sizeOf(address: string): Promise<Size> {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve({ width: image.naturalWidth, height: image.naturalHeight });
    image.onerror = () => reject(new Error(texts.unreadable));
    image.src = address;
  });
}

/** The mask that is stored, as it is now: it may have been saved since the browser saw it last. */
export const loadMask = async (address: string, size: Size): Promise<Bitmap> =>
  readMask(await fetched(address, { cache: "no-cache" }), size);

/** Reads a mask: every pixel that is not black is defect. */
export async function readMask(blob: Blob, { width, height }: Size): Promise<Bitmap> {
  const image = await createImageBitmap(blob, { colorSpaceConversion: "none" }).catch(() => {
    throw new Error(texts.unreadable);
  });
  try {
    if (image.width !== width || image.height !== height) throw new Error(texts.otherSize(image.width, image.height));
    return await bitsOf(image);
  } finally {
    image.close();
  }
}

const stripPixels = 2 ** 20;

/** Strip by strip, so that the page goes on and no second copy of the pixels is needed. */
async function bitsOf(image: ImageBitmap): Promise<Bitmap> {
  const bitmap = createBitmap(image.width, image.height);
  const { width, height, stride, data } = bitmap;
  const rows = Math.max(1, Math.min(height, Math.floor(stripPixels / width)));
  const context = new OffscreenCanvas(width, rows).getContext("2d", { willReadFrequently: true })!;
  for (let top = 0; top < height; top += rows) {
    context.clearRect(0, 0, width, rows);
    context.drawImage(image, 0, -top);
    const pixels = new Uint32Array(context.getImageData(0, 0, width, rows).data.buffer);
    for (let y = 0; y < Math.min(rows, height - top); y++)
      for (let x = 0; x < width; x++)
        if ((pixels[y * width + x]! & 0xffffff) !== 0) data[(top + y) * stride + (x >> 3)]! |= 128 >> (x & 7);
    await new Promise((resume) => setTimeout(resume));
  }
  return bitmap;
}

async function fetched(address: string, how: RequestInit = {}): Promise<Blob> {
  const response = await fetch(address, how);
  if (!response.ok) throw new Error(texts.answered(response.status));
  return response.blob();
}
