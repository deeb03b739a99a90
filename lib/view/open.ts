import type { DecodeOptions, PixelFacts } from "../images/decode.js";
import { decodeMask } from "../images/mask.js";
import { imageName, type OpenImage, openImage } from "../images/open.js";
import type { Rectangle } from "../images/rectangle.js";
import type { ImageSource } from "../images/source.js";
import type { ResizeMethod } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { fullDepth } from "../schema/common.js";
import type { View } from "../schema/view.js";
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

/** An image as a view shows it. Close it when it has been seen. */
export interface ViewedImage extends PixelFacts {
  layout: Layout;
  /** The network's input at a place of a plane: RGB of a tile's size. */
  tile(plane: Plane, x: number, y: number): Promise<Uint8Array>;
  /** Of a part of a plane: 1 for pixels that are ignored; undefined where none is. */
  ignored(plane: Plane, window: Rectangle): Promise<Uint8Array | undefined>;
  close(): void;
}

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
  const image = await openImage(source, { bitDepth: eye.bitDepth, ...options });
  try {
    const { region, ignored } = await areasOf(eye.view, own, image, name);
    const { width, height } = image;
    return new OpenedView(image, eye, layoutOf(eye.view, eye.tile, { size: { width, height }, region, name }), ignored);
  } catch (error) {
    image.close();
    throw error;
  }
}

/** Lays out the view of an image of which only the size is known. Errors: VIEW_MISMATCH, those of decodeMask. */
export async function layoutFor(eye: Eye, size: Size, own: OwnView, name: string): Promise<Layout> {
  const region = (await ownRegion(own, size, name))?.region ?? (await areasOf(eye.view, {}, size, name)).region;
  return layoutOf(eye.view, eye.tile, { size, region, name });
}

class OpenedView implements ViewedImage {
  readonly uniform: boolean;
  readonly highest: number | undefined;

  constructor(
    private readonly image: OpenImage,
    private readonly eye: Eye,
    readonly layout: Layout,
    private readonly pixels: Uint8Array | undefined,
  ) {
    this.uniform = image.uniform;
    this.highest = image.highest;
  }

  tile(plane: Plane, x: number, y: number): Promise<Uint8Array> {
    const { values, width, height, channels } = this.image;
    const { tile, resize, bitDepth = fullDepth } = this.eye;
    return engine().imageWindow(values, {
      width,
      firstRow: 0,
      rows: height,
      channels,
      bitDepth,
      ...windowOf(this.layout, plane, { x, y, ...tile }),
      method: resize,
      ...(this.pixels && { ignored: this.pixels }),
    });
  }

  async ignored(plane: Plane, window: Rectangle): Promise<Uint8Array | undefined> {
    return this.pixels && maskWindow(this.pixels, this.layout, plane, window);
  }

  close(): void {
    this.image.close();
  }
}

const windowOf = ({ region }: Layout, { width, height }: Plane, window: Rectangle) => ({
  region,
  toHeight: height,
  toWidth: width,
  window: { x: window.x, y: window.y, width: window.width, height: window.height },
});

/** A part of a plane of a mask at the image's size, by the nearest pixels. */
export const maskWindow = (mask: Uint8Array, layout: Layout, plane: Plane, window: Rectangle): Promise<Uint8Array> =>
  engine().maskWindow(mask, { ...layout.size, ...windowOf(layout, plane, window), method: "nearest" });

interface Areas {
  region: Rectangle;
  /** At the image's size; undefined: nothing is ignored. */
  ignored: Uint8Array | undefined;
}

/** What a view makes of images of one size: those of a camera are all alike. */
const known = new WeakMap<View, { size: Size; areas: Promise<Areas> }>();

async function areasOf(view: View, own: OwnView, { width, height }: Size, name: string): Promise<Areas> {
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
  const blank = own.ignore === undefined ? undefined : await maskOfSize(own.ignore, size, name);
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
  const outside = roi && !("x" in roi) ? inverted(await pixelsOf(roi, size, name)) : undefined;
  return { region, ignored: ignore ? await merged(outside, await pixelsOf(ignore, size, name)) : outside };
}

async function ownRegion({ roi }: OwnView, size: Size, name: string): Promise<Areas | undefined> {
  if (roi === undefined) return undefined;
  if (typeof roi !== "string") return { region: checkedWithin(roi, size, name), ignored: undefined };
  const pixels = await maskOfSize(roi, size, name);
  return { region: boundsOfPixels(pixels, size, name), ignored: inverted(pixels) };
}

async function maskOfSize(file: string, size: Size, name: string): Promise<Uint8Array> {
  const mask = await decodeMask(file);
  if (mask.width !== size.width || mask.height !== size.height)
    throw mismatch(name, `it has ${sizeText(size)} pixels, and the mask ${file} ${sizeText(mask)}.`);
  return mask.pixels;
}

const inverted = (pixels: Uint8Array): Uint8Array => pixels.map((value) => 1 - value);

/** The pixels that either has. Neither is changed. */
const merged = async (one: Uint8Array | undefined, other: Uint8Array): Promise<Uint8Array> =>
  one ? (await engine().mergeMasks(one.slice(), other)).pixels : other;

function isAllIgnored(ignored: Uint8Array, { x, y, width, height }: Rectangle, stride: number): boolean {
  for (let row = y; row < y + height; row++)
    if (ignored.subarray(row * stride + x, row * stride + x + width).includes(0)) return false;
  return true;
}
