import { Random } from "../random.js";
import type { defects } from "../schema/datasets.js";

/**
 * A procedural inspection scene: brushed metal sheet with a printed screen of dots, as a camera sees one piece after the
 * other. Grain, position, rotation and, a little, lighting and tint vary from image to image. The surface is alike
 * everywhere and its variation smaller than a defect's, so that even untrained features tell the two apart. Every defect
 * is drawn into fields of its own, so its mask is exact.
 */

export type Defect = (typeof defects)[number];

/** Changes to a clean surface, each height x width. */
interface Damage {
  /** 0..1: how much of the defect there is; the mask is where it reaches MASK_LEVEL. */
  strength: Float32Array;
  /** 0..1: ink that is gone. */
  erased: Float32Array;
  /** Added to the reflected light. */
  light: Float32Array;
  /** Factors of red, green and blue where strength is 1. */
  tint: readonly [number, number, number];
}

const MASK_LEVEL = 0.3;

const clamp = (value: number, low = 0, high = 1): number => Math.min(high, Math.max(low, value));
const smooth = (t: number): number => t * t * (3 - 2 * t);
/** 1 below `edge - width`, 0 above `edge + width`. */
const below = (value: number, edge: number, width: number): number =>
  smooth(clamp((edge + width - value) / (2 * width)));

/** Value noise in -1..1 on the integer lattice, smoothly interpolated. */
class Noise {
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

/** Calls `set` for every pixel within `radius` of (cx, cy). */
function within(
  height: number,
  width: number,
  cx: number,
  cy: number,
  radius: number,
  set: (index: number, dx: number, dy: number) => void,
): void {
  for (let y = Math.max(0, Math.floor(cy - radius)); y <= Math.min(height - 1, Math.ceil(cy + radius)); y++) {
    for (let x = Math.max(0, Math.floor(cx - radius)); x <= Math.min(width - 1, Math.ceil(cx + radius)); x++)
      set(y * width + x, x - cx, y - cy);
  }
}

/** A defect at a random place, `unit` being the shorter side in pixels; `ink` says where there is print to lose. */
function drawDamage(defect: Defect, random: Random, height: number, width: number, ink: Float32Array): Damage {
  const size = height * width;
  const unit = Math.min(height, width);
  const damage: { -readonly [K in keyof Damage]: Damage[K] } = {
    strength: new Float32Array(size),
    erased: new Float32Array(size),
    light: new Float32Array(size),
    tint: [1, 1, 1],
  };
  const { strength, erased, light } = damage;
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
        within(height, width, x, y, radius * 2.5 + 1, (i, dx, dy) => {
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
        within(height, width, px, py, radius * 2.2 + 1, (i, dx, dy) => {
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
      within(height, width, best[0], best[1], radius * 1.5, (i, dx, dy) => {
        const r = Math.hypot(dx, dy * 1.25) / (1 + 0.28 * noise.at((4 * dx) / radius, (4 * dy) / radius));
        erased[i] =
          below(r, radius, radius * 0.08) *
          clamp(0.74 + 0.3 * noise.at((5 * dx) / radius + 50, (5 * dy) / radius), 0.4, 0.97);
        strength[i] = Math.min(1, erased[i]! * 1.3) * ink[i]!;
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
      within(height, width, cx, cy, radius * 1.8, (i, dx, dy) => {
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
      within(height, width, cx, cy, radius * 1.3, (i, dx, dy) => {
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
  return damage;
}

export interface Scene {
  /** uint8 RGB, height x width x 3. */
  pixels: Uint8Array;
  /** 0 or 1, height x width; all 0 without a defect. */
  mask: Uint8Array;
}

/** One piece under the camera. */
export function renderScene(random: Random, height: number, width: number, defect?: Defect): Scene {
  const size = height * width;
  const unit = Math.min(height, width);
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

  const ink = new Float32Array(size);
  const cos = Math.cos(angle);
  const sin = Math.sin(angle);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      ink[i] = inkAt(cos * x + sin * y + offset[0], cos * y - sin * x + offset[1], unit);
    }
  }
  // A stream of its own: the scene around a defect is the scene without it.
  const damage = defect === undefined ? undefined : drawDamage(defect, new Random(damageSeed), height, width, ink);

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
        ink[i]! * inkDensity * (1 - (damage?.erased[i] ?? 0)) * (1 - 0.06 * Math.abs(grain.at(gx / 3, gy / 3 + 300)));
      const metal = 0.6 + brushed + (damage?.light[i] ?? 0);
      for (let c = 0; c < 3; c++) {
        const paint = [0.075, 0.085, 0.12][c]! + 0.3 * (damage?.light[i] ?? 0);
        const colour = metal * (1 + (1 - c) * warmth + (c === 2 ? 0.018 : 0)) * (1 - covered) + paint * covered;
        const stained = colour * (1 + strength * ((damage?.tint[c] ?? 1) - 1));
        pixels[i * 3 + c] = Math.round(255 * clamp(stained * lit + 0.0045 * random.normal()));
      }
      if (strength >= MASK_LEVEL) mask[i] = 1;
    }
  }
  return { pixels, mask };
}
