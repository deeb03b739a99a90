import { type Bitmap, type Box, isSet } from "./raster.js";
import type { Coverage } from "./coverage.js";
import type { View } from "./view.js";

/** The colour of masks in the report. */
const [red, green, blue] = [0x3c, 0xce, 0xff];

/** RGBA by share of defect. A trace can be seen, a full cell is opaque: the canvas's own opacity does the rest. */
const alphaOf = (share: number): number => (share === 0 ? 0 : Math.round(110 + (145 * share) / 255));
const colours = new Uint32Array(
  Uint8Array.from(Array.from({ length: 256 }, (_, share) => [red, green, blue, alphaOf(share)]).flat()).buffer,
);

/** Paints the mask as it lies in this box of the canvas: RGBA, all of it written. */
export function paintOverlay(
  bitmap: Bitmap,
  coverage: Coverage,
  view: View,
  { left, top, right, bottom }: Box,
  rgba: Uint8ClampedArray,
): void {
  const halvings = Math.max(0, Math.ceil(Math.log2(1 / view.scale)));
  const level = coverage.levels[Math.min(halvings, coverage.levels.length) - 1];
  const columns = cellsOf(left, right, view.left, view.scale, bitmap.width, halvings);
  const rows = cellsOf(top, bottom, view.top, view.scale, bitmap.height, halvings);
  const pixels = new Uint32Array(rgba.buffer, rgba.byteOffset, rgba.length / 4);
  let at = 0;
  for (const y of rows)
    for (const x of columns) {
      const share = x < 0 || y < 0 ? 0 : level ? level.values[y * level.width + x]! : isSet(bitmap, x, y) ? 255 : 0;
      pixels[at++] = colours[share]!;
    }
}

/** The cell of 2^halvings image pixels under each canvas pixel's centre; -1: outside of the image. */
function cellsOf(from: number, to: number, origin: number, scale: number, size: number, halvings: number): Int32Array {
  return Int32Array.from({ length: to - from }, (_, i) => {
    const place = Math.floor(origin + (from + i + 0.5) / scale);
    return place < 0 || place >= size ? -1 : place >> halvings;
  });
}

/** The pixels of the canvas that show this box of the image. */
export function shownBox({ left, top, right, bottom }: Box, view: View, width: number, height: number): Box {
  // A cell of the coverage can reach beyond the box.
  const margin = Math.max(1, 2 / view.scale);
  const clamp = (value: number, high: number): number => Math.max(0, Math.min(high, value));
  return {
    left: clamp(Math.floor((left - margin - view.left) * view.scale), width),
    top: clamp(Math.floor((top - margin - view.top) * view.scale), height),
    right: clamp(Math.ceil((right + margin - view.left) * view.scale), width),
    bottom: clamp(Math.ceil((bottom + margin - view.top) * view.scale), height),
  };
}
