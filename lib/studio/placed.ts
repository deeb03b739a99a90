import type { AnomalyMap } from "../detection/types.js";

interface Size {
  width: number;
  height: number;
}

/** Where a map reaches a value, 255 and else 0, in pixels of the image: what the map does not cover is 0. */
export function markedPixels({ data, area, ...map }: AnomalyMap, from: number, { width, height }: Size): Uint8Array {
  const marked = new Uint8Array(width * height);
  const cellOf = (at: number, begin: number, length: number, cells: number): number =>
    Math.floor(((at + 0.5 - begin) * cells) / length);
  const columns = Int32Array.from({ length: width }, (_, x) => cellOf(x, area.x, area.width, map.width));
  for (let y = 0; y < height; y++) {
    const row = cellOf(y, area.y, area.height, map.height);
    if (row < 0 || row >= map.height) continue;
    for (let x = 0; x < width; x++) {
      const column = columns[x]!;
      if (column >= 0 && column < map.width && data[row * map.width + column]! >= from) marked[y * width + x] = 255;
    }
  }
  return marked;
}
