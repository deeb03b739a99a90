import type { ModelConfig, Thresholds } from "./config.js";

/** The model as every JSON document names it. `path`: as the reader knows it. */
export function describeModel(path: string, config: ModelConfig): Record<string, unknown> {
  const { backbone, imageSize, variant, training, thresholds } = config;
  return {
    path,
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
