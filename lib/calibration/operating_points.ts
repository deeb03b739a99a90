import { leastNormals } from "../datasets/calibration.js";
import type { Calibration, Counted, OperatingPoint, SourceThreshold } from "../models/config.js";
import { type Decision, type Source, sourcesOf } from "../schema/decisions.js";
import { bestF1, bestF1OfEither } from "./best_f1.js";
import { type CalibrationImage, evidence, reaches } from "./images.js";
import { rateInterval, rateThreshold } from "./rate.js";
import { type Interval, shareInterval } from "./share.js";

/** A decision's share of the rate for each of its sources: "either" rejects at most the sum. */
export const rateOfSource = (decision: Decision, rate: number): number => rate / sourcesOf(decision).length;

/** Whether good images tell a threshold for a rate: there are enough, and they differ. */
export const tellRate = (normal: readonly CalibrationImage[], source: Source): boolean =>
  normal.length >= leastNormals && normal.some((image) => evidence(image, source) !== evidence(normal[0]!, source));

/** What every decision would do at the rate asked for, and where F1 is highest. */
export function operatingPoints(images: readonly CalibrationImage[], rate: number): Calibration["points"] {
  const of = (decision: Decision): Calibration["points"][Decision] => ({
    rate: ratePoint(images, decision, rate),
    f1: f1Point(images, decision),
  });
  return { score: of("score"), map: of("map"), either: of("either") };
}

function ratePoint(images: readonly CalibrationImage[], decision: Decision, rate: number): OperatingPoint | null {
  const normal = images.filter((image) => !image.anomalous);
  const sources = sourcesOf(decision);
  if (!sources.every((source) => tellRate(normal, source))) return null;
  const own = rateOfSource(decision, rate);
  const found = sources.map((source) =>
    rateThreshold(
      normal.map((image) => evidence(image, source)),
      own,
    ),
  );
  const intervals = found.map(({ method }) => rateInterval(method, normal.length, own));
  const [low, high] = ofEither(intervals);
  const at = (source: Source): SourceThreshold | null => found[sources.indexOf(source)] ?? null;
  return point(images, at("score"), at("map"), { share: rate, low, high });
}

/** The rate of two sources is at least that of one of them, at most their sum. */
function ofEither(intervals: readonly Interval[]): Interval {
  const lows = intervals.map(([low]) => low);
  const highs = intervals.map(([, high]) => high);
  return [
    Math.max(...lows),
    Math.min(
      1,
      highs.reduce((sum, high) => sum + high, 0),
    ),
  ];
}

function f1Point(images: readonly CalibrationImage[], decision: Decision): OperatingPoint | null {
  if (!images.some((image) => image.anomalous) || !images.some((image) => !image.anomalous)) return null;
  const logits =
    decision === "either"
      ? bestF1OfEither(images)
      : { [decision]: bestF1(images, (image) => evidence(image, decision)) };
  const at = (logit: number | undefined): SourceThreshold | null =>
    logit === undefined ? null : { logit, method: "best-f1" };
  const [score, map] = [at(logits.score), at(logits.map)];
  const { share, low, high } = counted(images, false, rejectedBy(score, map));
  return point(images, score, map, { share, low, high });
}

function point(
  images: readonly CalibrationImage[],
  score: SourceThreshold | null,
  map: SourceThreshold | null,
  falseRejects: OperatingPoint["falseRejects"],
): OperatingPoint {
  const detected = images.some((image) => image.anomalous) ? counted(images, true, rejectedBy(score, map)) : null;
  return { score, map, falseRejects, detected };
}

/** A source without a threshold rejects nothing. */
const rejectedBy =
  (score: SourceThreshold | null, map: SourceThreshold | null) =>
  (image: CalibrationImage): boolean =>
    reaches(image, "either", { score: score?.logit ?? Infinity, map: map?.logit ?? Infinity });

/** How many of the normal or of the anomalous images are so. */
export function counted(
  images: readonly CalibrationImage[],
  anomalous: boolean,
  isSo: (image: CalibrationImage) => boolean,
): Counted {
  const those = images.filter((image) => image.anomalous === anomalous);
  const count = those.filter(isSo).length;
  const [low, high] = shareInterval(count, those.length);
  return { count, of: those.length, share: count / those.length, low, high };
}
