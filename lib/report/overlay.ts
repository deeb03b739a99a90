import { types } from "node:util";

import { z } from "zod";

import type { Label, Sample } from "../datasets/dataset.js";
import type { AnomalyMap, Detection } from "../detection/types.js";
import { invalid } from "../errors.js";
import { decodeImage, type RgbImage } from "../images/decode.js";
import { decodeMask, type Mask } from "../images/mask.js";
import type { Rectangle } from "../images/rectangle.js";
import { sharp } from "../images/sharp.js";
import { checkValue } from "../schema/check.js";
import { inTurns } from "../turns.js";
import type { Size } from "../view/mismatch.js";
import { Canvas, encodePng, fitText, textHeight, textWidth } from "./canvas.js";
import { type Colour, type ColourRange, heatColours, heatPixels, heatSteps } from "./colours.js";
import { drawContour, drawTint, type Field, nothing, resizeField, smoothField } from "./contour.js";
import { byMaxima, type Grid, isLarge, isReduced, pictureMap } from "./reduce.js";

/** One image with what was found on it. */
export interface OverlayInput {
  /** At its own size; any size will do. */
  image: RgbImage;
  detection: Pick<
    Detection,
    "map" | "score" | "threshold" | "peak" | "mapThreshold" | "pixelThreshold" | "verdict" | "anomalous" | "decidedBy"
  >;
  /** What the image is known to be. Without it the mask panel is left out. */
  truth?: { label: Label; mask?: Mask };
  title: string;
}

export const background: Colour = [22, 24, 29];
const panelBackground: Colour = [38, 41, 48];
export const dim: Colour = [150, 156, 168];
export const bright: Colour = [236, 238, 242];
const defectColour: Colour = [255, 99, 88];
const goodColour: Colour = [104, 204, 138];
const unsureColour: Colour = [120, 170, 255];
const wrongColour: Colour = [245, 200, 66];
const verdictColours = { defect: defectColour, unsure: unsureColour, good: goodColour } as const;
const verdictWords = { defect: "DEFECT", unsure: "unsure", good: "good" } as const;
/** Predicted contour and true contour: told apart with any kind of colour vision, and visible on grey surfaces. */
export const predictedColour: Colour = [255, 140, 26];
export const truthColour: Colour = [60, 205, 255];

export const gap = 10;
const panelSide = 256;
const titleHeight = textHeight() + gap;
const labelHeight = textHeight() + 2;
const legendHeight = textHeight() + 2 * gap;

function checkRange(where: string, range: ColourRange): void {
  const { low, high } = (range ?? {}) as ColourRange;
  checkValue(where, "range.low", z.number(), low);
  checkValue(where, "range.high", z.number(), high);
  if (low >= high) throw invalid(where, "range", "low below high", { low, high });
}

/** The values of a map, wherever they lie in an image. */
type MapValues = Pick<AnomalyMap, "data" | "width" | "height">;

function checkMap(where: string, name: string, map: MapValues): void {
  const { data, width, height } = (map ?? {}) as MapValues;
  if (!types.isFloat32Array(data) || data.length !== width * height)
    throw invalid(where, name, `${width} x ${height} values`, data);
  if (data.length === 0)
    throw invalid(where, name, "a map, which mapSize 'none' does not keep,", `${width} x ${height}`);
}

function checkInputs(where: string, inputs: readonly OverlayInput[], range: ColourRange): void {
  if (!Array.isArray(inputs) || inputs.length === 0) throw invalid(where, "inputs", "at least one image", inputs);
  checkRange(where, range);
  for (const input of inputs as (OverlayInput | null | undefined)[]) {
    const { image, detection, truth } = (input ?? {}) as Partial<OverlayInput>;
    if (!types.isUint8Array(image?.pixels) || image.pixels.length !== image.width * image.height * 3)
      throw invalid(where, "image.pixels", `${image?.width} x ${image?.height} RGB pixels`, image?.pixels);
    checkMap(where, "detection.map", detection?.map as AnomalyMap);
    const { area } = detection!.map!;
    if (![area?.x, area?.y].every(Number.isFinite) || !(area.width > 0) || !(area.height > 0))
      throw invalid(where, "detection.map.area", "{ x, y, width, height } in pixels of the image", area);
    if (truth?.mask && truth.mask.pixels?.length !== truth.mask.width * truth.mask.height)
      throw invalid(where, "truth.mask", `${truth.mask.width} x ${truth.mask.height} pixels`, truth.mask.pixels);
  }
}

/** The map alone, coloured, at its own size. Throws INVALID_OPTION, as the others here, for arrays that do not have the size that they claim. */
export async function heatMapPng(map: MapValues, range: ColourRange): Promise<Buffer> {
  checkRange("heatMapPng", range);
  checkMap("heatMapPng", "map", map);
  return encodePng({ pixels: await inTurns(heatSteps(map.data, range)), width: map.width, height: map.height });
}

/** A canvas for a page has no longer side than this. */
const longest = 2048;

/** The coloured map of a detection where it lies in its image, with nothing around it: for a page that lays it over the image. */
export async function heatOverImagePng(
  { map, width, height }: Pick<Detection, "map" | "width" | "height">,
  range: ColourRange,
): Promise<Buffer> {
  const drawn = await pictureMap(map);
  const heat = await heatMapPng(drawn, range);
  const { area } = map;
  if (isWhole(area, { width, height })) return heat;
  // Pixels of the canvas per pixel of the image.
  const across = Math.min(drawn.width / area.width, longest / width);
  const down = Math.min(drawn.height / area.height, longest / height);
  const side = (length: number, scale: number): number => Math.max(1, Math.round(length * scale));
  const input = await sharp(heat)
    .resize(side(area.width, across), side(area.height, down), { fit: "fill" })
    .png()
    .toBuffer();
  const canvas = { width: side(width, across), height: side(height, down) };
  const nothingThere = new Uint8Array(canvas.width * canvas.height * 4);
  return sharp(nothingThere, { raw: { ...canvas, channels: 4 } })
    .composite([{ input, left: Math.round(area.x * across), top: Math.round(area.y * down) }])
    .png()
    .toBuffer();
}

/** image | mask | heat map | contour, with the score above and the colour scale below. */
export async function overlayPng(input: OverlayInput, range: ColourRange): Promise<Buffer> {
  checkInputs("overlayPng", [input], range);
  const { width, height } = stripSize(input);
  const canvas = new Canvas(width, height + legendHeight, background);
  await drawStrip(canvas, 0, 0, input, range);
  drawLegend(canvas, height, range, input.detection.pixelThreshold, input.truth !== undefined);
  return canvas.png();
}

/** Many overlays under one title, with one colour scale: below each other, in two columns when there are more than three. */
export async function contactSheet(
  inputs: readonly OverlayInput[],
  range: ColourRange,
  title: string,
): Promise<Buffer> {
  checkInputs("contactSheet", inputs, range);
  const columns = inputs.length > 3 ? 2 : 1;
  const rows = Array.from({ length: Math.ceil(inputs.length / columns) }, (_, row) =>
    inputs.slice(row * columns, (row + 1) * columns),
  );
  const rowHeights = rows.map((row) => Math.max(...row.map((input) => stripSize(input).height)));
  const columnWidth = Math.max(...inputs.map((input) => stripSize(input).width));
  const top = textHeight(3) + 2 * gap;
  const width = columns * columnWidth + (columns - 1) * 2 * gap;
  const stripsHeight = rowHeights.reduce((sum, height) => sum + height, 0);
  const canvas = new Canvas(width, top + stripsHeight + legendHeight, background);
  canvas.text(gap, gap, fitText(title, width - 2 * gap, 3), bright, 3);
  let y = top;
  for (const [index, row] of rows.entries()) {
    for (const [column, input] of row.entries())
      await drawStrip(canvas, column * (columnWidth + 2 * gap), y, input, range);
    y += rowHeights[index]!;
  }
  const withTruth = inputs.some(({ truth }) => truth !== undefined);
  drawLegend(canvas, y, range, inputs[0]!.detection.pixelThreshold, withTruth);
  return canvas.png();
}

/** The image's size inside a square panel, aspect kept. */
function fitted({ width, height }: Size): Size {
  const scale = panelSide / Math.max(width, height);
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

function stripSize(input: OverlayInput): Size {
  const panels = input.truth ? 4 : 3;
  return {
    width: panels * (panelSide + gap) + gap,
    height: titleHeight + labelHeight + fitted(input.image).height + 2 * gap,
  };
}

/** Whether a map covers the whole image. */
export const isWhole = ({ x, y, width, height }: Rectangle, image: Size): boolean =>
  x === 0 && y === 0 && width === image.width && height === image.height;

/** Where a part of an image lies on its panel. */
function placeOf({ x, y, width, height }: Rectangle, image: Size, panel: Size): Rectangle {
  return {
    x: (x * panel.width) / image.width,
    y: (y * panel.height) / image.height,
    width: (width * panel.width) / image.width,
    height: (height * panel.height) / image.height,
  };
}

/** The colours of a map, and the panel's where there is none. */
function placedHeat({ data }: Field, range: ColourRange): Uint8Array {
  const pixels = heatPixels(data, range);
  for (let i = 0; i < data.length; i++) if (data[i] === nothing) pixels.set(panelBackground, 3 * i);
  return pixels;
}

interface Panel {
  label: string;
  draw(canvas: Canvas, x: number, y: number): void;
}

interface Panels {
  width: number;
  panels: Panel[];
}

async function preparePanels({ image, detection, truth }: OverlayInput, range: ColourRange): Promise<Panels> {
  const { width, height } = fitted(image);
  // The image was read: it may be larger than sharp's own limit.
  const pixels = await sharp(image.pixels, {
    raw: { width: image.width, height: image.height, channels: 3 },
    limitInputPixels: false,
  })
    .resize(width, height, { fit: "fill" })
    .raw()
    .toBuffer();
  const picture = { pixels, width, height };
  const place = placeOf(detection.map.area, image, { width, height });
  // Of maps with more detail than the panel what is small must not be lost, in the mask either.
  const byMaximum = isReduced(detection.map) || isLarge(detection.map) || !isWhole(detection.map.area, image);
  const shown = (grid: Grid, to: Rectangle): Promise<Grid> | Grid =>
    byMaximum ? byMaxima(grid, to.width, to.height) : grid;
  const map = resizeField(await shown(detection.map, place), width, height, place);
  const whole = { x: 0, y: 0, width, height };
  const mask =
    truth?.mask && resizeField(await shown({ ...truth.mask, data: truth.mask.pixels }, whole), width, height);
  const panels: Panel[] = [{ label: "image", draw: (canvas, x, y) => canvas.image(x, y, picture) }];
  if (truth) {
    panels.push({
      label: "mask",
      draw(canvas, x, y) {
        if (mask) canvas.image(x, y, { pixels: greyPixels(mask.data), width, height });
        else {
          canvas.rectangle(x, y, width, height, truth.label === "normal" ? [0, 0, 0] : panelBackground);
          const text = truth.label === "normal" ? "no defect" : "no mask";
          const [left, top] = [(width - textWidth(text)) / 2, (height - textHeight()) / 2];
          canvas.text(x + Math.round(left), y + Math.round(top), text, dim);
        }
      },
    });
  }
  panels.push({
    label: "heat map",
    draw: (canvas, x, y) => canvas.image(x, y, { pixels: placedHeat(map, range), width, height }),
  });
  panels.push({
    label: "contour",
    draw(canvas, x, y) {
      canvas.image(x, y, picture);
      drawTint(canvas, x, y, map, detection.pixelThreshold, predictedColour);
      // Smoothed, a speck would be gone.
      if (mask) drawContour(canvas, x, y, byMaximum ? mask : smoothField(mask, 2), 0.5, truthColour);
      drawContour(canvas, x, y, map, detection.pixelThreshold, predictedColour);
    },
  });
  return { width, panels };
}

function drawPanels(canvas: Canvas, x: number, y: number, { width, panels }: Panels): void {
  const top = y + gap + titleHeight;
  for (const [index, panel] of panels.entries()) {
    const left = x + gap + index * (panelSide + gap) + Math.floor((panelSide - width) / 2);
    canvas.text(left, top, panel.label, dim);
    panel.draw(canvas, left, top + labelHeight);
  }
}

/** Title on the left, decision on the right, panels below. */
async function drawStrip(canvas: Canvas, x: number, y: number, input: OverlayInput, range: ColourRange): Promise<void> {
  const { detection, truth } = input;
  const { width } = stripSize(input);
  const wrong = truth !== undefined && detection.anomalous !== (truth.label === "anomalous");
  const colour = wrong ? wrongColour : verdictColours[detection.verdict];
  // Of a part that the map alone made a defect, the score would not say why.
  const byMap = detection.decidedBy.length > 0 && !detection.decidedBy.includes("score");
  const [value, threshold] = byMap
    ? [`map ${detection.peak.toFixed(2)}`, detection.mapThreshold.toFixed(2)]
    : [detection.score.toFixed(3), detection.threshold.toFixed(3)];
  const mistake = wrong ? (detection.anomalous ? " false alarm" : " missed") : "";
  const verdict = `${verdictWords[detection.verdict]} ${value}${mistake}`;
  const rest = ` threshold ${threshold}`;
  const left = width - gap - textWidth(`${verdict}${rest}`);
  canvas.text(x + left, y + gap, verdict, colour);
  canvas.text(x + left + textWidth(verdict) + 2, y + gap, rest, dim);
  canvas.text(x + gap, y + gap, fitText(input.title, left - 3 * gap), bright);
  drawPanels(canvas, x, y, await preparePanels(input, range));
}

/** The colour scale in logits with the pixel threshold marked, and what the two contours are. */
function drawLegend(canvas: Canvas, y: number, range: ColourRange, pixelThreshold: number, withTruth: boolean): void {
  const middle = y + Math.round((legendHeight - textHeight()) / 2) - 2;
  const [low, high] = [tenths(range.low), tenths(range.high)];
  let x = gap;
  canvas.text(x, middle, low, dim);
  x += textWidth(low) + gap;
  const length = 192;
  for (let i = 0; i < length; i++) {
    const step = 3 * Math.round((i * 255) / (length - 1));
    canvas.rectangle(x + i, middle, 1, 14, [heatColours[step]!, heatColours[step + 1]!, heatColours[step + 2]!]);
  }
  const mark = Math.round(((pixelThreshold - range.low) / (range.high - range.low)) * (length - 1));
  canvas.rectangle(x + mark - 1, middle - 3, 2, 20, bright);
  x += length + gap;
  const scale = `${high} logits`;
  canvas.text(x, middle, scale, dim);
  x += textWidth(scale) + 3 * gap;
  const lines: [Colour, string][] = [[predictedColour, `found: tinted (map ≥ ${pixelThreshold.toFixed(2)})`]];
  if (withTruth) lines.push([truthColour, "true mask"]);
  for (const [colour, text] of lines) {
    canvas.rectangle(x, middle + 6, 24, 2, colour);
    canvas.text(x + 24 + gap, middle, text, dim);
    x += 24 + textWidth(text) + 4 * gap;
  }
}

/** One decimal, and no minus before a zero. */
const tenths = (value: number): string => value.toFixed(1).replace(/^-(?=0\.0$)/, "");

function greyPixels(field: Float32Array): Uint8Array {
  const pixels = new Uint8Array(field.length * 3);
  for (let i = 0; i < field.length; i++)
    pixels.fill(Math.round(255 * Math.max(0, Math.min(1, field[i]!))), 3 * i, 3 * i + 3);
  return pixels;
}

/** What an overlay of a data set's sample shows: image (at the model's bit depth) and mask are read again, at their own size. */
export async function overlayOf(sample: Sample, detection: Detection, bitDepth?: number): Promise<OverlayInput> {
  const [image, mask] = await Promise.all([
    decodeImage(sample.image, { bitDepth }),
    sample.mask === undefined ? undefined : decodeMask(sample.mask),
  ]);
  return { image, detection, truth: { label: sample.label, ...(mask && { mask }) }, title: sample.id };
}
