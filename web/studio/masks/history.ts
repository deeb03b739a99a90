import { type Bitmap, type Box, unionOf } from "./raster.js";

/** Changes are kept by tiles of 64 x 64 pixels. */
const rows = 64;
const rowBytes = 8;
const tileBytes = rows * rowBytes;

/** The tiles that one stroke changed. They hold the other state: undo and redo swap them with the bitmap's. */
interface Step {
  tiles: Int32Array;
  data: Uint8Array;
}

export interface HistoryLimits {
  steps: number;
  bytes: number;
}

/** Undo and redo of a bitmap. Before a stroke writes, it calls `touch` with all that it may change; `commit` ends it. */
export class History {
  readonly #bitmap: Bitmap;
  readonly #limits: HistoryLimits;
  readonly #columns: number;
  #touched = new Map<number, Uint8Array>();
  #undo: Step[] = [];
  #redo: Step[] = [];

  constructor(bitmap: Bitmap, limits: HistoryLimits = { steps: 64, bytes: 64 * 2 ** 20 }) {
    this.#bitmap = bitmap;
    this.#limits = limits;
    this.#columns = Math.ceil(bitmap.stride / rowBytes);
  }

  get canUndo(): boolean {
    return this.#undo.length > 0;
  }

  get canRedo(): boolean {
    return this.#redo.length > 0;
  }

  get bytes(): number {
    return [...this.#undo, ...this.#redo].reduce((sum, { tiles, data }) => sum + tiles.byteLength + data.byteLength, 0);
  }

  touch({ left, top, right, bottom }: Box): void {
    if (right <= left || bottom <= top) return;
    for (let row = Math.floor(top / rows); row <= Math.floor((bottom - 1) / rows); row++)
      for (let column = left >> 6; column <= (right - 1) >> 6; column++) {
        const tile = row * this.#columns + column;
        if (this.#touched.has(tile)) continue;
        const kept = new Uint8Array(tileBytes);
        this.#eachByte(tile, (own, at) => (kept[at] = this.#bitmap.data[own]!));
        this.#touched.set(tile, kept);
      }
  }

  /** Ends a stroke. False: it changed nothing, and there is nothing to undo. */
  commit(): boolean {
    const changed = [...this.#touched].filter(([tile, kept]) => this.#differs(tile, kept));
    this.#touched.clear();
    if (changed.length === 0) return false;
    const step = { tiles: new Int32Array(changed.length), data: new Uint8Array(changed.length * tileBytes) };
    changed.forEach(([tile, kept], i) => {
      step.tiles[i] = tile;
      step.data.set(kept, i * tileBytes);
    });
    this.#redo = [];
    this.#undo.push(step);
    while (this.#undo.length > this.#limits.steps || this.bytes > this.#limits.bytes) this.#undo.shift();
    return true;
  }

  /** Takes back what was written since the last commit. Returns where. */
  cancel(): Box | undefined {
    let box: Box | undefined;
    for (const [tile, kept] of this.#touched) {
      this.#eachByte(tile, (own, at) => (this.#bitmap.data[own] = kept[at]!));
      box = unionOf(box, this.#boxOf(tile));
    }
    this.#touched.clear();
    return box;
  }

  /** Returns where the bitmap changed. */
  undo(): Box | undefined {
    const step = this.#undo.pop();
    if (step === undefined) return undefined;
    this.#redo.push(step);
    return this.#swap(step);
  }

  /** Returns where the bitmap changed. */
  redo(): Box | undefined {
    const step = this.#redo.pop();
    if (step === undefined) return undefined;
    this.#undo.push(step);
    return this.#swap(step);
  }

  #swap({ tiles, data }: Step): Box | undefined {
    let box: Box | undefined;
    tiles.forEach((tile, i) => {
      this.#eachByte(tile, (own, at) => {
        const held = this.#bitmap.data[own]!;
        this.#bitmap.data[own] = data[i * tileBytes + at]!;
        data[i * tileBytes + at] = held;
      });
      box = unionOf(box, this.#boxOf(tile));
    });
    return box;
  }

  #differs(tile: number, kept: Uint8Array): boolean {
    let differs = false;
    this.#eachByte(tile, (own, at) => (differs ||= this.#bitmap.data[own] !== kept[at]));
    return differs;
  }

  /** Calls with the places of each byte: in the bitmap, and in a copy of the tile. */
  #eachByte(tile: number, use: (own: number, at: number) => void): void {
    const { stride, height } = this.#bitmap;
    const top = Math.floor(tile / this.#columns) * rows;
    const left = (tile % this.#columns) * rowBytes;
    const right = Math.min(stride, left + rowBytes);
    for (let y = top; y < Math.min(height, top + rows); y++)
      for (let x = left; x < right; x++) use(y * stride + x, (y - top) * rowBytes + x - left);
  }

  #boxOf(tile: number): Box {
    const { width, height } = this.#bitmap;
    const top = Math.floor(tile / this.#columns) * rows;
    const left = (tile % this.#columns) * rowBytes * 8;
    return { left, top, right: Math.min(width, left + rowBytes * 8), bottom: Math.min(height, top + rows) };
  }
}
