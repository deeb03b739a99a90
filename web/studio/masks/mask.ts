import { Coverage } from "./coverage.js";
import { History } from "./history.js";
import {
  type Bitmap,
  type Box,
  boxOf,
  createBitmap,
  drawSegment,
  fillHole,
  type Filled,
  fillPolygon,
  type Point,
  reachOf,
  whole,
} from "./raster.js";

/** A mask that is being edited. Each change returns where it wrote; `commit` ends what can be undone as one. */
export class Mask {
  readonly bitmap: Bitmap;
  readonly coverage: Coverage;
  readonly history: History;

  constructor(width: number, height: number, stored?: Bitmap) {
    this.bitmap = stored ?? createBitmap(width, height);
    this.coverage = new Coverage(this.bitmap);
    this.history = new History(this.bitmap);
  }

  get isEmpty(): boolean {
    return this.coverage.isEmpty;
  }

  segment(from: Point, to: Point, radius: number, value: boolean): Box {
    return this.#write(reachOf(this.bitmap, from, to, radius), () => drawSegment(this.bitmap, from, to, radius, value));
  }

  polygon(points: readonly Point[]): Box {
    return this.#write(boxOf(this.bitmap, points), () => fillPolygon(this.bitmap, points));
  }

  hole(pixel: Point): Filled {
    let filled: Filled = "open";
    this.#write(whole(this.bitmap), () => (filled = fillHole(this.bitmap, pixel)));
    return filled;
  }

  replace({ data }: Bitmap): Box {
    return this.#write(whole(this.bitmap), () => this.bitmap.data.set(data));
  }

  clear(): Box {
    return this.#write(whole(this.bitmap), () => this.bitmap.data.fill(0));
  }

  /** False: nothing changed. */
  commit(): boolean {
    return this.history.commit();
  }

  cancel(): Box | undefined {
    return this.#follow(this.history.cancel());
  }

  undo(): Box | undefined {
    return this.#follow(this.history.undo());
  }

  redo(): Box | undefined {
    return this.#follow(this.history.redo());
  }

  #write(box: Box, change: () => void): Box {
    this.history.touch(box);
    change();
    this.coverage.update(box);
    return box;
  }

  #follow(box: Box | undefined): Box | undefined {
    if (box !== undefined) this.coverage.update(box);
    return box;
  }
}

/** Strokes go through whole pixels: a brush of n pixels is n pixels wide wherever it is. */
export const snapped = ({ x, y }: Point, size: number): Point =>
  size % 2 === 1 ? { x: Math.floor(x) + 0.5, y: Math.floor(y) + 0.5 } : { x: Math.round(x), y: Math.round(y) };
