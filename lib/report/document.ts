import { sigmoid } from "../calibration/describe.js";
import type { Interval } from "../calibration/share.js";
import { aurocInterval } from "../evaluation/auroc_interval.js";
import type { Evaluation } from "../evaluation/evaluate.js";
import { type MetricId, metricIds, metricsTable } from "../evaluation/metrics_table.js";
import type { ModelConfig } from "../models/config.js";
import type { Decision } from "../schema/decisions.js";
import { byInterest } from "./order.js";
import type { FactGroup, ReportAxis, ReportEvaluation, ReportImage, ReportPicture } from "./types.js";

const axes: Readonly<Record<Decision, ReportAxis["kind"]>> = { score: "score", map: "map", either: "margin" };

type Sample = Evaluation["samples"][number];

/** An image's place on the axis. Of the score its logit: near 0 and 1 all scores look alike. */
const valueOf: Readonly<Record<ReportAxis["kind"], (sample: Sample) => number>> = {
  score: ({ logit }) => logit,
  map: ({ peak }) => peak,
  margin: ({ margin }) => margin,
};

/**
 * The axis on which the model's decision is one threshold: that of what decides, or the margin where options such as a least
 * area of regions decide too. `threshold`: of the score, 0 to 1.
 */
function axisOf(samples: readonly Sample[], decision: Decision, threshold: number, mapThreshold: number): ReportAxis {
  const kind = axes[decision];
  let [below, above] = [-Infinity, Infinity];
  for (const sample of samples) {
    const value = valueOf[kind](sample);
    if (sample.anomalous) above = Math.min(above, value);
    else below = Math.max(below, value);
  }
  if (kind === "margin" || below >= above) return { kind: "margin", threshold: 0 };
  const own = kind === "map" ? mapThreshold : Math.log(threshold / (1 - threshold));
  if (Number.isFinite(own) && own > below && own <= above) return { kind, threshold: own };
  // Rounded, or beyond what a score can be.
  if (below === -Infinity) return { kind, threshold: above };
  return { kind, threshold: above === Infinity ? below + 1 : (below + above) / 2 };
}

/** So many images have a picture at most: those that a reader wants to see first. */
const mostPictures = 400;

/** What the report shows of an evaluation. `pictures`: by the samples' ids; undefined: there are none. */
export function reportEvaluation(
  { metrics, samples }: Pick<Evaluation, "metrics" | "samples">,
  { decision, threshold, mapThreshold }: { decision: Decision; threshold: number; mapThreshold: number },
  pictures: ReadonlyMap<string, ReportPicture> | undefined,
): ReportEvaluation {
  const axis = axisOf(samples, decision, threshold, mapThreshold);
  const images = samples.map((sample): ReportImage => {
    const { id, label, defect, verdict, score, peak } = sample;
    return { id, label, defect, value: valueOf[axis.kind](sample), verdict, score, peak };
  });
  for (const image of byInterest(images, axis.threshold).slice(0, mostPictures)) {
    const picture = pictures?.get(image.id);
    if (picture) image.picture = picture;
  }
  return {
    metrics: metricIds
      .filter((id) => id !== "f1MaxThreshold")
      .map((id: MetricId) => ({
        ...metricsTable[id],
        value: metrics[id],
        interval: intervalOf(id, metrics[id], samples),
      })),
    axis,
    images,
    withoutPictures: !pictures
      ? "The report was made without the images."
      : images.length > mostPictures
        ? `The first ${mostPictures} at the model's threshold have pictures.`
        : null,
  };
}

/** Of the image scores' AUROC. Pixels of an image are too much alike to count as so many. */
function intervalOf(id: MetricId, value: number | null, samples: readonly Sample[]): Interval | null {
  if (id !== "imageAuroc" || value === null) return null;
  const defects = samples.filter(({ label }) => label === "anomalous").length;
  return aurocInterval(value, defects, samples.length - defects);
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
