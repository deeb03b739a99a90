import type { DecodeOptions, PixelFacts } from "../images/decode.js";
import { Budget } from "../images/budget.js";
import { decodeMask, type Mask } from "../images/mask.js";
import { copiedSource, imageName, type OpenImage, openImage } from "../images/open.js";
import type { Rectangle } from "../images/rectangle.js";
import type { ImageSource } from "../images/source.js";
import { spoolingBytes } from "../images/spool.js";
import type { ResizeMethod } from "../native/binding.js";
import { engine } from "../native/engine.js";
import type { View } from "../schema/view.js";
import { inTurns, pieceEnds, type Steps, turns } from "../turns.js";
import { boundsOf, boundsOfPixels, checkedWithin, pixelsOf } from "./areas.js";
import { type Layout, layoutOf, type Plane } from "./layout.js";
import { mismatch, type Size, sizeText } from "./mismatch.js";

/** What is known of one image beside the view of the model. */
export interface OwnView {
  /** The part of this image to look at, instead of the view's: a rectangle in its pixels, or the path of a mask. */
  roi?: Rectangle | string | undefined;
  /** Path of a mask of pixels to ignore, beside the view's. */
  ignore?: string | undefined;
}

/** What the network is fed with. */
export interface Eye {
  view: View;
  /** Of the network's input, which is a tile where there are tiles. */
  tile: Size;
  resize: ResizeMethod;
  bitDepth: number;
}

/** Where a view looks at an image, without its pixels. */
export interface Outline {
  layout: Layout;
  /** Of a part of a plane: 1 for pixels that are ignored or lie beyond the plane; undefined where none does. */
  ignored(plane: Plane, window: Rectangle): Promise<Uint8Array | undefined>;
}

/** An image as a view shows it. */
export interface ViewedImage extends Outline, PixelFacts {
  /** What stands for it in messages. */
  name: string;
  /** Of its samples, and of what is ignored. */
  bytes: number;
  /** The network's input at a place of a plane: RGB of a tile's size. */
  tile(plane: Plane, x: number, y: number): Promise<Uint8Array>;
  /** Gives back the image's place in the memory for images, for who counts its bytes by himself. */
  release(): void;
  /** The same; the image cannot be used afterwards. */
  close(): void;
}

/** Images whose masks are read, or that wait for memory with them, at once. */
const maskedAtOnce = new Budget(4, () => Infinity);

/**
 * Decodes an image and lays out its view. Errors: those of decodeImage, for the masks beside it too, and VIEW_MISMATCH for
 * an image that the view cannot be applied to.
 */
export async function openView(
  source: ImageSource,
  eye: Eye,
  own: OwnView = {},
  options: DecodeOptions = {},
): Promise<ViewedImage> {
  const name = imageName(source, options);
  const opening = { bitDepth: eye.bitDepth, ...options };
  if (typeof own.roi !== "string" && own.ignore === undefined)
    return viewOpened(await openImage(source, opening), eye, await readOwn(own), name);
  // The masks come first: an image that is open must not wait for memory, which others like it may hold.
  const held = copiedSource(source, opening);
  const giveBack = await maskedAtOnce.take(1, name);
  try {
    const areas = await readOwn(own);
    return await viewOpened(await openImage(await held, { ...opening, name, own: true }), eye, areas, name);
  } finally {
    giveBack();
  }
}

async function viewOpened(image: OpenImage, eye: Eye, own: OwnAreas, name: string): Promise<ViewedImage> {
  try {
    const outline = await layOut(eye, image, own, name);
    return {
      name,
      ...outline,
      ...facts(image, outline),
      tile: (plane, x, y) => tileOf(image, eye, outline, plane, x, y),
    };
  } catch (error) {
    image.close();
    throw error;
  }
}

const facts = ({ bytes, uniform, highest, release, close }: OpenImage, { pixels }: KnownOutline) => ({
  bytes: bytes + (pixels?.byteLength ?? 0),
  uniform,
  highest,
  release,
  close,
});

interface KnownOutline extends Outline {
  /** At the image's size; undefined: nothing is ignored. */
  pixels: Uint8Array | undefined;
}

/** Lays out the view of an image of this size. Errors: VIEW_MISMATCH; those of decodeMask for the masks beside it. */
export const outlineOf = async (
  eye: Pick<Eye, "view" | "tile">,
  size: Size,
  own: OwnView,
  name: string,
): Promise<KnownOutline> => layOut(eye, size, await readOwn(own), name);

async function layOut(
  { view, tile }: Pick<Eye, "view" | "tile">,
  { width, height }: Size,
  own: OwnAreas,
  name: string,
): Promise<KnownOutline> {
  const size = { width, height };
  const { region, ignored: pixels } = await areasOf(view, own, size, name);
  const layout = layoutOf(view, tile, { size, region, name });
  const ignored = async (plane: Plane, window: Rectangle): Promise<Uint8Array | undefined> => {
    const found = pixels && (await windowOfMask(pixels, layout, plane, window));
    return isInside(window, plane)
      ? found
      : fillBeyond(found ?? new Uint8Array(window.width * window.height), plane, window, 1);
  };
  return { layout, pixels, ignored };
}

/**
 * The part of a mask of the image's size that a part of a plane shows; nothing beyond the plane. Where tiles are coarser than
 * the image, a pixel is marked when any under it is: a thin scratch would be lost, and its tiles be taken for good ones.
 */
export async function cutMask(mask: Uint8Array, layout: Layout, plane: Plane, window: Rectangle): Promise<Uint8Array> {
  const { region } = layout;
  if (plane.scale !== "whole" && plane.width < region.width && plane.height < region.height)
    return inTurns(anyMarked(mask, layout, plane, window));
  const found = await windowOfMask(mask, layout, plane, window);
  return isInside(window, plane) ? found : fillBeyond(found, plane, window, 0);
}

/** Of a part that lies inside its plane, as tiles do. */
function* anyMarked(mask: Uint8Array, { size, region }: Layout, plane: Plane, window: Rectangle): Steps<Uint8Array> {
  const out = new Uint8Array(window.width * window.height);
  const left = Math.floor((window.x * region.width) / plane.width);
  const right = Math.min(region.width, Math.ceil(((window.x + window.width) * region.width) / plane.width));
  const bottom = Math.min(region.height, Math.ceil(((window.y + window.height) * region.height) / plane.height));
  for (let row = Math.floor((window.y * region.height) / plane.height); row < bottom; row++) {
    const y = Math.floor((row * plane.height) / region.height) - window.y;
    if (y < 0 || y >= window.height) continue;
    const start = (region.y + row) * size.width + region.x;
    const line = mask.subarray(start + left, start + right);
    for (let i = line.indexOf(1); i >= 0; i = line.indexOf(1, i + 1)) {
      const x = Math.floor(((left + i) * plane.width) / region.width) - window.x;
      if (x >= 0 && x < window.width) out[y * window.width + x] = 1;
    }
    yield right - left;
  }
  return out;
}

/** What of a mask counts: nothing where pixels are ignored. Changes the mask. */
export function withoutIgnored(mask: Uint8Array, ignored: Uint8Array | undefined): Uint8Array {
  if (ignored) for (let i = mask.indexOf(1); i >= 0; i = mask.indexOf(1, i + 1)) if (ignored[i] !== 0) mask[i] = 0;
  return mask;
}

const isInside = ({ x, y, width, height }: Rectangle, plane: Plane): boolean =>
  x >= 0 && y >= 0 && x + width <= plane.width && y + height <= plane.height;

function fillBeyond(pixels: Uint8Array, plane: Plane, window: Rectangle, value: number): Uint8Array {
  for (let y = 0; y < window.height; y++) {
    const line = pixels.subarray(y * window.width, (y + 1) * window.width);
    if (window.y + y < 0 || window.y + y >= plane.height) line.fill(value);
    else {
      line.fill(value, 0, Math.max(0, -window.x));
      line.fill(value, Math.min(window.width, plane.width - window.x));
    }
  }
  return pixels;
}

/** A tile of a coarse plane may be made of the whole image: then it comes in bands, from as few rows as a file keeps at hand. */
async function tileOf(
  image: OpenImage,
  eye: Eye,
  outline: KnownOutline,
  plane: Plane,
  x: number,
  y: number,
): Promise<Uint8Array> {
  const { tile } = eye;
  const [first, end] = rowsOf(outline.layout, plane, y, tile.height);
  const share = spoolingBytes / ((end - first) * image.width * image.channels);
  if (share >= 1) return windowOfImage(image, eye, outline, plane, { x, y, ...tile });
  const rows = Math.max(1, Math.floor(share * tile.height));
  const out = new Uint8Array(tile.width * tile.height * 3);
  for (let at = 0; at < tile.height; at += rows) {
    const band = { x, y: y + at, width: tile.width, height: Math.min(rows, tile.height - at) };
    out.set(await windowOfImage(image, eye, outline, plane, band), at * tile.width * 3);
  }
  return out;
}

async function windowOfImage(
  image: OpenImage,
  { resize, bitDepth }: Eye,
  { layout, pixels }: KnownOutline,
  plane: Plane,
  window: Rectangle,
): Promise<Uint8Array> {
  const { width, channels } = image;
  const [first, end] = rowsOf(layout, plane, window.y, window.height);
  const { values, firstRow, rows } = await image.rows(first, end);
  const ignored = pixels?.subarray(firstRow * width, (firstRow + rows) * width);
  return engine().imageWindow(values, {
    width,
    firstRow,
    rows,
    channels,
    bitDepth,
    ...windowOf(layout, plane, window),
    method: resize,
    ...(ignored && { ignored }),
  });
}

/** The rows of the image that a row of tiles needs, with those that resizing takes from beside it. */
function rowsOf({ region }: Layout, plane: Plane, y: number, height: number): [first: number, end: number] {
  const scale = region.height / plane.height;
  const beside = Math.ceil(scale) + 1;
  // Rows beyond the plane repeat its outermost.
  const first = Math.floor(Math.max(0, Math.min(y, plane.height - 1)) * scale) - beside;
  const end = Math.ceil(Math.min(plane.height, Math.max(1, y + height)) * scale) + beside;
  return [region.y + Math.max(0, first), region.y + Math.min(region.height, end)];
}

const windowOf = ({ region }: Layout, { width, height }: Plane, window: Rectangle) => ({
  region,
  toHeight: height,
  toWidth: width,
  window: { x: window.x, y: window.y, width: window.width, height: window.height },
});

const windowOfMask = (mask: Uint8Array, layout: Layout, plane: Plane, window: Rectangle): Promise<Uint8Array> =>
  engine().maskWindow(mask, { ...layout.size, ...windowOf(layout, plane, window), method: "nearest" });

interface Areas {
  region: Rectangle;
  /** At the image's size; undefined: nothing is ignored. */
  ignored: Uint8Array | undefined;
}

/** What a view makes of images of one size: those of a camera are all alike. */
const known = new WeakMap<View, { size: Size; areas: Promise<Areas> }>();

async function areasOf(view: View, own: OwnAreas, { width, height }: Size, name: string): Promise<Areas> {
  const size = { width, height };
  const before = known.get(view);
  const areas =
    before?.size.width === width && before.size.height === height ? before.areas : viewAreas(view, size, name);
  if (areas !== before?.areas) {
    known.set(view, { size, areas });
    areas.catch(() => known.delete(view)); // its message names one image
  }
  const general = await areas;
  const part = await ownRegion(own, size, name);
  const blank = own.ignore && pixelsOfSize(own.ignore, size, name);
  // A region of its own replaces the view's, and what lies outside of that.
  const outside = part ? part.ignored : general.ignored;
  const ignored = part && view.ignore ? await merged(outside, await pixelsOf(view.ignore, size, name)) : outside;
  const all = blank ? await merged(ignored, blank) : ignored;
  const region = part?.region ?? general.region;
  if (all && isAllIgnored(all, region, width))
    throw mismatch(name, "every pixel of the part that is looked at is ignored.");
  return { region, ignored: all };
}

async function viewAreas({ roi, ignore }: View, size: Size, name: string): Promise<Areas> {
  const whole = { x: 0, y: 0, ...size };
  const region = roi ? await boundsOf(roi, size, name) : whole;
  const outside = roi && !("x" in roi) ? await inverted(await pixelsOf(roi, size, name)) : undefined;
  return { region, ignored: ignore ? await merged(outside, await pixelsOf(ignore, size, name)) : outside };
}

/** OwnView with the masks that it names. */
interface OwnAreas {
  roi?: Rectangle | FileMask | undefined;
  ignore?: FileMask | undefined;
}

interface FileMask extends Mask {
  file: string;
}

async function readOwn({ roi, ignore }: OwnView): Promise<OwnAreas> {
  const read = async (file: string): Promise<FileMask> => ({ ...(await decodeMask(file)), file });
  return {
    roi: typeof roi === "string" ? await read(roi) : roi,
    ignore: ignore === undefined ? undefined : await read(ignore),
  };
}

async function ownRegion({ roi }: OwnAreas, size: Size, name: string): Promise<Areas | undefined> {
  if (roi === undefined) return undefined;
  if (!("file" in roi)) return { region: checkedWithin(roi, size, name), ignored: undefined };
  const pixels = pixelsOfSize(roi, size, name);
  return { region: boundsOfPixels(pixels, size, name), ignored: await inverted(pixels) };
}

function pixelsOfSize(mask: FileMask, size: Size, name: string): Uint8Array {
  if (mask.width !== size.width || mask.height !== size.height)
    throw mismatch(name, `it has ${sizeText(size)} pixels, and the mask ${mask.file} ${sizeText(mask)}.`);
  return mask.pixels;
}

async function inverted(pixels: Uint8Array): Promise<Uint8Array> {
  const out = new Uint8Array(pixels.length);
  const breathe = turns();
  for (const [begin, end] of pieceEnds(pixels.length)) {
    for (let i = begin; i < end; i++) out[i] = 1 - pixels[i]!;
    await breathe(end - begin);
  }
  return out;
}

/** The pixels that either has. Neither is changed. */
const merged = async (one: Uint8Array | undefined, other: Uint8Array): Promise<Uint8Array> =>
  one ? (await engine().mergeMasks(one.slice(), other)).pixels : other;

function isAllIgnored(ignored: Uint8Array, { x, y, width, height }: Rectangle, stride: number): boolean {
  for (let row = y; row < y + height; row++)
    if (ignored.subarray(row * stride + x, row * stride + x + width).includes(0)) return false;
  return true;
}
