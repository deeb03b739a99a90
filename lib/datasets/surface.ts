import { call, SuperSimpleNetError, text } from "../errors.js";
import { Random } from "../random.js";
import { atOnce, type Steps } from "../turns.js";
import type { defects } from "../schema/datasets.js";

/**
 * A procedural inspection scene: brushed metal sheet with a printed screen of dots, as a camera sees one piece after the
 * other. Grain, position, rotation and, a little, lighting and tint vary from image to image. The surface is alike
 * everywhere and its variation smaller than a defect's, so that even untrained features tell the two apart. Every defect
 * is drawn into fields of its own, so its mask is exact.
 */

export type Defect = (typeof defects)[number];

/** Changes to a clean surface, each height x width. */
class Damage {
  /** 0..1: how much of the defect there is; the mask is where it reaches MASK_LEVEL. */
  readonly strength: Float32Array;
  /** 0..1: ink that is gone. */
  readonly erased: Float32Array;
  /** Added to the reflected light. */
  readonly light: Float32Array;
  /** Factors of red, green and blue where strength is 1. */
  tint: readonly [number, number, number] = [1, 1, 1];
  /** The rows and columns that were drawn in. */
  #top = Infinity;
  #bottom = -1;
  #left = Infinity;
  #right = -1;

  constructor(
    readonly height: number,
    readonly width: number,
  ) {
    this.strength = new Float32Array(height * width);
    this.erased = new Float32Array(height * width);
    this.light = new Float32Array(height * width);
  }

  /** Calls `set` for every pixel within `radius` of (cx, cy). */
  within(
    cx: number,
    cy: number,
    radius: number,
    set: (index: number, dx: number, dy: number, x: number, y: number) => void,
  ): void {
    const [top, bottom] = [Math.max(0, Math.floor(cy - radius)), Math.min(this.height - 1, Math.ceil(cy + radius))];
    const [left, right] = [Math.max(0, Math.floor(cx - radius)), Math.min(this.width - 1, Math.ceil(cx + radius))];
    this.#top = Math.min(this.#top, top);
    this.#bottom = Math.max(this.#bottom, bottom);
    this.#left = Math.min(this.#left, left);
    this.#right = Math.max(this.#right, right);
    for (let y = top; y <= bottom; y++)
      for (let x = left; x <= right; x++) set(y * this.width + x, x - cx, y - cy, x, y);
  }

  /** The longer side of the mask in pixels; 0 without any. */
  longerSide(): number {
    let [top, bottom, left, right] = [Infinity, -1, Infinity, -1];
    for (let y = this.#top; y <= this.#bottom; y++)
      for (let x = this.#left; x <= this.#right; x++)
        if (this.strength[y * this.width + x]! >= MASK_LEVEL) {
          [top, bottom] = [Math.min(top, y), y];
          [left, right] = [Math.min(left, x), Math.max(right, x)];
        }
    return Math.max(0, bottom - top + 1, right - left + 1);
  }

  /** Takes back what was drawn. */
  clear(): void {
    for (let y = this.#top; y <= this.#bottom; y++)
      for (const field of [this.strength, this.erased, this.light])
        field.fill(0, y * this.width + this.#left, y * this.width + this.#right + 1);
    this.tint = [1, 1, 1];
    [this.#top, this.#bottom, this.#left, this.#right] = [Infinity, -1, Infinity, -1];
  }
}

const MASK_LEVEL = 0.3;

const clamp = (value: number, low = 0, high = 1): number => Math.min(high, Math.max(low, value));
const smooth = (t: number): number => t * t * (3 - 2 * t);
/** 1 below `edge - width`, 0 above `edge + width`. */
const below = (value: number, edge: number, width: number): number =>
  smooth(clamp((edge + width - value) / (2 * width)));

/** Value noise in -1..1 on the integer lattice, smoothly interpolated. */
export class Noise {
  private readonly table: Float32Array;

  constructor(random: Random) {
    this.table = Float32Array.from({ length: 4096 }, () => random.uniform(-1, 1));
  }

  private lattice(x: number, y: number): number {
    return this.table[(Math.imul(x, 0x9e3779b1) ^ Math.imul(y, 0x85ebca6b)) >>> 20]!;
  }

  at(x: number, y: number): number {
    const x0 = Math.floor(x);
    const y0 = Math.floor(y);
    const fx = smooth(x - x0);
    const fy = smooth(y - y0);
    const top = this.lattice(x0, y0) * (1 - fx) + this.lattice(x0 + 1, y0) * fx;
    const bottom = this.lattice(x0, y0 + 1) * (1 - fx) + this.lattice(x0 + 1, y0 + 1) * fx;
    return top * (1 - fy) + bottom * fy;
  }
}

/** Distance between printed dots, and their radius, as parts of the shorter side of the image. */
const DOT_PITCH = 0.052;
const DOT_RADIUS = 0.0145;

/** Ink coverage, 0..1, at a point of the sheet in pixels: dots in staggered rows, `unit` being the image's shorter side. */
function inkAt(x: number, y: number, unit: number): number {
  const pitch = DOT_PITCH * unit;
  const rows = pitch * Math.sqrt(3 / 4);
  const row = Math.round(y / rows);
  const along = x / pitch - (row & 1) / 2;
  return below(Math.hypot((along - Math.round(along)) * pitch, y - row * rows), DOT_RADIUS * unit, 0.7);
}

/**
 * A defect at a random place, `unit` being what its sizes are parts of, in pixels; `ink` says where there is print to lose.
 */
function drawDamage(
  damage: Damage,
  defect: Defect,
  random: Random,
  unit: number,
  ink: (x: number, y: number) => number,
): void {
  const { height, width, strength, erased, light } = damage;
  const place = (): [number, number] => [random.uniform(0.16, 0.84) * width, random.uniform(0.2, 0.8) * height];
  const noise = new Noise(random);

  switch (defect) {
    case "scratch": {
      // A tool slipping over the part: a gently bent line, deepest in the middle, bright with a shadow along one side.
      const [cx, cy] = place();
      const length = random.uniform(0.22, 0.5) * unit;
      const thickness = random.uniform(0.005, 0.0085) * unit;
      const bend = random.uniform(-0.5, 0.5);
      const contrast = random.uniform(0.3, 0.42);
      let angle = random.uniform(0.3, Math.PI - 0.3) - bend / 2;
      const steps = Math.ceil(length * 2);
      let x = cx - (Math.cos(angle + bend / 2) * length) / 2;
      let y = cy - (Math.sin(angle + bend / 2) * length) / 2;
      for (let s = 0; s <= steps; s++) {
        const pressure = Math.sqrt(Math.sin((Math.PI * (s + 1)) / (steps + 2))) * (0.85 + 0.15 * noise.at(s / 14, 0.5));
        const radius = thickness * (0.55 + 0.45 * pressure);
        damage.within(x, y, radius * 2.5 + 1, (i, dx, dy) => {
          const core = pressure * below(Math.hypot(dx, dy), radius, 0.6);
          const shadow = 0.5 * pressure * below(Math.hypot(dx - radius, dy - radius), radius, 0.6);
          if (core > strength[i]!) {
            strength[i] = core;
            light[i] = contrast * core;
            erased[i] = core;
          }
          if (core < 0.15 && strength[i]! < 0.3 && -contrast * shadow < light[i]!) {
            strength[i] = Math.max(strength[i]!, shadow * 0.9);
            light[i] = -contrast * shadow;
          }
        });
        angle += bend / steps;
        x += (Math.cos(angle) * length) / steps;
        y += (Math.sin(angle) * length) / steps;
      }
      break;
    }
    case "pits": {
      // Corrosion or inclusions: a few dark craters, each with a lit rim on the side away from the light.
      const [cx, cy] = place();
      const count = 3 + random.integer(6);
      for (let k = 0; k < count; k++) {
        const px = cx + random.normal() * 0.045 * unit;
        const py = cy + random.normal() * 0.045 * unit;
        const radius = random.uniform(0.009, 0.02) * unit;
        const squash = random.uniform(0.75, 1.3);
        damage.within(px, py, radius * 2.2 + 1, (i, dx, dy) => {
          const r = Math.hypot(dx * squash, dy / squash) * (1 + 0.18 * noise.at(dx / radius + 7 * k, dy / radius));
          const hole = below(r, radius, 0.7);
          const rim = below(Math.abs(r - radius * 1.15), radius * 0.28, radius * 0.2) * clamp((dx + dy) / (2 * radius));
          if (hole + 0.7 * rim <= strength[i]!) return;
          strength[i] = clamp(hole + 0.7 * rim);
          light[i] = -0.34 * hole + 0.2 * rim;
        });
      }
      break;
    }
    case "missing_print": {
      // The stamp hardly touched: within a ragged patch the ink is gone in places and thin in others.
      const radius = random.uniform(0.09, 0.14) * unit;
      const best = place();
      damage.within(best[0], best[1], radius * 1.5, (i, dx, dy, x, y) => {
        const r = Math.hypot(dx, dy * 1.25) / (1 + 0.28 * noise.at((4 * dx) / radius, (4 * dy) / radius));
        erased[i] =
          below(r, radius, radius * 0.08) *
          clamp(0.74 + 0.3 * noise.at((5 * dx) / radius + 50, (5 * dy) / radius), 0.4, 0.97);
        strength[i] = Math.min(1, erased[i]! * 1.3) * ink(x, y);
      });
      break;
    }
    case "stain": {
      // Dried oil or coolant: a blotch with lobes and a darker tide mark at its edge.
      const [cx, cy] = place();
      const radius = random.uniform(0.055, 0.1) * unit;
      const phase = random.uniform(0, 100);
      damage.tint = random.pick([
        [0.74, 0.6, 0.4],
        [0.56, 0.52, 0.48],
        [0.6, 0.62, 0.68],
      ] as const);
      damage.within(cx, cy, radius * 1.8, (i, dx, dy) => {
        const angle = Math.atan2(dy, dx);
        const lobes =
          1 +
          0.22 * noise.at(Math.cos(angle) * 1.6 + phase, Math.sin(angle) * 1.6) +
          0.08 * noise.at((5 * dx) / radius, (5 * dy) / radius);
        const r = Math.hypot(dx, dy) / (radius * lobes);
        const inside = below(r, 1, 0.07);
        const tide = below(Math.abs(r - 0.92), 0.07, 0.06);
        strength[i] = inside * clamp(0.68 + 0.12 * noise.at((2 * dx) / radius + 9, (2 * dy) / radius) + 0.32 * tide);
      });
      break;
    }
    case "dent": {
      // A blow: the slope of a smooth bowl, lit on one side and dark on the other.
      const [cx, cy] = place();
      const radius = random.uniform(0.04, 0.07) * unit;
      const squash = random.uniform(0.8, 1.25);
      const turn = random.uniform(0.5, 1.1);
      const contrast = random.uniform(0.32, 0.44);
      damage.within(cx, cy, radius * 1.3, (i, dx, dy) => {
        const ex = (dx * squash) / radius;
        const ey = dy / (squash * radius);
        const r = Math.hypot(ex, ey);
        if (r >= 1.25) return;
        const slope = r * Math.exp(-2.2 * r * r) * 2.6; // derivative of a Gaussian bowl, about 1 at its steepest
        const facing = r === 0 ? 0 : (ex * Math.cos(turn) + ey * Math.sin(turn)) / r;
        light[i] = contrast * slope * facing;
        strength[i] = below(r, 1.05, 0.12);
      });
      break;
    }
  }
}

/** Tries of a place and, at each, of a scale, until the size is right. */
const [PLACES, SCALES] = [200, 8];

/**
 * Draws a defect whose mask's longer side is from `least` to `most` pixels. Where it does not come out so, at the edge of the
 * image or between printed dots, another place is tried.
 */
function* drawSized(
  damage: Damage,
  defect: Defect,
  seed: number,
  ink: (x: number, y: number) => number,
  [least, most]: readonly [number, number],
): Steps<void> {
  const unit = Math.min(damage.height, damage.width);
  const wanted = least + new Random(seed, "size").integer(most - least + 1);
  for (let place = 0; place < PLACES; place++) {
    const first = (4 * wanted) / unit;
    let scale = first;
    for (let i = 0; i < SCALES; i++) {
      damage.clear();
      drawDamage(damage, defect, new Random(seed, "place", place), scale * unit, ink);
      const side = damage.longerSide();
      yield 64 * (side + wanted) ** 2;
      const near = Math.abs(side - wanted) <= Math.max(1, wanted / 10) || i >= SCALES - 2;
      if (near && side >= least && side <= most) return;
      scale *= side === 0 ? 1.5 : wanted / side;
      if (scale > 8 * first) break; // there is hardly any print to lose
    }
  }
  throw new SuperSimpleNetError(
    "INVALID_OPTION",
    text`${call("datasets.generated")}: no ${defect} of ${least} to ${most} pixels can be drawn on ${damage.width} x ${damage.height}.`,
    { option: "defectSize", value: [least, most], fix: "Give a wider range, or leave this kind of defect out." },
  );
}

export interface Scene {
  /** uint8 RGB, height x width x 3. */
  pixels: Uint8Array;
  /** 0 or 1, height x width; all 0 without a defect. */
  mask: Uint8Array;
}

/** What is drawn, besides the piece itself. */
export interface SceneOptions {
  defect?: Defect | undefined;
  /** Longer side of the defect in pixels, from and to. Default: a part of the piece's shorter side. */
  defectSize?: readonly [number, number] | undefined;
  /** What the print's sizes are parts of, in pixels. Default: the shorter side. */
  unit?: number;
}

/** One piece under the camera, at once. */
export const renderScene = (random: Random, height: number, width: number, defect?: Defect): Scene =>
  atOnce(sceneSteps(random, height, width, { defect }));

/** One piece under the camera. */
export function* sceneSteps(
  random: Random,
  height: number,
  width: number,
  { defect, defectSize, unit = Math.min(height, width) }: SceneOptions = {},
): Steps<Scene> {
  const size = height * width;
  const grain = new Noise(random);
  const angle = random.uniform(-0.014, 0.014);
  const offset = [random.uniform(0, unit), random.uniform(0, unit)] as const;
  const phase = random.uniform(0, 1000);
  const gradient = [random.uniform(-0.03, 0.03), random.uniform(-0.02, 0.02)] as const;
  const highlight = {
    at: random.uniform(0.25, 0.75),
    height: random.uniform(0.01, 0.03),
    width: random.uniform(0.22, 0.36),
  };
  const exposure = random.uniform(0.99, 1.01);
  const warmth = random.uniform(-0.004, 0.004);
  const inkDensity = random.uniform(0.46, 0.49);
  const damageSeed = random.uint32();

  const cos = Math.cos(angle);
  const sin = Math.sin(angle);
  const ink = (x: number, y: number): number =>
    Math.fround(inkAt(cos * x + sin * y + offset[0], cos * y - sin * x + offset[1], unit));
  // A stream of its own: the scene around a defect is the scene without it.
  let damage: Damage | undefined;
  if (defect !== undefined) {
    damage = new Damage(height, width);
    if (defectSize !== undefined) yield* drawSized(damage, defect, damageSeed, ink, defectSize);
    else drawDamage(damage, defect, new Random(damageSeed), Math.min(height, width), ink);
  }

  const pixels = new Uint8Array(size * 3);
  const mask = new Uint8Array(size);
  const scale = 256 / unit; // the grain belongs to the part, not to the camera's resolution
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const gx = (cos * x + sin * y) * scale + phase;
      const gy = (cos * y - sin * x) * scale;
      const brushed =
        0.022 * grain.at(gx / 70, gy / 1.7) +
        0.02 * grain.at(gx / 150 + 40, gy / 4.3) +
        0.012 * grain.at(gx / 22, gy / 1.1 + 90);
      const u = x / width - 0.5;
      const v = y / height - 0.5;
      const lit =
        exposure *
        (1 +
          gradient[0] * u +
          gradient[1] * v +
          highlight.height * Math.exp(-(((u + 0.5 - highlight.at) / highlight.width) ** 2)) -
          0.03 * (u * u + v * v));
      const strength = damage?.strength[i] ?? 0;
      const covered =
        ink(x, y) * inkDensity * (1 - (damage?.erased[i] ?? 0)) * (1 - 0.06 * Math.abs(grain.at(gx / 3, gy / 3 + 300)));
      const metal = 0.6 + brushed + (damage?.light[i] ?? 0);
      for (let c = 0; c < 3; c++) {
        const paint = [0.075, 0.085, 0.12][c]! + 0.3 * (damage?.light[i] ?? 0);
        const colour = metal * (1 + (1 - c) * warmth + (c === 2 ? 0.018 : 0)) * (1 - covered) + paint * covered;
        const stained = colour * (1 + strength * ((damage?.tint[c] ?? 1) - 1));
        pixels[i * 3 + c] = Math.round(255 * clamp(stained * lit + 0.0045 * random.normal()));
      }
      if (strength >= MASK_LEVEL) mask[i] = 1;
    }
    yield 100 * width;
  }
  return { pixels, mask };
}
