/**
 * What backbones of ResNet-18's shape are worth on surfaces that none of them was trained on: every regime, several seeds.
 *
 *   node dist/benchmarks/backbones.js --out benchmarks/results/NAME-backbones.jsonl [--sets hazelnut,tiles,plates] [--sizes 128,256]
 *        [--regimes unsupervised,weak,mixed,full] [--backbones distilled,imagenet,random] [--noise relative:0.5,...]
 *        [--seeds 0,1,2] [--weights NAME=FILE,...] [--device cpu] [--part 0/1] [--shared ../shared]
 *   node dist/benchmarks/backbones.js --table benchmarks/results/NAME-backbones.jsonl
 *
 * A line per run is added to the file; runs that it has are left out, so that an interrupted call goes on. `--part 1/4` does every
 * fourth run, from the second on. The photographs and ImageNet's weights lie in the folder `--shared`, outside this repository.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import type { Dataset } from "../lib/datasets/dataset.js";
import type { Metrics } from "../lib/evaluation/metrics_table.js";
import { datasets, Detector, evaluate, Trainer, type TrainerOptions } from "../lib/index.js";
import type { Regime } from "../lib/schema/regimes.js";
import { publishedTraining } from "../lib/schema/presets.js";
import { mean } from "./learning.js";
import { machine } from "./measure.js";

const shownMetrics = ["imageAuroc", "pixelAuroc", "aupro"] as const satisfies readonly (keyof Metrics)[];

interface Job {
  set: string;
  size: number;
  regime: Regime;
  backbone: string;
  noise: string;
  epochs: number;
  seed: number;
}

type Run = Job & {
  seconds: number;
  machine: string;
  metrics: Partial<Record<keyof Metrics, number | null>>;
};

/** Passes over the training images: as many as give some hundred steps without defects, about 66 with them. */
const epochs: Record<string, { unsupervised: number; supervised: number }> = {
  hazelnut: { unsupervised: 60, supervised: 60 },
  tiles: { unsupervised: 60, supervised: 6 },
  plates: { unsupervised: 60, supervised: 16 },
};

const keyOf = ({ set, size, regime, backbone, noise, epochs, seed }: Job): string =>
  [set, size, regime, backbone, noise, epochs, seed].join(" ");

/** Every second defect of the test split, with its mask, is there to learn from: the folder has none of its own. */
function withDefectsToLearn(dataset: Dataset): Dataset {
  let seen = 0;
  const samples = dataset.samples.map((sample) =>
    sample.label === "anomalous" && seen++ % 2 === 0 ? { ...sample, split: "train" as const } : sample,
  );
  return { ...dataset, samples };
}

/** A folder of drawn plates for each size, made once a process. */
async function open({ set, regime, size }: Job, shared: string): Promise<Dataset> {
  switch (set) {
    case "hazelnut": {
      const dataset = await datasets.open(path.join(shared, "data", "hazelnut"));
      return regime === "unsupervised" ? dataset : withDefectsToLearn(dataset);
    }
    case "tiles":
      return datasets.manifest(path.join(shared, "data", "magnetic_tile", "samples.csv"));
    case "plates": {
      const folder = path.join(os.tmpdir(), `plates-${size}-${process.pid}`);
      return datasets.generated(folder, { imageSize: [size, size], trainNormal: 60, trainAnomalous: 16, seed: 7 });
    }
    default:
      throw new Error(`no such set: ${set}`);
  }
}

async function run(job: Job, shared: string, weights: Map<string, string>, device: string): Promise<Run> {
  const start = performance.now();
  const dataset = await open(job, shared);
  const relative = /^relative:(.+)$/.exec(job.noise)?.[1];
  const options: TrainerOptions = {
    backbone: "resnet18",
    backboneWeights: weights.get(job.backbone) ?? job.backbone,
    imageSize: [job.size, job.size],
    regime: job.regime,
    epochs: job.epochs,
    pace: publishedTraining.pace,
    seed: job.seed,
    device,
    anomalies: {
      ...publishedTraining.anomalies,
      noiseStd: relative === undefined ? Number(job.noise) : { relative: Number(relative) },
    },
    masks: job.regime === "mixed" ? { segmentedRatio: 0.5 } : {},
    calibration: { fraction: 0 },
  };
  const detector = await Detector.load(await new Trainer(options).fit(dataset), { device });
  try {
    const { metrics } = await evaluate(detector, dataset);
    const { processor, gpus } = machine(0);
    const seconds = Math.round((performance.now() - start) / 100) / 10;
    return {
      ...job,
      seconds,
      machine: detector.device === "cpu" ? String(processor) : String(gpus),
      metrics: rounded(metrics),
    };
  } finally {
    detector.dispose();
  }
}

const rounded = (metrics: Metrics): Run["metrics"] =>
  Object.fromEntries(
    Object.entries(metrics).map(([name, value]) => [
      name,
      typeof value === "number" ? Number(value.toFixed(4)) : value,
    ]),
  );

function read(file: string): Run[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as Run);
}

/** Means over the seeds, one row for each backbone and noise. */
function table(runs: readonly Run[]): string {
  const groups = new Map<string, Run[]>();
  for (const run of runs) {
    const key = [run.set, run.size, run.regime, run.epochs, run.noise, run.backbone].join(" | ");
    groups.set(key, [...(groups.get(key) ?? []), run]);
  }
  const rows = [...groups].map(([key, group]) => {
    const values = shownMetrics.map((name) => {
      const found = group.map(({ metrics }) => metrics[name]).filter((value) => typeof value === "number");
      return found.length === 0
        ? "-"
        : `${mean(found).toFixed(3)} (${Math.min(...found).toFixed(2)} to ${Math.max(...found).toFixed(2)})`;
    });
    return `| ${key} | ${group.length} | ${values.join(" | ")} |`;
  });
  return [
    "| set | size | regime | epochs | noise | backbone | seeds | I-AUROC | P-AUROC | AUPRO |",
    "|---|---|---|---|---|---|---|---|---|---|",
    ...rows.sort(),
  ].join("\n");
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      out: { type: "string" },
      table: { type: "string" },
      sets: { type: "string", default: "hazelnut,tiles,plates" },
      sizes: { type: "string", default: "128,256" },
      regimes: { type: "string", default: "unsupervised,weak,mixed,full" },
      backbones: { type: "string", default: "distilled,imagenet,random" },
      noise: { type: "string", default: "relative:0.5" },
      seeds: { type: "string", default: "0,1,2" },
      weights: { type: "string", default: "" },
      device: { type: "string", default: "cpu" },
      part: { type: "string", default: "0/1" },
      shared: { type: "string", default: "../shared" },
    },
  });
  if (values.table !== undefined) return console.log(table(read(values.table)));
  const out = values.out;
  if (out === undefined) throw new Error("--out FILE is needed");
  const weights = new Map([["imagenet", path.join(values.shared, "weights", "resnet18_to_layer3.safetensors")]]);
  for (const pair of values.weights.split(",").filter((text) => text !== "")) {
    const [name, file] = pair.split("=");
    weights.set(name!, file!);
  }
  const jobs: Job[] = [];
  for (const seed of values.seeds.split(",").map(Number))
    for (const size of values.sizes.split(",").map(Number))
      for (const set of values.sets.split(","))
        for (const regime of values.regimes.split(",") as Regime[])
          for (const noise of values.noise.split(","))
            for (const backbone of values.backbones.split(",")) {
              const passes = epochs[set]![regime === "unsupervised" ? "unsupervised" : "supervised"];
              jobs.push({ set, size, regime, backbone, noise, epochs: passes, seed });
            }
  const [part, parts] = values.part.split("/").map(Number) as [number, number];
  mkdirSync(path.dirname(path.resolve(out)), { recursive: true });
  const done = new Set(read(out).map(keyOf));
  for (const [number, job] of jobs.entries()) {
    if (number % parts !== part || done.has(keyOf(job))) continue;
    const result = await run(job, values.shared, weights, values.device);
    appendFileSync(out, `${JSON.stringify(result)}\n`);
    console.error(keyOf(job), result.seconds, shownMetrics.map((name) => result.metrics[name]?.toFixed(3)).join(" "));
  }
}

if (require.main === module) void main();
