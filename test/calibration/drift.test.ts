import assert from "node:assert/strict";
import { test } from "node:test";

import {
  type DriftComparison,
  driftLevel,
  leastDriftSize,
  ScoreDrift,
  summarise,
} from "../../lib/calibration/drift.js";
import type { ScoreSummary } from "../../lib/models/config.js";
import { Random } from "../../lib/random.js";
import { failure } from "../datasets/files.js";

const close = (actual: number, expected: number, difference = 1e-7): void =>
  assert.ok(Math.abs(actual - expected) <= difference, `${actual}, expected ${expected}`);
const repeat = (n: number, draw: () => number): number[] => Array.from({ length: n }, draw);
const oneTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

function compared(summary: ScoreSummary, scores: readonly number[]): DriftComparison {
  const drift = new ScoreDrift(summary);
  for (const score of scores) drift.add(score);
  return drift.compare();
}

type Share = (scores: readonly number[], x: number) => number;
const shareUpTo: Share = (scores, x) => scores.filter((score) => score <= x).length / scores.length;
const shareBelow: Share = (scores, x) => scores.filter((score) => score < x).length / scores.length;

/** D of each side by its definition: every share counted anew, at and just below every score. */
function oracle(old: readonly number[], fresh: readonly number[]): Record<"higher" | "upperHalf" | "lower", number> {
  let [higher, upperHalf, lower] = [0, 0, 0];
  for (const x of [...old, ...fresh])
    for (const share of [shareUpTo, shareBelow]) {
      const difference = share(old, x) - share(fresh, x);
      higher = Math.max(higher, difference);
      lower = Math.max(lower, -difference);
      if (share(old, x) >= 0.5) upperHalf = Math.max(upperHalf, difference);
    }
  return { higher, upperHalf, lower };
}

test("by hand: seven of ten old scores lie below all ten new ones", () => {
  // D = 0.7 at 7, less the tolerance 0.65; n m / (n + m) = 5.
  const own = compared(summarise(oneTo(10), true), Array<number>(10).fill(7.5));
  assert.deepEqual([own.n, own.statistic, own.verdict], [10, 0.7, "same"]);
  close(own.pValue, 0.0292507); // 2 exp(-2 * 5 * 0.65^2)
  const folds = compared(summarise(oneTo(10), false), Array<number>(10).fill(7.5));
  assert.deepEqual([folds.statistic, folds.verdict], [0.7, "same"]);
  close(folds.pValue, 0.0146253);
  const eighth = compared(summarise(oneTo(10), false), Array<number>(10).fill(8.5));
  assert.equal(eighth.verdict, "higher");
  close(eighth.pValue, 0.0036066); // exp(-2 * 5 * 0.75^2)
});

test("by hand: lower scores count beside scores of the model itself only", () => {
  const fresh = Array<number>(10).fill(1.5); // all new scores and one of ten old ones lie below 2
  const own = compared(summarise(oneTo(10), true), fresh);
  assert.deepEqual([own.statistic, own.verdict], [0.9, "lower"]);
  const folds = compared(summarise(oneTo(10), false), fresh);
  assert.deepEqual(folds, { n: 10, statistic: 0, pValue: 1, verdict: "same" });
});

test("by hand: scores that equal old ones are neither above nor below them", () => {
  // At or below 1: 3 of 4 old scores, 1 of 2 new ones; below 2 the same.
  assert.equal(compared(summarise([1, 2, 1, 1], true), [2, 1]).statistic, 0.25);
  const constant = summarise(Array<number>(30).fill(-3.14159265), true);
  assert.equal(constant.values.length, 30);
  assert.equal(compared(constant, Array<number>(1000).fill(-3.14159265)).statistic, 0);
  assert.equal(compared(constant, Array<number>(1000).fill(-3.1415)).verdict, "higher");
  assert.equal(compared(constant, Array<number>(1000).fill(-3.1417)).verdict, "lower");
});

test("the statistic agrees with its definition on random scores with ties", () => {
  const random = new Random(0, "drift", "oracle");
  for (let i = 0; i < 300; i++) {
    const [kinds, shift] = [1 + random.integer(12), random.integer(3) - 1];
    const old = repeat(1 + random.integer(40), () => random.integer(kinds) / 4);
    const fresh = repeat(1 + random.integer(60), () => (random.integer(kinds) + shift) / (random.integer(2) + 3));
    const rounded = fresh.map((score) => Math.round(score * 1e5) / 1e5);
    const { higher, upperHalf, lower } = oracle(old, rounded);
    close(compared(summarise(old, true), fresh).statistic, Math.max(higher, lower), 1e-12);
    close(compared(summarise(old, false), fresh).statistic, upperHalf, 1e-12);
  }
});

test("more than 200 scores: the statistic is up to 1/200 too small, never too large, with ties too", () => {
  const random = new Random(0, "drift", "quantiles");
  for (const n of [201, 333, 1000])
    for (const score of [() => random.normal(), () => Math.round(4 * random.normal()) / 4]) {
      const [old, fresh] = [repeat(n, score), repeat(150, () => score() + 0.25)];
      const { higher, lower } = oracle(
        old.map((one) => Math.round(one * 1e5) / 1e5),
        fresh.map((one) => Math.round(one * 1e5) / 1e5),
      );
      const { statistic } = compared(summarise(old, true), fresh);
      const missing = Math.max(higher, lower) - statistic;
      assert.ok(missing > -1e-12 && missing < 1 / 200, `n ${n}: ${missing}`);
    }
});

test("a summary: sorted, rounded to 5 decimals, at most 200 values at evenly spaced ranks, the same after JSON", () => {
  const scores = [2, -0.123456789, -1e-9, 1 / 3];
  const summary = summarise(scores, false);
  assert.deepEqual(summary, { n: 4, values: [-0.12346, 0, 0.33333, 2], own: false });
  assert.deepEqual(scores, [2, -0.123456789, -1e-9, 1 / 3], "left as they were");
  assert.deepEqual(summarise(oneTo(200), true).values, oneTo(200));
  assert.deepEqual(
    summarise(oneTo(1000).reverse(), true).values,
    oneTo(200).map((i) => 5 * i - 2),
  );
  const random = new Random(0, "drift", "summary");
  const many = summarise(
    repeat(5000, () => 3 * random.normal()),
    true,
  );
  const json = JSON.stringify(many);
  assert.ok(json.length < 2100, `${json.length} characters`);
  assert.deepEqual(JSON.parse(json), many);
  const fresh = repeat(100, () => random.normal());
  assert.deepEqual(compared(JSON.parse(json) as ScoreSummary, fresh), compared(many, fresh));
});

test("the order of adding does not matter, and comparing changes nothing", () => {
  const random = new Random(0, "drift", "order");
  const summary = summarise(
    repeat(50, () => random.normal()),
    true,
  );
  const fresh = repeat(80, () => random.normal() + 0.5);
  const inOrder = compared(summary, fresh);
  assert.deepEqual(compared(summary, random.shuffled(fresh)), inOrder);
  const drift = new ScoreDrift(summary);
  for (const score of fresh) {
    drift.add(score);
    drift.compare();
  }
  assert.deepEqual(drift.compare(), inOrder);
});

test("too few scores on either side: unknown, however far they are", () => {
  const nothing = { n: 0, statistic: 0, pValue: 1, verdict: "unknown" };
  for (const own of [true, false]) assert.deepEqual(new ScoreDrift(summarise([1], own)).compare(), nothing);
  const far = (n: number, m: number): string => compared(summarise(oneTo(n), true), Array<number>(m).fill(1e6)).verdict;
  assert.deepEqual([far(5, 100_000), far(100_000, 5), far(10, 9)], ["unknown", "unknown", "unknown"]);
  assert.deepEqual([far(10, 10), far(6, 30), far(30, 6)], ["higher", "higher", "higher"]);
});

for (const [n, m] of [
  [10, 10],
  [28, 7],
  [6, 30],
  [500, 6],
] as const)
  test(`from the limit on, n = ${n} and m = ${m}, a shift of two deviations is seen in most cases`, () => {
    assert.ok((n * m) / (n + m) >= leastDriftSize);
    const random = new Random(0, "drift", "limit", n, m);
    const seen = repeat(500, () => {
      const summary = summarise(
        repeat(n, () => random.normal()),
        true,
      );
      return Number(
        compared(
          summary,
          repeat(m, () => 2 + random.normal()),
        ).verdict === "higher",
      );
    });
    assert.ok(seen.filter(Boolean).length > 250, String(seen.filter(Boolean).length));
  });

test("false alarms stay at or below the level, with 5 % of defects too", () => {
  const random = new Random(0, "drift", "false alarms");
  const score = (defects: number): number => (random.uniform() < defects ? 4 + 2 * random.normal() : random.normal());
  for (const own of [true, false])
    for (const n of [10, 28, 100])
      for (const m of [20, 300])
        for (const defects of [0, 0.05]) {
          const alarms = repeat(1000, () => {
            const summary = summarise(
              repeat(n, () => random.normal()),
              own,
            );
            return Number(
              compared(
                summary,
                repeat(m, () => score(defects)),
              ).verdict !== "same",
            );
          });
          const rate = alarms.filter(Boolean).length / 1000;
          assert.ok(rate <= driftLevel, `own ${own}, n ${n}, m ${m}, defects ${defects}: ${rate}`);
        }
});

test("scores of folds that are wider than the model's own are no drift; scores above them are", () => {
  const random = new Random(0, "drift", "folds");
  const draw = (n: number, mean: number, deviation: number): number[] =>
    repeat(n, () => mean + deviation * random.normal());
  const own = draw(1000, 0, 0.38);
  for (const mean of [0, 0.3]) assert.equal(compared(summarise(draw(500, mean, 0.65), false), own).verdict, "same");
  assert.equal(compared(summarise(draw(500, 0, 0.65), true), own).verdict === "same", false);
  assert.equal(compared(summarise(draw(100, 0.3, 0.65), false), draw(100, 1.14, 0.38)).verdict, "higher");
});

test("wrong input: INVALID_OPTION", () => {
  assert.throws(() => summarise([], true), failure("INVALID_OPTION", "one score or more"));
  for (const bad of [NaN, Infinity, -Infinity, 1e308]) {
    assert.throws(() => summarise([1, bad], true), failure("INVALID_OPTION", "a finite number"));
    const drift = new ScoreDrift(summarise([1], true));
    assert.throws(() => drift.add(bad), failure("INVALID_OPTION", "ScoreDrift.add", "a finite number"));
    assert.equal(drift.compare().n, 0);
  }
  for (const [n, values, expected] of [
    [0, [], "one value or more"],
    [2, [2, 1], "ascending"],
    [2, [1, NaN], "a finite number"],
    [1, [1, 2], "at least 2"],
    [2.5, [1, 2], "a whole number"],
  ] as const)
    assert.throws(
      () => new ScoreDrift({ n, values: [...values], own: true }),
      failure("INVALID_OPTION", "new ScoreDrift", expected),
    );
});
