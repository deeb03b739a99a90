import { z } from "zod";

import { readNumbers } from "./common.js";
import { group, option } from "./option.js";

/** Lengths are pixels of the image, or fractions of its width and height. */
const unit = z.enum(["pixels", "fractions"]).optional();
const length = z.number().min(0);
const point = z.tuple([z.number(), z.number()]).readonly();

export const rectangleArea = z.strictObject({
  x: length,
  y: length,
  width: z.number().gt(0),
  height: z.number().gt(0),
  unit,
});
export const polygonArea = z.strictObject({
  polygons: z.array(z.array(point).min(3).readonly()).min(1).readonly(),
  unit,
});

/** A mask as a model file holds it: runs of pixels by rows, in turn outside and inside, beginning outside. */
export const maskArea = z
  .strictObject({
    width: z.int().min(1),
    height: z.int().min(1),
    runs: z.array(z.int().min(0)).readonly(),
  })
  .refine(({ width, height, runs }) => runs.reduce((sum, run) => sum + run, 0) === width * height);

const storedArea = z.union([rectangleArea, polygonArea, maskArea]);
const area = z.union([z.string().min(1), storedArea]);

/** A part of an image: a rectangle, polygons, or a mask. */
export type Area = z.output<typeof storedArea>;

const AREA_TYPE =
  'string | { x: number; y: number; width: number; height: number; unit?: "pixels" | "fractions" } | { polygons: readonly (readonly (readonly [number, number])[])[]; unit?: "pixels" | "fractions" } | { width: number; height: number; runs: readonly number[] }';

const areaRow = {
  placeholder: "X,Y,W,H|FILE",
  expected:
    "{ x, y, width, height } or { polygons: [[[x, y], ...], ...] }, in pixels of the image or with unit: 'fractions', or the path of a mask image",
  written: "X,Y,W,H in pixels or each with a % sign, or the path of a mask image",
  read: readArea,
  type: AREA_TYPE,
} as const;

/** Four numbers, or a file. */
function readArea(written: string): unknown {
  if (!/^[-+\d.%,\s]+$/.test(written) || !written.includes(",")) return written;
  const percent = written.split(",").every((part) => part.trim().endsWith("%"));
  const numbers = readNumbers(percent ? written.replaceAll("%", "") : written);
  if (numbers?.length !== 4) return undefined;
  const [x, y, width, height] = percent ? numbers.map((value) => value / 100) : numbers;
  return { x, y, width, height, ...(percent && { unit: "fractions" }) };
}

export const fits = ["stretch", "pad", "crop"] as const;
const fit = z.enum(fits);
const scale = z.number().gt(0).max(16);
const tileSide = z.int().min(32).max(8192);
const tileScale = z.union([z.literal("whole"), z.number().gt(0).max(1)]);
const tileScales = z
  .array(tileScale)
  .min(1)
  .max(8)
  .refine((scales) => new Set(scales).size === scales.length)
  .readonly();

/** What the network sees of an image, as options give it. Nothing has a default: what is left out leaves images as they are. */
export const viewOptions = group("What the network sees of an image (docs/guides/large-images.md)", {
  roi: option(area.optional(), {
    ...areaRow,
    help: "The part of the images to look at: a rectangle, polygons, or the white part of a mask image. What lies outside is not seen.",
    defaultText: "the whole image",
  }),
  ignore: option(area.optional(), {
    ...areaRow,
    help: "Pixels that count neither as defect nor as good, in training, thresholds, metrics and decision.",
    defaultText: "none",
  }),
  fit: option(fit.optional(), {
    help: "How the part is brought to the network's input size where it is seen as a whole: stretch changes the aspect, pad repeats its edges, crop cuts off what is too much.",
    defaultText: "stretch",
  }),
  scale: option(scale.optional(), {
    help: "Pixels of the network per pixel of the image, with tiles or with fit pad or crop.",
    defaultText: "1 with tiles, else as large as fits",
  }),
  tiles: group("Tiles, each of which the network sees by itself", {
    size: option(tileSide.optional(), {
      help: "Side of the tiles in pixels of the network, which is the network's input size then.",
      flag: "tiles",
      placeholder: "PX",
      record: "tiles",
      defaultText: "no tiles",
    }),
    overlap: option(z.int().min(0).max(8191).optional(), {
      help: "Pixels of the network by which neighbouring tiles overlap at least.",
      flag: "tile-overlap",
      placeholder: "PX",
      record: "tileOverlap",
      defaultText: "a quarter of the tiles' side",
    }),
    scales: option(tileScales.optional(), {
      help: "Scales at which tiles are cut, as shares of scale; whole is the image in one tile. One decision is made from all of them.",
      flag: "tile-scales",
      placeholder: "S,...",
      record: "tileScales",
      defaultText: "1",
      expected: "a list of at most 8 different shares, each above 0 and at most 1, or 'whole'",
      written: "a comma-separated list of at most 8 different shares, each above 0 and at most 1, or whole",
      read: (written) => written.split(",").map((part) => (part === "whole" ? part : Number(part || NaN))),
    }),
  }),
});

/** Tiles of an image in an epoch, where nobody says how many. */
export const tilesPerImage = 8;

/** How tiles become training samples. */
export const tilingOptions = group("Training with tiles", {
  tilesPerImage: option(z.int().min(1).max(4096).optional(), {
    help: "Tiles of an image in an epoch, at most.",
    defaultText: String(tilesPerImage),
  }),
  fixedTiles: option(z.boolean().optional(), {
    help: "Train on the tiles that detection looks at, whose features can be cached. Otherwise the tiles of each epoch lie elsewhere.",
    defaultText: "false",
  }),
});

/** The view of a model, as its file holds it. */
export const viewSchema = z.strictObject({
  roi: storedArea.nullable(),
  ignore: storedArea.nullable(),
  fit,
  scale: scale.nullable(),
  tiles: z.strictObject({ size: tileSide, overlap: z.int().min(0), scales: tileScales }).nullable(),
});

/** What the network sees of an image; a model file holds it. Null: nothing of the kind. */
export type View = z.output<typeof viewSchema>;

/** The whole image, stretched to the network's input size. */
export const plainView: View = { roi: null, ignore: null, fit: "stretch", scale: null, tiles: null };
