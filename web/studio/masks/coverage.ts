import { type Bitmap, type Box, isEmptyBox, whole } from "./raster.js";

/** How much of each cell is defect, 0 to 255. Only a cell without any has 0, only a full one 255. */
export interface Level {
  readonly width: number;
  readonly height: number;
  readonly values: Uint8Array;
}

/**
 * The mask at a half, a quarter ... of its size, down to one cell, so that no defect vanishes when the image is drawn
 * small. Edges of odd sizes count twice.
 */
export class Coverage {
  readonly #bitmap: Bitmap;
  /** levels[i] has cells of 2^(i + 1) pixels. */
  readonly levels: readonly Level[];

  constructor(bitmap: Bitmap) {
    this.#bitmap = bitmap;
    const levels: Level[] = [];
    let { width, height } = bitmap;
    do {
      [width, height] = [(width + 1) >> 1, (height + 1) >> 1];
      levels.push({ width, height, values: new Uint8Array(width * height) });
    } while (width > 1 || height > 1);
    this.levels = levels;
    this.update(whole(bitmap));
  }

  get isEmpty(): boolean {
    return this.levels.at(-1)!.values[0] === 0;
  }

  /** Follows a change of the bitmap in this box. */
  update(box: Box): void {
    if (isEmptyBox(box)) return;
    let cells = halved(box);
    this.#countPixels(this.levels[0]!, cells);
    for (let i = 1; i < this.levels.length; i++) {
      cells = halved(cells);
      average(this.levels[i - 1]!, this.levels[i]!, cells);
    }
  }

  #countPixels({ width, values }: Level, { left, top, right, bottom }: Box): void {
    const bitmap = this.#bitmap;
    const { stride, data, height } = bitmap;
    const last = bitmap.width % 2 === 1 ? width - 1 : -1;
    for (let y = top; y < bottom; y++) {
      const upper = 2 * y * stride;
      const lower = Math.min(height - 1, 2 * y + 1) * stride;
      for (let x = left; x < right; x++) {
        const byte = x >> 2;
        const a = data[upper + byte]!;
        const b = data[lower + byte]!;
        const shift = 6 - 2 * (x & 3);
        let set = bitsOfPair[(a >> shift) & 3]! + bitsOfPair[(b >> shift) & 3]!;
        if (x === last) set *= 2;
        values[y * width + x] = (255 * set + 3) >> 2;
      }
    }
  }
}

const bitsOfPair = [0, 1, 1, 2];

const halved = ({ left, top, right, bottom }: Box): Box => ({
  left: left >> 1,
  top: top >> 1,
  right: (right + 1) >> 1,
  bottom: (bottom + 1) >> 1,
});

/** Rounds up, so that little stays more than nothing. */
function average(from: Level, to: Level, { left, top, right, bottom }: Box): void {
  for (let y = top; y < bottom; y++) {
    const upper = 2 * y * from.width;
    const lower = Math.min(from.height - 1, 2 * y + 1) * from.width;
    for (let x = left; x < right; x++) {
      const next = Math.min(from.width - 1, 2 * x + 1);
      const { values } = from;
      const sum = values[upper + 2 * x]! + values[upper + next]! + values[lower + 2 * x]! + values[lower + next]!;
      to.values[y * to.width + x] = Math.min((sum + 3) >> 2, sum < 1020 ? 254 : 255);
    }
  }
}
