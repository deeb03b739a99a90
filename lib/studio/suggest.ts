import type { Detection } from "../detection/types.js";
import type { Suggestion } from "./types.js";

/** What is kept of an image that nobody has labelled: there may be thousands. */
export interface Seen extends Pick<Detection, "verdict" | "score" | "margin"> {
  id: string;
  version: string;
  /** The highest logit of each cell of the map. */
  cells: Float32Array;
}

/** The map is looked at in so many cells each way. */
const cells = 8;
/** Beyond so many, the order is by the margin alone. */
const most = 500;

/**
 * Orders images by what their label would teach: those near the threshold first, each unlike the ones before. Unlike is what
 * lights up elsewhere or otherwise in the map: the greatest distance to all that come before, in cells of the map, counts as
 * much as the nearness to the threshold. Greedy, as k-center selection; the first one is the nearest to the threshold.
 */
export function rankForLabels(seen: readonly Seen[]): Suggestion[] {
  const nearness = normalised(seen.map(({ margin }) => -Math.abs(margin)));
  const order = seen.map((_, i) => i).sort((a, b) => nearness[b]! - nearness[a]!);
  const [close, rest] = [order.slice(0, most), order.slice(most)];
  const distance = new Map(close.map((i) => [i, Infinity]));
  const ranked: { i: number; reason: Suggestion["reason"] }[] = [];
  for (let left = new Set(close); left.size > 0;) {
    const unlike = ranked.length === 0 ? undefined : normalisedMap(left, distance);
    let best = -1;
    let bestValue = -Infinity;
    for (const i of left) {
      const value = nearness[i]! + (unlike?.get(i) ?? 0);
      if (value > bestValue) [best, bestValue] = [i, value];
    }
    const isUnlike = (unlike?.get(best) ?? 0) > nearness[best]!;
    ranked.push({ i: best, reason: isUnlike ? "unlike the ones before" : "near the threshold" });
    left.delete(best);
    for (const i of left) distance.set(i, Math.min(distance.get(i)!, apart(seen[i]!.cells, seen[best]!.cells)));
  }
  ranked.push(...rest.map((i) => ({ i, reason: "near the threshold" as const })));
  return ranked.map(({ i, reason }, rank) => {
    const { id, version, verdict, score } = seen[i]!;
    return { id, version, verdict, score, rank, reason };
  });
}

export const seenOf = (
  { id, version }: Pick<Seen, "id" | "version">,
  { verdict, score, margin, map }: Detection,
): Seen => ({
  ...{ id, version, verdict, score, margin },
  cells: cellsOf(map),
});

function cellsOf({ data, width, height }: Detection["map"]): Float32Array {
  const found = new Float32Array(cells * cells).fill(-Infinity);
  for (let y = 0; y < height; y++) {
    const row = cells * Math.floor((y * cells) / height);
    for (let x = 0; x < width; x++) {
      const cell = row + Math.floor((x * cells) / width);
      const value = data[y * width + x]!;
      if (value > found[cell]!) found[cell] = value;
    }
  }
  return found.map((value) => (Number.isFinite(value) ? value : 0));
}

const apart = (a: Float32Array, b: Float32Array): number =>
  Math.sqrt(a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0));

/** From 0 to 1. */
function normalised(values: readonly number[]): number[] {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  const reach = high - low || 1;
  return values.map((value) => (value - low) / reach);
}

function normalisedMap(keys: ReadonlySet<number>, values: ReadonlyMap<number, number>): Map<number, number> {
  const list = [...keys];
  const scaled = normalised(list.map((key) => values.get(key)!));
  return new Map(list.map((key, i) => [key, scaled[i]!]));
}
