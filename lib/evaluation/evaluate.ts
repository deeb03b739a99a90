import { call, invalid, option, SuperSimpleNetError, text } from "../errors.js";
import type { Dataset, Sample } from "../datasets/types.js";
import { validateDataset } from "../datasets/validate.js";
import type { Detector } from "../detection/detector.js";
import type { Detection } from "../detection/types.js";
import { loadMask } from "../images/decode.js";
import { check } from "../schema/check.js";
import { evaluateOptions } from "../schema/evaluation.js";
import type { Settings } from "../schema/types.js";
import { type EvaluatedMap, evaluateMaps, evaluateScores } from "./metrics.js";
import type { EvaluatedSample, Evaluation } from "./types.js";

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
  const { warnings } = await validateDataset(dataset, { split, headersOnly: true, imageSize, signal });
  const used = dataset.samples.filter((sample) => sample.split === split);
  const [height, width] = imageSize;

  const samples: EvaluatedSample[] = [];
  const images: EvaluatedMap[] = [];
  const decisions = { threshold: 0, truePositive: 0, trueNegative: 0, falsePositive: 0, falseNegative: 0 };
  for await (const detection of detector.detectEach(
    used.map((sample) => sample.image),
    { signal },
  )) {
    const sample = used[samples.length]!;
    const mask = sample.mask === undefined ? undefined : (await loadMask(sample.mask, { height, width })).pixels;
    images.push({ label: sample.label, map: mapAtModelSize(detection, height, width), mask });
    decisions.threshold = detection.threshold;
    const correct = detection.anomalous === (sample.label === "anomalous");
    decisions[
      correct
        ? detection.anomalous
          ? "truePositive"
          : "trueNegative"
        : detection.anomalous
          ? "falsePositive"
          : "falseNegative"
    ]++;
    samples.push({
      id: sample.id,
      image: sample.image,
      mask: sample.mask ?? null,
      label: sample.label,
      defect: sample.defect ?? null,
      score: detection.score,
      logit: detection.logit,
      anomalous: detection.anomalous,
    });
    await options.onDetection?.(sample, detection);
    options.onProgress?.(samples.length, used.length);
  }

  const scores = await evaluateScores(
    samples.map((sample) => sample.logit),
    samples.map((sample) => sample.label),
  );
  const maps = await evaluateMaps(images, { height, width });
  const threshold = scores.f1MaxThreshold;
  return {
    metrics: {
      imageAuroc: scores.imageAuroc,
      imageAveragePrecision: scores.imageAveragePrecision,
      imageF1Max: scores.imageF1Max,
      f1MaxThreshold: threshold === null ? null : 1 / (1 + Math.exp(-threshold)),
      pixelAuroc: maps.pixelAuroc,
      pixelAveragePrecision: maps.pixelAveragePrecision,
      aupro: maps.aupro,
      segmentedImageAuroc: maps.segmentedImageAuroc,
      segmentedImageAveragePrecision: maps.segmentedImageAveragePrecision,
    },
    decisions,
    counts: {
      normal: samples.filter((sample) => sample.label === "normal").length,
      anomalous: samples.filter((sample) => sample.label === "anomalous").length,
      withMask: samples.filter((sample) => sample.mask !== null).length,
    },
    notes: [...warnings, ...scores.notes, ...maps.notes],
    samples,
  };
}

function mapAtModelSize({ map }: Detection, height: number, width: number): Float32Array {
  if (map.height === height && map.width === width) return map.data;
  const what = text`${call("evaluate")}: maps are compared at the model's input size.`;
  throw new SuperSimpleNetError("INVALID_OPTION", what, {
    option: "mapSize",
    fix: text`Load the detector with ${option("mapSize")} 'model'.`,
  });
}
