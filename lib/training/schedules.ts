import type { NoiseSchedule } from "../schema/types.js";

/**
 * Returns the factor on the learning rates in an epoch (from 0): `factor` for every milestone, a share of all epochs,
 * that is done (docs/method.md, Training).
 */
export function learningRateScale(
  epoch: number,
  epochs: number,
  milestones: readonly number[],
  factor: number,
): number {
  // The small tolerance: 0.9 * 10 is 9.000000000000002 for some products of shares and epochs.
  return milestones.filter((milestone) => epoch >= milestone * epochs - 1e-9).reduce((scale) => scale * factor, 1);
}

/**
 * Returns the factor on the noise in a step (from 0) of a training of `steps` steps: it falls geometrically from `from` to
 * `to` over the share `over` of the steps, and stays there (docs/method.md, Noise).
 */
export function noiseScale(step: number, steps: number, { from, to, over }: NoiseSchedule): number {
  const falling = over * (steps - 1);
  const done = falling > 0 ? Math.min(1, step / falling) : 1;
  return from * (to / from) ** done;
}
