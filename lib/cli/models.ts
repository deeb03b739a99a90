import type { Detector } from "../detection/detector.js";
import type { ModelConfig, Thresholds } from "../models/config.js";
import { output } from "./output.js";

/** Says so whenever a model's backbone was never trained. */
export function warnIfUntrained(backbone: { trained: boolean }): void {
  if (!backbone.trained)
    output.warn(
      "the backbone has random weights, not trained ones: for demonstrations and tests only, results on real images will be poor.",
    );
}

/** The model as every JSON document of the command line names it. */
export function describeModel(file: string, config: ModelConfig): Record<string, unknown> {
  const { backbone, imageSize, variant, training, thresholds } = config;
  return {
    path: file,
    backbone: { architecture: backbone.architecture, trained: backbone.trained, source: backbone.source },
    imageSize,
    variant,
    regime: training?.regime ?? null,
    thresholds: shortThresholds(thresholds),
  };
}

/** Thresholds without the lists that only the model file needs: scores and ids of images, and the thresholds before. */
export function shortThresholds({ calibration, ...thresholds }: Thresholds): Record<string, unknown> {
  if (calibration === null) return { ...thresholds, calibration };
  const { good: _, previous: __, parts, ...others } = calibration;
  const counts = parts && { ...parts, normal: parts.normal.length, anomalous: parts.anomalous.length };
  return { ...thresholds, calibration: { ...others, parts: counts } };
}

/** Runs `body` with a detector, whose memory is freed afterwards. */
export async function withDetector<T>(load: Promise<Detector>, body: (detector: Detector) => Promise<T>): Promise<T> {
  const detector = await load;
  try {
    return await body(detector);
  } finally {
    detector.dispose();
  }
}
