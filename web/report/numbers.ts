import { shareInterval } from "../../lib/calibration/share.js";
import type { ReportEvaluation, ReportImage } from "../../lib/report/types.js";

export const isDefect = ({ label }: ReportImage): boolean => label === "anomalous";

/** What a threshold does to the images. */
export interface Outcome {
  found: number;
  missed: number;
  rejected: number;
  passed: number;
}

export function outcomeAt(images: readonly ReportImage[], threshold: number): Outcome {
  const outcome: Outcome = { found: 0, missed: 0, rejected: 0, passed: 0 };
  for (const image of images) {
    const above = image.value >= threshold;
    outcome[isDefect(image) ? (above ? "found" : "missed") : above ? "rejected" : "passed"]++;
  }
  return outcome;
}

/** Never 0 or 100 for what is not, but for what rounding leaves. */
export function percent(share: number): string {
  const value = 100 * share;
  if (value < 1e-6) return "0 %";
  if (value > 100 - 1e-6) return "100 %";
  if (value < 0.1) return "< 0.1 %";
  if (value > 99.9) return "> 99.9 %";
  return `${Number(value.toFixed(1))} %`;
}

export const intervalOf = (count: number, of: number): [low: string, high: string] => {
  const [low, high] = shareInterval(count, of);
  return [percent(low), percent(high)];
};

export interface Point {
  threshold: number;
  falseRejects: number;
  recall: number;
  precision: number;
}

/** A point for every threshold that tells images apart, from the strictest on. Empty where one class is missing. */
export function curve(images: readonly ReportImage[]): Point[] {
  const sorted = [...images].sort((a, b) => b.value - a.value);
  const positives = images.filter(isDefect).length;
  const negatives = images.length - positives;
  if (positives === 0 || negatives === 0) return [];
  const points: Point[] = [];
  let [found, rejected] = [0, 0];
  sorted.forEach((image, i) => {
    if (isDefect(image)) found++;
    else rejected++;
    if (sorted[i + 1]?.value === image.value) return;
    points.push({
      threshold: image.value,
      falseRejects: rejected / negatives,
      recall: found / positives,
      precision: found / (found + rejected),
    });
  });
  return points;
}

export interface Costs {
  miss: number;
  reject: number;
  /** Share of defective parts, 0 to 1. */
  defects: number;
}

/** Of 1000 parts, by the shares of defects that are missed and of good parts that are rejected. */
const costOf = (missRate: number, rejectRate: number, { miss, reject, defects }: Costs): number =>
  1000 * (defects * missRate * miss + (1 - defects) * rejectRate * reject);

export function costAt(images: readonly ReportImage[], threshold: number, costs: Costs): number {
  const { found, missed, rejected, passed } = outcomeAt(images, threshold);
  return costOf(missed / (found + missed), rejected / (rejected + passed), costs);
}

/** The cheapest threshold between the images, in the middle of its gap: in one pass from the highest on. */
export function cheapest(images: readonly ReportImage[], costs: Costs): { threshold: number; cost: number } {
  const sorted = [...images].sort((a, b) => b.value - a.value);
  const defects = images.filter(isDefect).length;
  const good = images.length - defects;
  let [found, rejected] = [0, 0];
  const costNow = (): number => costOf((defects - found) / defects, rejected / good, costs);
  let best = { threshold: (sorted[0]?.value ?? 0) + 1, cost: costNow() };
  sorted.forEach((image, i) => {
    if (isDefect(image)) found++;
    else rejected++;
    const next = sorted[i + 1]?.value ?? image.value - 2;
    if (next < image.value && costNow() < best.cost) best = { threshold: (image.value + next) / 2, cost: costNow() };
  });
  return best;
}

/** What the histogram shows: the bulk of both classes and the threshold, without a few values far out. */
export function shownRange({ images, axis }: ReportEvaluation): [low: number, high: number] {
  const at = (those: readonly ReportImage[], share: number): number[] => {
    const values = those.map(({ value }) => value).sort((a, b) => a - b);
    return values.length === 0 ? [] : [values[Math.round(share * (values.length - 1))]!];
  };
  const [good, bad] = [images.filter((image) => !isDefect(image)), images.filter(isDefect)];
  const ends = [...at(good, 0), ...at(good, 1), ...at(bad, 0), ...at(bad, 0.9), axis.threshold];
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const room = 0.06 * (high - low || 1);
  return [low - room, high + room];
}
