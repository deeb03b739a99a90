import type { Calibration, OperatingPoint, ThresholdMethod, Thresholds } from "../models/config.js";
import { defaultThresholds } from "../models/config.js";
import { leastNormals } from "../datasets/calibration.js";
import { engine } from "../native/engine.js";
import { rateInterval, rateThreshold, shareInterval, supports } from "./rate.js";

/** What heads that were not trained on an image say about it. */
export interface CalibrationImage {
  anomalous: boolean;
  /** Score logit. */
  logit: number;
  /** The map's maximum, a logit. */
  peak: number;
  /** Of those images only that a pixel threshold is set on. */
  map?: Float32Array | undefined;
  /** 0/1 at the map's size; absent for normal images and for anomalous ones without pixel labels. */
  mask?: Uint8Array | undefined;
}

/** What is asked of the thresholds, and how the images were scored. */
export interface CalibrationRequest extends Pick<Calibration, "method" | "folds" | "falseRejectRate"> {
  /** Default: f1 with 10 anomalous images or more, else rate. */
  objective?: Calibration["objective"] | undefined;
}

/** The best F1 of fewer defects is a matter of luck: the rate finds as many, with fewer false rejects (docs/guides/thresholds.md). */
const enoughDefects = 10;

/**
 * Thresholds from images that the model was not trained on, never test images. The score's is at the rate of false
 * rejects asked for (rateThreshold), or with 10 anomalous images or more where F1 is highest, half way down to the next
 * lower score. The map's is where the F1 of pixels is highest, or without masks at the same rate for the maps' maxima. A rate
 * needs 4 normal images or more whose scores differ; where there are none, the default stays and a warning says so.
 */
export async function calibrateThresholds(
  images: readonly CalibrationImage[],
  size: { height: number; width: number },
  request: CalibrationRequest,
): Promise<Thresholds> {
  const normal = images.filter((image) => !image.anomalous);
  const anomalous = images.filter((image) => image.anomalous);
  const { falseRejectRate } = request;
  const objective = request.objective ?? (anomalous.length >= enoughDefects ? "f1" : "rate");
  const asksForRate = objective === "rate" || anomalous.length === 0;
  const warnings = asksForRate ? supportWarnings(normal.length, falseRejectRate) : [];
  const enough = normal.length >= leastNormals;
  if (!enough) warnings.push(`${normal.length} good images to set thresholds on; ${leastNormals} are needed.`);

  const logits = normal.map((image) => image.logit);
  const found = rateOf(logits, enough, falseRejectRate, "scores", warnings);
  const rate = found && ratePoint(found, falseRejectRate, images);
  const f1 = normal.length > 0 && anomalous.length > 0 ? f1Point(await bestF1(images), images) : null;
  if (objective === "f1" && anomalous.length === 0)
    warnings.push("No defects to find the best F1 on: the rate decides.");
  const chosen = objective === "f1" ? (f1 ?? rate) : rate;
  if (chosen?.detected?.count === 0)
    warnings.push(
      `None of the ${chosen.detected.of} defects reaches the threshold: the model does not tell them from good parts.`,
    );
  const pixels = await pixelThreshold(images, size, enough, falseRejectRate, warnings);
  return {
    ...defaultThresholds,
    ...(chosen && { scoreLogit: chosen.scoreLogit, scoreMethod: chosen.method }),
    ...(pixels && { pixelLogit: pixels.logit, pixelMethod: pixels.method }),
    calibrationNormal: normal.length,
    calibrationAnomalous: anomalous.length,
    calibration: {
      method: request.method,
      folds: request.folds,
      falseRejectRate,
      objective: chosen === f1 && f1 ? "f1" : "rate",
      rate,
      f1,
      warnings,
    },
  };
}

/** What to say where n good images are too few for the rate, and what would do. */
export function supportWarnings(n: number, rate: number): string[] {
  const { supported, smallestRate, parts } = supports(n, rate);
  if (supported) return [];
  const smallest = n >= leastNormals ? ` ${n} good images support ${percent(smallestRate)} at best.` : "";
  return [
    `${n} good images are too few for a false-reject rate of ${percent(rate)}: it takes ${parts}.${smallest} The threshold is a cautious guess.`,
  ];
}

/** A share as people read it: "1 %", "0.05 %". */
export const percent = (share: number): string => `${Number((100 * share).toPrecision(2))} %`;

interface Found {
  logit: number;
  method: ThresholdMethod;
}

function rateOf(
  logits: readonly number[],
  enough: boolean,
  rate: number,
  what: string,
  warnings: string[],
): ReturnType<typeof rateThreshold> | null {
  if (!enough) return null;
  if (logits.every((logit) => logit === logits[0])) {
    warnings.push(
      `All ${logits.length} good images have ${what} of ${logits[0]}: they tell no threshold, and the default stays. Are they copies of one image?`,
    );
    return null;
  }
  return rateThreshold(logits, rate);
}

function ratePoint(
  { logit, method }: ReturnType<typeof rateThreshold>,
  rate: number,
  images: readonly CalibrationImage[],
): OperatingPoint {
  const [low, high] = rateInterval(method, images.filter((image) => !image.anomalous).length, rate);
  const falseRejects = { share: rate, low, high };
  return { scoreLogit: logit, method, falseRejects, detected: detected(images, logit) };
}

function f1Point(logit: number, images: readonly CalibrationImage[]): OperatingPoint {
  const { count: _, of: __, ...falseRejects } = atOrAbove(images, false, logit);
  return { scoreLogit: logit, method: "best-f1", falseRejects, detected: detected(images, logit) };
}

const detected = (images: readonly CalibrationImage[], logit: number): OperatingPoint["detected"] =>
  images.some((image) => image.anomalous) ? atOrAbove(images, true, logit) : null;

function atOrAbove(
  images: readonly CalibrationImage[],
  anomalous: boolean,
  logit: number,
): NonNullable<OperatingPoint["detected"]> {
  const those = images.filter((image) => image.anomalous === anomalous);
  const count = those.filter((image) => image.logit >= logit).length;
  const [low, high] = shareInterval(count, those.length);
  return { count, of: those.length, share: count / those.length, low, high };
}

async function bestF1(images: readonly CalibrationImage[]): Promise<number> {
  const { f1Threshold } = await engine().imageMetrics(
    Float32Array.from(images, (i) => i.logit),
    Uint8Array.from(images, (i) => Number(i.anomalous)),
  );
  const below = images.map((image) => image.logit).filter((logit) => Math.fround(logit) < f1Threshold);
  return below.length > 0 ? (f1Threshold + Math.max(...below)) / 2 : f1Threshold;
}

async function pixelThreshold(
  images: readonly CalibrationImage[],
  { height, width }: { height: number; width: number },
  enough: boolean,
  rate: number,
  warnings: string[],
): Promise<Found | null> {
  const segmented = images.filter((image) => image.anomalous && image.map && image.mask?.includes(1));
  const normal = images.filter((image) => !image.anomalous);
  if (normal.length === 0 || segmented.length === 0) {
    const peaks = normal.map((image) => image.peak);
    return rateOf(peaks, enough, rate, "map maxima", warnings);
  }
  const used = [...normal.filter((image) => image.map), ...segmented];
  const empty = new Uint8Array(height * width);
  const metrics = await engine().pixelMetrics(
    used.map((image) => image.map!),
    used.map((image) => image.mask ?? empty),
    height,
    width,
    0.3,
  );
  return { logit: metrics.f1Threshold, method: "best-f1" };
}
