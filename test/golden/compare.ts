import assert from "node:assert/strict";

import type { NativeTensor } from "../../lib/native/binding.js";

type Numbers = ArrayLike<number>;

export function numbers(tensor: NativeTensor): Numbers {
  return tensor.data as Numbers;
}

/** Largest absolute difference relative to the largest magnitude expected. */
export function relativeDifference(actual: Numbers, expected: Numbers): number {
  assert.equal(actual.length, expected.length);
  let difference = 0;
  let magnitude = 0;
  for (let i = 0; i < expected.length; i++) {
    assert.ok(Number.isFinite(actual[i]), `value ${i} is ${actual[i]}`);
    difference = Math.max(difference, Math.abs(actual[i]! - expected[i]!));
    magnitude = Math.max(magnitude, Math.abs(expected[i]!));
  }
  return difference / Math.max(magnitude, 1e-12);
}

export function assertClose(actual: Numbers, expected: Numbers, tolerance: number, what: string): void {
  const difference = relativeDifference(actual, expected);
  assert.ok(
    difference <= tolerance,
    `${what}: relative difference ${difference.toExponential(2)} exceeds ${tolerance}`,
  );
}

export function norm(values: Numbers): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! * values[i]!;
  return Math.sqrt(sum);
}

export function total(values: Numbers): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum;
}

/** Norm of the difference relative to the norm of what is expected: for gradients, where a single LeakyReLU whose input rounds to the other side of zero moves single values. */
export function assertCloseInNorm(actual: Numbers, expected: Numbers, tolerance: number, what: string): void {
  assert.equal(actual.length, expected.length);
  let square = 0;
  for (let i = 0; i < expected.length; i++) square += (actual[i]! - expected[i]!) ** 2;
  const difference = Math.sqrt(square) / Math.max(norm(expected), 1e-12);
  assert.ok(
    difference <= tolerance,
    `${what}: relative difference ${difference.toExponential(2)} exceeds ${tolerance}`,
  );
}
