/**
 * Learning from mistakes on magnetic tile surfaces: a model learns from all good images and a third of the defects; then the
 * other defects come, and a training goes on from it with `init` for a few epochs. Beside it a training from random heads on
 * everything. ResNet-18, 128 x 128, regime weak.
 *
 *   node dist/benchmarks/mistakes.js [--seeds 0,1,2] [--epochs 12] [--init-epochs 5,10,30] [--shared ../shared]
 *        > benchmarks/results/mistakes.json
 *
 * Which defects come first depends on the seed. The data and the weights are in the folder `--shared`, which is not part of this
 * repository. A line per training goes to stderr as it ends, and then a table of the means.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { type Dataset, datasets, Detector, evaluate, type Model, Trainer, type TrainerOptions } from "../lib/index.js";
import { byHash } from "../lib/random.js";
import { mean, sources } from "./learning.js";
import { machine } from "./measure.js";

/** How long a training took, and what its model does on the test split at its own thresholds. */
interface Row {
  name: string;
  seed: number;
  seconds: number;
  imageAuroc: number;
  /** Shares of the test images: defects found, good parts rejected. */
  found: number;
  rejected: number;
}

/** The data set with a third of its training defects. */
function withFewDefects(dataset: Dataset, seed: number): Dataset {
  const defects = dataset.samples.filter(({ label, split }) => split === "train" && label === "anomalous");
  const late = new Set(byHash(defects, ({ id }) => `${seed} ${id}`).slice(Math.round(defects.length / 3)));
  return { ...dataset, samples: dataset.samples.filter((sample) => !late.has(sample)) };
}

async function rowOf(name: string, seed: number, model: Model, dataset: Dataset, seconds: number): Promise<Row> {
  const detector = await Detector.load(model);
  try {
    const { metrics, decisions } = await evaluate(detector, dataset);
    const { truePositive, falseNegative, falsePositive, trueNegative } = decisions;
    return {
      name,
      seed,
      seconds: Math.round(seconds),
      imageAuroc: metrics.imageAuroc!,
      found: truePositive / (truePositive + falseNegative),
      rejected: falsePositive / (falsePositive + trueNegative),
    };
  } finally {
    detector.dispose();
  }
}

/** Every training of one seed. The same thresholds hold in the first model and in all that go on from it. */
async function compare(
  dataset: Dataset,
  seed: number,
  options: { fresh: TrainerOptions; initEpochs: readonly number[]; folder: string },
): Promise<Row[]> {
  const rows: Row[] = [];
  const train = async (name: string, data: Dataset, settings: TrainerOptions): Promise<Model> => {
    const start = performance.now();
    const model = await new Trainer({ regime: "weak", seed, ...settings }).fit(data);
    rows.push(await rowOf(name, seed, model, dataset, (performance.now() - start) / 1000));
    console.error(JSON.stringify(rows.at(-1)));
    return model;
  };
  const init = path.join(options.folder, `first-${seed}.safetensors`);
  await (await train("a third of the defects", withFewDefects(dataset, seed), options.fresh)).save(init);
  for (const epochs of options.initEpochs) await train(`init, ${epochs} epochs`, dataset, { init, epochs });
  await train("all, from random heads", dataset, options.fresh);
  return rows;
}

/** A Markdown table of the means over the seeds, with the lowest and the highest value. */
function tableOf(rows: readonly Row[]): string {
  const shown = (values: readonly number[], digits: number): string => {
    const [low, high] = [Math.min(...values), Math.max(...values)].map((value) => value.toFixed(digits));
    return `${mean(values).toFixed(digits)} (${low} to ${high})`;
  };
  const lines = [...new Set(rows.map(({ name }) => name))].map((name) => {
    const of = rows.filter((row) => row.name === name);
    const columns = [
      shown(
        of.map((row) => row.imageAuroc),
        3,
      ),
      shown(
        of.map((row) => 100 * row.found),
        0,
      ),
      shown(
        of.map((row) => 100 * row.rejected),
        0,
      ),
      shown(
        of.map((row) => row.seconds),
        0,
      ),
    ];
    return `| ${[name, ...columns].join(" | ")} |`;
  });
  return [
    "| training | I-AUROC | defects found, % | good rejected, % | seconds |",
    "|---|---|---|---|---|",
    ...lines,
  ].join("\n");
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string", default: "0,1,2" },
      epochs: { type: "string", default: "12" },
      "init-epochs": { type: "string", default: "5,10,30" },
      shared: { type: "string", default: "../shared" },
    },
  });
  const { data, weights } = sources(values.shared);
  const dataset = await datasets.manifest(data);
  const epochs = Number(values.epochs);
  const fresh: TrainerOptions = { backbone: "resnet18", backboneWeights: weights, imageSize: [128, 128], epochs };
  const initEpochs = values["init-epochs"].split(",").map(Number);
  const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-mistakes-"));
  try {
    const rows: Row[] = [];
    for (const seed of values.seeds.split(",").map(Number))
      rows.push(...(await compare(dataset, seed, { fresh, initEpochs, folder })));
    console.error(tableOf(rows));
    console.log(
      JSON.stringify({ machine: machine(os.availableParallelism()), epochs, initEpochs, rows }, undefined, 1),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (require.main === module) void main();
