import type { Dataset, Label, Sample } from "../datasets/dataset.js";
import { firstOf } from "../datasets/listing.js";
import { validateDataset } from "../datasets/validate.js";
import { type Detector, eyeOf } from "../detection/detector.js";
import type { Detection } from "../detection/types.js";
import { invalid } from "../errors.js";
import { ImageWarnings } from "../images/warnings.js";
import { check } from "../schema/check.js";
import type { Decision } from "../schema/decisions.js";
import { evaluateOptions } from "../schema/evaluation.js";
import type { Settings } from "../schema/types.js";
import { isPlain } from "../view/layout.js";
import { type PixelErrorBound, ViewedMaps, WholeMaps } from "./maps.js";
import { evaluateScores } from "./metrics.js";
import type { Metrics } from "./metrics_table.js";

/** Options of evaluate. */
export interface EvaluateOptions extends Settings<typeof evaluateOptions> {
  onProgress?: (done: number, total: number) => void;
  /** The result of each image, such as for pictures. Awaited before the next one. */
  onDetection?: (sample: Sample, detection: Detection) => void | Promise<void>;
}

/**
 * The paper's metrics of a detector on a data set (docs/method.md, Metrics): scores and maps of every image of the split, maps and
 * masks compared at the model's input size. Decisions are made at the detector's own threshold, which never comes from
 * this data. The split is checked first, as before a training; `notes` begins with the warnings. Errors: DATASET_INVALID with
 * all that is wrong in the split, and for an empty one; those of Detector.detect, ABORTED.
 */
export async function evaluate(
  detector: Detector,
  dataset: Dataset,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const { split, signal } = check("evaluate", evaluateOptions, options);
  if (typeof detector?.detectEach !== "function") throw invalid("evaluate", "detector", "a Detector", detector);
  const { imageSize } = detector.model.config;
  const eye = eyeOf(detector);
  const { warnings } = await validateDataset(dataset, {
    split,
    headersOnly: true,
    ...(!eye.view.tiles && { imageSize }),
    signal,
  });
  const used = dataset.samples.filter((sample) => sample.split === split);
  const isWhole = isPlain(eye.view) && used.every(({ roi, ignore }) => !roi && !ignore);
  const maps = isWhole ? new WholeMaps(eye.tile) : new ViewedMaps(eye);

  const samples: EvaluatedSample[] = [];
  const decisions = { threshold: 0, truePositive: 0, trueNegative: 0, falsePositive: 0, falseNegative: 0 };
  const unsure = { normal: 0, anomalous: 0 };
  const doubts = new ImageWarnings();
  const files = used.map(({ image, roi, ignore }) => ({ image, roi, ignore }));
  for await (const detection of detector.detectEach(files, { signal })) {
    const sample = used[samples.length]!;
    await maps.add(sample, detection);
    decisions.threshold = detection.threshold;
    const { score, logit, peak, scales, anomalous, verdict, decidedBy, margin } = detection;
    decisions[outcome(sample.label, anomalous)]++;
    if (verdict === "unsure") unsure[sample.label]++;
    const { id, image, label } = sample;
    doubts.add(id, detection.warnings);
    samples.push({
      id,
      image,
      mask: sample.mask ?? null,
      label,
      defect: sample.defect ?? null,
      score,
      logit,
      peak,
      ...(scales && { scales }),
      anomalous,
      verdict,
      decidedBy,
      margin,
    });
    await options.onDetection?.(sample, detection);
    options.onProgress?.(samples.length, used.length);
  }

  const logits = samples.map((sample) => sample.logit);
  const labels = samples.map((sample) => sample.label);
  const { notes: scoreNotes, ...scoreMetrics } = await evaluateScores(logits, labels);
  const margins = await evaluateScores(
    samples.map((sample) => sample.margin),
    labels,
  );
  const { notes: mapNotes, ...mapMetrics } = await maps.metrics();
  const { pixelAuroc, pixelAveragePrecision, aupro, segmentedImageAuroc, segmentedImageAveragePrecision } = mapMetrics;
  const threshold = scoreMetrics.f1MaxThreshold;
  return {
    metrics: {
      ...scoreMetrics,
      f1MaxThreshold: threshold === null ? null : 1 / (1 + Math.exp(-threshold)),
      pixelAuroc,
      pixelAveragePrecision,
      aupro,
      segmentedImageAuroc,
      segmentedImageAveragePrecision,
    },
    decisions,
    decision: {
      source: detector.decision,
      auroc: margins.imageAuroc,
      averagePrecision: margins.imageAveragePrecision,
      f1Max: margins.imageF1Max,
      unsure,
    },
    ...(await byScale(samples)),
    ...(mapMetrics.pixelErrorBound && { pixelErrorBound: mapMetrics.pixelErrorBound }),
    counts: {
      normal: labels.filter((label) => label === "normal").length,
      anomalous: labels.filter((label) => label === "anomalous").length,
      withMask: samples.filter((sample) => sample.mask !== null).length,
    },
    notes: [...warnings, ...doubts.texts(firstOf), ...scoreNotes, ...mapNotes],
    samples,
  };
}

/** What the scores of each scale alone are worth, where the model sees several. */
async function byScale(samples: readonly EvaluatedSample[]): Promise<Pick<Evaluation, "scales">> {
  const labels = samples.map(({ label }) => label);
  const known = samples[0]?.scales ?? [];
  const scales = known.map(async ({ scale }) => {
    // The order of scales goes by the image's size.
    const logits = samples.map((sample) => sample.scales!.find((each) => each.scale === scale)!.logit);
    const { imageAuroc, imageAveragePrecision } = await evaluateScores(logits, labels);
    return { scale, imageAuroc, imageAveragePrecision };
  });
  return known.length > 0 ? { scales: await Promise.all(scales) } : {};
}

/** How a decision compares with what is known of the image. */
export function outcome(
  label: Label,
  anomalous: boolean,
): "truePositive" | "trueNegative" | "falsePositive" | "falseNegative" {
  if (label === "normal") return anomalous ? "falsePositive" : "trueNegative";
  return anomalous ? "truePositive" : "falseNegative";
}

export interface EvaluatedSample {
  id: string;
  image: string;
  mask: string | null;
  label: Label;
  defect: string | null;
  score: number;
  logit: number;
  peak: number;
  /** As in Detection. */
  scales?: NonNullable<Detection["scales"]>;
  anomalous: boolean;
  verdict: Detection["verdict"];
  decidedBy: Detection["decidedBy"];
  margin: number;
}

/** What a detector is worth on a data set. */
export interface Evaluation {
  metrics: Metrics;
  /** Decisions at the detector's thresholds; `threshold` is that of the score. */
  decisions: {
    threshold: number;
    truePositive: number;
    trueNegative: number;
    falsePositive: number;
    falseNegative: number;
  };
  /**
   * What decides, and the metrics of its margins, as the paper's are of the scores: they differ where the map decides too.
   * Null where one class is missing. `unsure`: images with that verdict, which count as not anomalous in `decisions`.
   */
  decision: {
    source: Decision;
    auroc: number | null;
    averagePrecision: number | null;
    f1Max: number | null;
    unsure: { normal: number; anomalous: number };
  };
  /** I-AUROC and AP-det of the scores of each scale alone, where the model sees several. */
  scales?: { scale: number | "whole"; imageAuroc: number | null; imageAveragePrecision: number | null }[];
  /**
   * With a view, P-AUROC, AP-loc and AUPRO are computed from the defect pixels and a histogram of the others: how far from
   * the exact values they can be. Absent where they are exact.
   */
  pixelErrorBound?: PixelErrorBound;
  counts: { normal: number; anomalous: number; withMask: number };
  /** What looks wrong in the data, and why a metric is null. */
  notes: string[];
  samples: EvaluatedSample[];
}
