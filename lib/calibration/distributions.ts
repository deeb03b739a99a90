// The few distributions that thresholds need. Packages that have them are larger than what they would replace
// (docs/dependencies.md).

/** Coefficients of Lanczos' approximation (g = 7, nine terms), good to 15 digits. */
const lanczos = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
] as const;

/** Logarithm of the gamma function, for x of at least 0.5. */
export function logGamma(x: number): number {
  const t = x + 6.5;
  const sum = lanczos.reduce((total, c, i) => (i === 0 ? c : total + c / (x - 1 + i)), 0);
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum);
}

/** The regularised incomplete beta function I_x(a, b): the beta distribution's CDF (DLMF 8.17.22, by Lentz's method). */
export function betaCdf(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  // The continued fraction converges fast below the mean.
  if (x > (a + 1) / (a + b + 2)) return 1 - betaCdf(1 - x, b, a);
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
  const tiny = 1e-300;
  const nonZero = (value: number): number => (Math.abs(value) < tiny ? tiny : value);
  let c = 1;
  let d = 1 / nonZero(1 - ((a + b) * x) / (a + 1));
  let fraction = d;
  for (let m = 1; m < 10_000; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / nonZero(1 + even * d);
    c = nonZero(1 + even / c);
    fraction *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / nonZero(1 + odd * d);
    c = nonZero(1 + odd / c);
    fraction *= d * c;
    if (Math.abs(d * c - 1) < 1e-15) break;
  }
  return front * fraction;
}

/** Where a function that rises from `low` to `high` reaches `target`, by bisection. */
export function rootOf(rising: (x: number) => number, target: number, low: number, high: number): number {
  for (let i = 0; i < 200; i++) {
    const middle = (low + high) / 2;
    if (middle <= low || middle >= high) break;
    if (rising(middle) < target) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** The p-quantile of the beta distribution. */
export const betaQuantile = (p: number, a: number, b: number): number => rootOf((x) => betaCdf(x, a, b), p, 0, 1);

/** The value that Student's t with `degrees` of freedom exceeds with probability `q`, above 0 and at most 0.5. */
export function studentUpper(q: number, degrees: number): number {
  const x = betaQuantile(2 * q, degrees / 2, 0.5);
  return Math.sqrt((degrees * (1 - x)) / x);
}

/** The probability that a standard normal value exceeds z. Keeps its digits far out in the tail. */
export function normalUpper(z: number): number {
  if (z < 0) return 1 - normalUpper(-z);
  const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
  if (z < 3) {
    // Marsaglia 2004: Phi(z) = 1/2 + density * (z + z^3/3 + z^5/(3*5) + ...).
    let term = z;
    let sum = z;
    for (let i = 3; term > sum * 1e-17; i += 2) sum += term *= (z * z) / i;
    return 0.5 - density * sum;
  }
  // Laplace's continued fraction z + 1/(z + 2/(z + ...)).
  let fraction = z;
  for (let i = 100; i > 0; i--) fraction = z + i / fraction;
  return density / fraction;
}

/** The value that a standard normal value exceeds with probability q. */
export const normalUpperQuantile = (q: number): number => rootOf((z) => -normalUpper(z), -q, -40, 40);

/** The integral of a smooth function (Simpson's rule, 400 intervals). */
export function integral(f: (x: number) => number, low: number, high: number): number {
  const intervals = 400;
  const step = (high - low) / intervals;
  let sum = f(low) + f(high);
  for (let i = 1; i < intervals; i++) sum += (i % 2 === 1 ? 4 : 2) * f(low + i * step);
  return (sum * step) / 3;
}
