import { imageSize } from "../images/decode.js";
import { decodeMask, type Mask } from "../images/mask.js";
import { prefetch } from "../images/pipeline.js";
import type { Rectangle } from "../images/rectangle.js";
import type { Region } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { countTiles, type Layout, mapArea } from "./layout.js";
import { mismatch, type Size, sizeText } from "./mismatch.js";
import type { DefectSize, ViewLayout, ViewNumbers } from "./numbers.js";
import { type Eye, outlineOf, type OwnView } from "./open.js";

/** An image with what is known of it. */
export interface SeenSample extends OwnView {
  id: string;
  /** Path. */
  image: string;
  /** Path of the mask of its defects. */
  mask?: string | undefined;
}

const mostLayouts = 8;
const smallShare = 0.05;

export interface DescribeOptions {
  signal?: AbortSignal | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
}

interface Measured {
  layout: Layout;
  defects: DefectSize[];
}

/** Numbers of a view, but for what a training makes of it, and each image's smallest defect, by its id. */
export async function describeSamples(
  samples: readonly SeenSample[],
  eye: Eye,
  features: Size,
  { signal, onProgress }: DescribeOptions = {},
): Promise<{ numbers: Omit<ViewNumbers, "tilesPerEpoch">; smallest: Map<string, number> }> {
  const cell = { width: eye.tile.width / features.width, height: eye.tile.height / features.height };
  const layouts = new Map<string, ViewLayout>();
  const sizes: ImageDefect[] = [];
  const largest: ImageDefect[] = [];
  const smallest = new Map<string, number>();
  let [done, least, most, count] = [0, Infinity, 0, 0];
  for await (const { sample, layout, defects } of prefetch(samples, (each) => measured(each, eye, cell), { signal })) {
    const tiles = countTiles(layout);
    [least, most] = [Math.min(least, tiles), Math.max(most, tiles)];
    const key = JSON.stringify([layout.size, layout.region]);
    const alike = layouts.get(key) ?? described(layout);
    alike.images++;
    layouts.set(key, alike);
    const own = defects.map((defect): ImageDefect => ({ ...defect, image: sample.id })).sort(bySize);
    if (own.length > 0) {
      sizes.push(own[0]!);
      largest.push(own.at(-1)!);
      smallest.set(sample.id, own[0]!.cells);
      count += own.length;
    }
    onProgress?.(++done, samples.length);
  }
  const numbers = {
    images: samples.length,
    layouts: [...layouts.values()].sort((a, b) => b.images - a.images).slice(0, mostLayouts),
    tilesPerImage: { least: Math.min(least, most), most },
    cell,
    defects: count === 0 ? null : defectsOf(count, sizes, largest),
  };
  return { numbers, smallest };
}

type ImageDefect = DefectSize & { image: string };

const bySize = (a: DefectSize, b: DefectSize): number => a.cells - b.cells;

/** Of the smallest and of the largest defect of each image that has one. */
function defectsOf(count: number, smallest: ImageDefect[], largest: ImageDefect[]): ViewNumbers["defects"] {
  const images = largest.length;
  const small = largest.sort(bySize)[Math.ceil(smallShare * images) - 1]!;
  return { count, images, smallest: smallest.sort(bySize)[0]!, small };
}

function described({ size, region, planes }: Layout): ViewLayout {
  const shown = planes.map(({ width, height, columns, rows }) => ({
    scale: { x: width / region.width, y: height / region.height },
    width,
    height,
    tiles: columns.length * rows.length,
  }));
  const { width, height } = size;
  return { images: 0, width, height, region, planes: shown, tiles: countTiles({ size, region, planes }) };
}

async function measured<Sample extends SeenSample>(
  sample: Sample,
  eye: Eye,
  cell: Size,
): Promise<Measured & { sample: Sample }> {
  const { id, image, mask: file } = sample;
  const mask = file === undefined ? undefined : await decodeMask(file);
  const size = await imageSize(image);
  if (mask && (mask.width !== size.width || mask.height !== size.height))
    throw mismatch(id, `it has ${sizeText(size)} pixels, and its mask ${sizeText(mask)}.`);
  const { layout, pixels } = await outlineOf(eye, size, sample, id);
  if (!mask?.marked) return { sample, layout, defects: [] };
  const { region, planes } = layout;
  const [across, down] = [planes[0].width / region.width, planes[0].height / region.height];
  const defects = (await regionsOf(mask, lookedAt(layout), pixels)).map(({ width, height }) => ({
    pixels: Math.max(width * across, height * down),
    cells: Math.max((width * across) / cell.width, (height * down) / cell.height),
  }));
  return { sample, layout, defects };
}

/** The pixels that the finest plane shows, those at its edges as a whole. */
function lookedAt(layout: Layout): Rectangle {
  const { x, y, width, height } = mapArea(layout);
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const right = Math.min(layout.size.width, Math.ceil(x + width));
  const bottom = Math.min(layout.size.height, Math.ceil(y + height));
  return { x: left, y: top, width: right - left, height: bottom - top };
}

/** Values that are turned into a map at once. */
const stripPixels = 2 ** 20;

/** 8-connected regions of a part of a mask, by strips: the whole as a map would take four times as much memory. */
async function regionsOf(mask: Mask, part: Rectangle, ignored: Uint8Array | undefined): Promise<readonly Region[]> {
  const finder = engine().createRegionFinder({ width: part.width, thresholds: [0.5], minArea: 1 });
  const most = Math.max(1, Math.floor(stripPixels / part.width));
  for (let y = 0; y < part.height; y += most) {
    const rows = Math.min(most, part.height - y);
    const strip = new Float32Array(rows * part.width);
    const ignore = ignored && new Uint8Array(rows * part.width);
    for (let row = 0; row < rows; row++) {
      const from = (part.y + y + row) * mask.width + part.x;
      strip.set(mask.pixels.subarray(from, from + part.width), row * part.width);
      ignore?.set(ignored!.subarray(from, from + part.width), row * part.width);
    }
    await finder.addRows(strip, rows, ignore);
  }
  return (await finder.finish())[0]!.regions;
}
