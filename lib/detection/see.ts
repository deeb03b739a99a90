import { throwIfAborted } from "../errors.js";
import { prefetch } from "../images/pipeline.js";
import type { NativeDetector } from "../native/binding.js";
import { inTurns, turns } from "../turns.js";
import { addTile, axisWeights, raiseTo } from "../view/blend.js";
import { countTiles, type Plane } from "../view/layout.js";
import type { Size } from "../view/mismatch.js";
import type { ViewedImage } from "../view/open.js";
import type { Prepared } from "./prepare.js";

/** What the network says about an image, before anything is decided. */
export interface Seen extends Size {
  /** The highest of its tiles' score logits. */
  logit: number;
  /** Logits of the part that the finest plane covers. */
  map: Float32Array;
  /** 1 for pixels of the map that are ignored; undefined: none is. */
  ignored: Uint8Array | undefined;
  engineMs: number;
}

interface Tile {
  plane: number;
  column: number;
  row: number;
}

export interface SeeOptions {
  /** Tiles for one forward pass. */
  batchSize: number;
  signal?: AbortSignal | undefined;
  /** Called with the tiles that are done, and with all there are. */
  onTiles?: ((done: number, total: number) => void) | undefined;
}

/**
 * Looks at an image tile by tile. Maps are blended on each plane, and what a coarser plane says counts where it is higher.
 * Tiles that are ignored as a whole are left out.
 */
export async function seeTiles(
  native: NativeDetector,
  tile: Size,
  image: ViewedImage,
  { batchSize, signal, onTiles }: SeeOptions,
): Promise<Seen> {
  const { planes } = image.layout;
  const maps = planes.map((plane) => new PlaneMap(plane, tile));
  const total = countTiles(image.layout);
  const load = async ({ plane: index, column, row }: Tile) => {
    const plane = planes[index]!;
    const at = { x: plane.columns[column]!, y: plane.rows[row]! };
    const ignored = await image.ignored(plane, { ...at, ...tile });
    const pixels = ignored && !ignored.includes(0) ? undefined : await image.tile(plane, at.x, at.y);
    return { plane: index, column, row, pixels };
  };
  let logit = -Infinity;
  let [done, engineMs] = [0, 0];
  const breathe = turns();
  const see = async (batch: (Tile & { pixels: Uint8Array })[]): Promise<void> => {
    const stacked = new Uint8Array(batch.length * tile.width * tile.height * 3);
    batch.forEach(({ pixels }, i) => stacked.set(pixels, i * pixels.length));
    const start = performance.now();
    const result = await native.detect(stacked, batch.length);
    engineMs += performance.now() - start;
    throwIfAborted(signal);
    const size = tile.width * tile.height;
    for (const [i, { plane, column, row }] of batch.entries()) {
      // NaN stays: it tells of weights that overflow.
      logit = Number.isNaN(logit) ? logit : Math.max(logit, result.scores[i]!);
      maps[plane]!.add(column, row, result.maps.subarray(i * size, (i + 1) * size));
      await breathe(8 * size);
    }
  };
  let batch: (Tile & { pixels: Uint8Array })[] = [];
  for await (const { pixels, ...at } of prefetch(tilesOf(planes), load, { ahead: 2 * batchSize, signal })) {
    if (pixels) batch.push({ ...at, pixels });
    done++;
    if (batch.length === batchSize || (done === total && batch.length > 0)) {
      await see(batch);
      batch = [];
      onTiles?.(done, total);
    }
  }
  const [finest, ...others] = maps;
  for (const other of others) await inTurns(raiseTo(finest!, other));
  const { width, height } = finest!;
  return { logit, map: finest!.data, width, height, ignored: await ignoredOf(image), engineMs };
}

function* tilesOf(planes: readonly Plane[]): Generator<Tile> {
  for (const [plane, { columns, rows }] of planes.entries())
    for (const row of rows.keys()) for (const column of columns.keys()) yield { plane, column, row };
}

/** The blended map of a plane. */
class PlaneMap implements Size {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
  readonly #across: Float32Array[];
  readonly #down: Float32Array[];

  constructor(
    private readonly plane: Plane,
    private readonly tile: Size,
  ) {
    this.width = plane.covered.width;
    this.height = plane.covered.height;
    this.data = new Float32Array(this.width * this.height);
    this.#across = axisWeights(plane.columns, tile.width);
    this.#down = axisWeights(plane.rows, tile.height);
  }

  add(column: number, row: number, map: Float32Array): void {
    const { plane, tile } = this;
    if (plane.columns.length * plane.rows.length === 1) return this.data.set(coveredMap(plane, tile, map));
    const at = { x: plane.columns[column]!, y: plane.rows[row]! };
    addTile(this, { data: map, ...tile }, at, { across: this.#across[column]!, down: this.#down[row]! });
  }
}

/** What the map of a plane's only tile says of the part that it covers: a tile that is padded says more. */
export function coveredMap({ columns, rows, covered }: Plane, tile: Size, map: Float32Array): Float32Array {
  if (covered.width === tile.width && covered.height === tile.height) return map;
  const [left, top] = [covered.x - columns[0]!, covered.y - rows[0]!];
  const out = new Float32Array(covered.width * covered.height);
  for (let y = 0; y < covered.height; y++) {
    const start = (top + y) * tile.width + left;
    out.set(map.subarray(start, start + covered.width), y * covered.width);
  }
  return out;
}

/** Of the pixels of the map. */
export const ignoredOf = (image: Pick<ViewedImage, "layout" | "ignored">): Promise<Uint8Array | undefined> =>
  image.ignored(image.layout.planes[0], image.layout.planes[0].covered);

/** Gives ignored pixels of a map the lowest value of the others. */
export function fillIgnored({ map, ignored }: Pick<Seen, "map" | "ignored">): void {
  if (!ignored) return;
  let lowest = Infinity;
  for (let i = 0; i < map.length; i++) if (ignored[i] === 0 && map[i]! < lowest) lowest = map[i]!;
  for (let i = 0; i < map.length; i++) if (ignored[i] !== 0) map[i] = lowest;
}

/** Looks at images that the network sees in one piece, in one forward pass. */
export async function seePieces(
  native: NativeDetector,
  tile: Size,
  images: readonly Pick<Prepared, "layout" | "piece">[],
): Promise<Seen[]> {
  if (images.length === 0) return [];
  const plane = tile.height * tile.width;
  let { pixels } = images[0]!.piece!;
  if (images.length > 1) {
    pixels = new Uint8Array(images.length * plane * 3);
    images.forEach(({ piece }, i) => pixels.set(piece!.pixels, i * plane * 3));
  }
  const start = performance.now();
  const { scores, maps } = await native.detect(pixels, images.length);
  const engineMs = (performance.now() - start) / images.length;
  return images.map(({ layout, piece }, i) => {
    // A copy: a slice would keep the whole batch's maps alive as long as one of them.
    const own = images.length === 1 ? maps : maps.slice(i * plane, (i + 1) * plane);
    const [finest] = layout.planes;
    const { width, height } = finest.covered;
    return { logit: scores[i]!, map: coveredMap(finest, tile, own), width, height, ignored: piece!.ignored, engineMs };
  });
}
