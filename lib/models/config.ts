import type { Architecture, ResizeMethod, Variant } from "../native/binding.js";
import type { Regime } from "../datasets/types.js";

/** Newest version of the model file that this package writes and the newest that it reads. */
export const modelFormatVersion = 1;

export interface BackboneInfo {
  architecture: Architecture;
  /** False for random weights: every output says so. */
  trained: boolean;
  /** Name of the file the weights came from, or "random, seed N". */
  source: string;
  /** SHA-256 over the tensors up to layer3; a backbone with another one is refused. */
  sha256: string;
}

/** How the thresholds were set. "default": score 0.5, not calibrated. */
export type ThresholdMethod = "best-f1" | "normal-quantile" | "manual" | "default";

export interface Thresholds {
  /** Score logit at and above which an image is anomalous; the score is its sigmoid. */
  scoreLogit: number;
  /** Map logit at and above which a pixel belongs to a region. */
  pixelLogit: number;
  scoreMethod: ThresholdMethod;
  pixelMethod: ThresholdMethod;
  /** Images the thresholds were set on (held out of training). */
  calibrationNormal: number;
  calibrationAnomalous: number;
}

/** Everything about a model but its tensors. Stored as JSON in the model file's metadata, without times or paths. */
export interface ModelConfig {
  backbone: BackboneInfo;
  layers: string[];
  /** Height, width. */
  imageSize: [number, number];
  resize: ResizeMethod;
  variant: Variant;
  alignCorners: boolean;
  thresholds: Thresholds;
  /** Null for converted checkpoints. */
  training: TrainingInfo | null;
  /** Package version that wrote the file. */
  createdBy: string;
}

export interface TrainingInfo {
  regime: Regime;
  epochs: number;
  batchSize: number;
  seed: number;
  /** Mean over channels of the noise's standard deviation, and the relative scale it came from, if any. */
  noiseStd: number;
  noiseRelative: number | null;
  options: Record<string, unknown>;
  trainNormal: number;
  trainAnomalous: number;
  trainSegmented: number;
}
