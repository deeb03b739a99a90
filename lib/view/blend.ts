import type { Size } from "./mismatch.js";

/**
 * The weights of the tiles along one axis, one for each of a tile's pixels. Where tiles overlap, each one's weight rises from
 * its edge; all that lie over a pixel sum to one.
 */
export function axisWeights(edges: readonly number[], tile: number): Float32Array[] {
  const raw = edges.map((edge, i) => {
    const before = i > 0 ? edges[i - 1]! + tile - edge : 0;
    const after = i + 1 < edges.length ? edge + tile - edges[i + 1]! : 0;
    return Float64Array.from({ length: tile }, (_, p) =>
      Math.min(1, before > 0 ? (p + 0.5) / before : 1, after > 0 ? (tile - p - 0.5) / after : 1),
    );
  });
  const first = edges[0]!;
  const sums = new Float64Array(edges.at(-1)! + tile - first);
  raw.forEach((weights, i) => weights.forEach((weight, p) => (sums[edges[i]! - first + p]! += weight)));
  return raw.map((weights, i) => Float32Array.from(weights, (weight, p) => weight / sums[edges[i]! - first + p]!));
}

/** Adds the map of a tile to rows that begin where the tile does, pixel by pixel with its weights. */
export function addTile(
  rows: { data: Float32Array; width: number },
  tile: { data: Float32Array } & Size,
  left: number,
  { across, down }: { across: Float32Array; down: Float32Array },
): void {
  for (let y = 0; y < tile.height; y++) {
    const from = y * tile.width;
    const to = y * rows.width + left;
    const weight = down[y]!;
    for (let x = 0; x < tile.width; x++) rows.data[to + x]! += weight * across[x]! * tile.data[from + x]!;
  }
}

/** Rows of a map, `first` and the `rows` after it, of `height` in all. */
interface MapRows extends Size {
  data: Float32Array;
  first: number;
  rows: number;
}

/** Puts what a coarser map says into rows of a finer one of the same region where it is higher. Bilinear, half-pixel centres. */
export function raiseTo(fine: MapRows, coarse: { data: Float32Array } & Size): void {
  const columns = samples(0, fine.width, coarse.width, fine.width);
  const rows = samples(fine.first, fine.rows, coarse.height, fine.height);
  const line = new Float32Array(coarse.width);
  for (const [y, { low, high, weight }] of rows.entries()) {
    for (let x = 0; x < coarse.width; x++)
      line[x] = (1 - weight) * coarse.data[low * coarse.width + x]! + weight * coarse.data[high * coarse.width + x]!;
    for (let x = 0; x < fine.width; x++) {
      const { low: left, high: right, weight: share } = columns[x]!;
      const value = (1 - share) * line[left]! + share * line[right]!;
      // NaN too: it tells of weights that overflow.
      if (!(value <= fine.data[y * fine.width + x]!)) fine.data[y * fine.width + x] = value;
    }
  }
}

function samples(
  first: number,
  count: number,
  from: number,
  to: number,
): { low: number; high: number; weight: number }[] {
  return Array.from({ length: count }, (_, i) => {
    const position = Math.max(0, ((first + i + 0.5) * from) / to - 0.5);
    const low = Math.min(Math.floor(position), from - 1);
    return { low, high: Math.min(low + 1, from - 1), weight: position - low };
  });
}
