/**
 * Trainings with several settings of the options, seed by seed: how the defaults of noise and learning rates were chosen
 * (docs/measurements/noise.md).
 *
 *   node dist/benchmarks/schedules.js --runs RUNS.json --out RESULTS.jsonl [--seeds 0,1,2] [--shared ../shared]
 *
 * RUNS.json is a list of { name, data: "magnetic_tile" | "hazelnut", size, regime, options }. A line per run is appended to
 * RESULTS.jsonl; a run that is there already is not repeated. Data and weights (resnet18) are in the folder `--shared`,
 * which is not part of this repository.
 */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";

import {
  type Dataset,
  datasets,
  Detector,
  evaluate,
  mergeOptions,
  Trainer,
  type TrainerOptions,
} from "../lib/index.js";
import type { Regime } from "../lib/datasets/dataset.js";
import { byPaperName } from "../lib/evaluation/metrics_table.js";
import { sources } from "./learning.js";

interface Run {
  name: string;
  data: "magnetic_tile" | "hazelnut";
  size: number;
  regime: Regime;
  options: TrainerOptions;
}

async function open(shared: string, data: Run["data"]): Promise<Dataset> {
  return data === "magnetic_tile"
    ? datasets.manifest(sources(shared).data)
    : datasets.open(path.join(shared, "data", data));
}

async function train(shared: string, run: Run, seed: number): Promise<Record<string, unknown>> {
  const dataset = await open(shared, run.data);
  const options = mergeOptions<TrainerOptions>(
    {
      backbone: "resnet18",
      backboneWeights: sources(shared).weights,
      imageSize: [run.size, run.size],
      regime: run.regime,
      pace: "published",
      calibration: { method: "none" },
      seed,
    },
    run.regime === "mixed" ? { masks: { segmentedRatio: 0.5 } } : {},
    run.options,
  );
  const start = performance.now();
  let loss = Number.NaN;
  const model = await new Trainer(options).fit(dataset, { onEpoch: (event) => void (loss = event.loss) });
  const seconds = Math.round((performance.now() - start) / 1000);
  const detector = await Detector.load(model);
  try {
    return { seconds, loss, ...byPaperName((await evaluate(detector, dataset)).metrics) };
  } finally {
    detector.dispose();
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      runs: { type: "string" },
      out: { type: "string" },
      seeds: { type: "string", default: "0,1,2" },
      shared: { type: "string", default: "../shared" },
    },
  });
  const { runs, out, shared } = values;
  if (runs === undefined || out === undefined)
    throw new Error("Usage: schedules.js --runs RUNS.json --out RESULTS.jsonl");
  const lines = existsSync(out) ? readFileSync(out, "utf8").trim().split("\n") : [];
  const done = new Set(
    lines.filter(Boolean).map((line) => {
      const { name, data, size, regime, seed } = JSON.parse(line) as Run & { seed: number };
      return JSON.stringify([name, data, size, regime, seed]);
    }),
  );
  for (const seed of values.seeds.split(",").map(Number))
    for (const run of JSON.parse(readFileSync(runs, "utf8")) as Run[]) {
      const { name, data, size, regime, options } = run;
      if (done.has(JSON.stringify([name, data, size, regime, seed]))) continue;
      const result = { name, data, size, regime, seed, ...(await train(shared, run, seed)), options };
      appendFileSync(out, `${JSON.stringify(result)}\n`);
      console.error(JSON.stringify({ ...result, options: undefined }));
    }
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
