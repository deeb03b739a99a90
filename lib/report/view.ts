import { imageSize, loadImage } from "../images/decode.js";
import { decodeMask } from "../images/mask.js";
import type { Rectangle } from "../images/rectangle.js";
import { throwIfAborted } from "../errors.js";
import type { SeenSample } from "../view/describe.js";
import { countTiles, mapArea, placeInImage } from "../view/layout.js";
import type { Size } from "../view/mismatch.js";
import { type Eye, outlineOf } from "../view/open.js";
import { Canvas, fitText, textHeight, textWidth } from "./canvas.js";
import type { Colour } from "./colours.js";
import { drawContour, type Field, resizeField } from "./contour.js";
import { background, bright, dim, gap, predictedColour, truthColour } from "./overlay.js";
import { byMaxima, type Grid } from "./reduce.js";

const panelSide = 640;
const titleHeight = textHeight() + gap;
const legendHeight = textHeight() + 2 * gap;
/** More tiles than these would hide the image. */
const mostDrawn = 400;
const ignoredColour: Colour = [200, 120, 255];
const tileColour = predictedColour;

/** What a view shows of one image, at the panel's size. */
interface Shown extends Size {
  id: string;
  size: Size;
  pixels: Uint8Array;
  /** What the network sees. */
  area: Rectangle;
  /** From 0 to 1: where nothing is seen, what is ignored, and the defects. */
  outside: Field | undefined;
  ignored: Field | undefined;
  mask: Field | undefined;
  /** On each plane, the finest first. */
  tiles: Rectangle[][];
  count: number;
}

/**
 * A picture of what the network sees of images, two beside each other: outside of the region it is dark, ignored pixels are
 * hatched, tiles are outlined and tinted where they overlap, labelled defects are outlined.
 */
export async function viewPicture(
  samples: readonly SeenSample[],
  eye: Eye,
  { signal, onProgress }: { signal?: AbortSignal; onProgress?: (done: number, total: number) => void } = {},
): Promise<Buffer> {
  const shown: Shown[] = [];
  for (const sample of samples) {
    throwIfAborted(signal);
    shown.push(await look(sample, eye));
    onProgress?.(shown.length, samples.length);
  }
  const columns = Math.min(2, shown.length);
  const rows = Array.from({ length: Math.ceil(shown.length / columns) }, (_, row) =>
    shown.slice(row * columns, (row + 1) * columns),
  );
  const heights = rows.map((row) => titleHeight + Math.max(...row.map(({ height }) => height)) + gap);
  const width = columns * (panelSide + gap) + gap;
  const canvas = new Canvas(width, gap + heights.reduce((sum, height) => sum + height, 0) + legendHeight, background);
  let y = gap;
  for (const [index, row] of rows.entries()) {
    row.forEach((one, column) => draw(canvas, gap + column * (panelSide + gap), y, one));
    y += heights[index]!;
  }
  drawLegend(canvas, y, shown);
  return canvas.png();
}

async function look(sample: SeenSample, eye: Eye): Promise<Shown> {
  const { id, image } = sample;
  const size = await imageSize(image);
  const { view } = eye;
  const { layout, pixels: blank } = await outlineOf(eye, size, sample, id);
  // Ignored pixels lie inside of the region as well; what a mask leaves out of it lies outside.
  const only = { view: { ...view, ignore: null }, tile: eye.tile };
  const { pixels: outside } = await outlineOf(only, size, { roi: sample.roi }, id);
  const ignored = blank && outside ? blank.map((value, i) => (outside[i] !== 0 ? 0 : value)) : blank;
  const scale = panelSide / Math.max(size.width, size.height);
  const to = {
    width: Math.max(1, Math.round(size.width * scale)),
    height: Math.max(1, Math.round(size.height * scale)),
  };
  const { pixels } = await loadImage(image, { ...to, resize: "antialias", bitDepth: eye.bitDepth, name: id });
  const mask = sample.mask === undefined ? undefined : await decodeMask(sample.mask);
  const onPanel = ({ x, y, width, height }: Rectangle): Rectangle => ({
    x: (x * to.width) / size.width,
    y: (y * to.height) / size.height,
    width: (width * to.width) / size.width,
    height: (height * to.height) / size.height,
  });
  const fieldOf = async (data: Uint8Array | undefined): Promise<Field | undefined> =>
    data && resizeField(await reduced({ data, ...size }, to), to.width, to.height);
  const count = countTiles(layout);
  const tiles =
    count > mostDrawn
      ? []
      : layout.planes.map((plane) =>
          plane.rows.flatMap((y) =>
            plane.columns.map((x) => onPanel(placeInImage(layout, plane, { x, y, ...eye.tile }))),
          ),
        );
  return {
    id,
    size,
    pixels,
    ...to,
    area: onPanel(mapArea(layout)),
    outside: await fieldOf(outside),
    ignored: await fieldOf(ignored),
    mask: await fieldOf(mask?.pixels),
    tiles,
    count,
  };
}

/** Nothing small is lost. */
const reduced = (grid: Grid, to: Size): Promise<Grid> => byMaxima(grid, to.width, to.height);

function draw(canvas: Canvas, x: number, y: number, shown: Shown): void {
  const { id, size, width, height, area, count } = shown;
  const facts = `${size.width} x ${size.height}, ${count === 1 ? "one piece" : `${count} tiles`}`;
  const left = width - textWidth(facts);
  canvas.text(x, y, fitText(id, Math.max(0, left - gap)), bright);
  canvas.text(x + Math.max(0, left), y, facts, dim);
  const top = y + titleHeight;
  canvas.image(x, top, shown);
  if (shown.tiles.length > 0) tintOverlaps(canvas, x, top, shown);
  for (let py = 0; py < height; py++)
    for (let px = 0; px < width; px++) {
      const at = py * width + px;
      if (!holds(area, px + 0.5, py + 0.5) || (shown.outside && shown.outside.data[at]! >= 0.5))
        canvas.blend(x + px, top + py, [0, 0, 0], 0.65);
      else if (shown.ignored && shown.ignored.data[at]! >= 0.5)
        canvas.blend(x + px, top + py, ignoredColour, (px + py) % 8 < 3 ? 0.75 : 0.2);
    }
  drawTiles(canvas, x, top, shown);
  if (shown.mask) drawContour(canvas, x, top, shown.mask, 0.5, truthColour);
}

const holds = ({ x, y, width, height }: Rectangle, px: number, py: number): boolean =>
  px >= x && px <= x + width && py >= y && py <= y + height;

function drawTiles(canvas: Canvas, x: number, y: number, { tiles, area, count, width, height }: Shown): void {
  if (tiles.length === 0) {
    outline(canvas, x, y, area, { width, height }, 1);
    const text = `${count} tiles`;
    const [left, top] = [area.x + (area.width - textWidth(text)) / 2, area.y + (area.height - textHeight()) / 2];
    canvas.text(x + Math.round(left), y + Math.round(top), text, tileColour);
    return;
  }
  // A piece that covers the whole would be lost at the edge of the finest tiles.
  tiles.forEach((plane, i) => plane.forEach((tile) => outline(canvas, x, y, tile, { width, height }, i === 0 ? 1 : 3)));
}

/** In whole pixels of the panel, cut off at its edges. */
function inside({ x, y, width, height }: Rectangle, panel: Size): Rectangle {
  const [left, top] = [Math.max(0, Math.round(x)), Math.max(0, Math.round(y))];
  const right = Math.min(panel.width, Math.round(x + width));
  const bottom = Math.min(panel.height, Math.round(y + height));
  return { x: left, y: top, width: Math.max(1, right - left), height: Math.max(1, bottom - top) };
}

/** Tints what more than one of the finest tiles show. */
function tintOverlaps(canvas: Canvas, x: number, y: number, { tiles, ...panel }: Shown): void {
  const times = new Uint8Array(panel.width * panel.height);
  for (const tile of tiles[0]!) {
    const { x: left, y: top, width, height } = inside(tile, panel);
    for (let py = top; py < top + height; py++)
      for (let at = py * panel.width + left; at < py * panel.width + left + width; at++) times[at]!++;
  }
  times.forEach((count, at) => {
    if (count < 2) return;
    canvas.blend(x + (at % panel.width), y + Math.floor(at / panel.width), tileColour, Math.min(0.6, 0.12 * count));
  });
}

function outline(canvas: Canvas, x: number, y: number, tile: Rectangle, panel: Size, thickness: number): void {
  const { x: left, y: top, width, height } = inside(tile, panel);
  for (let py = top; py < top + height; py++)
    for (let px = left; px < left + width; px++) {
      const edge = Math.min(px - left, left + width - 1 - px, py - top, top + height - 1 - py);
      if (edge < thickness) canvas.blend(x + px, y + py, tileColour, 0.8);
    }
}

function drawLegend(canvas: Canvas, y: number, shown: readonly Shown[]): void {
  const middle = y + Math.round((legendHeight - textHeight()) / 2) - 2;
  const entries: [Colour, string][] = [[tileColour, "tiles, tinted where they overlap"]];
  if (shown.some(({ mask }) => mask)) entries.push([truthColour, "labelled defects"]);
  if (shown.some(({ ignored }) => ignored)) entries.push([ignoredColour, "ignored"]);
  let x = gap;
  for (const [colour, text] of entries) {
    canvas.rectangle(x, middle + 6, 24, 2, colour);
    canvas.text(x + 24 + gap, middle, text, dim);
    x += 24 + textWidth(text) + 4 * gap;
  }
}
