import type { Label } from "../datasets/types.js";

/** The paper's metrics (spec section 8); null where the data cannot define one, `notes` says why. */
export interface Metrics {
  "I-AUROC": number | null;
  "AP-det": number | null;
  "F1-max": number | null;
  /** Score (0 to 1) at which F1 is highest on the test split. For reports: thresholds are never taken from here. */
  "F1-max threshold": number | null;
  "P-AUROC": number | null;
  "AP-loc": number | null;
  AUPRO: number | null;
  "seg-I-AUROC": number | null;
  "seg-AP-det": number | null;
}

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
