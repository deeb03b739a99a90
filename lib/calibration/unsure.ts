import type { Thresholds, Unsure } from "../models/config.js";
import type { Source } from "../schema/decisions.js";
import { type CalibrationImage, evidence, reaches } from "./images.js";
import { counted, rateOfSource, tellRate } from "./operating_points.js";
import { leastParts, percent, rateThreshold, supports } from "./rate.js";

/** Of the good parts this share may be unsure, where no defects say from where on a part is certain to be good. */
const unsureGood = 0.1;

/**
 * From where on a part is unsure. With 5 defects or more: the threshold that a new defect is below with probability
 * `missRate`, by the statistics of rateThreshold upside down; each source keeps it by itself. With fewer the bulk of the good
 * parts decides: a tenth of them may be unsure. Never above the thresholds themselves.
 */
export function unsureBelow(
  images: readonly CalibrationImage[],
  thresholds: Thresholds,
  missRate: number,
): { unsure: Unsure; warnings: string[] } {
  const normal = images.filter((image) => !image.anomalous);
  const defects = images.filter((image) => image.anomalous);
  const method = defects.length >= leastParts ? "defects" : "good-parts";
  const warnings =
    method === "good-parts" ? [fewDefects(defects.length, missRate)] : missWarnings(defects.length, missRate);

  const { decision, scoreLogit, mapLogit } = thresholds;
  const lower = (source: Source, upper: number): number => {
    const found =
      method === "defects"
        ? below(
            defects.map((image) => evidence(image, source)),
            missRate,
          )
        : tellRate(normal, source)
          ? rateThreshold(
              normal.map((image) => evidence(image, source)),
              rateOfSource(decision, unsureGood),
            ).logit
          : upper;
    return Math.min(found, upper);
  };
  const from = { score: lower("score", scoreLogit), map: lower("map", mapLogit) };
  const isUnsure = (image: CalibrationImage): boolean =>
    reaches(image, decision, from) && !reaches(image, decision, { score: scoreLogit, map: mapLogit });
  const good = counted(images, false, isUnsure);
  if (good.share > 0.5)
    warnings.push(
      `${good.count} of ${good.of} good images are unsure: at a miss rate of ${percent(missRate)} the model hardly tells defects from good parts.`,
    );
  const unsure: Unsure = {
    scoreLogit: from.score,
    mapLogit: from.map,
    missRate,
    method,
    normal: good,
    anomalous: defects.length > 0 ? counted(images, true, isUnsure) : null,
  };
  return { unsure, warnings };
}

/** What a new defect is below with probability `rate`. */
function below(logits: readonly number[], rate: number): number {
  const flipped = logits.map((logit) => -logit);
  return flipped.every((logit) => logit === flipped[0]) ? logits[0]! : -rateThreshold(flipped, rate).logit;
}

const fewDefects = (count: number, missRate: number): string =>
  `${count} defects say nothing about a miss rate of ${percent(missRate)}; ${leastParts} are needed. ${percent(unsureGood)} of the good parts may be unsure instead.`;

function missWarnings(count: number, missRate: number): string[] {
  const { supported, smallestRate, parts } = supports(count, missRate);
  if (supported) return [];
  return [
    `${count} defects are too few for a miss rate of ${percent(missRate)}: it takes ${parts}. ${count} support ${percent(smallestRate)} at best. Where a part is unsure is a cautious guess.`,
  ];
}
