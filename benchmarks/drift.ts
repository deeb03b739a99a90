// How often drift is reported, where there is none and where there is: shares of many pairs of old and new scores, by
// the number of both. Good logits are N(0, 1) and defects N(4, 2) where nothing else is said.
//   npx tsc && node dist/benchmarks/drift.js [FILE]
// Prints the tables of docs/guides/line.md and writes FILE (default: benchmarks/results/drift.json).
import { writeFileSync } from "node:fs";
import path from "node:path";

import { driftLevel, driftTolerance, ScoreDrift, summarise } from "../lib/calibration/drift.js";
import { packageFolder } from "../lib/native/locate.js";
import { Random } from "../lib/random.js";

const repetitions = 2000;
const references = [10, 28, 100, 500] as const;
const streams = [20, 100, 1000, 10_000] as const;

type Draw = (random: Random) => number;
const normal =
  (mean: number, deviation: number): Draw =>
  (random) =>
    mean + deviation * random.normal();
const good = normal(0, 1);
const withDefects =
  (share: number, draw: Draw = good): Draw =>
  (random) =>
    random.uniform() < share ? 4 + 2 * random.normal() : draw(random);

/** Scores of one stream, each with the correlation `phi` to the one before; N(0, 1) by itself. */
function correlated(phi: number): () => Draw {
  return () => {
    let last: number | undefined;
    return (random) => {
      const fresh = random.normal();
      last = last === undefined ? fresh : phi * last + Math.sqrt(1 - phi * phi) * fresh;
      return last;
    };
  };
}

interface Scenario {
  name: string;
  /** Whether the model itself scored the reference. Default: both, on the same scores. */
  own?: boolean | undefined;
  reference?: Draw;
  /** Begins a new stream. */
  stream: () => Draw;
  /** The numbers of new scores at which drift is looked for. Default: up to 1000. */
  at?: readonly number[];
}

interface Row {
  scenario: string;
  own: boolean;
  /** The number of old scores. */
  n: number;
  /** By the number of new scores: shares of the repetitions with each verdict. */
  verdicts: Record<string, Record<string, number>>;
  /** Share of the repetitions in which drift was reported at one number of new scores or more. */
  ever: number;
}

function simulate({ name, own, reference = good, stream, at = streams.slice(0, 3) }: Scenario, n: number): Row[] {
  const random = new Random(0, "drift", name, n);
  const rows = (own === undefined ? [true, false] : [own]).map((one): Row => ({
    scenario: name,
    own: one,
    n,
    verdicts: Object.fromEntries(at.map((m) => [m, {}])),
    ever: 0,
  }));
  for (let i = 0; i < repetitions; i++) {
    const old = Array.from({ length: n }, () => reference(random));
    const drifts = rows.map((row) => new ScoreDrift(summarise(old, row.own)));
    const seen = new Set<Row>();
    const draw = stream();
    let added = 0;
    for (const m of at) {
      for (; added < m; added++) {
        const score = draw(random);
        for (let k = 0; k < drifts.length; k++) drifts[k]!.add(score);
      }
      rows.forEach((row, k) => {
        const { verdict } = drifts[k]!.compare();
        row.verdicts[m]![verdict] = (row.verdicts[m]![verdict] ?? 0) + 1;
        if (isAlarm(verdict)) seen.add(row);
      });
    }
    for (const row of seen) row.ever++;
  }
  for (const row of rows) toShares(row);
  return rows;
}

function toShares(row: Row): void {
  row.ever /= repetitions;
  for (const counts of Object.values(row.verdicts))
    for (const verdict of Object.keys(counts)) counts[verdict]! /= repetitions;
}

const isAlarm = (verdict: string): boolean => verdict === "higher" || verdict === "lower";

/** In %: how often drift was reported at m new scores. */
function alarms(row: Row, m: number): string {
  const verdicts = row.verdicts[m]!;
  if (verdicts["unknown"] === 1) return "unknown";
  const share = Object.entries(verdicts).reduce((sum, [verdict, part]) => sum + (isAlarm(verdict) ? part : 0), 0);
  return shown(share);
}
const shown = (share: number): string => String(Number((100 * share).toFixed(2)));

const falseAlarms: Scenario[] = [0, 0.05].map((share) => ({
  name: `${100 * share} % defects`,
  stream: () => withDefects(share),
  at: streams,
}));
const detections: Scenario[] = [
  ...[0.5, 1, 2].map((shift) => ({ name: `${shift} higher`, stream: () => normal(shift, 1) })),
  { name: "1 lower", own: true, stream: () => normal(-1, 1) },
  { name: "1.5 times as wide", stream: () => normal(0, 1.5) },
  { name: "10 % defects", stream: () => withDefects(0.1) },
];
/** Old scores by heads of folds, new ones by the model itself; shifts in deviations of the model's own scores. */
const folds = (name: string, reference: Draw, draw: Draw): Scenario => ({
  name,
  own: false,
  reference,
  stream: () => draw,
});
const crossFitted = [
  folds("higher and wider", normal(0.3, 0.65), normal(0, 0.38)),
  // Also as the full test would have it, which looks below the median.
  { ...folds("wider", normal(0, 0.65), normal(0, 0.38)), own: undefined },
  folds("higher and wider; 5 % defects", normal(0.3, 0.65), withDefects(0.05, normal(0, 0.38))),
  folds("higher and wider; new scores 1 deviation higher", normal(0.3, 0.65), normal(0.38, 0.38)),
  folds("higher and wider; new scores 2 deviations higher", normal(0.3, 0.65), normal(0.76, 0.38)),
  folds("higher and wider; new scores 3 deviations higher", normal(0.3, 0.65), normal(1.14, 0.38)),
];
const dependent: Scenario[] = [0.5, 0.9, 0.99].map((phi) => ({ name: `correlation ${phi}`, stream: correlated(phi) }));
const often = Array.from({ length: 50 }, (_, i) => 20 * (i + 1));
const repeated: Scenario = { name: "looked at after every 20 parts", stream: () => good, at: often };

/**
 * The probability that the one-sided D of n and m scores of one distribution reaches d: all orders of the scores are
 * equally likely, and those that stay below d are counted score by score.
 */
function exactUpper(n: number, m: number, d: number): number {
  const stays = new Float64Array(m + 1);
  for (let i = 0; i <= n; i++)
    for (let j = 0; j <= m; j++) {
      const left = n - i + m - j + 1;
      const before = (i > 0 ? stays[j]! * (n - i + 1) : 0) + (j > 0 ? stays[j - 1]! * (m - j + 1) : 0);
      const reached = i / n - j / m >= d - 1e-12;
      stays[j] = reached ? 0 : i + j === 0 ? 1 : before / left;
    }
  return 1 - stays[m]!;
}

/** The true level of one side without the tolerance, by Smirnov's limit as it is and with Stephens' correction. */
function levels(n: number, m: number): { n: number; m: number; limit: number; stephens: number } {
  const root = Math.sqrt((n * m) / (n + m));
  const lambda = Math.sqrt(-Math.log(driftLevel) / 2);
  const stephens = exactUpper(n, m, lambda / (root + 0.12 + 0.11 / root));
  return { n, m, limit: exactUpper(n, m, lambda / root), stephens };
}

const started = Date.now();
const table = (title: string, scenarios: readonly Scenario[], counts: readonly number[]): Row[] => {
  console.log(`\n${title}; drift reported, %\n`);
  console.log(`| new scores | reference | n | ${counts.map((m) => `m = ${m}`).join(" | ")} |`);
  console.log(`|---|---|---|${counts.map(() => "---|").join("")}`);
  const rows = scenarios.flatMap((scenario) => references.flatMap((n) => simulate(scenario, n)));
  for (const row of rows) {
    const cells = counts.map((m) => alarms(row, m)).join(" | ");
    console.log(`| ${row.scenario} | ${row.own ? "own" : "folds"} | ${row.n} | ${cells} |`);
  }
  return rows;
};
const tables = {
  falseAlarms: table("False alarms", falseAlarms, streams),
  detections: table("Drift", detections, streams.slice(0, 3)),
  crossFitted: table("Old scores from cross-fitting", crossFitted, streams.slice(0, 3)),
  dependent: table("Each new score correlated with the one before", dependent, streams.slice(0, 3)),
  exact: [10, 28, 100, 500].flatMap((n) => [10, 20, 28, 100, 500, 1000].map((m) => levels(n, m))),
  repeated: references
    .flatMap((n) => simulate(repeated, n))
    .map(({ scenario, own, n, ever }) => ({ scenario, own, n, ever })),
};
console.log(
  "\n| looked at after every 20 of 1000 parts: reference | n | drift reported once or more, % |\n|---|---|---|",
);
for (const { own, n, ever } of tables.repeated) console.log(`| ${own ? "own" : "folds"} | ${n} | ${shown(ever)} |`);
console.log(
  "\n| exact level of one side, no tolerance: n | m | limit, % | with Stephens' correction, % |\n|---|---|---|---|",
);
for (const { n, m, limit, stephens } of tables.exact)
  console.log(`| ${n} | ${m} | ${shown(limit)} | ${shown(stephens)} |`);
const file = process.argv[2] ?? path.join(packageFolder, "benchmarks", "results", "drift.json");
const what = "shares of the repetitions by verdict, of comparisons of m new scores with n old ones";
const settings = { repetitions, level: driftLevel, tolerance: driftTolerance };
writeFileSync(file, `${JSON.stringify({ what, ...settings, ...tables }, null, 2)}\n`);
console.error(`${((Date.now() - started) / 1000).toFixed(0)} s`);
