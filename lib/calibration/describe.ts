import type { Calibration, OperatingPoint, Share, Thresholds } from "../models/config.js";
import { percent } from "./thresholds.js";

/** A logit as a score, 0 to 1. */
export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

const methods: Readonly<Record<OperatingPoint["method"], string>> = {
  "best-f1": "where F1 is highest",
  "student-t": "by Student's t",
  "order-statistic": "by the order of the scores",
  "exponential-tail": "by an exponential tail",
  "normal-quantile": "the 0.99 quantile",
  manual: "set by hand",
  default: "the default",
};

/** For people: where the score's threshold lies, how it was set, and what is known of it. One line each. */
export function describeThresholds(thresholds: Thresholds): string[] {
  const { scoreLogit, scoreMethod, calibrationNormal: normal, calibration } = thresholds;
  const where = `score threshold ${sigmoid(scoreLogit).toFixed(4)} (logit ${scoreLogit.toFixed(4)})`;
  if (scoreMethod === "normal-quantile") {
    const mean = percent(0.01 + 0.98 / (normal + 1));
    return [
      `${where}: the 0.99 quantile of ${normal} good images, set by an older version. It rejects about ${mean} of good parts, not 1 %: train again, or set a threshold of your own.`,
    ];
  }
  if (scoreMethod === "manual") return [`${where}: set by hand`];
  if (!calibration) return [`${where}: ${scoreMethod === "default" ? "not calibrated" : methods[scoreMethod]}`];
  const used = `${evidence(calibration)}, on ${normal} good images and ${thresholds.calibrationAnomalous} with defects`;
  const lines = [`${where}: ${methods[scoreMethod]}, ${used}`];
  const { rate, f1, objective } = calibration;
  if (rate) lines.push(pointLine("rate", rate, objective === "rate" && scoreMethod === rate.method));
  if (f1) lines.push(pointLine("f1", f1, objective === "f1"));
  return lines;
}

function evidence({ method, folds }: Calibration): string {
  return method === "crossFit" ? `cross-fitted in ${folds} folds` : "held out of the training";
}

function pointLine(name: Calibration["objective"], point: OperatingPoint, taken: boolean): string {
  const { scoreLogit, falseRejects, detected } = point;
  const rejects =
    name === "rate"
      ? `rejects ${percent(falseRejects.share)} of good parts on average (90 % interval ${interval(falseRejects)})`
      : `rejected ${percent(falseRejects.share)} of these good images (90 % interval ${interval(falseRejects)})`;
  const finds = detected
    ? `; found ${detected.count} of ${detected.of} defects (90 % interval ${interval(detected)})`
    : "";
  return `  ${name} at ${sigmoid(scoreLogit).toFixed(4)}${taken ? ", taken" : ""}: ${rejects}${finds}`;
}

const interval = ({ low, high }: Share): string => `${percent(low)} to ${percent(high)}`;
