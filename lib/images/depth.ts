import type { Samples } from "./samples.js";

/** Bits that a sample of 16 bits can hold without a word: what cameras deliver. */
const DEPTHS = [8, 10, 12, 14, 16] as const;

/** The bits per sample that data with this highest sample holds: the fewest of 8, 10, 12, 14 and 16. */
export const depthOf = (highest: number): number => DEPTHS.find((bits) => highest < 2 ** bits)!;

/** Whether the highest of 16-bit samples uses less than a quarter of the range of `bitDepth`: they come out nearly black. */
export const isFarBelow = (highest: number, bitDepth: number): boolean => bitDepth > 8 && highest < 2 ** (bitDepth - 2);

/** Whether the highest of 16-bit samples lies above the range of `bitDepth`, where all becomes white. */
export const isAbove = (highest: number, bitDepth: number): boolean => highest >= 2 ** bitDepth;

/** The highest 8 bits of samples with `bitDepth` bits as RGB, 255 for what lies above, and the highest sample. */
export function rgbOfDeep(
  { values, channels, width, height }: Samples,
  bitDepth: number,
): { pixels: Uint8Array; highest: number } {
  const shift = bitDepth - 8;
  const pixels = new Uint8Array(width * height * 3);
  const step = channels === 1 ? 0 : 1;
  let highest = 0;
  for (let to = 0, from = 0; to < pixels.length; from += channels) {
    for (let c = 0; c < 3; c++) {
      const value = values[from + c * step]!;
      if (value > highest) highest = value;
      const high = value >> shift;
      pixels[to++] = high > 255 ? 255 : high;
    }
  }
  return { pixels, highest };
}
