import assert from "node:assert/strict";
import { test } from "node:test";

import { normalUpper } from "../../lib/calibration/distributions.js";
import type { CalibrationImage } from "../../lib/calibration/images.js";
import { operatingPoints, rateOfSource } from "../../lib/calibration/operating_points.js";
import { rateInterval, rateThreshold } from "../../lib/calibration/rate.js";
import type { OperatingPoint } from "../../lib/models/config.js";
import { Random } from "../../lib/random.js";
import type { Decision } from "../../lib/schema/decisions.js";

// Each computes the interval of every decision, which takes most of the time.
const repetitions = 40;
/** The share of intervals that hold the true rate, less what chance explains. */
const leastCovered = 0.9 - 3 * Math.sqrt((0.9 * 0.1) / repetitions);
const repeat = <T>(n: number, draw: () => T): T[] => Array.from({ length: n }, draw);
const good = (logit: number, peak: number): CalibrationImage => ({ anomalous: false, logit, peak });
const defect = (logit: number, peak: number): CalibrationImage => ({ anomalous: true, logit, peak });

/** Score and map of a good part: standard normal each, with this correlation. */
function part(random: Random, correlation: number): CalibrationImage {
  const logit = random.normal();
  return good(logit, correlation * logit + Math.sqrt(1 - correlation ** 2) * random.normal());
}

/** The true rate of "either": of independent sources by a formula, of equal ones the larger. */
function trueRate({ score, map }: OperatingPoint, correlation: 0 | 1): number {
  const [byScore, byMap] = [normalUpper(score!.logit), normalUpper(map!.logit)];
  return correlation === 1 ? Math.max(byScore, byMap) : 1 - (1 - byScore) * (1 - byMap);
}

interface Simulated {
  mean: number;
  /** The standard error of the mean. */
  error: number;
  /** The share of calibrations whose interval holds the true rate. */
  covered: number;
}

function simulate(n: number, rate: number, correlation: 0 | 1): Simulated {
  const random = new Random(5, "either", n, correlation);
  const rates: number[] = [];
  let covered = 0;
  for (let i = 0; i < repetitions; i++) {
    const point = operatingPoints(
      repeat(n, () => part(random, correlation)),
      rate,
    ).either.rate!;
    const true_ = trueRate(point, correlation);
    rates.push(true_);
    if (true_ >= point.falseRejects.low && true_ <= point.falseRejects.high) covered++;
  }
  const mean = rates.reduce((sum, one) => sum + one, 0) / repetitions;
  const variance = rates.reduce((sum, one) => sum + (one - mean) ** 2, 0) / (repetitions - 1);
  return { mean, error: Math.sqrt(variance / repetitions), covered: covered / repetitions };
}

test("each source of either has half of the rate", () => {
  assert.deepEqual(
    (["score", "map", "either"] as const).map((decision) => rateOfSource(decision, 0.02)),
    [0.02, 0.02, 0.01],
  );
  const random = new Random(6, "halves");
  const images = repeat(40, () => part(random, 0));
  const { score, map, either } = operatingPoints(images, 0.02);
  const logits = images.map(({ logit }) => logit);
  const peaks = images.map(({ peak }) => peak);
  assert.deepEqual([score.rate!.score, score.rate!.map], [rateThreshold(logits, 0.02), null]);
  assert.deepEqual([map.rate!.score, map.rate!.map], [null, rateThreshold(peaks, 0.02)]);
  assert.deepEqual([either.rate!.score, either.rate!.map], [rateThreshold(logits, 0.01), rateThreshold(peaks, 0.01)]);
});

test("either rejects on average at most the rate asked for, and of independent sources hardly less", () => {
  for (const [n, rate] of [
    [20, 0.05],
    [30, 0.02],
    [150, 0.1],
  ] as const) {
    const { mean, error, covered } = simulate(n, rate, 0);
    assert.ok(mean <= rate + 3 * error, `n ${n}: ${mean} of ${rate}, error ${error}`);
    assert.ok(mean >= rate / 2, `n ${n}: ${mean} of ${rate}`);
    assert.ok(covered >= leastCovered, `n ${n}: ${covered} of the intervals hold the true rate`);
  }
});

test("sources that say the same: either rejects half of the rate", () => {
  const { mean, error, covered } = simulate(30, 0.02, 1);
  assert.ok(Math.abs(mean - 0.01) <= 3 * error, `${mean}, error ${error}`);
  assert.ok(covered >= leastCovered, String(covered));
});

test("the interval of either: from the higher of the two lower ends to the sum of the upper ones, at most 1", () => {
  const random = new Random(7, "interval");
  const images = repeat(30, () => part(random, 0));
  const { score, map, either } = operatingPoints(images, 0.04);
  for (const { falseRejects } of [score.rate!, map.rate!])
    assert.deepEqual([falseRejects.low, falseRejects.high], [...rateInterval("student-t", 30, 0.04)]);
  const [low, high] = rateInterval("student-t", 30, 0.02);
  assert.deepEqual(either.rate!.falseRejects, { share: 0.04, low, high: 2 * high });
  const wide = operatingPoints(
    repeat(4, () => part(random, 0)),
    0.5,
  ).either.rate!.falseRejects;
  assert.ok(wide.high <= 1 && wide.low <= wide.high, JSON.stringify(wide));
});

test("what is found is counted by the decision's own thresholds, for the rate and for the best F1", () => {
  const random = new Random(8, "found");
  const images = [...repeat(30, () => part(random, 0)), defect(9, 0), defect(0, 9), defect(9, 9), defect(0, 0)];
  const points = operatingPoints(images, 0.02);
  const found = (decision: Decision): (number | undefined)[] =>
    [points[decision].rate, points[decision].f1].map((point) => point!.detected!.count);
  assert.deepEqual(found("score"), [2, 2]);
  assert.deepEqual(found("map"), [2, 2]);
  assert.deepEqual(found("either"), [3, 3]);
  assert.equal(points.either.f1!.score!.method, "best-f1");
  assert.deepEqual(points.score.f1!.map, null);
});

test("a source whose good parts are all equal tells no rate, alone or with the other", () => {
  const images = [1, 2, 3, 4, 5].map((logit) => good(logit, 2));
  const { score, map, either } = operatingPoints(images, 0.1);
  assert.ok(score.rate);
  assert.deepEqual([map.rate, either.rate], [null, null]);
  assert.deepEqual([score.f1, map.f1, either.f1], [null, null, null]);
  const three = operatingPoints(images.slice(0, 3), 0.1);
  assert.deepEqual([three.score.rate, three.map.rate, three.either.rate], [null, null, null]);
});
