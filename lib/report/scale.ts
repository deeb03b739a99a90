import { type ColourRange, colourRange } from "./colours.js";

type Draw = (range: ColourRange) => Promise<void>;

/**
 * Gives all pictures of a run the same colour range without keeping all maps: the range is fixed on the first `sample`
 * maps, whose pictures wait for it; later ones are drawn as they come.
 */
export class ColourScale {
  private range: ColourRange | undefined;
  private waiting: { map: Float32Array; draw: Draw }[] = [];

  constructor(
    private readonly pixelThreshold: number,
    private readonly sample = 64,
  ) {}

  async add(map: Float32Array, draw: Draw): Promise<void> {
    if (this.range) return draw(this.range);
    this.waiting.push({ map, draw });
    if (this.waiting.length >= this.sample) await this.finish();
  }

  /** Draws what still waits; where a picture fails, the others are drawn before its error is thrown. Call it after the last picture, also when the run breaks off. */
  async finish(): Promise<ColourRange> {
    this.range ??= colourRange(
      this.waiting.map(({ map }) => map),
      this.pixelThreshold,
    );
    const waiting = this.waiting;
    this.waiting = [];
    const failures: unknown[] = [];
    for (const { draw } of waiting) await draw(this.range).catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw failures[0];
    return this.range;
  }
}
