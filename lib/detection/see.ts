import { throwIfAborted } from "../errors.js";
import { prefetch } from "../images/pipeline.js";
import type { NativeDetector } from "../native/binding.js";
import { turns } from "../turns.js";
import { addTile, axisWeights, raiseTo } from "../view/blend.js";
import { countTiles, type Plane } from "../view/layout.js";
import { mismatch, type Size } from "../view/mismatch.js";
import type { ViewedImage } from "../view/open.js";
import type { Prepared } from "./prepare.js";

/** Rows of an image's map, from top to bottom. */
export interface Strip {
  /** Logits, rows x width of the map. */
  values: Float32Array;
  first: number;
  rows: number;
  /** 1 for pixels that are ignored; undefined: none is. */
  ignored: Uint8Array | undefined;
}

/** What takes the map of an image; the next strip comes when it has resolved. */
export type Sink = (strip: Strip) => Promise<void>;

/** What the network says about an image, beside its map. */
export interface Seen {
  /** The highest of its tiles' score logits. */
  logit: number;
  /** The same by scale, the finest first. */
  scales: { scale: number | "whole"; logit: number }[];
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
 * Looks at an image tile by tile, and gives its map in strips as soon as they are settled. Maps are blended on each plane,
 * and what a coarser plane says counts where it is higher. Tiles that are ignored as a whole are left out.
 */
export async function seeTiles(
  native: NativeDetector,
  tile: Size,
  image: ViewedImage,
  sink: Sink,
  { batchSize, signal, onTiles }: SeeOptions,
): Promise<Seen> {
  const { planes } = image.layout;
  const [finest] = planes;
  const coarse = planes.slice(1).map((plane) => new WholeMap(plane));
  const maps = planes.map((plane, index) => {
    const whole = coarse[index - 1];
    return new PlaneStrips(plane, tile, whole ? async (strip) => whole.put(strip) : give);
  });
  async function give({ values, first, rows }: Pick<Strip, "values" | "first" | "rows">): Promise<void> {
    const { covered } = finest;
    for (const map of coarse) raiseTo({ data: values, width: covered.width, height: covered.height, first, rows }, map);
    const window = { x: covered.x, y: covered.y + first, width: covered.width, height: rows };
    await sink({ values, first, rows, ignored: await image.ignored(finest, window) });
  }
  const total = countTiles(image.layout);
  const load = async ({ plane: index, column, row }: Tile) => {
    const plane = planes[index]!;
    const at = { x: plane.columns[column]!, y: plane.rows[row]! };
    const ignored = await image.ignored(plane, { ...at, ...tile });
    const pixels = ignored && !ignored.includes(0) ? undefined : await image.tile(plane, at.x, at.y);
    return { plane: index, column, row, pixels };
  };
  type Loaded = Awaited<ReturnType<typeof load>>;
  const logits = planes.map(() => -Infinity);
  // NaN stays: it tells of weights that overflow.
  const higher = (one: number, other: number): number => (Number.isNaN(one) ? one : Math.max(one, other));
  let [done, engineMs] = [0, 0];
  const breathe = turns();
  const size = tile.width * tile.height;
  const see = async (batch: readonly Loaded[]): Promise<void> => {
    const shown = batch.flatMap(({ pixels }) => pixels ?? []);
    const stacked = new Uint8Array(shown.length * size * 3);
    shown.forEach((pixels, i) => stacked.set(pixels, i * size * 3));
    const start = performance.now();
    const result = shown.length > 0 ? await native.detect(stacked, shown.length) : undefined;
    engineMs += performance.now() - start;
    throwIfAborted(signal);
    let at = 0;
    for (const { plane, column, row, pixels } of batch) {
      let map: Float32Array | undefined;
      if (pixels) {
        logits[plane] = higher(logits[plane]!, result!.scores[at]!);
        map = result!.maps.subarray(at * size, ++at * size);
      }
      await maps[plane]!.add(column, row, map);
      await breathe(8 * size);
    }
    done += batch.length;
    onTiles?.(done, total);
    throwIfAborted(signal);
  };
  let batch: Loaded[] = [];
  for await (const loaded of prefetch(tilesOf(planes), load, { ahead: 2 * batchSize, signal })) {
    batch.push(loaded);
    const shown = batch.filter(({ pixels }) => pixels).length;
    if (shown < batchSize && done + batch.length < total) continue;
    await see(batch);
    batch = [];
  }
  const scales = planes.map(({ scale }, i) => ({ scale, logit: logits[i]! }));
  if (logits.every((logit) => logit === -Infinity))
    throw mismatch(image.name, "every pixel that a tile shows is ignored.");
  return { logit: logits.reduce(higher), scales, engineMs };
}

/** The coarse planes first: what they say is there when the finest is settled. */
function* tilesOf(planes: readonly Plane[]): Generator<Tile> {
  for (const [plane, { columns, rows }] of [...planes.entries()].reverse())
    for (const row of rows.keys()) for (const column of columns.keys()) yield { plane, column, row };
}

class WholeMap implements Size {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;

  constructor({ covered }: Plane) {
    this.width = covered.width;
    this.height = covered.height;
    this.data = new Float32Array(this.width * this.height);
  }

  put({ values, first }: Pick<Strip, "values" | "first">): void {
    this.data.set(values, first * this.width);
  }
}

/** The map of a plane while its tiles come, row of tiles by row of tiles. Of it only the rows are kept that are not settled. */
class PlaneStrips {
  readonly #across: Float32Array[];
  readonly #down: Float32Array[];
  #rows: Float32Array;

  constructor(
    private readonly plane: Plane,
    private readonly tile: Size,
    private readonly give: (strip: Pick<Strip, "values" | "first" | "rows">) => Promise<void>,
  ) {
    this.#across = axisWeights(plane.columns, tile.width);
    this.#down = axisWeights(plane.rows, tile.height);
    this.#rows = new Float32Array(plane.covered.width * tile.height);
  }

  /** Without a map: a tile that was left out. */
  async add(column: number, row: number, map: Float32Array | undefined): Promise<void> {
    const { plane, tile } = this;
    const { columns, rows, covered } = plane;
    if (columns.length * rows.length === 1)
      return this.give({
        values: map ? coveredMap(plane, tile, map) : new Float32Array(covered.width * covered.height),
        first: 0,
        rows: covered.height,
      });
    const { width } = covered;
    if (map)
      addTile({ data: this.#rows, width }, { data: map, ...tile }, columns[column]!, {
        across: this.#across[column]!,
        down: this.#down[row]!,
      });
    if (column + 1 < columns.length) return;
    const first = rows[row]!;
    const settled = (rows[row + 1] ?? first + tile.height) - first;
    const values = this.#rows.slice(0, settled * width);
    this.#rows.copyWithin(0, settled * width);
    this.#rows.fill(0, (tile.height - settled) * width);
    await this.give({ values, first, rows: settled });
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

/** Looks at images that the network sees in one piece, in one forward pass. Their map is one strip. */
export async function seePieces(
  native: NativeDetector,
  tile: Size,
  images: readonly Pick<Prepared, "layout" | "piece">[],
): Promise<(Seen & { strip: Strip })[]> {
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
    const values = coveredMap(finest, tile, own);
    const strip = { values, first: 0, rows: finest.covered.height, ignored: piece!.ignored };
    const logit = scores[i]!;
    return { logit, scales: [{ scale: finest.scale, logit }], engineMs, strip };
  });
}
