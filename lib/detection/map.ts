import { pieceEnds, turns } from "../turns.js";
import type { Size } from "../view/mismatch.js";
import type { Strip } from "./see.js";

/** Gathers the strips of a map. Ignored pixels get the lowest value of the others. */
export class GatheredMap {
  #data: Float32Array | undefined;
  #lowest = Infinity;
  #ignores = false;
  #peak = -Infinity;

  constructor(private readonly size: Size) {}

  add({ values, first, rows, ignored }: Strip): void {
    if (ignored) this.#ignores = true;
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      if (ignored && ignored[i] !== 0) values[i] = NaN;
      else {
        if (value < this.#lowest) this.#lowest = value;
        // NaN stays: it tells of weights that overflow.
        if (!(value <= this.#peak || Number.isNaN(this.#peak))) this.#peak = value;
      }
    }
    const { width, height } = this.size;
    if (rows === height) this.#data = values;
    else (this.#data ??= new Float32Array(width * height)).set(values, first * width);
  }

  /** The maximum, but for ignored pixels. */
  get peak(): number {
    return this.#peak;
  }

  /** The whole map, once all strips have come. */
  async data(): Promise<Float32Array> {
    const data = this.#data!;
    if (!this.#ignores) return data;
    const breathe = turns();
    for (const [begin, end] of pieceEnds(data.length)) {
      for (let i = begin; i < end; i++) if (Number.isNaN(data[i]!)) data[i] = this.#lowest;
      await breathe(end - begin);
    }
    return data;
  }
}
