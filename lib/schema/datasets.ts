import { z } from "zod";

import {
  bitDepthOrAuto,
  bitDepthRow,
  callback,
  fullDepth,
  imageSizeRow,
  imageSizeType,
  readNames,
  readNumbers,
  signal,
} from "./common.js";
import { option } from "./option.js";
import { regimes } from "./regimes.js";
import { trainerOptions } from "./training.js";
import type { Settings } from "./types.js";

/** Names for `kind`, in the order in which a folder is tried. */
export const datasetKinds = [
  "manifest",
  "visa",
  "ksdd2",
  "sensum",
  "mtd",
  "bmad",
  "mvtec_loco",
  "mvtec_ad2",
  "mvtec",
  "cvat",
  "coco",
  "labelstudio",
  "labelme",
  "folder",
] as const;

export type DatasetKind = (typeof datasetKinds)[number];

export const splits = ["train", "test"] as const;
export const split = z.enum(splits);

const { fraction } = trainerOptions.shape.calibration.unwrap().shape;
const { segmentedRatio, segmentedCount } = trainerOptions.shape.masks.unwrap().shape;

/** Options of datasets.open. */
export const openOptions = z.strictObject({
  kind: option(z.enum(datasetKinds).optional(), {
    help: `How the data set is read: ${datasetKinds.join(", ")}.`,
    placeholder: "KIND",
    flag: "dataset",
    defaultText: "found from the files",
  }),
  category: option(z.string().optional(), {
    help: "Category of a published data set, such as bottle, pcb1, softgel or brain.",
    placeholder: "NAME",
    expected: "a category's name",
  }),
  fold: option(z.int().min(0).optional(), { help: "Cross-validation fold of a published data set, from 0." }),
  ignoreClass: option(z.array(z.string().min(1)).min(1).readonly().optional(), {
    help: "Classes of annotations whose shapes are ignored pixels instead of defects, in any case.",
    placeholder: "NAME,...",
    expected: "a list of at least one name",
    written: "names separated by commas",
    defaultText: "every class is a kind of defect",
    read: readNames,
  }),
  segmentedRatio,
  segmentedCount,
});

/** How many of the anomalous training images keep their masks. */
export const segmentedOptions = openOptions.pick({ segmentedRatio: true, segmentedCount: true });

export type SegmentedOptions = Settings<typeof segmentedOptions>;

/** How a data set is opened. */
export type OpenOptions = Settings<typeof openOptions>;

const name = (standard: string): z.ZodOptional<z.ZodString> =>
  option(z.string().optional(), { help: "Name of the data set.", expected: "a text", defaultText: standard });

/** Options of datasets.folder. */
export const folderOptions = z.strictObject({
  name: name("the folder's name"),
  normalNames: option(z.array(z.string()).readonly().default(["good", "ok", "normal"]), {
    help: "Names of the folders of normal images, in any case.",
    expected: "a list of names",
  }),
});

/** Options of datasets.folder. */
export type FolderOptions = Settings<typeof folderOptions>;

/** Options of datasets.manifest. */
export const manifestOptions = z.strictObject({ name: name("the name of the manifest's folder") });

/** Options of datasets.manifest. */
export type ManifestOptions = Settings<typeof manifestOptions>;

export const defects = ["scratch", "pits", "missing_print", "stain", "dent"] as const;

const images = z.int().min(0).max(100_000);
const generatedSide = z.int().min(64).max(4096);
const defectSide = z.int().min(4).max(2048);

/** Options of datasets.generated. */
export const generatedOptions = z.strictObject({
  imageSize: option(z.tuple([generatedSide, generatedSide]).readonly().default([256, 256]), {
    ...imageSizeRow,
    help: "Size of the images in pixels.",
    expected: "[height, width], each an integer at least 64 and at most 4096",
    written: "HEIGHTxWIDTH in pixels, each from 64 to 4096, such as 256x256",
  }),
  seed: option(z.int().min(0).default(0), { help: "The same seed and options give the same pixels." }),
  trainNormal: option(images.default(96), { help: "Normal training images." }),
  trainAnomalous: option(images.default(0), { help: "Anomalous training images." }),
  trainSegmented: option(images.optional(), {
    help: "Anomalous training images that get a mask.",
    defaultText: "all of them",
  }),
  testNormal: option(images.default(24), { help: "Normal test images." }),
  testAnomalous: option(images.default(24), { help: "Anomalous test images, each with a mask." }),
  defects: option(
    z
      .array(z.enum(defects))
      .min(1)
      .readonly()
      .default([...defects]),
    {
      help: "Which defects are drawn, taken in turn.",
      expected: `a list of at least one of ${defects.map((defect) => `'${defect}'`).join(", ")}`,
    },
  ),
  defectSize: option(
    z
      .tuple([defectSide, defectSide])
      .readonly()
      .refine(([least, most]) => least <= most)
      .optional(),
    {
      help: "Longer side of a defect in pixels, at least and at most.",
      placeholder: "LEAST,MOST",
      expected: "[least, most], integers from 4 to 2048, the first not above the second",
      written: "LEAST,MOST in pixels, such as 8,24",
      defaultText: "by the kind of defect, a part of the image's shorter side",
      read: readNumbers,
    },
  ),
  background: option(z.boolean().default(false), {
    help: "Draws the part smaller than the image, on a dark, cluttered background; its rectangle becomes the roi.",
    switch: true,
  }),
  ignoreRegion: option(z.boolean().default(false), {
    help: "Draws a serial number or a sticker on each part, and writes its mask into ignore/.",
    switch: true,
  }),
  signal,
  onProgress: callback("How many of the images are written."),
});

/** Options of datasets.convert. */
export const convertOptions = z.strictObject({
  copy: option(z.boolean().default(false), {
    help: "Copies the images to images/ beside the manifest, which otherwise names them where they are.",
    switch: true,
  }),
  signal,
  onProgress: callback("How many of the images are written."),
});

/** Options of datasets.validate. */
export const validateOptions = z.strictObject({
  imageSize: option(imageSizeType.optional(), {
    ...imageSizeRow,
    help: "Size of the model's input in pixels; warns of images that are less than half of it.",
  }),
  bitDepth: option(bitDepthOrAuto.default(fullDepth), {
    ...bitDepthRow,
    help: "Bits that the samples of 16-bit images hold, as for a training; warns of images that do not fit it.",
  }),
  regime: option(z.enum(["auto", ...regimes]).default("auto"), {
    help: "Checks what this regime uses; auto: what the labels allow.",
  }),
  split: option(split.optional(), {
    help: "Checks this split alone, as it is evaluated: no training images are needed.",
    defaultText: "both, as they are trained on",
  }),
  headersOnly: option(z.boolean().default(false), {
    help: "Decodes masks but no images, where the images are about to be decoded anyway.",
  }),
  signal,
  onProgress: callback("How many of the images are checked."),
});

/** Options of splitCalibration. */
export const calibrationOptions = z.strictObject({
  fraction: option(fraction.unwrap().default(0.1), { help: "Share of the training images held out." }),
  seed: trainerOptions.shape.seed,
});

export type CalibrationOptions = Settings<typeof calibrationOptions>;

/** Options of crossFitFolds. */
export const foldOptions = z.strictObject({
  folds: option(trainerOptions.shape.calibration.unwrap().shape.folds.unwrap(), { help: "Number of parts." }),
  seed: trainerOptions.shape.seed,
});

export type FoldOptions = Settings<typeof foldOptions>;
