import { normalUpperQuantile } from "./distributions.js";

/** From a low to a high value. */
export type Interval = readonly [low: number, high: number];

/** Wilson's 90 % interval of a share, of which `count` of `total` were seen. [0, 1] for none. */
export function shareInterval(count: number, total: number): Interval {
  if (total === 0) return [0, 1];
  const z = normalUpperQuantile(0.05);
  const share = count / total;
  const middle = share + (z * z) / (2 * total);
  const half = z * Math.sqrt((share * (1 - share)) / total + (z * z) / (4 * total * total));
  const scale = 1 + (z * z) / total;
  return [Math.max(0, (middle - half) / scale), Math.min(1, (middle + half) / scale)];
}
