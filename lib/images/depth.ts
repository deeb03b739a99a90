/** Bits that a sample of 16 bits can hold without a word: what cameras deliver. */
const DEPTHS = [8, 10, 12, 14, 16] as const;

/** The bits per sample that data with this highest sample holds: the fewest of 8, 10, 12, 14 and 16. */
export const depthOf = (highest: number): number => DEPTHS.find((bits) => highest < 2 ** bits)!;

/** Whether the highest of 16-bit samples uses less than a quarter of the range of `bitDepth`: they come out nearly black. */
export const isFarBelow = (highest: number, bitDepth: number): boolean => bitDepth > 8 && highest < 2 ** (bitDepth - 2);

/** Whether the highest of 16-bit samples lies above the range of `bitDepth`, where all becomes white. */
export const isAbove = (highest: number, bitDepth: number): boolean => highest >= 2 ** bitDepth;
