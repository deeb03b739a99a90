import type { NetworkSettings } from "../schema/types.js";
import { type DecodeOptions, loadImage, type PixelFacts } from "../images/decode.js";
import type { ImageSource } from "../images/source.js";
import { isOnePiece, isPlain, type Layout, layoutOf } from "../view/layout.js";
import { type Eye, openView, type OwnView, type ViewedImage } from "../view/open.js";
import { ignoredOf } from "./see.js";

/** An image that is ready for the network. */
export interface Prepared {
  facts: PixelFacts;
  layout: Layout;
  /** Where the network sees the image in one piece: its input, and the pixels of the map that are ignored. */
  piece?: { pixels: Uint8Array; ignored: Uint8Array | undefined };
  /** Where it sees tiles: the image, which is open. */
  tiles?: ViewedImage;
  /** Call it once the image was seen, or will not be. */
  close(): void;
}

/** What a network of these settings is fed with. */
export const eyeFor = ({ view, imageSize, resize, bitDepth }: Required<NetworkSettings>): Eye => ({
  view,
  tile: { height: imageSize[0], width: imageSize[1] },
  resize,
  bitDepth,
});

/** Decodes an image and applies the view. Errors: those of openView. */
export async function prepare(
  source: ImageSource,
  eye: Eye,
  own: OwnView,
  options: DecodeOptions = {},
): Promise<Prepared> {
  if (isPlain(eye.view) && own.roi === undefined && own.ignore === undefined) return preparePlain(source, eye, options);
  const image = await openView(source, eye, own, options);
  const { layout, uniform, highest } = image;
  const facts = { uniform, highest };
  if (!isOnePiece(layout)) return { facts, layout, tiles: image, close: () => image.close() };
  try {
    const [plane] = layout.planes;
    const pixels = await image.tile(plane, plane.columns[0]!, plane.rows[0]!);
    return { facts, layout, piece: { pixels, ignored: await ignoredOf(image) }, close: () => undefined };
  } finally {
    image.close();
  }
}

/** The engine's one step from the decoded image to its input. */
async function preparePlain(source: ImageSource, eye: Eye, options: DecodeOptions): Promise<Prepared> {
  const { view, tile, resize, bitDepth } = eye;
  const facts = await loadImage(source, { ...options, ...tile, resize, bitDepth });
  const size = { width: facts.sourceWidth, height: facts.sourceHeight };
  const layout = layoutOf(view, tile, { size, region: { x: 0, y: 0, ...size }, name: "" });
  return { facts, layout, piece: { pixels: facts.pixels, ignored: undefined }, close: () => undefined };
}
