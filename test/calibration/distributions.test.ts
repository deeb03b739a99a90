import assert from "node:assert/strict";
import { test } from "node:test";

import {
  betaCdf,
  betaQuantile,
  integral,
  logGamma,
  normalUpper,
  normalUpperQuantile,
  studentUpper,
} from "../../lib/calibration/distributions.js";

const close = (actual: number, expected: number, relative = 1e-9): void =>
  assert.ok(Math.abs(actual - expected) <= relative * Math.abs(expected), `${actual}, expected ${expected}`);

test("logarithm of the gamma function: factorials and halves", () => {
  close(logGamma(0.5), Math.log(Math.PI) / 2);
  close(logGamma(5), Math.log(24));
  close(logGamma(171), 706.5730622457874);
});

test("Student's t: the printed tables", () => {
  for (const [q, degrees, expected] of [
    [0.05, 1, 6.314],
    [0.01, 4, 3.747],
    [0.01, 9, 2.821],
    [0.05, 19, 1.729],
    [0.005, 19, 2.861],
    [0.01, 99, 2.365],
    [0.001, 10, 4.144],
  ] as const)
    close(studentUpper(q, degrees), expected, 2e-4);
});

test("normal distribution: table values and far tails", () => {
  close(normalUpper(0), 0.5);
  close(normalUpper(1.959963984540054), 0.025);
  close(normalUpper(-1), 0.8413447460685429);
  close(normalUpper(6), 9.865876450376981e-10);
  close(normalUpper(2.9999999), normalUpper(3.0000001), 1e-6); // where the two series meet
  close(normalUpperQuantile(0.01), 2.3263478740408408);
  close(normalUpperQuantile(1e-6), 4.753424308822899);
});

test("beta distribution: closed forms, symmetry, round trip", () => {
  for (const x of [0.001, 0.3, 0.9]) {
    close(betaCdf(x, 1, 40), 1 - (1 - x) ** 40, 1e-9);
    close(betaCdf(x, 2.5, 7), 1 - betaCdf(1 - x, 7, 2.5));
  }
  close(betaQuantile(0.05, 1, 100), 1 - 0.95 ** 0.01);
  close(betaCdf(betaQuantile(0.95, 5.05, 95.95), 5.05, 95.95), 0.95);
  assert.deepEqual([betaCdf(-1, 2, 3), betaCdf(2, 2, 3)], [0, 1]);
});

test("integral", () => close(integral(Math.sin, 0, Math.PI), 2));
