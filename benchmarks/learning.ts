/**
 * Learning on magnetic tile surfaces in every regime, beside the runs of the authors' code with the same weights and the
 * same budget (ResNet-18, 128 x 128, batch 32, 6 epochs, noise 0.015).
 *
 *   node dist/benchmarks/learning.js [--regimes full,mixed] [--seeds 0,1,2] [--epochs 6] [--noise 0.015 | --noise relative:1.5]
 *        [--image-size 128] [--shared ../shared] > benchmarks/results/learning-NAME.json
 *
 * The data, the weights and the authors' numbers are in the folder `--shared`, which is not part of this repository. A line
 * per run goes to stderr as it ends.
 */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";

import { datasets, Detector, evaluate, mergeOptions, Trainer, type TrainerOptions } from "../lib/index.js";
import type { Regime } from "../lib/datasets/dataset.js";
import { publishedTraining } from "../lib/schema/presets.js";
import { byPaperName, type Metrics } from "../lib/evaluation/metrics_table.js";
import { machine } from "./measure.js";

/** The budget of the authors' runs. The published protocol holds nothing out, so neither do these. */
export const budget = {
  backbone: "resnet18",
  imageSize: [128, 128],
  batchSize: 32,
  epochs: 6,
  pace: publishedTraining.pace,
  anomalies: { noiseStd: 0.015, ...publishedTraining.anomalies },
  calibration: { fraction: 0 },
} as const satisfies TrainerOptions;

export const regimes = ["full", "mixed", "weak", "unsupervised"] as const satisfies Regime[];

export interface AuthorsRun extends Record<
  "I-AUROC" | "AP-det" | "P-AUROC" | "AP-loc" | "AUPRO" | "seg-I-AUROC" | "seg-AP-det",
  number
> {
  regime: Regime;
  seed: number;
  epochs: number;
}

/** What lies in the shared folder. */
export function sources(shared: string): { data: string; weights: string; authors: () => Promise<AuthorsRun[]> } {
  return {
    data: path.join(shared, "data", "magnetic_tile", "samples.csv"),
    weights: path.join(shared, "weights", "resnet18_to_layer3.safetensors"),
    authors: async () =>
      (
        JSON.parse(await readFile(path.join(shared, "reference", "magnetic_tile_resnet18.json"), "utf8")) as {
          runs: AuthorsRun[];
        }
      ).runs,
  };
}

/** Trains one regime and evaluates the last epoch on the test split. Mixed: half of the annotated defects keep their masks. */
export async function learn(shared: string, regime: Regime, options: TrainerOptions): Promise<Metrics> {
  const { data, weights } = sources(shared);
  const dataset = await datasets.manifest(data);
  const masks = regime === "mixed" ? { segmentedRatio: 0.5 } : {};
  const trainer = new Trainer(
    mergeOptions<TrainerOptions>(budget, { backboneWeights: weights, regime, masks }, options),
  );
  const detector = await Detector.load(await trainer.fit(dataset));
  try {
    return (await evaluate(detector, dataset)).metrics;
  } finally {
    detector.dispose();
  }
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      regimes: { type: "string", default: regimes.join(",") },
      seeds: { type: "string", default: "0,1,2" },
      epochs: { type: "string", default: String(budget.epochs) },
      noise: { type: "string", default: String(budget.anomalies.noiseStd) },
      "image-size": { type: "string", default: String(budget.imageSize[0]) },
      shared: { type: "string", default: "../shared" },
    },
  });
  const relative = /^relative:(.+)$/.exec(values.noise)?.[1];
  const noiseStd = relative === undefined ? Number(values.noise) : { relative: Number(relative) };
  const epochs = Number(values.epochs);
  const imageSize: [number, number] = [Number(values["image-size"]), Number(values["image-size"])];
  const authors = await sources(values.shared).authors();
  const names = ["I-AUROC", "AP-det", "P-AUROC", "AP-loc", "AUPRO", "seg-I-AUROC", "seg-AP-det"] as const;
  const summary = (runs: readonly Record<(typeof names)[number], number | null>[]) =>
    Object.fromEntries(
      names.map((name) => [
        name,
        runs.length === 0 ? null : Math.round(1e4 * mean(runs.map((run) => run[name]!))) / 1e4,
      ]),
    );

  const results = [];
  for (const regime of values.regimes.split(",") as Regime[]) {
    const runs: Record<string, number>[] = [];
    for (const seed of values.seeds.split(",").map(Number)) {
      const start = performance.now();
      const metrics = await learn(values.shared, regime, { seed, epochs, anomalies: { noiseStd }, imageSize });
      runs.push({ seed, seconds: Math.round((performance.now() - start) / 1000), ...byPaperName(metrics) });
      console.error(JSON.stringify({ regime, noise: values.noise, epochs, ...runs.at(-1) }));
    }
    const theirs = authors.filter((run) => run.regime === regime);
    results.push({
      regime,
      mean: summary(runs),
      authorsMean: theirs.length > 0 ? summary(theirs) : null,
      authorsSeeds: theirs.map((run) => run.seed),
      runs,
    });
  }
  console.log(
    JSON.stringify(
      {
        machine: machine(Number(process.env["OMP_NUM_THREADS"] ?? 0) || 0),
        budget: { ...budget, imageSize, epochs, anomalies: { ...budget.anomalies, noiseStd } },
        results,
      },
      null,
      2,
    ),
  );
}

if (require.main === module) void main();
