import { leastNormals } from "../datasets/calibration.js";
import {
  type Calibration,
  defaultThresholds,
  type OperatingPoint,
  pointOf,
  type SourceThreshold,
  type Thresholds,
} from "../models/config.js";
import { engine } from "../native/engine.js";
import { type Decision, type Source, sourcesOf } from "../schema/decisions.js";
import { summarise } from "./drift.js";
import { type CalibrationImage, evidence } from "./images.js";
import { operatingPoints, rateOfSource, tellRate } from "./operating_points.js";
import { percent, supports } from "./rate.js";
import { unsureBelow } from "./unsure.js";

/** What is asked of the thresholds, and how the images were scored. */
export interface CalibrationRequest extends Pick<Calibration, "method" | "folds" | "falseRejectRate"> {
  decision: Decision;
  /** Default: f1 with 10 anomalous images or more, else rate. */
  objective?: Calibration["objective"] | undefined;
  /** Share of the defects that may be called good: turns on the verdict "unsure", unless it is 0. */
  missRate?: number | undefined;
}

/** The best F1 of fewer defects is a matter of luck: the rate finds as many, with fewer false rejects (docs/guides/thresholds.md). */
const enoughDefects = 10;

/**
 * Thresholds from images that the model was not trained on, never test images. An image's are at the rate of false rejects
 * asked for (rateThreshold; "either" gives half of it to each source), or with 10 anomalous images or more where F1 is
 * highest. A pixel's is where the F1 of pixels is highest, or without masks that of the maps' maxima. A rate needs 4 normal
 * images or more whose scores differ; else the default stays and a warning says so.
 */
export async function calibrateThresholds(
  images: readonly CalibrationImage[],
  size: { height: number; width: number },
  request: CalibrationRequest,
): Promise<Thresholds> {
  const normal = images.filter((image) => !image.anomalous);
  const calibrationAnomalous = images.length - normal.length;
  const { decision, method, folds, falseRejectRate, missRate } = request;
  const asked = request.objective ?? (calibrationAnomalous >= enoughDefects ? "f1" : "rate");
  const points = operatingPoints(images, falseRejectRate);
  const objective = asked === "f1" && points[decision].f1 ? "f1" : "rate";
  const chosen = points[decision][objective];
  const pixels = await pixelThreshold(images, size);
  const warnings = [
    ...(objective === "rate" ? supportWarnings(normal.length, falseRejectRate, decision) : []),
    ...goodPartWarnings(normal, pixels ? sourcesOf(decision) : [...sourcesOf(decision), "map"]),
    ...(asked === objective ? [] : ["No defects to find the best F1 on: the rate decides."]),
    ...detectionWarnings(images, decision, chosen),
  ];
  const calibration: Calibration = {
    method,
    folds,
    falseRejectRate,
    objective,
    points,
    good: normal.length >= leastNormals ? summaries(normal, method !== "crossFit") : null,
    parts: null,
    previous: null,
    warnings,
  };
  // A source that the decision does not look at has the threshold that it would have alone.
  const score = chosen?.score ?? pointOf(calibration, "score")?.score;
  const map = chosen?.map ?? pointOf(calibration, "map")?.map;
  const pixel = pixels ?? points[decision].rate?.map ?? points.map.rate?.map;
  const thresholds: Thresholds = {
    ...defaultThresholds,
    decision,
    ...(score && { scoreLogit: score.logit, scoreMethod: score.method }),
    ...(map && { mapLogit: map.logit, mapMethod: map.method }),
    ...(pixel && { pixelLogit: pixel.logit, pixelMethod: pixel.method }),
    calibrationNormal: normal.length,
    calibrationAnomalous,
    calibration,
  };
  if (!chosen || !missRate) return thresholds;
  const { unsure, warnings: more } = unsureBelow(images, thresholds, missRate);
  return { ...thresholds, unsure, calibration: { ...calibration, warnings: [...warnings, ...more] } };
}

/** What to say where n good images are too few for the rate, and what would do. */
export function supportWarnings(n: number, rate: number, decision: Decision): string[] {
  const each = rateOfSource(decision, rate);
  const { supported, smallestRate, parts } = supports(n, each);
  if (supported) return [];
  const best = smallestRate * sourcesOf(decision).length;
  const smallest = n >= leastNormals && best <= 0.5 ? ` ${n} good images support ${percent(best)} at best.` : "";
  const split = each < rate ? ", as score and map share it" : "";
  return [
    `${n} good images are too few for a false-reject rate of ${percent(rate)}: it takes ${parts}${split}.${smallest} The threshold is a cautious guess.`,
  ];
}

const evidenceNames = { score: "scores", map: "map maxima" } as const satisfies Record<Source, string>;

function goodPartWarnings(normal: readonly CalibrationImage[], sources: readonly Source[]): string[] {
  const n = normal.length;
  if (n < leastNormals) return [`${n} good images to set thresholds on; ${leastNormals} are needed.`];
  return [...new Set(sources)]
    .filter((source) => !tellRate(normal, source))
    .map(
      (source) =>
        `All ${n} good images have ${evidenceNames[source]} of ${evidence(normal[0]!, source)}: they tell no threshold, and the default stays. Are they copies of one image?`,
    );
}

function detectionWarnings(
  images: readonly CalibrationImage[],
  decision: Decision,
  chosen: OperatingPoint | null,
): string[] {
  const defects = images.filter((image) => image.anomalous);
  const normal = images.filter((image) => !image.anomalous);
  if (defects.length === 0 || normal.length === 0) return [];
  const belowAll = sourcesOf(decision).every((source) => {
    const lowest = Math.min(...normal.map((image) => evidence(image, source)));
    return defects.every((image) => evidence(image, source) < lowest);
  });
  if (belowAll)
    return [
      `Every defect scores below every good part (${defects.length} and ${normal.length}): are the two mixed up? Otherwise the model takes these defects for better than good.`,
    ];
  if (chosen?.detected?.count === 0)
    return [
      `None of the ${defects.length} defects reaches the threshold: the model does not tell them from good parts.`,
    ];
  return [];
}

function summaries(normal: readonly CalibrationImage[], own: boolean): Calibration["good"] {
  const of = (source: Source): ReturnType<typeof summarise> =>
    summarise(
      normal.map((image) => evidence(image, source)),
      own,
    );
  return { score: of("score"), map: of("map") };
}

/** Where F1 over the pixels of images with masks, and of normal ones beside them, is highest; null without masks. */
async function pixelThreshold(
  images: readonly CalibrationImage[],
  { height, width }: { height: number; width: number },
): Promise<SourceThreshold | null> {
  const segmented = images.filter((image) => image.anomalous && image.map && image.mask?.includes(1));
  const normal = images.filter((image) => !image.anomalous);
  if (normal.length === 0 || segmented.length === 0) return null;
  const used = [...normal.filter((image) => image.map), ...segmented];
  const empty = new Uint8Array(height * width);
  const { f1Threshold } = await engine().pixelMetrics(
    used.map((image) => image.map!),
    used.map((image) => image.mask ?? empty),
    height,
    width,
    0.3,
  );
  return { logit: f1Threshold, method: "best-f1" };
}
