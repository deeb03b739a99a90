import {
  type Calibration,
  type Counted,
  type OperatingPoint,
  type Share,
  type ThresholdMethod,
  type Thresholds,
  type Unsure,
} from "../models/config.js";
import { type Decision, decisions, type Source, sourcesOf } from "../schema/decisions.js";
import type { Drift } from "./drift_watch.js";
import { percent } from "./rate.js";

/** A logit as a score, 0 to 1. */
export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

const methods: Readonly<Record<ThresholdMethod, string>> = {
  "best-f1": "where F1 is highest",
  "student-t": "by Student's t",
  "order-statistic": "by the order of the scores",
  "exponential-tail": "by an exponential tail",
  "normal-quantile": "the 0.99 quantile",
  inherited: "that of the model which the training began with",
  manual: "set by hand",
  default: "not calibrated",
};

const deciders: Readonly<Record<Decision, string>> = {
  score: "the score decides",
  map: "the maximum of the map decides",
  either: "score or map decides, whichever reaches its threshold",
};

/** For people: what decides, where the thresholds lie, how they were set, and what is known of them. One line each. */
export function describeThresholds(thresholds: Thresholds): string[] {
  const { decision, calibration, unsure, scoreMethod } = thresholds;
  const known = isByHand(thresholds) || scoreMethod === "inherited" ? null : calibration;
  const lines = [
    `${deciders[decision]}${known ? `; thresholds ${evidenceOf(known, thresholds)}` : ""}`,
    ...sourcesOf(decision).map((source) => thresholdLine(source, thresholds)),
  ];
  if (known) lines.push(...pointLines(known, decision));
  if (unsure) lines.push(unsureLine(unsure, thresholds));
  return lines;
}

/** Whether a person set a threshold that decides. */
export const isByHand = (thresholds: Thresholds): boolean =>
  sourcesOf(thresholds.decision).some((source) => methodOf(source, thresholds) === "manual");

const methodOf = (source: Source, { scoreMethod, mapMethod }: Thresholds): ThresholdMethod =>
  source === "score" ? scoreMethod : mapMethod;

function evidenceOf(
  { method, folds }: Calibration,
  { calibrationNormal: normal, calibrationAnomalous: anomalous }: Thresholds,
): string {
  const how = {
    crossFit: `cross-fitted in ${folds} folds`,
    holdOut: "held out of the training",
    newParts: "set on new parts",
  };
  return `${how[method]}, on ${normal} good images and ${anomalous} with defects`;
}

function thresholdLine(source: Source, thresholds: Thresholds): string {
  const { scoreLogit, mapLogit, calibrationNormal: normal } = thresholds;
  const method = methodOf(source, thresholds);
  const where =
    source === "score"
      ? `  score threshold ${sigmoid(scoreLogit).toFixed(4)} (logit ${scoreLogit.toFixed(4)})`
      : `  map threshold ${mapLogit.toFixed(4)}`;
  if (method !== "normal-quantile") return `${where}: ${methods[method]}`;
  const mean = percent(0.01 + 0.98 / (normal + 1));
  return `${where}: the 0.99 quantile of ${normal} good images, set by an older version. It rejects about ${mean} of good parts, not 1 %: train again, or set thresholds on new good parts ('supersimplenet calibrate').`;
}

/** Both operating points of the decision, and with defects what the other decisions would do. */
function pointLines({ points, objective }: Calibration, decision: Decision): string[] {
  const { rate, f1 } = points[decision];
  const lines: string[] = [];
  if (rate) lines.push(`  rate${objective === "rate" ? ", taken" : ""}: ${rejects(rate, true)}${finds(rate)}`);
  if (f1) lines.push(`  f1${objective === "f1" ? ", taken" : ""}: ${rejects(f1, false)}${finds(f1)}`);
  for (const other of decisions) {
    const point = points[other].rate;
    if (other !== decision && point?.detected) lines.push(`  rate, if ${deciders[other]}:${finds(point).slice(1)}`);
  }
  return lines;
}

function rejects({ falseRejects }: OperatingPoint, onAverage: boolean): string {
  const { share } = falseRejects;
  return onAverage
    ? `rejects ${percent(share)} of good parts on average (90 % interval ${interval(falseRejects)})`
    : `rejected ${percent(share)} of these good images (90 % interval ${interval(falseRejects)})`;
}

const finds = ({ detected }: OperatingPoint): string =>
  detected ? `; found ${detected.count} of ${detected.of} defects (90 % interval ${interval(detected)})` : "";

function unsureLine({ missRate, method, normal, anomalous, ...lower }: Unsure, thresholds: Thresholds): string {
  const { decision } = thresholds;
  const [score, map] = [
    Math.min(lower.scoreLogit, thresholds.scoreLogit),
    Math.min(lower.mapLogit, thresholds.mapLogit),
  ];
  const from = { score: `score ${sigmoid(score).toFixed(4)}`, map: `map ${map.toFixed(4)}` };
  const why = method === "defects" ? `miss rate ${percent(missRate)}` : "by the bulk of the good parts";
  const of = ({ count, of: total }: Counted, what: string): string => `${count} of ${total} ${what}`;
  const others = anomalous ? `, ${of(anomalous, "with defects")}` : "";
  const where = sourcesOf(decision)
    .map((source) => from[source])
    .join(" or ");
  return `  unsure from ${where} on (${why}): ${of(normal, "good calibration images")}${others}`;
}

const interval = ({ low, high }: Share): string => `${percent(low)} to ${percent(high)}`;

const driftVerdicts: Readonly<Record<Drift["verdict"], string>> = {
  same: "the scores are those of the good parts that the thresholds were set on",
  changed:
    "the scores are not those of the good parts that the thresholds were set on; camera, light or material may have changed",
  unknown: "too few images, or too few good parts in the model, to tell whether the scores have changed",
};

/** For people: how the scores that were seen compare with those of the calibration, in one line. */
export function describeDrift({ n, verdict, score, map }: Drift): string {
  if (!score && !map)
    return "drift: the model holds no scores to compare with; 'supersimplenet calibrate' stores those of new good parts";
  if (n === 0) return "drift: no image was scored";
  const sources = Object.entries({ score, map }).flatMap(([name, one]) =>
    one ? [`${name} ${one.verdict} (D ${one.statistic.toFixed(2)}, p ${one.pValue.toPrecision(1)})`] : [],
  );
  const numbers = sources.length > 0 ? `: ${sources.join(", ")}` : "";
  return `drift, ${n} images: ${driftVerdicts[verdict]}${numbers}`;
}
