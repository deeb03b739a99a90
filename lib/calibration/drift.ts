import { invalid } from "../errors.js";
import type { ScoreSummary } from "../models/config.js";

/** How new scores compare with those of a summary. */
export interface DriftComparison {
  /** The number of new scores. */
  n: number;
  /**
   * Kolmogorov and Smirnov's D on the side of the verdict, 0 to 1: by how much the share of the scores at or below some
   * logit differs.
   */
  statistic: number;
  /**
   * The probability of a statistic this large, at most, if at least 95 % of the new scores come from the old
   * distribution. 1 for no scores.
   */
  pValue: number;
  /**
   * "higher" or "lower" where the p-value is at most 0.01; "unknown" where there are too few scores to see even a shift
   * of two deviations; else "same". Never "lower" where the model did not score the reference itself.
   */
  verdict: "same" | "higher" | "lower" | "unknown";
}

/** The p-value at and below which scores count as drifted. */
export const driftLevel = 0.01;

/** The share of the new scores that may come from anything, such as defects, and is no drift. */
export const driftTolerance = 0.05;

/**
 * The smallest n * m / (n + m) of n old and m new scores that is compared: from here on a shift of two deviations is
 * seen in most cases, whichever of the two is the smaller (docs/guides/line.md).
 */
export const leastDriftSize = 5;

/** More values would sharpen the statistic by less than 1/200, far within the tolerance. */
const mostValues = 200;

/**
 * Heads of folds score more widely at both ends. So the model itself has fewer low scores than they, which is no shift:
 * beside such a reference only values from its median on are looked at.
 */
const upperHalf = 0.5;

/** Scores in the steps of a summary. New ones are rounded too, so that equal scores stay equal. JSON has no -0. */
const rounded = (score: number): number => Math.round(score * 1e5) / 1e5 + 0;

/**
 * The summary of scores in any order. `own`: whether the model itself gave them, instead of heads of folds.
 *
 * Throws INVALID_OPTION for no scores and for one that is not finite.
 */
export function summarise(scores: readonly number[], own: boolean): ScoreSummary {
  const where = "summarise";
  if (scores.length === 0) throw invalid(where, "scores", "one score or more", scores);
  checkFinite(where, "scores", scores);
  const sorted = scores.map(rounded).sort((a, b) => a - b);
  const n = sorted.length;
  const size = Math.min(n, mostValues);
  return { n, values: Array.from({ length: size }, (_, i) => sorted[rankOf(i, size, n) - 1]!), own };
}

/** The rank, from 1 on, that the i-th of `size` values has among n scores: the middle of the i-th of equal parts. */
const rankOf = (i: number, size: number, n: number): number => Math.floor(((i + 0.5) * n) / size) + 1;

const finite = "a finite number";

function checkFinite(where: string, name: string, scores: readonly number[]): void {
  const bad = scores.find((score) => !Number.isFinite(rounded(score)));
  if (bad !== undefined) throw invalid(where, name, finite, bad);
}

interface Step {
  /** A value of the summary. */
  value: number;
  /** The share of the old scores below the value: no more than this. */
  below: number;
  /** The share at or below it: no less than this. */
  upTo: number;
}

/**
 * Compares scores, added one by one, with those of a summary: Kolmogorov and Smirnov's test, less a tolerance of 5 %
 * for defects among the new ones (docs/guides/line.md). The memory does not grow, and the order does not matter.
 * The statistic is exact where the summary has every score; else it is up to 1/200 too small, never too large.
 *
 * Throws INVALID_OPTION for a summary with values that are not finite, not ascending, none, or more than n.
 */
export class ScoreDrift {
  readonly #own: boolean;
  readonly #oldCount: number;
  readonly #steps: readonly Step[];
  readonly #values: Float64Array;
  /** New scores by place: equal to step i at 2 i + 1, between steps i - 1 and i at 2 i. */
  readonly #counts: Float64Array;
  #newCount = 0;

  constructor(summary: ScoreSummary) {
    checkSummary(summary);
    this.#own = summary.own;
    this.#oldCount = summary.n;
    this.#steps = stepsOf(summary);
    this.#values = Float64Array.from(this.#steps, (step) => step.value);
    this.#counts = new Float64Array(2 * this.#steps.length + 1);
  }

  /** Counts a new score, a logit. Throws INVALID_OPTION where it is not finite. */
  add(score: number): void {
    const value = rounded(score);
    if (!Number.isFinite(value)) throw invalid("ScoreDrift.add", "score", finite, score);
    this.#counts[this.#placeOf(value)]! += 1;
    this.#newCount++;
  }

  /** Compares all scores that were added so far. `level`: the p-value at and below which they count as drifted. */
  compare(level = driftLevel): DriftComparison {
    const n = this.#newCount;
    if (n === 0) return { n, statistic: 0, pValue: 1, verdict: "unknown" };
    const { higher, lower } = this.#differences();
    const isHigher = !this.#own || higher >= lower;
    const statistic = isHigher ? higher : lower;
    const size = (this.#oldCount * n) / (this.#oldCount + n);
    const pValue = upperBound(statistic - driftTolerance, size, this.#own ? 2 : 1);
    if (size < leastDriftSize) return { n, statistic, pValue, verdict: "unknown" };
    const drifted = isHigher ? "higher" : "lower";
    return { n, statistic, pValue, verdict: pValue <= level ? drifted : "same" };
  }

  #placeOf(score: number): number {
    const values = this.#values;
    let [low, high] = [0, values.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (values[middle]! < score) low = middle + 1;
      else high = middle;
    }
    return 2 * low + (values[low] === score ? 1 : 0);
  }

  /** The largest differences of both shares, each where it can be largest: at a value, and just below one. */
  #differences(): { higher: number; lower: number } {
    const n = this.#newCount;
    let [higher, lower, count] = [0, 0, 0];
    this.#steps.forEach(({ below, upTo }, i) => {
      count += this.#counts[2 * i]!;
      lower = Math.max(lower, count / n - below);
      count += this.#counts[2 * i + 1]!;
      if (this.#own || upTo >= upperHalf) higher = Math.max(higher, upTo - count / n);
    });
    return { higher, lower };
  }
}

function checkSummary({ n, values }: ScoreSummary): void {
  const where = "new ScoreDrift";
  if (values.length === 0) throw invalid(where, "summary.values", "one value or more", values);
  checkFinite(where, "summary.values", values);
  if (values.some((value, i) => i > 0 && value < values[i - 1]!))
    throw invalid(where, "summary.values", "ascending values", values);
  if (!Number.isInteger(n) || n < values.length)
    throw invalid(where, "summary.n", `a whole number of at least ${values.length}, the number of values,`, n);
}

/** The values without repetitions. Their ranks bound the shares: between them may lie equal scores, unseen. */
function stepsOf({ n, values }: ScoreSummary): Step[] {
  const steps: Step[] = [];
  values.forEach((value, i) => {
    const rank = rankOf(i, values.length, n);
    const last = steps.at(-1);
    if (last?.value === value) last.upTo = rank / n;
    else steps.push({ value, below: (rank - 1) / n, upTo: rank / n });
  });
  return steps;
}

/**
 * An upper bound of the probability that one of `sides` one-sided statistics reaches d: exp(-2 d^2 n m / (n + m)) each,
 * Smirnov's limit. Stephens' correction would sharpen it, but is made for one sample and not always safe with two
 * (docs/guides/line.md). Two sides add up (Bonferroni): at 1 % that is Kolmogorov's series to nine digits.
 */
function upperBound(d: number, size: number, sides: number): number {
  return d <= 0 ? 1 : Math.min(1, sides * Math.exp(-2 * d * d * size));
}
