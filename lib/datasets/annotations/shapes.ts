import { areaOf, fillPolygons, type Point, type Polygon } from "../../images/polygons.js";
import { inTurns, type Steps } from "../../turns.js";

/** A mask as the lengths of its runs: pixels that are outside, pixels that are inside, and so on. */
export interface Runs {
  /** Where it lies in the image. */
  left: number;
  top: number;
  width: number;
  height: number;
  counts: readonly number[];
  /** Column by column, as COCO has it, instead of row by row. */
  byColumn: boolean;
}

/** What was drawn on an image, and the class that it was given. */
export interface Shape {
  label: string;
  /** Together one shape: a pixel is inside when it is inside one of them. */
  polygons?: readonly Polygon[];
  runs?: Runs;
}

/** Something wrong in an annotation; the reader says of which file and image. */
export class Damaged extends Error {}

/** A coordinate beyond is none that a tool wrote. */
const FARTHEST = 1e9;

/** A finite number, from JSON or from an attribute. Throws Damaged. */
export function numberOf(value: unknown, what: string): number {
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  if (typeof number !== "number" || !(Math.abs(number) <= FARTHEST))
    throw new Damaged(`${what} is ${quoted(value)}, not a number`);
  return number;
}

/** A whole number from `least`. Throws Damaged. */
export function wholeOf(value: unknown, what: string, least = 0): number {
  const number = numberOf(value, what);
  if (!Number.isInteger(number) || number < least)
    throw new Damaged(`${what} is ${quoted(value)}, not a whole number from ${least}`);
  return number;
}

/** A value of a file as a message shows it: never all of a long one. */
export function quoted(value: unknown): string {
  const text = typeof value === "string" ? `'${value}'` : (JSON.stringify(value) ?? String(value));
  return text.length > 40 ? `${text.slice(0, 37)}...` : text;
}

/** Throws Damaged for fewer than 3 corners. */
export function polygonOf(points: readonly Point[]): Polygon {
  if (points.length < 3) throw new Damaged(`a polygon has ${points.length} points; at least 3 are needed`);
  return points;
}

/** Turns points clockwise, as the eye sees it, round a centre. */
export function turned(points: readonly Point[], [cx, cy]: Point, degrees: number): Polygon {
  if (degrees === 0) return points;
  const [cos, sin] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
  return points.map(([x, y]) => [cx + (x - cx) * cos - (y - cy) * sin, cy + (x - cx) * sin + (y - cy) * cos]);
}

/** The corners of a rectangle, given by two that are opposite. */
export const boxOf = ([x0, y0]: Point, [x1, y1]: Point): Polygon => [
  [x0, y0],
  [x1, y0],
  [x1, y1],
  [x0, y1],
];

/** An ellipse as a polygon that leaves it by no more than a twentieth of a pixel. Throws Damaged without a radius. */
export function ellipseOf([cx, cy]: Point, rx: number, ry: number): Polygon {
  if (!(rx > 0 && ry > 0)) throw new Damaged(`its radii are ${rx} and ${ry}; both must be above 0`);
  const radius = Math.max(rx, ry, 1);
  const corners = Math.min(4096, Math.max(16, Math.ceil(Math.PI / Math.acos(1 - 0.05 / radius))));
  return Array.from({ length: corners }, (_, i): Point => {
    const angle = (2 * Math.PI * i) / corners;
    return [cx + rx * Math.cos(angle), cy + ry * Math.sin(angle)];
  });
}

/** Checks that the runs fill their box. Throws Damaged. */
export function checkedRuns(runs: Runs): Runs {
  const pixels = runs.width * runs.height;
  let sum = 0;
  for (const count of runs.counts) {
    if (!Number.isInteger(count) || count < 0) throw new Damaged(`a run of its mask is ${quoted(count)} pixels long`);
    sum += count;
  }
  if (sum !== pixels)
    throw new Damaged(`the runs of its mask are ${sum} pixels long, but ${runs.width} x ${runs.height} are ${pixels}`);
  return runs;
}

/** Pixels that a shape covers, parts outside the image and under each other counted too: it only compares classes. */
export function sizeOf({ polygons = [], runs }: Shape): number {
  const inside = (runs?.counts ?? []).reduce((sum, count, i) => sum + (i % 2 === 1 ? count : 0), 0);
  return polygons.reduce((sum, polygon) => sum + areaOf(polygon), inside);
}

/** What a row that an edge crosses costs, in filled pixels. */
const EDGE = 512;

/**
 * About how many pixels could be written while a shape is filled in an image. A file of moderate size may ask for days of
 * work, by many shapes over a large image or by one with very many edges.
 */
export function effortOf({ polygons = [], runs }: Shape, width: number, height: number): number {
  const clip = (value: number, most: number): number => Math.max(0, Math.min(most, value));
  let effort = Math.min(width * height, sizeOf(runs === undefined ? { label: "" } : { label: "", runs }));
  for (const polygon of polygons) {
    let [left, right, edges] = [width, 0, 0];
    polygon.forEach(([x, y], i) => {
      const next = polygon[(i + 1) % polygon.length]!;
      [left, right] = [Math.min(left, clip(x, width)), Math.max(right, clip(x, width))];
      edges += Math.abs(clip(next[1], height) - clip(y, height));
    });
    // Half of the edges go down and half up: with each pair a row is filled once at most.
    effort += EDGE * edges + (Math.max(0, right - left) * Math.min(edges, 2 * height)) / 2;
  }
  return effort;
}

/** Every pixel that one of the shapes covers, 0 or 1, row by row. */
export async function pixelsOf(shapes: readonly Shape[], width: number, height: number): Promise<Uint8Array> {
  const pixels = await fillPolygons(
    shapes.flatMap(({ polygons = [] }) => polygons),
    { width, height },
  );
  for (const { runs } of shapes) if (runs !== undefined) await inTurns(fillRuns(pixels, width, height, runs));
  return pixels;
}

function* fillRuns(pixels: Uint8Array, width: number, height: number, runs: Runs): Steps<void> {
  const length = runs.byColumn ? runs.height : runs.width;
  let at = 0;
  for (const [i, count] of runs.counts.entries()) {
    const end = at + count;
    yield 8 + (i % 2 === 1 ? count : 0);
    if (i % 2 === 1)
      // Line by line of the box: a run goes on in the next one.
      for (let line = Math.floor(at / length); line * length < end; line++) {
        const from = Math.max(at - line * length, 0);
        const to = Math.min(end - line * length, length);
        if (runs.byColumn) fillColumn(pixels, width, height, runs.left + line, runs.top + from, runs.top + to);
        else fillRow(pixels, width, height, runs.top + line, runs.left + from, runs.left + to);
      }
    at = end;
  }
}

function fillRow(pixels: Uint8Array, width: number, height: number, row: number, from: number, to: number): void {
  if (row < 0 || row >= height) return;
  const [start, end] = [Math.max(from, 0), Math.min(to, width)];
  if (start < end) pixels.fill(1, row * width + start, row * width + end);
}

function fillColumn(pixels: Uint8Array, width: number, height: number, column: number, from: number, to: number): void {
  if (column < 0 || column >= width) return;
  for (let row = Math.max(from, 0); row < Math.min(to, height); row++) pixels[row * width + column] = 1;
}
