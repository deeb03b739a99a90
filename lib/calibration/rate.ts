import { invalid } from "../errors.js";
import { betaCdf, betaQuantile, integral, logGamma, normalUpper, rootOf, studentUpper } from "./distributions.js";
import type { Interval } from "./share.js";

/**
 * How a threshold for a rate was found (docs/guides/thresholds.md): by Student's t, by an order statistic, or by an
 * exponential tail.
 */
export const rateMethods = ["student-t", "order-statistic", "exponential-tail"] as const;
export type RateMethod = (typeof rateMethods)[number];

export interface RateThreshold {
  /** Logit at and above which a part is rejected. */
  logit: number;
  method: RateMethod;
}

/** From here on the order statistic is taken: `rate * (n + 1)` good images are expected at or above the threshold. */
const plentiful = 5;

/** Anderson-Darling's statistic that normal values exceed in 5 % of all cases (Stephens 1986, mean and deviation unknown). */
const criticalAndersonDarling = 0.752;

/** Fewer values cannot tell a long tail from the differences between the folds' heads (docs/guides/thresholds.md). */
const leastForTailCheck = 50;

/** The share of good parts that may be rejected, where none is asked for. */
export const defaultRate = 0.01;

/** Limits of the share of good parts that may be rejected. */
export const isRate = (rate: number): boolean => rate > 0 && rate <= 0.5;

/**
 * The threshold that rejects a new good part with probability `rate`, from the logits of `n` good parts that the model
 * was not trained on. The probability is over the calibration parts and the new one: the mean of the true false-reject
 * rate is `rate`, one threshold may have more or less (rateInterval).
 *
 * - rate * (n + 1) >= 5: the order statistic, whatever the distribution.
 * - Else Student's t prediction bound, if the logits pass for normal (Anderson-Darling at 5 %, from 50 on).
 * - Else, with rate * (n + 1) >= 1, the order statistic; with fewer an exponential tail above the highest tenth.
 *
 * Throws INVALID_OPTION for a rate that is not above 0 and at most 0.5, for fewer than two logits, for one that is not
 * finite, and where all are equal.
 */
export function rateThreshold(logits: readonly number[], rate: number): RateThreshold {
  const where = "rateThreshold";
  checkRate(where, rate);
  if (logits.length < 2) throw invalid(where, "logits", "two logits or more", logits.length);
  const bad = logits.find((logit) => !Number.isFinite(logit));
  if (bad !== undefined) throw invalid(where, "logits", "finite numbers", bad);
  const sorted = [...logits].sort((a, b) => b - a);
  const n = sorted.length;
  if (sorted[0] === sorted[n - 1]) throw invalid(where, "logits", "logits that differ", sorted[0]);

  const expected = rate * (n + 1);
  if (expected >= plentiful) return { logit: orderStatistic(sorted, expected), method: "order-statistic" };
  if (looksNormal(sorted)) return { logit: studentBound(sorted, rate), method: "student-t" };
  if (expected >= 1) return { logit: orderStatistic(sorted, expected), method: "order-statistic" };
  return { logit: exponentialBound(sorted, rate), method: "exponential-tail" };
}

/**
 * The interval that holds the true false-reject rate of 90 % of all thresholds found by `method` from n good parts: its
 * 5 % and 95 % quantiles, where the method's assumption about the logits holds.
 */
export function rateInterval(method: RateMethod, n: number, rate: number): Interval {
  checkRate("rateInterval", rate);
  if (method === "order-statistic") {
    const k = rate * (n + 1);
    return [betaQuantile(0.05, k, n + 1 - k), betaQuantile(0.95, k, n + 1 - k)];
  }
  return method === "student-t" ? studentInterval(n, rate) : exponentialInterval(n, rate);
}

function checkRate(where: string, rate: number): void {
  if (!isRate(rate)) throw invalid(where, "rate", "a number above 0 and at most 0.5", rate);
}

/** How many times rarer than what n parts can show a rate may be: extrapolation beyond that is guessing. */
const furthest = 10;
/** Fewer parts make Student's t so wide that it finds no defects. */
export const leastParts = 5;

/** A share as people read it: "1 %", "0.05 %". */
export const percent = (share: number): string => (share < 1e-6 ? "0 %" : `${Number((100 * share).toPrecision(2))} %`);

/** Whether n good parts can support a rate, and what would. */
export interface Support {
  supported: boolean;
  /** The smallest rate that n parts support. */
  smallestRate: number;
  /** The number of good parts from which on the rate is supported. */
  parts: number;
}

/**
 * Whether n good parts say anything about a rate as small as this. n parts show shares down to 1 / (n + 1); the form of
 * the distribution carries ten times further, and not at all with fewer than 5.
 */
export function supports(n: number, rate: number): Support {
  checkRate("supports", rate);
  const parts = Math.max(leastParts, Math.ceil(1 / (furthest * rate) - 1 - 1e-9));
  const smallestRate = Math.min(0.5, 1 / (furthest * (Math.max(n, leastParts) + 1)));
  return { supported: n >= parts, smallestRate, parts };
}

/**
 * Whether values pass for normal: Anderson and Darling's test at 5 % for unknown mean and deviation, with Stephens'
 * correction for small samples (D'Agostino and Stephens, "Goodness-of-fit techniques", 1986, table 4.7). It weighs the
 * tails, where the threshold lies. Fewer than 50 values always pass.
 */
export function looksNormal(values: readonly number[]): boolean {
  const n = values.length;
  if (n < leastForTailCheck) return true;
  const { mean, deviation } = moments(values);
  const upper = values.map((value) => normalUpper((value - mean) / deviation)).sort((a, b) => b - a);
  const lower = values.map((value) => normalUpper((mean - value) / deviation)).sort((a, b) => a - b);
  let sum = 0;
  for (let i = 0; i < n; i++) sum += (2 * i + 1) * (Math.log(lower[i]!) + Math.log(upper[n - 1 - i]!));
  const statistic = -n - sum / n;
  return statistic * (1 + 0.75 / n + 2.25 / (n * n)) <= criticalAndersonDarling;
}

/** Mean, and standard deviation for an unknown mean. */
export function moments(values: readonly number[]): { mean: number; deviation: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const square = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(square / (values.length - 1)) };
}

/**
 * The k-th largest of n values, for k that need not be whole: a new value is above it with probability k / (n + 1)
 * whatever the distribution, and nearly so between whole k (Hutson, "Calculating nonparametric confidence intervals
 * using fractional order statistics", 1999).
 */
function orderStatistic(descending: readonly number[], k: number): number {
  const whole = Math.floor(k);
  const high = descending[whole - 1]!;
  const low = descending[Math.min(whole, descending.length - 1)]!;
  return high - (k - whole) * (high - low);
}

/** Deviations above the mean at which a new normal value lies with probability `rate`. */
const studentFactor = (n: number, rate: number): number =>
  rate === 0.5 ? 0 : Math.sqrt(1 + 1 / n) * studentUpper(rate, n - 1);

function studentBound(values: readonly number[], rate: number): number {
  const { mean, deviation } = moments(values);
  return mean + studentFactor(values.length, rate) * deviation;
}

/**
 * By the distribution of (threshold - mean) / deviation = Z / sqrt(n) + factor * s / deviation, the noncentral t of
 * one-sided tolerance bounds, integrated over s.
 */
function studentInterval(n: number, rate: number): Interval {
  const factor = studentFactor(n, rate);
  const degrees = n - 1;
  const scale = Math.log(2) + (degrees / 2) * Math.log(degrees / 2) - logGamma(degrees / 2);
  const density = (u: number): number =>
    u === 0 && degrees > 1 ? 0 : Math.exp(scale + (degrees - 1) * Math.log(u || 1) - (degrees * u * u) / 2);
  const spread = 1 / Math.sqrt(2 * degrees);
  const [from, to] = [Math.max(0, 1 - 9 * spread), 1 + 9 * spread];
  const below = (z: number): number =>
    integral((u) => density(u) * normalUpper(Math.sqrt(n) * (factor * u - z)), from, to);
  const at = (p: number): number => normalUpper(rootOf(below, p, -10, 10 + 10 * factor));
  return [at(0.95), at(0.05)];
}

/** How many of the highest values tell the form of the tail. */
const tailSize = (n: number): number => Math.max(4, Math.ceil(n / 10));

/** Where exponential excesses over the (k + 1)-th largest value, in units of their mean, leave `rate` of all values above. */
const exponentialFactor = (n: number, k: number, rate: number): number =>
  k * (((k + 1) / ((n + 1) * rate)) ** (1 / k) - 1);

/**
 * Above u, the (k + 1)-th largest value, excesses are taken as exponential. With the mean m of k of them, a new value is
 * above u + q * m with probability (k + 1) / (n + 1) * (1 + q / k)^-k, the prediction bound for an unknown mean. The
 * logistic distribution's tail is exponential, the normal one's is shorter.
 */
function exponentialBound(descending: readonly number[], rate: number): number {
  const n = descending.length;
  const k = tailSize(n);
  const u = descending[k]!;
  const mean = descending.slice(0, k).reduce((sum, value) => sum + value - u, 0) / k;
  return Math.max(descending[0]!, u + exponentialFactor(n, k, rate) * mean);
}

/** The true rate is B * exp(-q * G / k) with B from Beta(k + 1, n - k) and G from Gamma(k). */
function exponentialInterval(n: number, rate: number): Interval {
  const k = tailSize(n);
  const q = exponentialFactor(n, k, rate);
  const density = (g: number): number => (g === 0 ? 0 : Math.exp((k - 1) * Math.log(g) - g - logGamma(k)));
  const below = (p: number): number =>
    integral((g) => density(g) * betaCdf(p * Math.exp((q * g) / k), k + 1, n - k), 0, k + 12 * Math.sqrt(k) + 10);
  return [rootOf(below, 0.05, 0, 1), rootOf(below, 0.95, 0, 1)];
}
