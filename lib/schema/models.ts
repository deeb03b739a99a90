import { z } from "zod";

import {
  architectures,
  callback,
  decisionRow,
  device,
  imageSizeRow,
  imageSizeType,
  pathType,
  signal,
  threads,
  weightsRow,
} from "./common.js";
import { decisions } from "./decisions.js";
import { backboneWeights } from "./detection.js";
import { option, rowOf } from "./option.js";
import { networkShape, trainerOptions } from "./training.js";
import type { Settings } from "./types.js";

export const architecture = z.enum(architectures);

/** Options of loadBackbone. */
export const loadBackboneOptions = z.strictObject({
  architecture: option(architecture, { help: "Whose weights are read." }),
  weights: option(pathType.default("auto"), weightsRow),
  seed: option(z.int().min(0).default(0), { help: "Seed of random weights." }),
  signal,
});

export type LoadBackboneOptions = Settings<typeof loadBackboneOptions>;

/** Options of model.save. */
export const saveOptions = z.strictObject({
  embedBackbone: option(z.boolean().optional(), {
    help: "Store the backbone in the file. Random weights must be stored.",
    defaultText: "as the model was trained or loaded",
  }),
});

export type SaveOptions = Settings<typeof saveOptions>;

/** Options of model.setThresholds. */
export const thresholdOptions = z.strictObject({
  score: option(
    z
      .number()
      .gt(0)
      .max(1 - Number.EPSILON)
      .optional(),
    { help: "Score at and above which an image is anomalous.", expected: "a number above 0 and below 1" },
  ),
  scoreLogit: option(z.number().optional(), {
    help: "The score's threshold as a logit, in the place of score: also where a score would be 0 or 1 by rounding.",
  }),
  mapLogit: option(z.number().optional(), { help: "Map maximum, a logit, at and above which an image is anomalous." }),
  pixelLogit: option(z.number().optional(), { help: "Map logit at and above which a pixel belongs to a region." }),
  decision: option(z.enum(decisions).optional(), decisionRow),
});

export type ThresholdOptions = Settings<typeof thresholdOptions>;

const { falseRejectRate, objective, missRate } = trainerOptions.shape.calibration.unwrap().shape;

/** Options of model.calibrate. */
export const calibrateOptions = z.strictObject({
  falseRejectRate: option(falseRejectRate, {
    ...rowOf(falseRejectRate)!,
    defaultText: "as the thresholds before, else 0.01",
  }),
  decision: option(z.enum(decisions).optional(), decisionRow),
  objective,
  missRate: option(missRate, {
    ...rowOf(missRate)!,
    defaultText: "as the thresholds before",
  }),
  acceptChange: option(z.boolean().default(false), {
    help: "Set thresholds even if the good parts score otherwise than those before: camera, light or material have changed.",
    switch: true,
  }),
  backboneWeights,
  device,
  threads,
  signal,
  onProgress: callback("How many of the images are scored."),
});

export const layouts = ["authors", "anomalib"] as const;
const layout = option(z.enum(["auto", ...layouts]).default("auto"), {
  help: "Whose code wrote the checkpoint; auto goes by the names of its tensors.",
});

/** Options of modelFromCheckpoint. */
export const modelFromCheckpointOptions = z.strictObject({
  checkpoint: option(pathType, {
    help: "PyTorch (.pth, .pt, .ckpt) or .safetensors file of the authors' code or of anomalib.",
    placeholder: "FILE",
    expected: "a path",
  }),
  backbone: option(architecture, {
    help: `Backbone that the checkpoint was trained on: ${architectures.join(", ")}.`,
    placeholder: "NAME",
  }),
  backboneWeights: option(pathType.optional(), {
    ...weightsRow,
    defaultText: "the checkpoint's own if it holds them, as anomalib's do, else auto",
  }),
  imageSize: option(imageSizeType, {
    ...imageSizeRow,
    help: "Size in pixels of the images that the network was trained on.",
  }),
  layout,
  variant: networkShape.variant,
  alignCorners: option(networkShape.alignCorners.unwrap().optional(), {
    help: "Upscale features with aligned corners, as in the paper.",
    defaultText: "true for the authors' layout, false for anomalib's",
  }),
  resize: option(networkShape.resize.unwrap().optional(), {
    help: "How images are resized.",
    defaultText: "bilinear for the authors' layout, antialias for anomalib's",
  }),
  layers: networkShape.layers,
});

/** Options of modelFromCheckpoint. */
export type ModelFromCheckpointOptions = Settings<typeof modelFromCheckpointOptions>;

/** Options of convertCheckpoint. */
export const convertOptions = z.strictObject({
  path: option(pathType, { help: "A PyTorch (zip or legacy, Lightning too) or safetensors file.", expected: "a path" }),
  layout,
  channels: option(z.int().min(1).max(65536), {
    help: "Feature channels: the sum over the layers, 1536 for layer2 and layer3 of a bottleneck net.",
  }),
});

export type ConvertOptions = Settings<typeof convertOptions>;
