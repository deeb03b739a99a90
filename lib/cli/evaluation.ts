import path from "node:path";

import { describeThresholds, isByHand } from "../calibration/describe.js";
import type { Dataset, Sample, Split } from "../datasets/dataset.js";
import type { Detector } from "../detection/detector.js";
import type { Detection } from "../detection/types.js";
import { byPaperName } from "../evaluation/metrics_table.js";
import type { Evaluation } from "../evaluation/evaluate.js";
import { overlaySuffix, pictureNames } from "../report/names.js";
import type { ReportPictures } from "../report/pictures.js";
import { writeWholeFile } from "../write.js";
import { type ModelConfig, networkSettings, type Thresholds } from "../models/config.js";
import { output, table } from "./output.js";
import { tellParent } from "./progress.js";

export interface EvaluateOptions {
  split?: Split;
  signal?: AbortSignal | undefined;
  /** Folder for one overlay picture per image. */
  overlays?: string | undefined;
  /** Gets every image, for a report. */
  pictures?: ReportPictures | undefined;
}

/** Evaluates with progress on stderr. */
export async function runEvaluation(
  detector: Detector,
  dataset: Dataset,
  { split = "test", signal, overlays, pictures }: EvaluateOptions,
): Promise<Evaluation> {
  const { evaluate } = await import("../evaluation/evaluate.js");
  const overlaid =
    overlays === undefined
      ? undefined
      : await overlayWriter(overlayFiles(overlays, dataset, split), detector.model.config);
  const evaluation = await evaluate(detector, dataset, {
    split,
    signal,
    onProgress: (done, total) => {
      output.progress(`evaluating ${done}/${total}`);
      tellParent({ event: "evaluate", done, total });
    },
    async onDetection(sample, detection) {
      await overlaid?.add(sample, detection);
      await pictures?.add(sample, detection);
    },
  });
  await overlaid?.finish();
  await pictures?.finish();
  output.done();
  return evaluation;
}

/** The file of every sample's overlay, by the sample's id. */
export function overlayFiles(folder: string, dataset: Dataset, split: Split): ReadonlyMap<string, string> {
  const ids = dataset.samples.filter((sample) => sample.split === split).map(({ id }) => id);
  return new Map(pictureNames(ids, overlaySuffix).map((name, i) => [ids[i]!, path.join(folder, name)]));
}

/** Writes one overlay per sample, all in one colour range. */
async function overlayWriter(
  files: ReadonlyMap<string, string>,
  config: ModelConfig,
): Promise<{ add(sample: Sample, detection: Detection): Promise<void>; finish(): Promise<void> }> {
  const { ColourScale } = await import("../report/colours.js");
  const { overlayOf, overlayPng } = await import("../report/overlay.js");
  const { pictureMap } = await import("../report/reduce.js");
  const scale = new ColourScale(config.thresholds.pixelLogit);
  const { bitDepth } = networkSettings(config);
  return {
    async add(sample, detection) {
      const file = files.get(sample.id)!;
      const drawn = { ...detection, map: await pictureMap(detection.map) };
      await scale.add(drawn.map.data, async (range) =>
        writeWholeFile(file, await overlayPng(await overlayOf(sample, drawn, bitDepth), range)),
      );
    },
    finish: async () => void (await scale.finish()),
  };
}

/** For people: how a model's thresholds were set, and what is doubtful in them. */
export function thresholdsText(thresholds: Thresholds): string {
  // What was found at other thresholds is no longer so.
  const warnings = isByHand(thresholds) ? [] : (thresholds.calibration?.warnings ?? []);
  return [...describeThresholds(thresholds), ...warnings.map((warning) => `note: ${warning}`)].join("\n");
}

const shownMetric = (value: number | null): string => (value === null ? "undefined" : value.toFixed(4));

const decisionNames: Readonly<Record<Evaluation["decision"]["source"], string>> = {
  score: "Decided by the score",
  map: "Decided by the map",
  either: "Decided by score or map",
};

/** For people: two models on the same images. */
export function comparisonText(before: Evaluation, after: Evaluation): string {
  const [earlier, later] = [byPaperName(before.metrics), byPaperName(after.metrics)];
  const found = ({ decisions: { truePositive, falseNegative } }: Evaluation): string =>
    `${truePositive} of ${truePositive + falseNegative}`;
  const rejected = ({ decisions: { falsePositive, trueNegative } }: Evaluation): string =>
    `${falsePositive} of ${falsePositive + trueNegative}`;
  return table([
    ["on the test split", "before", "after"],
    ...Object.keys(later).map((name) => [`  ${name}`, shownMetric(earlier[name]!), shownMetric(later[name]!)]),
    ["  I-AUROC of the decision", shownMetric(before.decision.auroc), shownMetric(after.decision.auroc)],
    ["  defects found", found(before), found(after)],
    ["  good parts rejected", rejected(before), rejected(after)],
  ]);
}

/** For people: the metrics, the decisions, what looks wrong and what could not be computed, but for what was told before. */
export function evaluationText(
  { metrics, decisions, decision, counts, notes }: Evaluation,
  told: readonly string[] = [],
): string {
  const rows = Object.entries(byPaperName(metrics)).map(([name, value]) => [`  ${name}`, shownMetric(value)]);
  if (decision.source !== "score")
    rows.push([
      "  of the decision",
      `I-AUROC ${shownMetric(decision.auroc)}, AP-det ${shownMetric(decision.averagePrecision)}`,
    ]);
  const { truePositive, trueNegative, falsePositive, falseNegative } = decisions;
  const { unsure } = decision;
  const between =
    unsure.normal + unsure.anomalous > 0
      ? ` Unsure: ${unsure.anomalous} with defects, ${unsure.normal} good parts.`
      : "";
  return [
    `${counts.normal + counts.anomalous} images: ${counts.normal} normal, ${counts.anomalous} anomalous (${counts.withMask} with a mask)`,
    table(rows),
    `${decisionNames[decision.source]}: ${truePositive} of ${truePositive + falseNegative} defects found, ${falsePositive} of ${falsePositive + trueNegative} good parts rejected.${between}`,
    ...notes.filter((note) => !told.includes(note)).map((note) => `note: ${note}`),
  ].join("\n");
}
