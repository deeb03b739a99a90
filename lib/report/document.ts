import { sigmoid } from "../calibration/describe.js";
import type { Evaluation } from "../evaluation/evaluate.js";
import { type MetricId, metricIds, metricsTable } from "../evaluation/metrics_table.js";
import type { ModelConfig } from "../models/config.js";
import type { Decision } from "../schema/decisions.js";
import type { FactGroup, ReportAxis, ReportEvaluation, ReportPicture } from "./types.js";

const axes: Readonly<Record<Decision, ReportAxis["kind"]>> = { score: "score", map: "map", either: "margin" };

type Judged = Pick<Evaluation["samples"][number], "logit" | "peak" | "margin">;

/** An image's place on the axis. Of the score its logit: near 0 and 1 all scores look alike. */
const valueOf: Readonly<Record<ReportAxis["kind"], (sample: Judged) => number>> = {
  score: ({ logit }) => logit,
  map: ({ peak }) => peak,
  margin: ({ margin }) => margin,
};

/** The thresholds at which the images were judged: the detector's, which may be others than the model's. */
export interface UsedThresholds {
  decision: Decision;
  /** 0 to 1. */
  threshold: number;
  mapThreshold: number;
}

/** What the report shows of an evaluation. `pictures`: by the samples' ids. */
export function reportEvaluation(
  { metrics, samples }: Pick<Evaluation, "metrics" | "samples">,
  { decision, threshold, mapThreshold }: UsedThresholds,
  pictures: ReadonlyMap<string, ReportPicture>,
  withoutPictures: string | null,
): ReportEvaluation {
  const kind = axes[decision];
  const thresholds = { score: Math.log(threshold / (1 - threshold)), map: mapThreshold, margin: 0 };
  return {
    metrics: metricIds
      .filter((id) => id !== "f1MaxThreshold")
      .map((id: MetricId) => ({ ...metricsTable[id], value: metrics[id] })),
    axis: { kind, threshold: thresholds[kind] },
    images: samples.map(({ id, label, defect, verdict, score, logit, peak, margin }) => {
      const picture = pictures.get(id);
      const value = valueOf[kind]({ logit, peak, margin });
      return { id, label, defect, value, verdict, score, peak, ...(picture && { picture }) };
    }),
    withoutPictures,
  };
}

const shown = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/** The facts of a model, for people. `sha256`: of the file. */
export function modelFacts(file: string, sha256: string, config: ModelConfig): FactGroup[] {
  const { backbone, imageSize, variant, training, thresholds } = config;
  const { decision, scoreLogit, mapLogit, pixelLogit, scoreMethod, mapMethod } = thresholds;
  return [
    {
      name: "Model",
      facts: [
        ["file", file],
        ["SHA-256", sha256],
        ["backbone", `${backbone.architecture}, ${backbone.source}${backbone.trained ? "" : " (untrained)"}`],
        ["backbone's SHA-256", backbone.sha256],
        ["input", `${imageSize[0]} x ${imageSize[1]} pixels (height x width)`],
        ["variant", variant],
        ["trained with", training?.regime ?? "not known"],
      ],
    },
    {
      name: "Thresholds in the model",
      facts: [
        ["decision by", decision],
        ["score", `${sigmoid(scoreLogit).toFixed(4)} (${scoreMethod})`],
        ["map", `${mapLogit.toFixed(3)} (${mapMethod})`],
        ["pixel", pixelLogit.toFixed(3)],
      ],
    },
    ...(training
      ? [
          {
            name: "Options of the training",
            folded: true,
            facts: Object.entries(training.options).map(([name, value]) => [name, shown(value)] as const),
          },
        ]
      : []),
  ];
}
