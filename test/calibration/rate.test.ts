import assert from "node:assert/strict";
import { test } from "node:test";

import { normalUpper } from "../../lib/calibration/distributions.js";
import { looksNormal, rateInterval, rateThreshold, supports } from "../../lib/calibration/rate.js";
import { shareInterval } from "../../lib/calibration/share.js";
import { Random } from "../../lib/random.js";
import { failure } from "../datasets/files.js";

const close = (actual: number, expected: number, difference: number): void =>
  assert.ok(Math.abs(actual - expected) <= difference, `${actual}, expected ${expected}`);
const logistic = (random: Random): number => {
  const u = random.uniform(1e-12, 1);
  return Math.log(u / (1 - u));
};

/** True false-reject rates of thresholds from `sets` calibrations with n values each, from lowest to highest. */
function trueRates(
  { n, rate, sets }: { n: number; rate: number; sets: number },
  draw: (random: Random) => number,
  above: (logit: number) => number,
): number[] {
  const random = new Random(0, "rate", n, rate);
  const rates = Array.from({ length: sets }, () =>
    above(
      rateThreshold(
        Array.from({ length: n }, () => draw(random)),
        rate,
      ).logit,
    ),
  );
  return rates.sort((a, b) => a - b);
}
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

for (const n of [20, 50, 100, 200]) {
  test(`normal logits, n = ${n}: the mean of the true rate is the rate asked for`, () => {
    for (const rate of [0.05, 0.01, 0.005]) {
      const rates = trueRates({ n, rate, sets: 2000 }, (random) => random.normal(), normalUpper);
      const ratio = mean(rates) / rate;
      assert.ok(ratio > 0.5 && ratio < 1.5, `rate ${rate}: ${ratio}`);
      // Tighter than what is promised: a slip in a formula would hide within a factor of 1.5.
      close(ratio, 1, 0.15);
    }
  });
}

test("logits with the longer tails of the logistic distribution: below twice the rate", () => {
  for (const n of [20, 50, 100])
    for (const rate of [0.05, 0.01, 0.005]) {
      const ratio = mean(trueRates({ n, rate, sets: 1000 }, logistic, (logit) => 1 / (1 + Math.exp(logit)))) / rate;
      assert.ok(ratio > 0.5 && ratio < 2, `n ${n}, rate ${rate}: ${ratio}`);
    }
});

test("the interval holds 90 % of the true rates", () => {
  for (const [n, rate] of [
    [20, 0.01],
    [100, 0.05],
  ] as const) {
    const rates = trueRates({ n, rate, sets: 2000 }, (random) => random.normal(), normalUpper);
    // One calibration in twenty fails the check of the tail, and its threshold is more cautious.
    const [low, high] = rateInterval(rate * (n + 1) >= 5 ? "order-statistic" : "student-t", n, rate);
    close(rates.filter((found) => found < low).length / rates.length, 0.05, 0.03);
    close(rates.filter((found) => found > high).length / rates.length, 0.05, 0.03);
  }
});

test("the interval of Student's t agrees with tables of one-sided tolerance factors", () => {
  // With the factor k of the tables, 95 % of all bounds leave at most 1 - coverage above. For n = 10 and coverage 0.90
  // the table has k = 2.355, which is the prediction factor of the rate 0.0258.
  const factor = (n: number, t: number): number => Math.sqrt(1 + 1 / n) * t;
  close(factor(10, 2.2454), 2.355, 1e-3);
  close(rateInterval("student-t", 10, 0.02569)[1], 0.1, 1e-3);
});

test("methods: Student's t for few normal logits, the order where there are many or they are not normal", () => {
  const random = new Random(1, "methods");
  const normal = (n: number): number[] => Array.from({ length: n }, () => random.normal());
  const skewed = (n: number): number[] => Array.from({ length: n }, () => Math.exp(2 * random.normal()));
  assert.equal(rateThreshold(normal(20), 0.01).method, "student-t");
  assert.equal(rateThreshold(normal(99), 0.05).method, "order-statistic");
  assert.equal(rateThreshold(skewed(200), 0.01).method, "order-statistic");
  assert.equal(rateThreshold(skewed(50), 0.01).method, "exponential-tail");
  assert.ok(looksNormal(normal(500)) && !looksNormal(skewed(50)));
  assert.ok(looksNormal([0, 0, 0, 9]), "too few to tell");
});

test("order statistic: the k-th largest, and between whole k", () => {
  const logits = Array.from({ length: 99 }, (_, i) => i + 1); // 1 to 99
  assert.equal(rateThreshold(logits, 0.05).logit, 95);
  close(rateThreshold(logits, 0.055).logit, 94.5, 1e-9);
  close(rateThreshold(logits, 0.5).logit, 50, 1e-9);
});

test("an exponential tail lies above all logits, the further the rarer", () => {
  const logits = [...Array.from({ length: 60 }, (_, i) => -i / 100), 1, 3, 6, 9];
  const [one, two] = [rateThreshold(logits, 0.01), rateThreshold(logits, 0.001)];
  assert.equal(one.method, "exponential-tail");
  assert.ok(one.logit >= 9 && two.logit > one.logit);
  const [low, high] = rateInterval("exponential-tail", 64, 0.01);
  assert.ok(low > 0 && low < 0.01 && high > 0.01 && high < 0.2);
});

test("the order of the logits does not matter, and they are left as they were", () => {
  const logits = [3, -1, 2, 0.5, 7];
  assert.deepEqual(rateThreshold(logits, 0.1), rateThreshold([...logits].reverse(), 0.1));
  assert.deepEqual(logits, [3, -1, 2, 0.5, 7]);
});

test("wrong input: INVALID_OPTION", () => {
  for (const rate of [0, -0.1, 0.51, 1, NaN, Infinity]) {
    assert.throws(() => rateThreshold([1, 2, 3], rate), failure("INVALID_OPTION", "above 0 and at most 0.5"));
    assert.throws(() => rateInterval("student-t", 10, rate), failure("INVALID_OPTION", "at most 0.5"));
    assert.throws(() => supports(10, rate), failure("INVALID_OPTION", "at most 0.5"));
  }
  for (const logits of [[], [1]]) assert.throws(() => rateThreshold(logits, 0.01), failure("INVALID_OPTION", "two"));
  for (const bad of [NaN, Infinity]) {
    assert.throws(() => rateThreshold([1, 2, bad], 0.01), failure("INVALID_OPTION", "finite"));
  }
  assert.throws(() => rateThreshold([2, 2, 2], 0.01), failure("INVALID_OPTION", "differ"));
});

test("what a number of good parts supports", () => {
  assert.deepEqual(supports(20, 0.01), { supported: true, smallestRate: 1 / 210, parts: 9 });
  assert.equal(supports(5, 0.001).supported, false);
  assert.equal(supports(5, 0.001).parts, 99);
  assert.equal(supports(99, 0.001).supported, true);
  assert.equal(supports(4, 0.5).supported, false, "fewer than 5 support nothing");
  for (const rate of [0.5, 0.1, 0.013, 0.001]) {
    const { parts } = supports(1, rate);
    assert.ok(supports(parts, rate).supported && !supports(parts - 1, rate).supported, String(rate));
  }
});

test("Wilson's interval of a share", () => {
  const [low, high] = shareInterval(15, 17);
  close(low, 0.6994, 1e-3);
  close(high, 0.9603, 1e-3);
  assert.deepEqual(shareInterval(0, 0), [0, 1]);
  assert.ok(shareInterval(0, 10)[0] < 1e-12 && shareInterval(10, 10)[1] > 1 - 1e-12);
});
