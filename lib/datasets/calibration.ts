import { Random } from "../random.js";
import { check } from "../schema/check.js";
import { type CalibrationOptions, calibrationOptions, type FoldOptions, foldOptions } from "../schema/datasets.js";
import type { Sample } from "./dataset.js";

/** A threshold from fewer normal images than this would be a guess. */
export const leastNormals = 4;

export interface CalibrationSplit {
  /** In the order given. */
  fit: Sample[];
  calibration: Sample[];
  /** Why nothing was held out, if nothing was. */
  reason?: string;
}

/**
 * Holds out part of the training images to set the threshold on images that were not trained on. Stratified by what is
 * known of an image (normal, anomalous with a mask, anomalous without), each part rounded to the nearest; which images are
 * drawn depends on the seed and on the ids alone, not on the order of the files. At least one anomalous image of each
 * kind stays, and nothing is held out when fewer than 4 normal images would be.
 */
export function splitCalibration(samples: readonly Sample[], options: CalibrationOptions = {}): CalibrationSplit {
  const { fraction, seed } = check("splitCalibration", calibrationOptions, options);
  const whole = (reason: string): CalibrationSplit => ({ fit: [...samples], calibration: [], reason });
  if (fraction === 0) return whole("The calibration fraction is 0.");

  const strata = strataOf(samples);
  const normals = strata.get("normal")?.length ?? 0;
  const held = Math.round(fraction * normals);
  if (held < leastNormals) {
    const enough = Math.ceil((100 * (leastNormals - 0.5)) / normals) / 100;
    const way = enough <= 0.5 ? `a fraction of ${enough} would hold them out` : "that takes more images";
    return whole(
      `${normals} normal training images leave only ${held} for calibration at a fraction of ${fraction}; ${leastNormals} are needed (${way}). All images are used for fitting.`,
    );
  }

  const drawn = new Set<Sample>();
  for (const [name, members] of strata) {
    const count = Math.min(Math.round(fraction * members.length), members.length - 1);
    for (const sample of new Random(seed, "calibration", name).shuffled(byId(members)).slice(0, count))
      drawn.add(sample);
  }
  return {
    fit: samples.filter((sample) => !drawn.has(sample)),
    calibration: samples.filter((sample) => drawn.has(sample)),
  };
}

/**
 * The places in `samples` that each fold holds out. Every image is held out once, stratified as splitCalibration does;
 * which fold it is in depends on the seed and on the ids alone. An image that is the only one of its kind (normal,
 * anomalous with a mask, anomalous without) is in no fold: heads trained without it would have learned something else.
 */
export function crossFitFolds(samples: readonly Sample[], options: FoldOptions): number[][] {
  const { folds: count, seed } = check("crossFitFolds", foldOptions, options);
  const place = new Map(samples.map((sample, i) => [sample, i]));
  const folds = Array.from({ length: count }, (): number[] => []);
  // Each kind goes on where the one before ended, so that the folds differ in size by one at most.
  let next = 0;
  for (const [name, members] of [...strataOf(samples)].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (members.length === 1) continue;
    for (const sample of new Random(seed, "folds", name).shuffled(byId(members)))
      folds[next++ % count]!.push(place.get(sample)!);
  }
  return folds.filter((fold) => fold.length > 0).map((fold) => fold.sort((a, b) => a - b));
}

/** Samples by what is known of them. */
function strataOf(samples: readonly Sample[]): Map<string, Sample[]> {
  const strata = new Map<string, Sample[]>();
  for (const sample of samples) {
    const name = sample.label === "normal" ? "normal" : sample.mask === undefined ? "anomalous" : "segmented";
    strata.set(name, [...(strata.get(name) ?? []), sample]);
  }
  return strata;
}

const byId = (samples: readonly Sample[]): Sample[] =>
  [...samples].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
