import { normalUpperQuantile } from "../calibration/distributions.js";
import type { Interval } from "../calibration/share.js";

/**
 * A 90 % interval of an AUROC of `positives` and `negatives` images: all values from which the one that was seen lies no
 * further than 1.645 standard errors. The error is Hanley's and McNeil's (1982) with Newcombe's (2006, method 5) numbers of
 * images, taken at the value that is tried, so the interval has a width at an AUROC of 1 too. [0, 1] where a class is missing.
 */
export function aurocInterval(auroc: number, positives: number, negatives: number): Interval {
  if (positives === 0 || negatives === 0) return [0, 1];
  const z = normalUpperQuantile(0.05);
  const half = (positives + negatives) / 2 - 1;
  const error = (value: number): number =>
    Math.sqrt(
      (value * (1 - value) * (1 + half * ((1 - value) / (2 - value) + value / (1 + value)))) / (positives * negatives),
    );
  const isFar = (value: number): boolean => Math.abs(value - auroc) > z * error(value);
  /** The end of the interval on the way from what was seen to `end`, by halving. */
  const last = (end: number): number => {
    let [near, far] = [auroc, end];
    for (let i = 0; i < 50; i++) {
      const middle = (near + far) / 2;
      if (isFar(middle)) far = middle;
      else near = middle;
    }
    return (near + far) / 2;
  };
  return [last(0), last(1)];
}
