import { z } from "zod";

import { call, invalid, option, SuperSimpleNetError, text } from "../errors.js";
import type { Architecture, Compute, NetworkConfig } from "../native/binding.js";
import { check, checkValue } from "../schema/check.js";
import { architectures } from "../schema/common.js";
import { expectation } from "../schema/option.js";
import type { Regime } from "../schema/regimes.js";
import { ablationShape, networkShape, trainerOptions } from "../schema/training.js";
import type { AblationSettings, NetworkSettings } from "../schema/types.js";

/** Newest version of the model file that this package writes and the newest that it reads. */
export const modelFormatVersion = 2;

export interface BackboneInfo {
  architecture: Architecture;
  /** False for random weights: every output says so. */
  trained: boolean;
  /** Name of the file the weights came from, or "random, seed N". */
  source: string;
  /** SHA-256 over the tensors up to layer3; a backbone with another one is refused. */
  sha256: string;
}

const thresholdMethods = [
  "best-f1",
  "student-t",
  "order-statistic",
  "exponential-tail",
  "normal-quantile",
  "manual",
  "default",
] as const;

/**
 * How a threshold was set (docs/guides/thresholds.md). "default": score 0.5 or map logit 0, not calibrated.
 * "normal-quantile": the 0.99 quantile of a few held-out good images, in files of format 1 only.
 */
export type ThresholdMethod = (typeof thresholdMethods)[number];

/** From where on an image is anomalous and a pixel belongs to a region. */
export interface Thresholds {
  /** Score logit at and above which an image is anomalous; the score is its sigmoid. */
  scoreLogit: number;
  /** Map logit at and above which a pixel belongs to a region. */
  pixelLogit: number;
  scoreMethod: ThresholdMethod;
  pixelMethod: ThresholdMethod;
  /** Images the thresholds were set on: each scored by heads that were not trained on it. */
  calibrationNormal: number;
  calibrationAnomalous: number;
  /** What is known of the thresholds that a training set. Null: they were not calibrated, or by an older version. */
  calibration: Calibration | null;
}

/** A share of images, 0 to 1, with its 90 % interval. */
export interface Share {
  share: number;
  low: number;
  high: number;
}

/** A score's threshold with what it does to parts that the model has not seen. */
export interface OperatingPoint {
  scoreLogit: number;
  method: ThresholdMethod;
  /**
   * Good parts that are rejected. By a rate: the rate asked for, and where the true one lies. By the best F1: what was
   * seen of the calibration images, which is too small, for they chose the threshold.
   */
  falseRejects: Share;
  /** Calibration images with defects that are found, and their number; null without any. */
  detected: (Share & { count: number; of: number }) | null;
}

/** How a training set the thresholds. */
export interface Calibration {
  /** crossFit: folds of the training images, each scored by heads trained on the others. holdOut: images left out of the training. */
  method: "crossFit" | "holdOut";
  /** Null for holdOut. */
  folds: number | null;
  /** The share of good parts that may be rejected, as asked for. */
  falseRejectRate: number;
  /** Which of the points below is the threshold. */
  objective: "rate" | "f1";
  /** Null where the good images tell nothing: too few, or all with one score. */
  rate: OperatingPoint | null;
  /** Null without defects. */
  f1: OperatingPoint | null;
  warnings: string[];
}

/** Neither threshold calibrated: score 0.5, map logit 0. */
export const defaultThresholds: Readonly<Thresholds> = {
  scoreLogit: 0,
  pixelLogit: 0,
  scoreMethod: "default",
  pixelMethod: "default",
  calibrationNormal: 0,
  calibrationAnomalous: 0,
  calibration: null,
};

/** Everything about a model but its tensors. Stored as JSON in the model file's metadata, without times or paths. */
export interface ModelConfig extends NetworkSettings {
  backbone: BackboneInfo;
  thresholds: Thresholds;
  /** Null for converted checkpoints. */
  training: TrainingInfo | null;
  /** Package version that wrote the file. */
  createdBy: string;
}

/** Images that were trained on. */
export interface TrainingCounts {
  trainNormal: number;
  trainAnomalous: number;
  trainSegmented: number;
}

export interface TrainingInfo extends TrainingCounts {
  regime: Regime;
  epochs: number;
  batchSize: number;
  seed: number;
  /** Mean over channels of the noise's standard deviation, and the relative scale it came from, if any. */
  noiseStd: number;
  noiseRelative: number | null;
  options: Record<string, unknown>;
}

const { imageSize } = trainerOptions.shape;
const requiredShape = { imageSize, ...networkShape };
const ablationSchema = z.object(ablationShape);
const networkSchema = z.object({ ...requiredShape, ...ablationShape });

/** Returns the network's settings alone, with the defaults filled in. */
export const networkSettings = (settings: NetworkSettings): Required<NetworkSettings> => networkSchema.parse(settings);

/** Returns what the engine needs to know of the network. */
export function networkConfigOf(architecture: Architecture, settings: NetworkSettings): NetworkConfig {
  const { imageSize: size, resize: _, ...network } = networkSettings(settings);
  return { architecture, imageHeight: size[0], imageWidth: size[1], ...network };
}

/**
 * Returns how the heads are computed: as asked, else the fast way where it exists, which is for the paper's
 * classification head only. Asking for it with another head throws INVALID_OPTION for the option `path`.
 */
export function computeFor(
  where: string,
  path: string,
  network: Partial<AblationSettings>,
  asked: Compute | undefined,
): Compute {
  const { classificationHead, mapInput } = ablationSchema.parse(network);
  if (classificationHead === "standard" && mapInput) return asked ?? "lowResolution";
  if (asked !== "lowResolution") return "direct";
  const head = classificationHead === "standard" ? "without the map as input" : `'${classificationHead}'`;
  throw invalid(where, path, `'direct', the only form of the classification head ${head},`, asked);
}

/** Throws INVALID_OPTION for the option `path` where the score is the map's maximum and yet must not see the map. */
export function checkClassificationHead(
  where: string,
  path: string,
  { classificationHead, mapInput }: AblationSettings,
): void {
  if (classificationHead === "mapMax" && !mapInput)
    throw invalid(
      where,
      path,
      "true, because the classification head 'mapMax' is nothing but the map's maximum,",
      false,
    );
}

/** Throws INVALID_OPTION for the first setting that is wrong, or missing and no ablation. */
export function checkNetworkSettings(where: string, settings: object): Required<NetworkSettings> {
  for (const [name, type] of Object.entries(requiredShape))
    if ((settings as Record<string, unknown>)[name] === undefined)
      throw invalid(where, name, expectation(type), undefined);
  const checked = check(where, networkSchema, settings);
  checkClassificationHead(where, "mapInput", checked);
  return checked;
}

const share = z.number().min(0).max(1);
const shareShape = { share, low: share, high: share };
const pointSchema = z.object({
  scoreLogit: z.number(),
  method: z.enum(thresholdMethods),
  falseRejects: z.object(shareShape),
  detected: z.object({ ...shareShape, count: z.int().min(0), of: z.int().min(0) }).nullable(),
});
const calibrationSchema = z.object({
  method: z.enum(["crossFit", "holdOut"]),
  folds: z.int().min(2).nullable(),
  falseRejectRate: share,
  objective: z.enum(["rate", "f1"]),
  rate: pointSchema.nullable(),
  f1: pointSchema.nullable(),
  warnings: z.array(z.string()),
}) satisfies z.ZodType<Calibration>;

/** Checks the configuration of a model file, or of a model that a program made. Throws INVALID_OPTION for the first wrong field. */
export function checkConfig(where: string, config: unknown): asserts config is ModelConfig {
  const root = fields(where, "config", config);
  const backbone = fields(where, "backbone", root["backbone"]);
  checkValue(where, "backbone.architecture", z.enum(architectures), backbone["architecture"]);
  checkValue(where, "backbone.trained", z.boolean(), backbone["trained"]);
  if (typeof backbone["source"] !== "string")
    throw invalid(where, "backbone.source", "a file's name", backbone["source"]);
  if (!/^[0-9a-f]{64}$/.test(String(backbone["sha256"])))
    throw invalid(where, "backbone.sha256", "64 hexadecimal digits", backbone["sha256"]);
  checkNetworkSettings(where, root);
  const thresholds = fields(where, "thresholds", root["thresholds"]);
  for (const name of ["scoreLogit", "pixelLogit"])
    checkValue(where, `thresholds.${name}`, z.number(), thresholds[name]);
  for (const name of ["scoreMethod", "pixelMethod"])
    checkValue(where, `thresholds.${name}`, z.enum(thresholdMethods), thresholds[name]);
  for (const name of ["calibrationNormal", "calibrationAnomalous"])
    checkValue(where, `thresholds.${name}`, z.int().min(0), thresholds[name]);
  const { calibration } = thresholds;
  if (!calibrationSchema.nullable().safeParse(calibration).success)
    throw invalid(where, "thresholds.calibration", "what a training wrote, or null", calibration);
  if (root["training"] !== null) fields(where, "training", root["training"]);
}

function fields(where: string, name: string, value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw invalid(where, name, "an object", value);
  return value as Record<string, unknown>;
}

/** For a model whose random backbone would be in no file at all; `path` is the option that says so. */
export function randomNotEmbedded(where: string, path: string): SuperSimpleNetError {
  const what = text`${call(where)}: a model on a random backbone must hold it, because no file has it.`;
  const fix = text`Leave ${option(path)} away, or give trained weights.`;
  return new SuperSimpleNetError("INVALID_OPTION", what, { option: path, value: false, fix });
}
