import { Random } from "../../../lib/random.js";
import { type Bitmap, createBitmap, isSet, writeSpan } from "../../../web/studio/masks/raster.js";

export const sizes = [
  [1, 1],
  [7, 5],
  [8, 8],
  [61, 47],
  [130, 70],
] as const;

/** One byte a pixel, row by row: what a bitmap says, pixel by pixel. */
export function pixelsOf(bitmap: Bitmap): Uint8Array {
  const { width, height } = bitmap;
  return Uint8Array.from({ length: width * height }, (_, i) => Number(isSet(bitmap, i % width, Math.floor(i / width))));
}

/** Each pixel set with this share. */
export function noisy(width: number, height: number, share: number, random: Random): Bitmap {
  const bitmap = createBitmap(width, height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) if (random.uniform() < share) writeSpan(bitmap, y, x, x + 1, true);
  return bitmap;
}

export const copyOf = (bitmap: Bitmap): Bitmap => ({ ...bitmap, data: bitmap.data.slice() });

/** The pixels of `before`, changed to `value` where `isInside` says so for their column and row. */
export const naively = (before: Bitmap, value: boolean, isInside: (x: number, y: number) => boolean): Uint8Array =>
  pixelsOf(before).map((pixel, i) =>
    isInside(i % before.width, Math.floor(i / before.width)) ? Number(value) : pixel,
  );

/** Bits behind the last pixel of each row stay 0: they would be seen as defects elsewhere. */
export function paddingOf({ width, height, stride, data }: Bitmap): number {
  let bits = 0;
  if (width % 8 > 0) for (let y = 0; y < height; y++) bits |= data[(y + 1) * stride - 1]! & (255 >> (width % 8));
  return bits;
}
