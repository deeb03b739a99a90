// How many good parts a threshold rejects: the true rate of false rejects over many calibrations, by the number of good
// parts and the rate asked for. Beside it the rule that was used before, the 0.99 quantile of the scores (for other
// rates, the quantile 1 - rate).
//   npx tsc && node dist/benchmarks/calibration.js [FILE]
// Prints the tables of docs/guides/thresholds.md and writes FILE (default: benchmarks/results/calibration.json).
import { writeFileSync } from "node:fs";
import path from "node:path";

import { bestF1 } from "../lib/calibration/best_f1.js";
import { betaCdf, normalUpper } from "../lib/calibration/distributions.js";
import { rateThreshold } from "../lib/calibration/rate.js";
import { packageFolder } from "../lib/native/locate.js";
import { Random } from "../lib/random.js";

const counts = [5, 10, 20, 50, 100, 200] as const;
const rates = [0.05, 0.01, 0.005] as const;
const sets = 5000;

interface Family {
  draw(random: Random): number;
  /** The probability of a value at or above x. */
  upper(x: number): number;
}

/** From short tails to very long ones. */
const families: Readonly<Record<string, Family>> = {
  normal: { draw: (random) => random.normal(), upper: normalUpper },
  logistic: {
    draw: (random) => {
      const u = random.uniform(1e-12, 1);
      return Math.log(u / (1 - u));
    },
    upper: (x) => 1 / (1 + Math.exp(x)),
  },
  gumbel: {
    draw: (random) => -Math.log(-Math.log(random.uniform(1e-12, 1 - 1e-9))),
    upper: (x) => -Math.expm1(-Math.exp(-x)),
  },
  "t, 3 degrees": {
    draw: (random) =>
      random.normal() / Math.sqrt((random.normal() ** 2 + random.normal() ** 2 + random.normal() ** 2) / 3),
    upper: (x) => {
      const tail = betaCdf(3 / (3 + x * x), 1.5, 0.5) / 2;
      return x > 0 ? tail : 1 - tail;
    },
  },
};

/** The q-quantile, linearly interpolated. */
function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const position = q * (sorted.length - 1);
  const low = Math.floor(position);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low]! + (position - low) * (sorted[high]! - sorted[low]!);
}

interface Summary {
  mean: number;
  /** 5 % and 95 % quantile. */
  low: number;
  high: number;
}

function summary(values: readonly number[]): Summary {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const digits = (value: number): number => Number(value.toPrecision(4));
  return { mean: digits(mean), low: digits(quantile(values, 0.05)), high: digits(quantile(values, 0.95)) };
}

interface Row {
  family: string;
  n: number;
  rate: number;
  before: Summary;
  now: Summary;
  /** Share of the calibrations by method. */
  methods: Record<string, number>;
}

function simulate(family: string, n: number, rate: number): Row {
  const { draw, upper } = families[family]!;
  const random = new Random(0, "calibration", family, n, rate);
  const before: number[] = [];
  const now: number[] = [];
  const methods: Record<string, number> = {};
  for (let i = 0; i < sets; i++) {
    const logits = Array.from({ length: n }, () => draw(random));
    before.push(upper(quantile(logits, 1 - rate)));
    const { logit, method } = rateThreshold(logits, rate);
    now.push(upper(logit));
    methods[method] = (methods[method] ?? 0) + 1 / sets;
  }
  return { family, n, rate, before: summary(before), now: summary(now), methods };
}

interface ObjectiveRow {
  good: number;
  defects: number;
  /** By objective: the true rate of false rejects, and the true share of defects that are found. */
  results: Record<string, { falseRejects: Summary; found: Summary }>;
}

/** Both operating points where defects are known: good logits N(0, 1), defects N(4, 2). */
function objectives(good: number, defects: number): ObjectiveRow {
  const random = new Random(0, "objectives", good, defects);
  const thresholds: Record<string, number[]> = { f1: [], "rate 0.01": [], "rate 0.05": [] };
  for (let i = 0; i < sets; i++) {
    const normal = Array.from({ length: good }, () => random.normal());
    const bad = Array.from({ length: defects }, () => 4 + 2 * random.normal());
    const images = [
      ...normal.map((logit) => ({ logit, peak: logit, anomalous: false })),
      ...bad.map((logit) => ({ logit, peak: logit, anomalous: true })),
    ];
    thresholds["f1"]!.push(bestF1(images, ({ logit }) => logit));
    for (const rate of [0.01, 0.05]) thresholds[`rate ${rate}`]!.push(rateThreshold(normal, rate).logit);
  }
  const results = Object.fromEntries(
    Object.entries(thresholds).map(([name, found]) => [
      name,
      {
        falseRejects: summary(found.map(normalUpper)),
        found: summary(found.map((logit) => normalUpper((logit - 4) / 2))),
      },
    ]),
  );
  return { good, defects, results };
}

const percent = (share: number): string => (100 * share).toFixed(2);
const shown = ({ mean, low, high }: Summary): string => `${percent(mean)} (${percent(low)} to ${percent(high)})`;

const rows = Object.keys(families).flatMap((family) =>
  rates.flatMap((rate) => counts.map((n) => simulate(family, n, rate))),
);
console.log("| logits | rate asked, % | n | quantile before, % | now, % | now / asked |\n|---|---|---|---|---|---|");
for (const { family, n, rate, before, now } of rows)
  console.log(
    `| ${family} | ${100 * rate} | ${n} | ${shown(before)} | ${shown(now)} | ${(now.mean / rate).toFixed(2)} |`,
  );
const operatingPoints = [30, 100, 300].flatMap((good) => [3, 10, 30].map((defects) => objectives(good, defects)));
console.log("\n| good | defects | objective | false rejects, % | defects found, % |\n|---|---|---|---|---|");
for (const { good, defects, results } of operatingPoints)
  for (const [name, { falseRejects, found }] of Object.entries(results))
    console.log(`| ${good} | ${defects} | ${name} | ${shown(falseRejects)} | ${shown(found)} |`);
const file = process.argv[2] ?? path.join(packageFolder, "benchmarks", "results", "calibration.json");
writeFileSync(file, `${JSON.stringify({ what: "true false-reject rates", sets, rows, operatingPoints }, null, 2)}\n`);
