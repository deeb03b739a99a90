import type { AnomalyMap } from "../detection/types.js";
import { inTurns, type Steps } from "../turns.js";
import type { Field } from "./contour.js";

/** Values in rows: a map, or a mask. */
export interface Grid {
  data: Float32Array | Uint8Array;
  width: number;
  height: number;
}

/** A map with a longer side than this is not drawn value by value: what lies between the values that are taken would be lost. */
const largest = 1024;
/** The longer side of what such a map is kept as for a picture: at least a panel of an overlay. */
const kept = 512;

/** Whether a map is finer than a picture can show. */
export const isLarge = ({ width, height }: Pick<Grid, "width" | "height">): boolean =>
  Math.max(width, height) > largest;

/** A map of maxima, which stands for a larger one. */
interface ReducedMap extends AnomalyMap {
  reduced: true;
}

export const isReduced = (map: AnomalyMap): map is ReducedMap => "reduced" in map;

/** The map for a picture: a large one by its maxima, so that it may wait for the others of a run in little memory. */
export async function pictureMap(map: AnomalyMap): Promise<AnomalyMap> {
  if (!isLarge(map)) return map;
  const factor = Math.ceil(Math.max(map.width, map.height) / kept);
  const reduced: ReducedMap = {
    ...map,
    ...(await byMaxima(map, map.width / factor, map.height / factor)),
    reduced: true,
  };
  return reduced;
}

/** At most as many values as there are: each is the maximum of those that lie under it. The size is rounded up. */
export async function byMaxima(grid: Grid, toWidth: number, toHeight: number): Promise<Field> {
  const [width, height] = [shorter(grid.width, toWidth), shorter(grid.height, toHeight)];
  return { data: await inTurns(maxima(grid, width, height)), width, height };
}

const shorter = (from: number, to: number): number => Math.max(1, Math.min(from, Math.ceil(to)));

function* maxima({ data, width, height }: Grid, toWidth: number, toHeight: number): Steps<Float32Array> {
  const reduced = new Float32Array(toWidth * toHeight).fill(-Infinity);
  const begins = Array.from({ length: toWidth }, (_, i) => Math.floor((i * width) / toWidth));
  const ends = begins.map((_, i) => Math.ceil(((i + 1) * width) / toWidth));
  for (let row = 0; row < toHeight; row++) {
    const end = Math.ceil(((row + 1) * height) / toHeight);
    for (let y = Math.floor((row * height) / toHeight); y < end; y++) {
      const line = y * width;
      for (let column = 0; column < toWidth; column++) {
        let highest = reduced[row * toWidth + column]!;
        const last = line + ends[column]!;
        for (let at = line + begins[column]!; at < last; at++) if (data[at]! > highest) highest = data[at]!;
        reduced[row * toWidth + column] = highest;
      }
      yield 4 * width;
    }
  }
  return reduced;
}
