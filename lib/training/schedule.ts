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
