/**
 * What the decision of a trained model is worth: scores and map maxima of the images that set the thresholds, and of test
 * images, in every regime and with both ways of calibration.
 *
 *   node dist/benchmarks/decisions.js --out benchmarks/results/decisions.jsonl [--seeds 0,1,2] [--part 0/1] [--shared ../shared]
 *   node dist/benchmarks/decisions.js --table benchmarks/results/decisions.jsonl
 *
 * A line per training is added to the file; those that it has are left out, so that an interrupted call goes on. The images
 * and ImageNet's weights lie in the folder `--shared`, outside this repository.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { type CalibrationImage, evidence } from "../lib/calibration/images.js";
import { operatingPoints } from "../lib/calibration/operating_points.js";
import { crossFitFolds, splitCalibration } from "../lib/datasets/calibration.js";
import type { Dataset, Sample } from "../lib/datasets/dataset.js";
import { applyRegime, limitSegmented } from "../lib/datasets/regime.js";
import { readTensors } from "../lib/files/tensors.js";
import { datasets, Detector, type Model, Trainer, type TrainerOptions } from "../lib/index.js";
import { evaluateScores } from "../lib/evaluation/metrics.js";
import { type Decision, decisions, type Source } from "../lib/schema/decisions.js";
import type { Regime } from "../lib/schema/regimes.js";
import { foldFile } from "../lib/training/checkpoint.js";
import { mean } from "./learning.js";

interface Job {
  set: "tiles" | "hazelnut";
  regime: Regime;
  weights: "imagenet" | "distilled";
  method: "crossFit" | "holdOut" | "none";
  epochs: number;
  seed: number;
}

/** What a model, or the heads of a fold, say about one image. */
export type Scored = Pick<CalibrationImage, "anomalous" | "logit" | "peak">;

export interface Run extends Job {
  seconds: number;
  /** Of the model's steps, and of all folds with their scoring. */
  stepSeconds: number;
  foldSeconds: number;
  calibration: Scored[];
  test: Scored[];
}

const methods = ["crossFit", "holdOut"] as const;

/** Every training of one seed. */
const jobsOf = (seed: number): Job[] => [
  { set: "tiles", regime: "unsupervised", weights: "imagenet", method: "crossFit", epochs: 60, seed },
  { set: "hazelnut", regime: "unsupervised", weights: "imagenet", method: "crossFit", epochs: 100, seed },
  ...(["full", "mixed", "weak"] as const).flatMap((regime) =>
    methods.map((method): Job => ({ set: "tiles", regime, weights: "imagenet", method, epochs: 12, seed })),
  ),
  { set: "tiles", regime: "unsupervised", weights: "imagenet", method: "holdOut", epochs: 60, seed },
  { set: "tiles", regime: "unsupervised", weights: "distilled", method: "crossFit", epochs: 60, seed },
  { set: "hazelnut", regime: "unsupervised", weights: "distilled", method: "crossFit", epochs: 100, seed },
];

/** One kind of training after the other, so that an interrupted call leaves all seeds of some. */
function jobs(seeds: readonly number[]): Job[] {
  const bySeed = seeds.map(jobsOf);
  return bySeed[0]!.flatMap((_, i) => bySeed.map((list) => list[i]!));
}

const keyOf = ({ set, regime, weights, method, epochs, seed }: Job): string =>
  [set, regime, weights, method, epochs, seed].join(" ");

async function scoresOf(model: Model, samples: readonly Sample[]): Promise<Scored[]> {
  const detector = await Detector.load(model);
  const out: Scored[] = [];
  try {
    for await (const { logit, map } of detector.detectEach(samples.map(({ image }) => image))) {
      const peak = map.data.reduce((a, b) => Math.max(a, b), -Infinity);
      out.push({ anomalous: samples[out.length]!.label === "anomalous", logit, peak });
    }
  } finally {
    detector.dispose();
  }
  return out;
}

async function foldScores(out: string, training: readonly Sample[], folds: number, seed: number): Promise<Scored[]> {
  const all: Scored[] = [];
  for (const [i, held] of crossFitFolds(training, { folds, seed }).entries()) {
    const { tensors } = await readTensors(foldFile(out, i + 1));
    const [logits, peaks] = [tensors["logits"]!.data, tensors["peaks"]!.data];
    held.forEach((place, j) =>
      all.push({
        anomalous: training[place]!.label === "anomalous",
        logit: Number(logits[j]),
        peak: Number(peaks[j]),
      }),
    );
  }
  return all;
}

async function run(job: Job, shared: string): Promise<Run> {
  const start = performance.now();
  const { set, regime, weights, method, epochs, seed } = job;
  const data: Dataset =
    set === "tiles"
      ? await datasets.manifest(path.join(shared, "data", "magnetic_tile", "samples.csv"))
      : await datasets.open(path.join(shared, "data", "hazelnut"));
  const masks = regime === "mixed" ? { segmentedRatio: 0.5 } : {};
  const out = await mkdtemp(path.join(os.tmpdir(), "decisions-"));
  const options: TrainerOptions = {
    backbone: "resnet18",
    backboneWeights:
      weights === "distilled" ? "distilled" : path.join(shared, "weights", "resnet18_to_layer3.safetensors"),
    imageSize: [128, 128],
    regime,
    epochs,
    pace: "published",
    seed,
    masks,
    calibration: { method },
  };
  try {
    let [stepSeconds, folds, began, foldSeconds] = [0, 0, 0, 0];
    const model = await new Trainer(options).fit(data, {
      out,
      onEpoch: ({ epoch, seconds }) => {
        if (epoch > 1) stepSeconds += (seconds * epochs) / (epochs - 1);
        began = performance.now();
      },
      onStage: ({ fold }) => {
        if (fold === null) return;
        folds = fold.folds;
        foldSeconds = (performance.now() - began) / 1000;
      },
    });
    const settled = limitSegmented(data, masks);
    const training = applyRegime(settled, regime).samples.filter((sample) => sample.split === "train");
    const calibration =
      method === "crossFit"
        ? await foldScores(out, training, folds, seed)
        : method === "holdOut"
          ? await scoresOf(model, splitCalibration(training, { fraction: 0.1, seed }).calibration)
          : [];
    const test = await scoresOf(
      model,
      data.samples.filter((sample) => sample.split === "test"),
    );
    return { ...job, seconds: (performance.now() - start) / 1000, stepSeconds, foldSeconds, calibration, test };
  } finally {
    await rm(out, { recursive: true, force: true });
  }
}

interface Outcome {
  falseRejects: number;
  found: number;
  auroc: number;
}

/** What the thresholds of a decision, found by the calibration's images, do to the test images. */
async function outcome({ calibration, test }: Run, decision: Decision, rate: number): Promise<Outcome> {
  const { score, map } = operatingPoints(calibration, rate)[decision].rate!;
  const deviation = (source: Source): number => {
    const values = calibration.filter(({ anomalous }) => !anomalous).map((image) => evidence(image, source));
    return Math.sqrt(mean(values.map((value) => (value - mean(values)) ** 2)));
  };
  const margins = test.map((image) =>
    Math.max(
      score ? (image.logit - score.logit) / deviation("score") : -Infinity,
      map ? (image.peak - map.logit) / deviation("map") : -Infinity,
    ),
  );
  const labels = test.map(({ anomalous }) => (anomalous ? "anomalous" : "normal"));
  const reached = (label: string): number => {
    const those = margins.filter((_, i) => labels[i] === label);
    return those.filter((margin) => margin >= 0).length / those.length;
  };
  const { imageAuroc } = await evaluateScores(margins, labels);
  return { falseRejects: reached("normal"), found: reached("anomalous"), auroc: imageAuroc! };
}

const percent = (share: number): string => (100 * share).toFixed(1);

/** Means over the seeds of every kind of training. */
async function printTables(runs: readonly Run[]): Promise<void> {
  const kinds = new Map<string, Run[]>();
  for (const run of runs) {
    const kind = `${run.set} | ${run.regime} | ${run.weights} | ${run.method}`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), run]);
  }
  console.log(
    "| images | regime | backbone | calibration | seeds | rate, % | decision | I-AUROC | false rejects, % | found, % |",
  );
  console.log("|---|---|---|---|---|---|---|---|---|---|");
  for (const [kind, own] of kinds)
    for (const rate of [0.01, 0.05])
      for (const decision of decisions) {
        const outcomes = await Promise.all(own.map((run) => outcome(run, decision, rate)));
        const auroc = mean(outcomes.map((one) => one.auroc)).toFixed(3);
        const rejected = percent(mean(outcomes.map(({ falseRejects }) => falseRejects)));
        const found = percent(mean(outcomes.map((one) => one.found)));
        console.log(`| ${kind} | ${own.length} | ${100 * rate} | ${decision} | ${auroc} | ${rejected} | ${found} |`);
      }
  console.log("\n| images | regime | seconds of the steps | of the folds | ratio |\n|---|---|---|---|---|");
  for (const [kind, own] of kinds) {
    if (!kind.endsWith("crossFit")) continue;
    const [steps, folds] = [mean(own.map(({ stepSeconds }) => stepSeconds)), mean(own.map((run) => run.foldSeconds))];
    console.log(`| ${kind} | ${steps.toFixed(0)} | ${folds.toFixed(0)} | ${(folds / steps).toFixed(2)} |`);
  }
  console.log(
    "\n| images | regime | source | out of fold: mean, deviation | the model on unseen good parts |\n|---|---|---|---|---|",
  );
  for (const [kind, own] of kinds)
    for (const source of ["score", "map"] as const) {
      const of = (list: (run: Run) => readonly Scored[]): string => {
        const good = own.map((run) =>
          list(run)
            .filter(({ anomalous }) => !anomalous)
            .map((image) => evidence(image, source)),
        );
        const deviations = good.map((values) => Math.sqrt(mean(values.map((value) => (value - mean(values)) ** 2))));
        return `${mean(good.map(mean)).toFixed(2)}, ${mean(deviations).toFixed(2)}`;
      };
      console.log(`| ${kind} | ${source} | ${of((run) => run.calibration)} | ${of((run) => run.test)} |`);
    }
}

const linesOf = (file: string): string[] => readFileSync(file, "utf8").split("\n").filter(Boolean);

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      out: { type: "string", default: "benchmarks/results/decisions.jsonl" },
      seeds: { type: "string", default: "0,1,2" },
      part: { type: "string", default: "0/1" },
      table: { type: "string" },
      shared: { type: "string", default: "../shared" },
    },
  });
  if (values.table !== undefined) return printTables(linesOf(values.table).map((line) => JSON.parse(line) as Run));
  mkdirSync(path.dirname(values.out), { recursive: true });
  const lines = existsSync(values.out) ? linesOf(values.out) : [];
  const done = new Set(lines.map((line) => keyOf(JSON.parse(line) as Run)));
  const [part, parts] = values.part.split("/").map(Number);
  for (const [i, job] of jobs(values.seeds.split(",").map(Number)).entries()) {
    if (i % parts! !== part || done.has(keyOf(job))) continue;
    const result = await run(job, values.shared);
    const rounded = JSON.stringify(result, (_, value: unknown) =>
      typeof value === "number" ? Number(value.toPrecision(7)) : value,
    );
    appendFileSync(values.out, `${rounded}\n`);
    console.error(`${keyOf(job)}: ${result.seconds.toFixed(0)} s`);
  }
}

if (require.main === module) void main();
