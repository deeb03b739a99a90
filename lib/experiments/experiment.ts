import path from "node:path";

import { weightsFile } from "../backbones/load.js";
import type { Dataset } from "../datasets/types.js";
import { Detector } from "../detection/detector.js";
import { SuperSimpleNetError } from "../errors.js";
import { evaluate } from "../evaluation/evaluate.js";
import { evaluateScores } from "../evaluation/metrics.js";
import type { Evaluation } from "../evaluation/types.js";
import { decodeMask } from "../images/decode.js";
import { throwIfAborted } from "../images/pipeline.js";
import type { Architecture } from "../native/binding.js";
import { checkPath, invalid, rejectUnknown } from "../options.js";
import type { EpochEvent, TrainerOptions } from "../training/options.js";
import { trainerDefaults } from "../training/options.js";
import { Trainer } from "../training/trainer.js";
import { packageVersion } from "../version.js";
import { makeFolder, writeWholeFile } from "../write.js";
import { decisive, Parts, plan, type PlannedRun, type Shard, shardOf } from "./plan.js";
import { checkProtocol, experimentDefaults, type Protocol, type ProtocolName, protocols } from "./protocols.js";
import { readPublished } from "./published.js";
import { appendResult, type Misclassification, optionDifferences, readResults, type RunResult } from "./results.js";
import { type ExperimentTable, tableDocument, tableMarkdown, tabulate } from "./tables.js";

/** Options of the training that the protocol leaves free. */
export type ExperimentTraining = Omit<
  TrainerOptions,
  "regime" | "seed" | "segmentedRatio" | "segmentedCount" | "distributed"
>;

export interface ExperimentOptions {
  /**
   * One data set, or several by name: those of the paper as mvtec, visa, ksdd2, sensum, bmad, others by any name. Without it
   * nothing is trained and the tables are made of the results in `out`.
   */
  data?: string | Readonly<Record<string, string>>;
  /** Folder for results and tables. What is done there already is not done again. */
  out: string;
  /** Number of seeds, from 0 on. Default 5, as in the paper. */
  seeds?: number;
  /** Only these categories. Default: those of the paper. */
  categories?: readonly string[];
  /** Do only this part of the runs. Default: all. */
  shard?: Shard;
  /** File of the authors' results (docs/experiments.md has its form). Default: the tables have no published numbers. */
  published?: string;
  /**
   * Over the data set's published settings; what the protocol varies goes before them. Default: the trainer's, but
   * `calibrationFraction` 0, for the paper trains on every training image.
   */
  training?: ExperimentTraining;
  signal?: AbortSignal | undefined;
  onEvent?: (event: ExperimentEvent) => void;
}

/** `plan`: before the first run; `run`: one begins; `epoch`, `evaluate`: within it; `done`: it is written. */
export type ExperimentEvent =
  | { type: "plan"; runs: number; done: number; warnings: string[] }
  | { type: "run"; key: string; index: number; runs: number }
  | { type: "epoch"; key: string; epoch: EpochEvent }
  | { type: "evaluate"; key: string; done: number; total: number }
  | { type: "done"; key: string; result: RunResult; left: number }
  | { type: "diverged"; key: string; error: SuperSimpleNetError };

export interface ExperimentReport {
  table: ExperimentTable;
  /** The files that hold it. */
  files: { markdown: string; json: string };
  /** Runs of this call's shard: all, those that were done before, those that diverged and have no result. */
  runs: { planned: number; skipped: number; diverged: string[] };
}

const optionNames: (keyof ExperimentOptions)[] = [
  "data",
  "out",
  "seeds",
  "categories",
  "shard",
  "published",
  "training",
  "signal",
  "onEvent",
];
const fixed = ["regime", "seed", "segmentedRatio", "segmentedCount", "distributed"];

/**
 * Runs a protocol of the paper's experimental section: every run that `out` does not hold yet, then the tables `NAME.md` and
 * `NAME.json` there. All data sets are opened, and their labels checked, before the first training. A run whose loss diverges
 * is reported and left out; any other error ends the experiment, and the next call goes on with the run that failed.
 *
 * Errors: INVALID_OPTION, also when a run is in `out` with other options or data; DATASET_INVALID; WEIGHTS_MISSING;
 * FILE_CORRUPT for damaged results or published numbers; those of training and evaluation; ABORTED.
 */
export async function experiment(name: ProtocolName, options: ExperimentOptions): Promise<ExperimentReport> {
  checkProtocol("experiment", name);
  const where = `experiment ${name}`;
  rejectUnknown(options, optionNames, where);
  const {
    data,
    out,
    seeds = experimentDefaults.seeds,
    categories,
    shard = { index: 1, count: 1 },
    training = {},
    signal,
    onEvent,
  } = options;
  checkPath(where, "out", out, "a folder");
  if (options.published !== undefined) checkPath(where, "published", options.published);
  if (data !== undefined && typeof data !== "string" && (typeof data !== "object" || data === null))
    throw invalid(where, "data", "a data set, or several by name", data);
  new Trainer(training);
  for (const option of fixed)
    if (option in training)
      throw invalid(
        where,
        `training.${option}`,
        "nothing, for the protocol decides it,",
        (training as Record<string, unknown>)[option],
      );
  const published = options.published === undefined ? undefined : await readPublished(options.published);
  const report: ExperimentReport["runs"] = { planned: 0, skipped: 0, diverged: [] };

  const finish = async (): Promise<Omit<ExperimentReport, "runs">> => {
    const table = tabulate(name, (await readResults(out)).values(), published);
    const files = { markdown: path.join(out, `${name}.md`), json: path.join(out, `${name}.json`) };
    await writeWholeFile(files.markdown, tableMarkdown(table));
    await writeWholeFile(files.json, `${JSON.stringify(tableDocument(table), null, 2)}\n`);
    return { table, files };
  };

  if (data === undefined) {
    for (const option of ["seeds", "categories", "shard", "training"] as const)
      if (options[option] !== undefined) throw invalid(where, "data", `a data set, for '${option}' is given,`, data);
    if (![...(await readResults(out)).values()].some((result) => result.protocol === name))
      throw invalid(where, "data", `a data set, for ${out} has no results of ${name} to make tables of,`, data);
    return { ...(await finish()), runs: report };
  }

  const parts = new Parts();
  const runs = shardOf(await plan(name, { data, seeds, training, ...(categories && { categories }) }, parts), shard);
  throwIfAborted(signal);
  for (const { condition, options: settings } of runs)
    checkWeights(where, settings, condition.options.backbone !== undefined);
  const done = await readResults(out);
  const prepared = new Map<PlannedRun, { dataset: Dataset; data: RunResult["data"] }>();
  for (const run of runs) {
    throwIfAborted(signal);
    const found = await parts.of(run);
    const before = done.get(run.key);
    if (before === undefined) {
      prepared.set(run, found);
      continue;
    }
    const differences = optionDifferences(before.options, decisive(run));
    if (before.data.samples !== found.data.samples) differences.push("other images or labels");
    if (differences.length > 0)
      throw new SuperSimpleNetError(
        "INVALID_OPTION",
        `${where}: ${out} holds ${run.key} with other options: ${differences.join(", ")}. Give the same again, or another folder.`,
        { path: out },
      );
  }
  report.planned = runs.length;
  report.skipped = runs.length - prepared.size;
  const warnings = [
    ...new Set(
      [...prepared.values()].flatMap(({ dataset }) =>
        (dataset.warnings ?? []).map((warning) => `${dataset.name}: ${warning}`),
      ),
    ),
  ];
  onEvent?.({ type: "plan", runs: runs.length, done: report.skipped, warnings });
  await makeFolder(out);

  const file = path.join(out, shard.count === 1 ? "results.jsonl" : `results-${shard.index}-of-${shard.count}.jsonl`);
  let index = 0;
  try {
    for (const [run, { dataset, data: content }] of prepared) {
      throwIfAborted(signal);
      onEvent?.({ type: "run", key: run.key, index: ++index, runs: prepared.size });
      try {
        const result = await perform(name, run, dataset, content, options);
        await appendResult(file, result);
        onEvent?.({ type: "done", key: run.key, result, left: prepared.size - index });
      } catch (error) {
        if (!(error instanceof SuperSimpleNetError && error.code === "DIVERGED")) throw error;
        report.diverged.push(run.key);
        onEvent?.({ type: "diverged", key: run.key, error });
      }
    }
  } catch (error) {
    // What is done has its tables, whatever ended the rest.
    if (index > 1 || report.skipped > 0) await finish();
    throw error;
  }
  return { ...(await finish()), runs: report };
}

/** Missing weights are found out before hours of training with others. One file cannot serve several backbones. */
function checkWeights(
  where: string,
  { backbone = trainerDefaults.backbone, backboneWeights = trainerDefaults.backboneWeights }: TrainerOptions,
  varied: boolean,
): void {
  if (backboneWeights === "random") return;
  if (varied && backboneWeights !== "auto")
    throw invalid(
      where,
      "backboneWeights",
      "'auto' or 'random', for the protocol uses several backbones,",
      backboneWeights,
    );
  weightsFile(backbone as Architecture, backboneWeights);
}

async function perform(
  name: ProtocolName,
  run: PlannedRun,
  dataset: Dataset,
  data: RunResult["data"],
  { signal, onEvent }: ExperimentOptions,
): Promise<RunResult> {
  const began = performance.now();
  const { key, source, condition, order, part, seed } = run;
  const abort = signal === undefined ? {} : { signal };
  const model = await new Trainer({ ...run.options, distributed: false }).fit(dataset, {
    ...abort,
    onEpoch: (epoch) => onEvent?.({ type: "epoch", key, epoch }),
  });
  const { device, threads } = run.options;
  const detector = await Detector.load(model, {
    ...(device !== undefined && { device }),
    ...(threads !== undefined && { threads }),
  });
  try {
    const evaluation = await evaluate(detector, dataset, {
      ...abort,
      onProgress: (done, total) => onEvent?.({ type: "evaluate", key, done, total }),
    });
    const { name: condition_, title, summary, published } = condition;
    const protocol: Protocol = protocols[name];
    return {
      format: 1,
      key,
      protocol: name,
      dataset: source.name,
      published: source.published ?? null,
      condition: { name: condition_, title, ...(summary && { summary }), ...(published && { published }) },
      order,
      part: part.name,
      category: part.category ?? null,
      seed,
      options: decisive(run) as RunResult["options"],
      data,
      metrics: evaluation.metrics,
      ...(protocol.misclassification && { misclassification: await misclassification(evaluation) }),
      seconds: Math.round(performance.now() - began) / 1000,
      version: packageVersion,
    };
  } finally {
    detector.dispose();
  }
}

/**
 * Hits and misses at the score that maximises F1 on these very images: an analysis, never a way to set a threshold.
 * Throws METRIC_UNDEFINED when there are not both normal and anomalous images.
 */
export async function misclassification({ samples }: Pick<Evaluation, "samples">): Promise<Misclassification> {
  const scores = await evaluateScores(
    samples.map(({ logit }) => logit),
    samples.map(({ label }) => label),
  );
  const threshold = scores.f1MaxThreshold;
  if (threshold === null)
    throw new SuperSimpleNetError("METRIC_UNDEFINED", `Misclassification: ${scores.notes.join("; ")}.`);
  const counted: Misclassification = {
    threshold,
    truePositive: 0,
    trueNegative: 0,
    falsePositive: 0,
    falseNegative: 0,
    truePositiveArea: { percentSum: 0, images: 0 },
    falseNegativeArea: { percentSum: 0, images: 0 },
  };
  for (const { label, logit, mask } of samples) {
    const hit = logit >= threshold;
    if (label === "normal") {
      counted[hit ? "falsePositive" : "trueNegative"]++;
      continue;
    }
    counted[hit ? "truePositive" : "falseNegative"]++;
    if (mask === null) continue;
    const { pixels } = await decodeMask(mask);
    const area = counted[hit ? "truePositiveArea" : "falseNegativeArea"];
    area.percentSum += (100 * pixels.reduce((sum, value) => sum + (value !== 0 ? 1 : 0), 0)) / pixels.length;
    area.images++;
  }
  return counted;
}
