import type { Rectangle } from "../images/rectangle.js";
import type { View } from "../schema/view.js";
import { mismatch, type Size, sizeText } from "./mismatch.js";

/** The region of an image at one scale, in pixels of the network, and the tiles that the network sees of it. */
export interface Plane extends Size {
  /** As the view names it. */
  scale: number | "whole";
  /** Left edges of the columns of tiles and upper edges of their rows; every column has every row. */
  columns: readonly number[];
  rows: readonly number[];
  /** The part of the plane that tiles cover. */
  covered: Rectangle;
}

/** Where the network looks at an image. */
export interface Layout {
  /** Of the image. */
  size: Size;
  /** Side by side, the region that is looked at, in pixels of the image. */
  region: Rectangle;
  /** The finest first: the anomaly map is as fine. */
  planes: readonly [Plane, ...Plane[]];
}

/** The most tiles of one image. */
const mostTiles = 1_000_000;

const side = (length: number, scale: number): number => Math.max(1, Math.round(length * scale));

/** Lays out the view of an image. `name` stands for the image in errors: VIEW_MISMATCH. */
export function layoutOf(
  { fit, scale, tiles }: View,
  tile: Size,
  { size, region, name }: { size: Size; region: Rectangle; name: string },
): Layout {
  if (!tiles) return { size, region, planes: [wholePlane(fit, scale, tile, region, name)] };
  const planes = tiles.scales.map((each): Plane => {
    if (each === "whole") return wholePlane(fit, null, tile, region, name);
    const plane = { width: side(region.width, scale! * each), height: side(region.height, scale! * each) };
    if (plane.width < tile.width || plane.height < tile.height)
      throw mismatch(
        name,
        `${sizeText(region)} pixels are looked at, which are ${sizeText(plane)} at the scale ${scale! * each}: fewer than a tile of ${sizeText(tile)}.`,
        "Take images of the size that the model was trained on, or train with smaller tiles.",
      );
    return {
      ...plane,
      scale: each,
      columns: edges(plane.width, tile.width, tiles.overlap),
      rows: edges(plane.height, tile.height, tiles.overlap),
      covered: { x: 0, y: 0, ...plane },
    };
  });
  const count = planes.reduce((sum, { columns, rows }) => sum + columns.length * rows.length, 0);
  if (count > mostTiles)
    throw mismatch(name, `it would be cut into ${count} tiles; at most ${mostTiles} are.`, "Use a smaller scale.");
  planes.sort((a, b) => b.width * b.height - a.width * a.height);
  return { size, region, planes: planes as [Plane, ...Plane[]] };
}

/** Tiles that overlap by at least `overlap` and are spread evenly from edge to edge. */
function edges(length: number, tile: number, overlap: number): number[] {
  const count = 1 + Math.ceil((length - tile) / (tile - overlap));
  return Array.from({ length: count }, (_, i) => (count === 1 ? 0 : Math.round((i * (length - tile)) / (count - 1))));
}

/** The region in one tile. */
function wholePlane(fit: View["fit"], scale: number | null, tile: Size, region: Rectangle, name: string): Plane {
  if (fit === "stretch")
    return {
      ...tile,
      scale: "whole",
      columns: [0],
      rows: [0],
      covered: { x: 0, y: 0, width: tile.width, height: tile.height },
    };
  const [across, down] = [tile.width / region.width, tile.height / region.height];
  const by = scale ?? (fit === "pad" ? Math.min(across, down) : Math.max(across, down));
  const plane = { width: side(region.width, by), height: side(region.height, by) };
  if (scale !== null && Math.min(region.width, region.height) * scale < 0.5)
    throw mismatch(
      name,
      `${sizeText(region)} pixels are looked at, of which nothing is left at the scale ${scale}.`,
      "Use a larger scale.",
    );
  const fits =
    fit === "pad"
      ? plane.width <= tile.width && plane.height <= tile.height
      : plane.width >= tile.width && plane.height >= tile.height;
  if (!fits)
    throw mismatch(
      name,
      `${sizeText(region)} pixels are looked at, which are ${sizeText(plane)} at the scale ${by}: ${fit === "pad" ? "more" : "fewer"} than the network's ${sizeText(tile)}.`,
      "Take images of the size that the model was trained on.",
    );
  const left = Math.floor((plane.width - tile.width) / 2);
  const top = Math.floor((plane.height - tile.height) / 2);
  const covered =
    fit === "pad" ? { x: 0, y: 0, ...plane } : { x: left, y: top, width: tile.width, height: tile.height };
  return { ...plane, scale: "whole", columns: [left], rows: [top], covered };
}

/** The network sees the image in one piece, as it does without a view: nothing is cut off, padded or ignored. */
export const isPlain = ({ roi, ignore, fit, tiles }: View): boolean =>
  roi === null && ignore === null && fit === "stretch" && tiles === null;

/** Whether the network sees an image in one piece. */
export const isOnePiece = (layout: Layout): boolean => countTiles(layout) === 1;

/** How many tiles the network sees. */
export const countTiles = ({ planes }: Layout): number =>
  planes.reduce((sum, { columns, rows }) => sum + columns.length * rows.length, 0);

/** Where a part of a plane lies in the image, in pixels of the image; they may be broken. */
export function placeInImage({ region }: Pick<Layout, "region">, { width, height }: Size, part: Rectangle): Rectangle {
  const [across, down] = [region.width / width, region.height / height];
  return {
    x: region.x + part.x * across,
    y: region.y + part.y * down,
    width: part.width * across,
    height: part.height * down,
  };
}

/** The part of the image that the map covers, in pixels of the image; they may be broken where the view crops. */
export const mapArea = ({ region, planes: [finest] }: Layout): Rectangle =>
  placeInImage({ region }, finest, finest.covered);
