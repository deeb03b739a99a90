/**
 * The colours of the heat maps: 256 steps from near black over purple and orange to pale yellow. Computed in OKLCH, where
 * equal steps look equal: lightness rises linearly, the hue turns once from violet to yellow, and each colour has as much
 * chroma as sRGB can show, up to a limit. So the order of the values can be read even in a grey print.
 */

import { z } from "zod";

import { invalid } from "../errors.js";
import { checkValue } from "../schema/check.js";
import { atOnce, pieceEnds, type Steps } from "../turns.js";

export type Colour = readonly [red: number, green: number, blue: number];

function linearRgb(lightness: number, chroma: number, hue: number): [number, number, number] {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
}

const gamma = (x: number): number =>
  Math.round(255 * (x <= 0.0031308 ? 12.92 * Math.max(0, x) : 1.055 * Math.min(1, x) ** (1 / 2.4) - 0.055));

/** The colour of that lightness and hue with the most chroma up to `chroma` that sRGB can show. */
function oklch(lightness: number, chroma: number, hue: number): Colour {
  const shown = (c: number): boolean => linearRgb(lightness, c, hue).every((x) => x >= 0 && x <= 1);
  let [low, high] = [0, chroma];
  if (shown(chroma)) low = chroma;
  else for (let i = 0; i < 20; i++) shown((low + high) / 2) ? (low = (low + high) / 2) : (high = (low + high) / 2);
  const [r, g, b] = linearRgb(lightness, low, hue);
  return [gamma(r), gamma(g), gamma(b)];
}

/** 256 x RGB. */
export const heatColours: Uint8Array = (() => {
  const table = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    const t = i / 255;
    table.set(
      oklch(0.13 + 0.84 * t, 0.06 + 0.16 * Math.sin(Math.PI * Math.min(1, 0.15 + t)) + 0.05 * t, 285 + 185 * t ** 0.9),
      i * 3,
    );
  }
  return table;
})();

/** Logits that the first and the last colour stand for. */
export interface ColourRange {
  low: number;
  high: number;
}

/**
 * One range for all maps of a run, so that equal colours mean equal logits from picture to picture. The pixel threshold
 * sits in the middle; the range reaches out to the 1st and 99.9th percentile of the maps, whichever is further away.
 */
export function colourRange(maps: readonly Float32Array[], pixelThreshold: number): ColourRange {
  if (!Array.isArray(maps)) throw invalid("colourRange", "maps", "a list of maps", maps);
  checkValue("colourRange", "pixelThreshold", z.number(), pixelThreshold);
  const values: number[] = [];
  const perMap = Math.max(64, Math.min(8192, Math.floor(2 ** 18 / maps.length))); // to be sorted in milliseconds
  for (const map of maps) {
    const stride = Math.max(1, Math.floor(map.length / perMap));
    for (let i = 0; i < map.length; i += stride) values.push(map[i]!);
  }
  const sample = Float32Array.from(values).sort();
  const at = (share: number): number => sample[Math.round(share * (sample.length - 1))] ?? pixelThreshold;
  const reach = Math.max(pixelThreshold - at(0.01), at(0.999) - pixelThreshold, 0.1);
  return { low: pixelThreshold - reach, high: pixelThreshold + reach };
}

/** RGB pixels of a map of logits. */
export const heatPixels = (map: Float32Array, range: ColourRange): Uint8Array => atOnce(heatSteps(map, range));

/** The same in steps, for a large map. */
export function* heatSteps(map: Float32Array, { low, high }: ColourRange): Steps<Uint8Array> {
  const pixels = new Uint8Array(map.length * 3);
  const scale = 255 / (high - low);
  for (const [begin, end] of pieceEnds(map.length)) {
    for (let i = begin; i < end; i++) {
      const step = 3 * Math.max(0, Math.min(255, Math.round((map[i]! - low) * scale)));
      pixels[3 * i] = heatColours[step]!;
      pixels[3 * i + 1] = heatColours[step + 1]!;
      pixels[3 * i + 2] = heatColours[step + 2]!;
    }
    yield end - begin;
  }
  return pixels;
}

type Draw = (range: ColourRange) => Promise<void>;

/** Values of maps that may wait for the others, 256 MB of them. */
const mostWaiting = 2 ** 26;

/**
 * Gives all pictures of a run the same colour range without keeping all maps: the range is fixed on the first `sample`
 * maps, or fewer large ones, whose pictures wait for it; later ones are drawn as they come.
 */
export class ColourScale {
  private range: ColourRange | undefined;
  private waiting: { map: Float32Array; draw: Draw }[] = [];
  private held = 0;

  constructor(
    private readonly pixelThreshold: number,
    private readonly sample = 64,
  ) {}

  /** `held`: values of maps that `draw` keeps. */
  async add(map: Float32Array, draw: Draw, held = map.length): Promise<void> {
    if (this.range) return draw(this.range);
    this.waiting.push({ map, draw });
    this.held += held;
    if (this.waiting.length >= this.sample || this.held > mostWaiting) await this.finish();
  }

  /** Draws what still waits; where a picture fails, the others are drawn before its error is thrown. Call it after the last picture, also when the run breaks off. */
  async finish(): Promise<ColourRange> {
    const waiting = this.waiting;
    const maps = waiting.map(({ map }) => map);
    this.range ??= colourRange(maps, this.pixelThreshold);
    this.waiting = [];
    const failures: unknown[] = [];
    for (const { draw } of waiting) await draw(this.range).catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw failures[0];
    return this.range;
  }
}
