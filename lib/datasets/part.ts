import type { Rectangle } from "../images/rectangle.js";
import { Random } from "../random.js";
import type { Steps } from "../turns.js";
import { type Defect, Noise, type Scene, sceneSteps } from "./surface.js";

/** What a picture of a part shows besides the part. */
export interface PartOptions {
  seed: number;
  /** Of the image's random streams. */
  key: string;
  height: number;
  width: number;
  defect: Defect | undefined;
  defectSize: readonly [number, number] | undefined;
  /** The part is smaller than the image and lies on a dark, cluttered background. */
  background: boolean;
  /** A serial number or a sticker that varies from part to part. */
  ignoreRegion: boolean;
}

/** A picture with what is known of it. */
export interface Part extends Scene {
  /** 0 or 1: the serial number or sticker. */
  ignore: Uint8Array | undefined;
  /** The part on its background. */
  roi: Rectangle | undefined;
}

/** Draws a part. Everything beside the part has random streams of its own: the part is the same with and without. */
export function* partSteps(options: PartOptions): Steps<Part> {
  const { seed, key, height, width, defect, defectSize, background, ignoreRegion } = options;
  const random = (what: string): Random => new Random(seed, what, key);
  const roi = background ? placeOfPart(random("part"), height, width) : undefined;
  const size = { height: roi?.height ?? height, width: roi?.width ?? width };
  // One camera at one distance: the print is as large on a small part as on a large one.
  const unit = background ? { unit: 0.7 * Math.min(height, width) } : {};
  const scene = yield* sceneSteps(random("generated"), size.height, size.width, { defect, defectSize, ...unit });
  const ignore = ignoreRegion ? drawRegion(random("region"), scene, size.height, size.width) : undefined;
  if (roi === undefined) return { ...scene, ignore, roi };
  const pixels = yield* drawBackground(random("background"), height, width);
  for (let row = 0; row < roi.height; row++) {
    const from = 3 * row * roi.width;
    pixels.set(scene.pixels.subarray(from, from + 3 * roi.width), 3 * ((roi.y + row) * width + roi.x));
    yield 3 * roi.width;
  }
  const whole = (part: Uint8Array): Uint8Array => {
    const out = new Uint8Array(height * width);
    for (let row = 0; row < roi.height; row++)
      out.set(part.subarray(row * roi.width, (row + 1) * roi.width), (roi.y + row) * width + roi.x);
    return out;
  };
  return { pixels, mask: whole(scene.mask), ignore: ignore && whole(ignore), roi };
}

/** A plate of half to four fifths of each side, anywhere in the image. */
function placeOfPart(random: Random, height: number, width: number): Rectangle {
  const part = { height: Math.round(random.uniform(0.5, 0.8) * height), width: Math.round(random.uniform(0.5, 0.8) * width) }; // prettier-ignore
  return { x: random.integer(width - part.width + 1), y: random.integer(height - part.height + 1), ...part };
}

/** A dark table with things on it: boxes, rings and cables, in grey and dull colours. */
function* drawBackground(random: Random, height: number, width: number): Steps<Uint8Array> {
  const pixels = new Uint8Array(3 * height * width);
  const noise = new Noise(random);
  const unit = Math.min(height, width);
  const cell = unit / 12;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i += 3) {
      const value = 18 + 6 * noise.at(x / cell, y / cell) + 3 * noise.at((9 * x) / cell, (9 * y) / cell + 50);
      pixels.fill(Math.round(value + random.uniform(-2, 2)), i, i + 3);
    }
    yield 16 * width;
  }
  const things = 16 + random.integer(12);
  for (let k = 0; k < things; k++) {
    const [cx, cy] = [random.uniform() * width, random.uniform() * height];
    const [long, wide] = [random.uniform(0.04, 0.3) * unit, random.uniform(0.008, 0.08) * unit];
    const angle = random.uniform(0, Math.PI);
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    const grey = random.uniform(25, 95);
    const colour = [0, 1, 2].map(() => grey * random.uniform(0.75, 1.25));
    const isRing = random.integer(3) === 0;
    const reach = Math.ceil(long + wide);
    for (let y = Math.max(0, Math.floor(cy - reach)); y < Math.min(height, cy + reach); y++) {
      for (let x = Math.max(0, Math.floor(cx - reach)); x < Math.min(width, cx + reach); x++) {
        const [dx, dy] = [x - cx, y - cy];
        const [along, across] = [Math.abs(cos * dx + sin * dy), Math.abs(cos * dy - sin * dx)];
        const inside = isRing
          ? Math.abs(Math.hypot(dx, dy) - long / 2) < wide / 3
          : along < long / 2 && across < wide / 2;
        if (inside) for (let c = 0; c < 3; c++) pixels[3 * (y * width + x) + c] = Math.round(colour[c]! + random.uniform(-4, 4)); // prettier-ignore
      }
      yield 8 * reach;
    }
  }
  return pixels;
}

/** The segments of digits: top, upper left, upper right, middle, lower left, lower right, bottom. */
const SEGMENTS = ["1110111", "0010010", "1011101", "1011011", "0111010", "1101011", "1101111", "1010010", "1111111", "1111011"]; // prettier-ignore

/** Tries of a place beside the defect. */
const PLACES = 60;

/** Draws a printed number or a sticker onto a part, beside its defect where there is room, and returns its mask. */
function drawRegion(random: Random, scene: Scene, height: number, width: number): Uint8Array {
  const unit = Math.min(height, width);
  const isSticker = random.integer(2) === 0;
  const digits = Array.from({ length: 6 + random.integer(3) }, () => random.integer(10));
  const tall = isSticker ? random.uniform(0.08, 0.14) : random.uniform(0.05, 0.07);
  const box = { height: Math.max(9, Math.round(tall * unit)), width: 0 };
  const advance = Math.round(0.75 * box.height);
  box.width = isSticker ? Math.round(box.height * random.uniform(1.6, 2.4)) : advance * digits.length;
  box.width = Math.min(box.width, width - 2);
  let [left, top] = [0, 0];
  for (let i = 0; i < PLACES; i++) {
    left = 1 + random.integer(width - box.width - 1);
    top = 1 + random.integer(height - box.height - 1);
    if (!touches(scene.mask, width, { x: left, y: top, ...box })) break;
  }
  const paper = random.pick([[222, 214, 120], [228, 228, 222], [120, 160, 214]] as const); // prettier-ignore
  const stripes = Array.from({ length: box.width }, () => random.integer(3) === 0);
  const mask = new Uint8Array(height * width);
  for (let y = 0; y < box.height; y++) {
    mask.fill(1, (top + y) * width + left, (top + y) * width + left + box.width);
    for (let x = 0; x < box.width; x++) {
      const at = 3 * ((top + y) * width + left + x);
      const printed = isSticker
        ? y > 0.2 * box.height && y < 0.8 * box.height && x > 0.1 * box.width && x < 0.9 * box.width && stripes[x >> 1]!
        : isInk(digits[Math.floor(x / advance)]!, (x % advance) / advance, y / box.height);
      for (let c = 0; c < 3; c++)
        if (printed) scene.pixels[at + c] = 28 + random.integer(8);
        else if (isSticker) scene.pixels[at + c] = paper[c]! + random.integer(8);
    }
  }
  return mask;
}

/** Whether a mask marks anything in a rectangle. */
function touches(mask: Uint8Array, width: number, box: Rectangle): boolean {
  for (let y = box.y; y < box.y + box.height; y++)
    if (mask.subarray(y * width + box.x, y * width + box.x + box.width).includes(1)) return true;
  return false;
}

/** Whether a digit has ink at a place, in parts of its width and height. */
function isInk(digit: number, x: number, y: number): boolean {
  const segments = SEGMENTS[digit]!;
  const [left, right, thick] = [0.12, 0.78, 0.17];
  if (x < left || x > right || y < 0.08 || y > 0.92) return false;
  const on = (segment: number): boolean => segments[segment] === "1";
  const upper = y < 0.5;
  return (
    (y < 0.08 + thick && on(0)) ||
    (Math.abs(y - 0.5) < thick / 2 && on(3)) ||
    (y > 0.92 - thick && on(6)) ||
    (x < left + thick && on(upper ? 1 : 4)) ||
    (x > right - thick && on(upper ? 2 : 5))
  );
}
