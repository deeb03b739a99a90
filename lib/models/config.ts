import { z } from "zod";

import { call, command, invalid, option, SuperSimpleNetError, text } from "../errors.js";
import type { Architecture, Compute, NetworkConfig } from "../native/binding.js";
import { check, checkValue } from "../schema/check.js";
import { architectures, modelBitDepth } from "../schema/common.js";
import { type Decision, decisions, type Source } from "../schema/decisions.js";
import { expectation } from "../schema/option.js";
import type { Regime } from "../schema/regimes.js";
import { ablationShape, networkShape, trainerOptions } from "../schema/training.js";
import type { AblationSettings, NetworkSettings } from "../schema/types.js";
import { plainView, viewSchema } from "../schema/view.js";

/** Newest version of the model file that this package writes and the newest that it reads. */
export const modelFormatVersion = 5;

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
  "inherited",
  "manual",
  "default",
] as const;

/**
 * How a threshold was set (docs/guides/thresholds.md). "default": score 0.5 or map logit 0, not calibrated.
 * "inherited": that of the model which the training began with. "normal-quantile": the 0.99 quantile of a few held-out
 * good images, in files of format 1 only.
 */
export type ThresholdMethod = (typeof thresholdMethods)[number];

/** From where on an image is anomalous and a pixel belongs to a region. */
export interface Thresholds {
  /** Which of the thresholds below makes an image anomalous. */
  decision: Decision;
  /** Score logit at and above which an image is anomalous; the score is its sigmoid. */
  scoreLogit: number;
  /** Map maximum, a logit, at and above which an image is anomalous. */
  mapLogit: number;
  /** Map logit at and above which a pixel belongs to a region. */
  pixelLogit: number;
  scoreMethod: ThresholdMethod;
  mapMethod: ThresholdMethod;
  pixelMethod: ThresholdMethod;
  /** From where on a part that is not anomalous is unsure. Null: there is no such verdict. */
  unsure: Unsure | null;
  /** Images the thresholds were set on: each scored by heads that were not trained on it. */
  calibrationNormal: number;
  calibrationAnomalous: number;
  /** What is known of the thresholds that were calibrated. Null: they were not, or by an older version. */
  calibration: Calibration | null;
}

/** The lower of two thresholds of each source: a part below those of its decision is good. */
export interface Unsure {
  scoreLogit: number;
  mapLogit: number;
  /** The share of defects that may be called good, as asked for. */
  missRate: number;
  /** By the scores of defects, or, where there are fewer than 5, of the good parts: a tenth of those may be unsure. */
  method: "defects" | "good-parts";
  /** Calibration images that are neither good nor anomalous, and their number; of defects null without any. */
  normal: Counted;
  anomalous: Counted | null;
}

/** A share of images, 0 to 1, with its 90 % interval. */
export interface Share {
  share: number;
  low: number;
  high: number;
}

/** A share that was counted: `count` of `of` images. */
export interface Counted extends Share {
  count: number;
  of: number;
}

/** The threshold of one source, and how it was found. */
export interface SourceThreshold {
  logit: number;
  method: ThresholdMethod;
}

/** Thresholds of a decision with what they do to parts that the model has not seen. */
export interface OperatingPoint {
  /** Null where the decision does not look at it. */
  score: SourceThreshold | null;
  map: SourceThreshold | null;
  /**
   * Good parts that are rejected. By a rate: the rate asked for, and where the true one lies. By the best F1: what was
   * seen of the calibration images, which is too small, for they chose the threshold.
   */
  falseRejects: Share;
  /** Calibration images with defects that are found; null without any. */
  detected: Counted | null;
}

/** The operating points of one decision. */
export interface OperatingPoints {
  /** Null where the good images tell nothing: too few, or all with one score. */
  rate: OperatingPoint | null;
  /** Null without defects. */
  f1: OperatingPoint | null;
}

/** How the thresholds were set. */
export interface Calibration {
  /**
   * crossFit: folds of the training images, each scored by heads trained on the others. holdOut: images left out of the
   * training. newParts: parts that were seen after it (model.calibrate).
   */
  method: "crossFit" | "holdOut" | "newParts";
  /** Null but for crossFit. */
  folds: number | null;
  /** The share of good parts that may be rejected, as asked for. */
  falseRejectRate: number;
  /** Which of the operating points are the thresholds. */
  objective: "rate" | "f1";
  /** What every decision would do. */
  points: Record<Decision, OperatingPoints>;
  /** The scores of the good images, to tell drift by. Null in files of older formats. */
  good: Record<Source, ScoreSummary> | null;
  /** newParts: where the images came from, and the thresholds before; else null. */
  parts: PartsRecord | null;
  previous: Thresholds | null;
  warnings: string[];
}

/** The scores (logits) of the good parts that a threshold was set on, small enough for a model file. */
export interface ScoreSummary {
  /** The number of scores. */
  n: number;
  /**
   * Logits with 5 decimals, ascending: every score up to 200 of them, else 200 of the scores at evenly spaced ranks.
   */
  values: number[];
  /**
   * Whether the model itself scored the parts. Heads of folds are weaker and score higher and more widely, so with false
   * only scores above these tell of drift (docs/guides/line.md).
   */
  own: boolean;
}

/** Parts that thresholds were set on. */
export interface PartsRecord {
  /** Of the oldest and of the newest file, as ISO dates; null where none of the images was a file. */
  from: string | null;
  to: string | null;
  /** What imageId says of each. */
  normal: string[];
  anomalous: string[];
}

/** Neither threshold calibrated: score 0.5, map logit 0. */
export const defaultThresholds: Readonly<Thresholds> = {
  decision: "score",
  scoreLogit: 0,
  mapLogit: 0,
  pixelLogit: 0,
  scoreMethod: "default",
  mapMethod: "default",
  pixelMethod: "default",
  unsure: null,
  calibrationNormal: 0,
  calibrationAnomalous: 0,
  calibration: null,
};

/**
 * Throws INVALID_OPTION for a decision by the map where a calibrated model has no threshold for it, as those of older formats:
 * 0 in its place would reject anything.
 */
export function refuseWithoutMap(where: string, thresholds: Thresholds, decision: Decision): void {
  if (decision === "score" || thresholds.scoreMethod === "default") return;
  if (thresholdsOf(thresholds, decision).mapMethod !== "default") return;
  const what = text`${call(where)}: ${option("decision")} is '${decision}', but the model has no threshold for its map.`;
  throw new SuperSimpleNetError("INVALID_OPTION", what, {
    option: "decision",
    value: decision,
    fix: text`Set one on good parts with ${command("calibrate")}, or give one beside it.`,
  });
}

/** The operating point of a decision by the objective that was asked for. */
export function pointOf({ points, objective }: Calibration, decision: Decision): OperatingPoint | null {
  const { rate, f1 } = points[decision];
  return objective === "f1" ? (f1 ?? rate) : rate;
}

/**
 * The thresholds of a model for another decision than its own: those that its calibration found for it. What it did not find,
 * and what was set by hand, stays.
 */
export function thresholdsOf(
  thresholds: Thresholds,
  decision: Decision,
): Pick<Thresholds, "decision" | "scoreLogit" | "scoreMethod" | "mapLogit" | "mapMethod"> {
  const { calibration, scoreLogit, scoreMethod, mapLogit, mapMethod } = thresholds;
  const own = { decision, scoreLogit, scoreMethod, mapLogit, mapMethod };
  if (decision === thresholds.decision || calibration === null) return own;
  const { score, map } = pointOf(calibration, decision) ?? { score: null, map: null };
  return {
    ...own,
    ...(score && scoreMethod !== "manual" && { scoreLogit: score.logit, scoreMethod: score.method }),
    ...(map && mapMethod !== "manual" && { mapLogit: map.logit, mapMethod: map.method }),
  };
}

/** Everything about a model but its tensors. Stored as JSON in the model file's metadata, without paths. */
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
  /**
   * What imageId says of every image that was trained on, in order; first those of the model that the training began with.
   * Absent in files of older formats.
   */
  images?: string[];
  /** The model that the training began with, by the SHA-256 of its heads; null: random heads. Absent in older files. */
  init?: { headsSha256: string } | null;
}

const { imageSize } = trainerOptions.shape;
const requiredShape = { imageSize, ...networkShape };
const ablationSchema = z.object(ablationShape);
const networkSchema = z.object({
  ...requiredShape,
  ...ablationShape,
  bitDepth: modelBitDepth,
  view: viewSchema.default(plainView),
});

/** Returns the network's settings alone, with the defaults filled in. */
export const networkSettings = (settings: NetworkSettings): Required<NetworkSettings> => networkSchema.parse(settings);

/** Returns what the engine needs to know of the network. */
export function networkConfigOf(architecture: Architecture, settings: NetworkSettings): NetworkConfig {
  const { imageSize: size, resize: _resize, bitDepth: _bitDepth, view: _view, ...network } = networkSettings(settings);
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
const counted = z.object({ ...shareShape, count: z.int().min(0), of: z.int().min(0) });
const source = z.object({ logit: z.number(), method: z.enum(thresholdMethods) }).nullable();
const point = z
  .object({ score: source, map: source, falseRejects: z.object(shareShape), detected: counted.nullable() })
  .nullable();
const points = z.object({ rate: point, f1: point });
// A detector counts beside these: what is wrong must be found when the file is read.
const summary = z
  .object({ n: z.int().min(1), values: z.array(z.number()).min(1), own: z.boolean() })
  .refine(({ n, values }) => n >= values.length && values.every((value, i) => i === 0 || value >= values[i - 1]!));
const ids = z.array(z.string());
const unsureSchema = z.object({
  scoreLogit: z.number(),
  mapLogit: z.number(),
  missRate: share,
  method: z.enum(["defects", "good-parts"]),
  normal: counted,
  anomalous: counted.nullable(),
}) satisfies z.ZodType<Unsure>;
const calibrationSchema = z.object({
  method: z.enum(["crossFit", "holdOut", "newParts"]),
  folds: z.int().min(2).nullable(),
  falseRejectRate: share,
  objective: z.enum(["rate", "f1"]),
  points: z.object({ score: points, map: points, either: points }),
  good: z.object({ score: summary, map: summary }).nullable(),
  parts: z.object({ from: z.string().nullable(), to: z.string().nullable(), normal: ids, anomalous: ids }).nullable(),
  // Checked by itself when it is put back.
  previous: z.custom<Thresholds>((value) => typeof value === "object" && value !== null).nullable(),
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
  checkThresholds(where, root["thresholds"]);
  if (root["training"] === null) return;
  const { images } = fields(where, "training", root["training"]);
  if (!ids.optional().safeParse(images).success) throw invalid(where, "training.images", "a list of image ids", images);
}

/** Throws INVALID_OPTION for the first wrong field of a model's thresholds. */
export function checkThresholds(where: string, value: unknown): asserts value is Thresholds {
  const thresholds = fields(where, "thresholds", value);
  checkValue(where, "thresholds.decision", z.enum(decisions), thresholds["decision"]);
  for (const name of ["scoreLogit", "mapLogit", "pixelLogit"])
    checkValue(where, `thresholds.${name}`, z.number(), thresholds[name]);
  for (const name of ["scoreMethod", "mapMethod", "pixelMethod"])
    checkValue(where, `thresholds.${name}`, z.enum(thresholdMethods), thresholds[name]);
  for (const name of ["calibrationNormal", "calibrationAnomalous"])
    checkValue(where, `thresholds.${name}`, z.int().min(0), thresholds[name]);
  for (const [name, schema] of Object.entries({ unsure: unsureSchema, calibration: calibrationSchema })) {
    if (!schema.nullable().safeParse(thresholds[name]).success)
      throw invalid(where, `thresholds.${name}`, "what a calibration wrote, or null", thresholds[name]);
  }
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
