import { call, invalid, option, SuperSimpleNetError, text } from "../errors.js";
import { decodeMask } from "../images/mask.js";
import { fillPolygons, type Polygon, selfCrosses } from "../images/polygons.js";
import { liesWithin, type Rectangle, rectangleText } from "../images/rectangle.js";
import type { Area } from "../schema/view.js";
import { inTurns, type Steps } from "../turns.js";
import { mismatch, type Size, sizeText } from "./mismatch.js";

/** Checks what can be told without an image. Throws INVALID_OPTION for the option `path`. */
export function checkArea(where: string, path: string, area: Area): void {
  if ("runs" in area) return;
  const refuse = (expected: string, value: unknown): never => {
    throw invalid(where, path, expected, value);
  };
  if ("polygons" in area) {
    const crossing = area.polygons.findIndex(selfCrosses);
    if (crossing >= 0) {
      const what = text`${call(where)}: polygon ${crossing + 1} of ${option(path)} crosses or touches itself.`;
      const fix = "Give its corners in order, or give its parts as polygons of their own.";
      throw new SuperSimpleNetError("INVALID_OPTION", what, { option: path, value: area.polygons[crossing], fix });
    }
    if (area.unit === "fractions" && area.polygons.flat(2).some((value) => value < 0 || value > 1))
      refuse("fractions from 0 to 1", area.polygons);
    return;
  }
  const { x, y, width, height, unit } = area;
  if (unit === "fractions") {
    if (x + width > 1 || y + height > 1) refuse("a rectangle inside the image, of fractions up to 1,", area);
  } else if (![x, y, width, height].every(Number.isSafeInteger)) {
    refuse("whole pixels, or fractions with unit: 'fractions',", area);
  }
}

/** The mask in an image file as a model file holds it. Errors: those of decodeMask; INVALID_OPTION for an empty one. */
export async function readArea(where: string, path: string, file: string): Promise<Area> {
  const { pixels, width, height, marked } = await decodeMask(file);
  if (marked === 0) throw invalid(where, path, "a mask that marks something", file);
  return { width, height, runs: await inTurns(runsOf(pixels)) };
}

function* runsOf(pixels: Uint8Array): Steps<number[]> {
  const runs: number[] = [];
  for (let at = 0, inside = 0; at < pixels.length; inside = 1 - inside) {
    const next = pixels.indexOf(1 - inside, at);
    const end = next < 0 ? pixels.length : next;
    runs.push(end - at);
    yield end - at + 64;
    at = end;
  }
  return runs;
}

/** 1 for the pixels of an area. Errors: VIEW_MISMATCH. */
export async function pixelsOf(area: Area, size: Size, name: string): Promise<Uint8Array> {
  if ("runs" in area) {
    if (area.width !== size.width || area.height !== size.height)
      throw mismatch(name, `it has ${sizeText(size)} pixels, and the mask of the model's view ${sizeText(area)}.`);
    const pixels = new Uint8Array(size.width * size.height);
    area.runs.reduce((at, run, i) => {
      if (i % 2 === 1) pixels.fill(1, at, at + run);
      return at + run;
    }, 0);
    return pixels;
  }
  if ("polygons" in area) return fillPolygons(polygonsIn(area, size), size);
  const { x, y, width, height } = rectangleIn(area, size, name);
  const pixels = new Uint8Array(size.width * size.height);
  for (let row = y; row < y + height; row++) pixels.fill(1, row * size.width + x, row * size.width + x + width);
  return pixels;
}

const polygonsIn = (
  { polygons, unit }: Extract<Area, { polygons: unknown }>,
  { width, height }: Size,
): readonly Polygon[] =>
  unit === "fractions"
    ? polygons.map((polygon) => polygon.map(([x, y]) => [x * width, y * height] as const))
    : polygons;

function rectangleIn(area: Extract<Area, { x: number }>, size: Size, name: string): Rectangle {
  const { unit = "pixels", ...given } = area;
  let rectangle: Rectangle = given;
  if (unit === "fractions") {
    const left = Math.round(given.x * size.width);
    const top = Math.round(given.y * size.height);
    const right = Math.round((given.x + given.width) * size.width);
    const bottom = Math.round((given.y + given.height) * size.height);
    rectangle = { x: left, y: top, width: right - left, height: bottom - top };
  }
  return checkedWithin(rectangle, size, name);
}

/** Throws VIEW_MISMATCH for a rectangle that has no pixel or lies outside its image. */
export function checkedWithin(rectangle: Rectangle, size: Size, name: string): Rectangle {
  if (rectangle.width < 1 || rectangle.height < 1)
    throw mismatch(name, `the region of interest has no pixel in an image of ${sizeText(size)}.`);
  if (!liesWithin(rectangle, size))
    throw mismatch(
      name,
      `the region of interest ${rectangleText(rectangle)} (x y width height) reaches beyond its ${sizeText(size)} pixels.`,
    );
  return rectangle;
}

/** The smallest rectangle that holds an area. Errors: VIEW_MISMATCH where it has no pixel in the image. */
export async function boundsOf(area: Area, size: Size, name: string): Promise<Rectangle> {
  if ("x" in area) return rectangleIn(area, size, name);
  return boundsOfPixels(await pixelsOf(area, size, name), size, name);
}

export function boundsOfPixels(pixels: Uint8Array, { width, height }: Size, name: string): Rectangle {
  const first = pixels.indexOf(1);
  if (first < 0)
    throw mismatch(name, `the region of interest has no pixel in an image of ${sizeText({ width, height })}.`);
  const top = Math.floor(first / width);
  const bottom = Math.floor(pixels.lastIndexOf(1) / width);
  let [left, right] = [width, 0];
  for (let row = top; row <= bottom; row++) {
    const line = pixels.subarray(row * width, (row + 1) * width);
    const begin = line.indexOf(1);
    if (begin < 0) continue;
    left = Math.min(left, begin);
    right = Math.max(right, line.lastIndexOf(1));
  }
  return { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
}
