import type { Rectangle } from "../images/rectangle.js";
import type { Size } from "./mismatch.js";

/** Images of one size that are looked at alike. */
export interface ViewLayout {
  /** How many they are. */
  images: number;
  width: number;
  height: number;
  /** Side by side, the part that is looked at, in pixels of the image. */
  region: Rectangle;
  /** The region at each scale, the finest first. */
  planes: {
    /** Pixels of the network per pixel of the image. */
    scale: { x: number; y: number };
    /** In pixels of the network. */
    width: number;
    height: number;
    tiles: number;
  }[];
  tiles: number;
}

/** The longer side of a labelled defect: of an 8-connected region of a mask. */
export interface DefectSize {
  /** Of the network, at the finest scale. */
  pixels: number;
  /** The network's map has one value for each feature cell. */
  cells: number;
}

/** What a view makes of the images of a data set. */
export interface ViewNumbers {
  images: number;
  /** The most frequent first, 8 at most. */
  layouts: ViewLayout[];
  tilesPerImage: { least: number; most: number };
  /** Tiles that a training shows in an epoch; null without tiles, or without images to train on. */
  tilesPerEpoch: number | null;
  /** Pixels of the network for each feature cell. */
  cell: Size;
  /** Null where no mask marks anything that is looked at. */
  defects: {
    /** Regions of all masks. */
    count: number;
    /** Images that have one. */
    images: number;
    /** `image`: the id of the one that has it. */
    smallest: DefectSize & { image: string };
    /**
     * The 5th percentile of each image's largest defect, of up to 20 images the smallest: specks in masks, as hand-drawn ones
     * have them, do not decide it.
     */
    small: DefectSize & { image: string };
  } | null;
}

/** Defects of fewer feature cells are hardly seen. */
const leastCells = 2;

/** What is doubtful: defects that are too small for the network. */
export function defectWarnings({ defects }: Pick<ViewNumbers, "defects">): string[] {
  if (!defects || defects.small.cells >= leastCells) return [];
  const { images, small } = defects;
  const which =
    images <= 20
      ? `The defect of ${small.image} is ${sizeOf(small)} at its longest`
      : `5 % of the ${images} images with labelled defects have none longer than ${sizeOf(small)}`;
  return [
    `${which}; below ${leastCells} cells the network hardly sees a defect. Give a larger input or scale, tiles, or a smaller region of interest (docs/guides/large-images.md).`,
  ];
}

/** For people: a length in pixels and in feature cells. */
export const sizeOf = ({ pixels, cells }: DefectSize): string =>
  `${counted(pixels, "pixel")} of the network, ${counted(cells, "feature cell")}`;

const counted = (value: number, what: string): string => `${short(value)} ${what}${short(value) === "1" ? "" : "s"}`;

const short = (value: number): string => String(Number(value.toPrecision(3)));
