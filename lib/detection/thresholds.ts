import { defaultThresholds, type Thresholds } from "../models/config.js";
import { engine } from "../native/engine.js";

/** What the finished model says about one held-out training image. */
export interface CalibrationImage {
  anomalous: boolean;
  /** Score logit. */
  logit: number;
  map: Float32Array;
  /** 0/1 at the map's size; absent for normal images and for anomalous ones without pixel labels. */
  mask?: Uint8Array;
}

/** Share of normal images that should stay below a threshold set without defects. */
const normalQuantile = 0.99;

/** The q-quantile, linearly interpolated. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const position = q * (sorted.length - 1);
  const low = Math.floor(position);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low]! + (position - low) * (sorted[high]! - sorted[low]!);
}

function maximum(map: Float32Array): number {
  return map.reduce((a, b) => Math.max(a, b), -Infinity);
}

/**
 * Thresholds from images held out of training: with anomalous ones among them the threshold of the best F1 (half way
 * down to the next lower score), otherwise the 0.99 quantile of the normal images' scores, for pixels of their maps'
 * maxima. Never called with test images.
 */
export async function calibrateThresholds(
  images: readonly CalibrationImage[],
  size: { height: number; width: number },
): Promise<Thresholds> {
  const normal = images.filter((image) => !image.anomalous);
  const anomalous = images.filter((image) => image.anomalous);
  if (normal.length === 0) return { ...defaultThresholds };
  const out: Thresholds = {
    ...defaultThresholds,
    calibrationNormal: normal.length,
    calibrationAnomalous: anomalous.length,
  };

  if (anomalous.length > 0) {
    const { f1Threshold } = await engine().imageMetrics(
      Float32Array.from(images, (i) => i.logit),
      Uint8Array.from(images, (i) => Number(i.anomalous)),
    );
    const below = images.map((image) => image.logit).filter((logit) => Math.fround(logit) < f1Threshold);
    out.scoreLogit = below.length > 0 ? (f1Threshold + Math.max(...below)) / 2 : f1Threshold;
    out.scoreMethod = "best-f1";
  } else {
    const logits = normal.map((image) => image.logit);
    out.scoreLogit = quantile(logits, normalQuantile);
    out.scoreMethod = "normal-quantile";
  }

  const segmented = anomalous.filter((image) => image.mask?.includes(1));
  if (segmented.length > 0) {
    const used = [...normal, ...segmented];
    const empty = new Uint8Array(size.height * size.width);
    const metrics = await engine().pixelMetrics(
      used.map((image) => image.map),
      used.map((image) => image.mask ?? empty),
      size.height,
      size.width,
      0.3,
    );
    out.pixelLogit = metrics.f1Threshold;
    out.pixelMethod = "best-f1";
  } else {
    const maxima = normal.map((image) => maximum(image.map));
    out.pixelLogit = quantile(maxima, normalQuantile);
    out.pixelMethod = "normal-quantile";
  }
  return out;
}
