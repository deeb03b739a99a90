import path from "node:path";

import { backboneOf } from "../backbones/choose.js";
import { weightsFile } from "../backbones/load.js";
import type { Dataset } from "../datasets/dataset.js";
import { describeUnused } from "../datasets/unused.js";
import { Detector } from "../detection/detector.js";
import { call, hasCode, invalid, option, SuperSimpleNetError, text, throwIfAborted } from "../errors.js";
import { evaluate, type Evaluation, outcome } from "../evaluation/evaluate.js";
import { evaluateScores } from "../evaluation/metrics.js";
import { decodeMask } from "../images/mask.js";
import { check } from "../schema/check.js";
import { fullDepth } from "../schema/common.js";
import { experimentOptions } from "../schema/experiments.js";
import { trainerDefaults } from "../schema/training.js";
import type { Settings, TrainerOptions } from "../schema/types.js";
import type { EpochEvent } from "../training/events.js";
import { Trainer } from "../training/trainer.js";
import { packageVersion } from "../native/locate.js";
import { emptyFolders, probeFolder, writeJson, writeWholeFile } from "../write.js";
import { decisive, Parts, plan, type PlannedRun, shardOf } from "./plan.js";
import { checkProtocol, type Protocol, type ProtocolName, protocols } from "./protocols.js";
import { type Published, readPublished } from "./published.js";
import { appendResult, type Misclassification, optionDifferences, readResults, type RunResult } from "./results.js";
import { type ExperimentTable, tableDocument, tableMarkdown, tabulate } from "./tables.js";

/** Options of experiment. */
export interface ExperimentOptions extends Settings<typeof experimentOptions> {
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

/** What an experiment has come to. */
export interface ExperimentReport {
  table: ExperimentTable;
  /** The files that hold it. */
  files: { markdown: string; json: string };
  /** This call's runs: how many there are, how many were done before, and which diverged and so have no result. */
  runs: { planned: number; skipped: number; diverged: string[] };
}

/** A run that is still to be done, with its data. */
interface PreparedRun {
  run: PlannedRun;
  dataset: Dataset;
  data: RunResult["data"];
}

/**
 * Runs a protocol of the paper's experimental section: every run that `out` does not hold yet, then writes the tables
 * `NAME.md` and `NAME.json` there. All data sets are opened, and their labels checked, before the first training. A run
 * whose loss diverges is reported and left out. Any other error ends the experiment; the next call goes on with the run
 * that failed.
 *
 * Errors: INVALID_OPTION, also when a run is in `out` with other options or data; DATASET_INVALID; WEIGHTS_MISSING;
 * FILE_CORRUPT for damaged results or published numbers; those of training and evaluation; ABORTED.
 */
export async function experiment(name: ProtocolName, options: ExperimentOptions): Promise<ExperimentReport> {
  checkProtocol("experiment", name);
  const where = `experiment ${name}`;
  const { out, seeds, shard, published: publishedFile } = check(where, experimentOptions, options);
  const { data, categories, training = {}, signal, onEvent } = options;
  new Trainer(training as TrainerOptions); // the rules across its options
  const published = publishedFile === undefined ? undefined : await readPublished(publishedFile);
  if (data === undefined) {
    await checkTablesOnly(where, name, options);
    return { ...(await writeTables(name, out, published)), runs: { planned: 0, skipped: 0, diverged: [] } };
  }

  const parts = new Parts();
  const planned = await plan(name, { data, seeds, training, categories }, parts);
  const runs = shardOf(planned, shard);
  throwIfAborted(signal);
  for (const run of runs) checkWeights(where, run);
  const removeEmpty = emptyFolders(out);
  await probeFolder(out);
  const prepared = await prepareRuns(where, runs, parts, options).catch((error: unknown) => {
    removeEmpty();
    throw error;
  });
  const skipped = runs.length - prepared.length;
  onEvent?.({ type: "plan", runs: runs.length, done: skipped, warnings: datasetWarnings(prepared) });
  const file = path.join(out, shard.count === 1 ? "results.jsonl" : `results-${shard.index}-of-${shard.count}.jsonl`);
  let done = skipped;
  try {
    const diverged = await performRuns(name, prepared, file, options, () => done++);
    return { ...(await writeTables(name, out, published)), runs: { planned: runs.length, skipped, diverged } };
  } catch (error) {
    // The runs that are done get their tables, whatever ended the others.
    if (done > 0) await writeTables(name, out, published);
    throw error;
  }
}

/** Without data there must be results in the folder, and no option that only trainings have. */
async function checkTablesOnly(where: string, name: ProtocolName, options: ExperimentOptions): Promise<void> {
  for (const trainingOption of ["seeds", "categories", "shard", "training"] as const)
    if (options[trainingOption] !== undefined)
      throw invalid(where, "data", text`a data set, for ${option(trainingOption)} is given,`, options.data);
  const results = await readResults(options.out);
  if (![...results.values()].some((result) => result.protocol === name)) {
    const expected = `a data set, for ${options.out} has no results of ${name} to make tables of,`;
    throw invalid(where, "data", expected, options.data);
  }
}

async function writeTables(
  name: ProtocolName,
  out: string,
  published: Published | undefined,
): Promise<Omit<ExperimentReport, "runs">> {
  const table = tabulate(name, (await readResults(out)).values(), published);
  const files = { markdown: path.join(out, `${name}.md`), json: path.join(out, `${name}.json`) };
  await writeWholeFile(files.markdown, tableMarkdown(table));
  await writeJson(files.json, tableDocument(table));
  return { table, files };
}

/** Finds out before hours of training that weights are missing. One file cannot serve several backbones. */
function checkWeights(where: string, { condition, options }: PlannedRun): void {
  const { backboneWeights = trainerDefaults.backboneWeights } = options;
  const { backbone = backboneOf(backboneWeights) } = options;
  if (backboneWeights === "random") return;
  if (condition.options.backbone !== undefined && backboneWeights !== "auto") {
    const expected = "'auto' or 'random', for the protocol uses several backbones,";
    throw invalid(where, "training.backboneWeights", expected, backboneWeights);
  }
  weightsFile(where, backbone, backboneWeights);
}

/** Opens the data of the runs that `out` does not hold. Refuses a run that it holds with other options or data. */
async function prepareRuns(
  where: string,
  runs: readonly PlannedRun[],
  parts: Parts,
  { out, signal }: ExperimentOptions,
): Promise<PreparedRun[]> {
  const results = await readResults(out);
  const prepared: PreparedRun[] = [];
  for (const run of runs) {
    throwIfAborted(signal);
    const { dataset, data } = await parts.of(run);
    const before = results.get(run.key);
    if (before === undefined) {
      prepared.push({ run, dataset, data });
      continue;
    }
    // Older results have no bit depth: all 16 bits were read.
    const differences = optionDifferences({ bitDepth: fullDepth, ...before.options }, decisive(run));
    if (before.data.samples !== data.samples) differences.push("other images or labels");
    if (differences.length === 0) continue;
    const what = text`${call(where)}: ${out} holds ${run.key} with other options: ${differences.join(", ")}.`;
    const fix = "Give the same again, or another folder.";
    throw new SuperSimpleNetError("INVALID_OPTION", what, { option: "out", path: out, fix });
  }
  return prepared;
}

function datasetWarnings(prepared: readonly PreparedRun[]): string[] {
  const all = prepared.flatMap(({ dataset }) =>
    [...(dataset.warnings ?? []), ...describeUnused(dataset)].map((text) => `${dataset.name}: ${text}`),
  );
  return [...new Set(all)];
}

/** Trains and evaluates every run and appends its result to the file. Returns the keys of the runs that diverged. */
async function performRuns(
  name: ProtocolName,
  prepared: readonly PreparedRun[],
  file: string,
  options: ExperimentOptions,
  onFinished: () => void,
): Promise<string[]> {
  const { signal, onEvent } = options;
  const diverged: string[] = [];
  for (const [i, one] of prepared.entries()) {
    const { key } = one.run;
    throwIfAborted(signal);
    onEvent?.({ type: "run", key, index: i + 1, runs: prepared.length });
    try {
      const result = await perform(name, one, options);
      await appendResult(file, result);
      onEvent?.({ type: "done", key, result, left: prepared.length - i - 1 });
    } catch (error) {
      if (!hasCode(error, "DIVERGED")) throw error;
      diverged.push(key);
      onEvent?.({ type: "diverged", key, error });
    }
    onFinished();
  }
  return diverged;
}

async function perform(
  name: ProtocolName,
  { run, dataset, data }: PreparedRun,
  { signal, onEvent }: ExperimentOptions,
): Promise<RunResult> {
  const began = performance.now();
  const { key, source, condition, order, part, seed } = run;
  const model = await new Trainer({ ...run.options, distributed: false }).fit(dataset, {
    signal,
    onEpoch: (epoch) => onEvent?.({ type: "epoch", key, epoch }),
  });
  const { device, threads } = run.options;
  const detector = await Detector.load(model, { device, threads });
  try {
    const evaluation = await evaluate(detector, dataset, {
      signal,
      onProgress: (done, total) => onEvent?.({ type: "evaluate", key, done, total }),
    });
    const { title, summary, published } = condition;
    const protocol: Protocol = protocols[name];
    return {
      format: 1,
      key,
      protocol: name,
      dataset: source.name,
      published: source.published ?? null,
      condition: { name: condition.name, title, ...(summary && { summary }), ...(published && { published }) },
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
  const logits = samples.map(({ logit }) => logit);
  const labels = samples.map(({ label }) => label);
  const scores = await evaluateScores(logits, labels);
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
    counted[outcome(label, hit)]++;
    if (label === "normal" || mask === null) continue;
    const { pixels, marked } = await decodeMask(mask);
    const area = counted[hit ? "truePositiveArea" : "falseNegativeArea"];
    area.percentSum += (100 * marked) / pixels.length;
    area.images++;
  }
  return counted;
}
