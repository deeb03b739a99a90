import { types } from "node:util";

import type { Label } from "../datasets/dataset.js";
import { invalid, SuperSimpleNetError } from "../errors.js";
import type { PixelMetrics } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { check } from "../schema/check.js";
import { type EvaluateMapsOptions, evaluateMapsOptions } from "../schema/evaluation.js";
import type { Metrics } from "./metrics_table.js";

/** Metrics of the image scores. */
export interface ScoreMetrics extends Pick<
  Metrics,
  "imageAuroc" | "imageAveragePrecision" | "imageF1Max" | "f1MaxThreshold"
> {
  /** Why a metric is null. */
  notes: string[];
}

/** Metrics of the anomaly maps. */
export interface MapMetrics extends Pick<
  Metrics,
  "pixelAuroc" | "pixelAveragePrecision" | "aupro" | "segmentedImageAuroc" | "segmentedImageAveragePrecision"
> {
  /** Largest F1 over all pixels, and the highest map value that reaches it: defect means value >= threshold. */
  pixelF1Max: number | null;
  pixelF1MaxThreshold: number | null;
  /** `inPixelMetrics`: images whose pixels count; `withoutMask`: anomalous images left out of them for want of a mask. */
  counts: { images: number; inPixelMetrics: number; withoutMask: number; regions: number };
  /** Why a metric is null, and what was left out. */
  notes: string[];
}

/** One test image for evaluateMaps. */
export interface EvaluatedMap {
  label: Label;
  /** Anomaly map, height x width, row-major; higher is more anomalous. */
  map: Float32Array;
  /** Ground truth, height x width, non-zero is defect. Needed for anomalous images only. */
  mask?: Uint8Array | null;
  /** Pixels that count neither as defect nor as normal, height x width, non-zero is ignored. They may be NaN. */
  ignore?: Uint8Array | null;
}

const finite = (value: number): number | null => (Number.isNaN(value) ? null : value);

/** Why metrics that need both classes are undefined where one is missing. */
const missingClass = (labels: ArrayLike<Label>): string =>
  labels.length === 0 ? "there are no test images" : `all test images are ${labels[0]!}`;

function isAnomalous(label: unknown, where: string, index: number): boolean {
  if (label !== "normal" && label !== "anomalous")
    throw invalid(where, `labels[${index}]`, "'normal' or 'anomalous'", label);
  return label === "anomalous";
}

/**
 * I-AUROC, AP-det and F1-max of image scores (paper section 4.1). Higher scores mean anomalous; the order alone counts, so
 * logits and sigmoids give the same metrics. Scores are compared as float32, and equal ones share a threshold.
 *
 * With one class only, every metric is null and `notes` says so.
 * @throws METRIC_UNDEFINED for a score that is NaN or infinite.
 */
export async function evaluateScores(scores: ArrayLike<number>, labels: ArrayLike<Label>): Promise<ScoreMetrics> {
  for (const [name, list] of Object.entries({ scores, labels }))
    if (typeof list !== "object" || typeof list?.length !== "number")
      throw invalid("evaluateScores", name, "a list", list);
  if (scores.length !== labels.length)
    throw invalid("evaluateScores", "labels", `as many labels as scores (${scores.length})`, labels.length);
  for (let i = 0; i < scores.length; i++) {
    const score: unknown = scores[i];
    if (typeof score !== "number" || (Number.isFinite(score) && !Number.isFinite(Math.fround(score))))
      throw invalid("evaluateScores", `scores[${i}]`, "a number in the range of float32", score);
  }
  const values = Float32Array.from(scores);
  const anomalous = Uint8Array.from({ length: labels.length }, (_, i) =>
    Number(isAnomalous(labels[i], "evaluateScores", i)),
  );
  const metrics = await engine().imageMetrics(values, anomalous);
  // The smallest of the scores that became the threshold when rounded to float32, so that `score >= threshold` decides alike.
  let threshold: number | null = null;
  for (let i = 0; i < values.length; i++) {
    if (values[i] === metrics.f1Threshold && (threshold === null || scores[i]! < threshold)) threshold = scores[i]!;
  }
  return {
    imageAuroc: finite(metrics.auroc),
    imageAveragePrecision: finite(metrics.averagePrecision),
    imageF1Max: finite(metrics.f1Max),
    f1MaxThreshold: threshold,
    notes: Number.isNaN(metrics.auroc) ? [`I-AUROC, AP-det, F1-max: ${missingClass(labels)}`] : [],
  };
}

/** Over the pixels that are not ignored. */
function maximum(map: Float32Array, ignore: Uint8Array | null | undefined, where: string): number {
  let highest = -Infinity;
  for (let i = 0; i < map.length; i++) {
    if (ignore?.[i]) continue;
    const value = map[i]!;
    if (!Number.isFinite(value))
      throw new SuperSimpleNetError(
        "METRIC_UNDEFINED",
        `${where} is ${value} at pixel ${i}; metrics need finite maps.`,
      );
    if (value > highest) highest = value;
  }
  return highest;
}

/**
 * P-AUROC, AP-loc, AUPRO and pixel F1-max over the pixels of all images, and seg-I-AUROC and seg-AP-det, which take the
 * maximum of each map as the image's score (paper section 4.1).
 *
 * Anomalous images without a mask are left out of the pixel metrics, and counted. Metrics that the data cannot define are
 * null, and `notes` says why. Ignored pixels are left out of everything.
 * @throws INVALID_OPTION for maps or masks of the wrong size, a mask with defect pixels on a normal image, or an image whose
 * pixels are all ignored.
 * @throws METRIC_UNDEFINED for a map value that is NaN or infinite.
 */
export async function evaluateMaps(images: readonly EvaluatedMap[], options: EvaluateMapsOptions): Promise<MapMetrics> {
  const where = "evaluateMaps";
  const { height, width, fprLimit } = check(where, evaluateMapsOptions, options);
  const pixels = height * width;
  if (pixels >= 2 ** 31) throw invalid(where, "height x width", "fewer than 2^31 pixels", pixels);

  const maps: Float32Array[] = [];
  const masks: Uint8Array[] = [];
  const ignores: (Uint8Array | null | undefined)[] = [];
  const noDefect = new Uint8Array(pixels);
  const masked = { withMask: 0, withoutMask: 0, emptyMasks: 0 };
  if (!Array.isArray(images)) throw invalid(where, "images", "a list of maps with their labels", images);
  images.forEach((image, i) => {
    const { label, map, mask, ignore } = (image ?? {}) as EvaluatedMap;
    const anomalous = isAnomalous(label, where, i);
    if (!types.isFloat32Array(map) || map.length !== pixels)
      throw invalid(where, `images[${i}].map`, `a Float32Array of ${pixels} values`, map);
    for (const [name, array] of Object.entries({ mask, ignore }))
      if (array !== undefined && array !== null && (!types.isUint8Array(array) || array.length !== pixels))
        throw invalid(where, `images[${i}].${name}`, `a Uint8Array of ${pixels} values`, array);
    if (ignore?.every((value) => value !== 0))
      throw invalid(where, `images[${i}].ignore`, "pixels that are not ignored", "none");
    const hasDefect = mask?.some((value, at) => value !== 0 && !ignore?.[at]) ?? false;
    if (!anomalous && hasDefect)
      throw invalid(where, `images[${i}].mask`, "no defect pixels on a normal image", "some");
    if (anomalous && !mask) {
      masked.withoutMask++;
      return;
    }
    if (anomalous) masked.withMask++;
    if (anomalous && !hasDefect) masked.emptyMasks++;
    maps.push(map);
    masks.push(mask ?? noDefect);
    ignores.push(ignore);
  });

  const maxima = images.map(({ map, ignore }, i) => maximum(map, ignore, `${where}: images[${i}].map`));
  const labels = images.map(({ label }) => label);
  const pixel = await engine().pixelMetrics(maps, masks, height, width, fprLimit, ignores);
  return mapMetrics(pixel, maxima, labels, { ...masked, inPixelMetrics: maps.length });
}

/** Anomalous images by their masks, and all whose pixels count. */
export interface MaskCounts {
  withMask: number;
  withoutMask: number;
  /** Of those with one. */
  emptyMasks: number;
  inPixelMetrics: number;
}

/** The metrics of maps from those of their pixels and from their maxima. */
export async function mapMetrics(
  pixel: PixelMetrics,
  maxima: readonly number[],
  labels: readonly Label[],
  { withMask, withoutMask, emptyMasks, inPixelMetrics }: MaskCounts,
): Promise<MapMetrics> {
  const notes: string[] = [];
  const scores = await evaluateScores(maxima, labels);
  if (scores.imageAuroc === null) notes.push(`seg-I-AUROC, seg-AP-det: ${missingClass(labels)}`);
  if (Number.isNaN(pixel.auroc)) {
    const reason =
      withMask === 0
        ? "no masks in the test images"
        : pixel.regions === 0
          ? "no defect pixel is marked in the test images"
          : "every pixel is marked as defect";
    notes.push(`P-AUROC, AP-loc, AUPRO: ${reason}`);
  }
  const have = (count: number): string =>
    count > 1 ? `${count} anomalous images have` : `${count} anomalous image has`;
  if (withoutMask > 0)
    notes.push(`${have(withoutMask)} no mask and ${withoutMask > 1 ? "are" : "is"} left out of the pixel metrics`);
  if (emptyMasks > 0)
    notes.push(`${have(emptyMasks)} an empty mask: ${emptyMasks > 1 ? "their" : "its"} pixels count as normal`);
  return {
    pixelAuroc: finite(pixel.auroc),
    pixelAveragePrecision: finite(pixel.averagePrecision),
    aupro: finite(pixel.aupro),
    pixelF1Max: finite(pixel.f1Max),
    pixelF1MaxThreshold: finite(pixel.f1Threshold),
    segmentedImageAuroc: scores.imageAuroc,
    segmentedImageAveragePrecision: scores.imageAveragePrecision,
    counts: { images: labels.length, inPixelMetrics, withoutMask, regions: pixel.regions },
    notes,
  };
}
