import type { Label } from "../datasets/types.js";
import type { Metrics } from "./metrics_table.js";

export interface EvaluatedSample {
  id: string;
  image: string;
  mask: string | null;
  label: Label;
  defect: string | null;
  score: number;
  logit: number;
  anomalous: boolean;
}

/** What a detector is worth on a data set. */
export interface Evaluation {
  metrics: Metrics;
  /** Decisions at the detector's threshold. */
  decisions: {
    threshold: number;
    truePositive: number;
    trueNegative: number;
    falsePositive: number;
    falseNegative: number;
  };
  counts: { normal: number; anomalous: number; withMask: number };
  /** What looks wrong in the data, and why a metric is null. */
  notes: string[];
  samples: EvaluatedSample[];
}
