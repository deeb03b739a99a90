import path from "node:path";

import { z } from "zod";

import type { Dataset } from "../datasets/dataset.js";
import type { Evaluation } from "../evaluation/evaluate.js";
import type { Model } from "../models/model.js";
import { option, text } from "../errors.js";
import {
  metricsDocument,
  refuseSpecialFiles,
  removeFile,
  type RunFiles,
  runFiles,
  saveMetrics,
  saveRun,
} from "../runs/files.js";
import { mergeOptions } from "../schema/check.js";
import type { OpenOptions } from "../schema/datasets.js";
import type { DetectorOptions } from "../schema/detection.js";
import { entries } from "../schema/option.js";
import { fitOptions, trainerOptions } from "../schema/training.js";
import type { TrainerOptions } from "../schema/types.js";
import type { RankSettings } from "../training/ranks.js";
import type { CheckedOptions } from "../training/resolve.js";
import type { Tensorboard } from "../tensorboard/tensorboard.js";
import { probeFolder } from "../write.js";
import { describeModel } from "../models/describe.js";
import { picturesFor, type ReportParts } from "../runs/report.js";
import { command, interruptible, wrongUsage } from "./command.js";
import { comparisonText, evaluationText, runEvaluation, thresholdsText } from "./evaluation.js";
import { badPath, refuseInDataset, refuseInputs, refuseWithin, withoutEmptyFolders } from "./guards.js";
import { withDetector } from "./models.js";
import * as rows from "./options.js";
import { duration, output, printable, program, quoted } from "./output.js";
import { showTraining } from "./progress.js";
import { checkReportPlace, writeLast } from "./report_file.js";
import { refuseOtherRun, withWhatIsKept } from "./run_folder.js";

const { data, ...reading } = rows.dataset;

const options = z.strictObject({
  data,
  out: rows.required("RUN", "Folder for the model, the metrics, the log and the checkpoint."),
  ...reading,
  report: rows.report,
  tensorboard: rows.tensorboard,
  ...fitOptions.pick({ snapshotEvery: true, resume: true, overwrite: true }).shape,
  ...trainerOptions.shape,
});

export const train = command({
  name: "train",
  description:
    "Trains on the data set's train split and writes RUN/model.safetensors, RUN/log.jsonl and RUN/checkpoint. If the data set has a test split, it evaluates the model, with --init also the first one, and writes RUN/metrics.json. Ctrl-C keeps what has been trained.",
  options,
  examples: [
    "supersimplenet train --data data/bottle --out runs/bottle",
    "supersimplenet train --data samples.csv --out runs/tiles --backbone resnet18 --image-size 128x128 --epochs 50",
    "supersimplenet train --data data/bottle --out runs/bottle --resume",
    "supersimplenet train --data data/bottle --out runs/bottle-2 --init runs/bottle/model.safetensors",
  ],
  async run(flags) {
    output.worksOn = true;
    const plan = await planTraining(flags);
    const work = (): Promise<number> => interruptible((signal) => trainAndEvaluate(plan, signal));
    const { out, tensorboard } = plan;
    return plan.writes ? withoutEmptyFolders(tensorboard === undefined ? out : [out, tensorboard], work) : work();
  },
});

/** A training as the command line asks for it, checked as far as that is possible without reading the data. */
interface Plan {
  began: number;
  data: string;
  source: Pick<OpenOptions, "kind" | "category" | "fold" | "ignoreClass">;
  settings: TrainerOptions;
  report: string | undefined;
  /** Folder of the event files. */
  tensorboard: string | undefined;
  snapshotEvery: number | undefined;
  resume: boolean | undefined;
  overwrite: boolean | undefined;
  out: string;
  files: RunFiles;
  /** Of several processes, rank 0 writes and the others write nothing. */
  ranks: RankSettings | undefined;
  writes: boolean;
}

async function planTraining(flags: z.input<typeof options>): Promise<Plan> {
  const {
    data,
    out: folder,
    kind,
    category,
    fold,
    ignoreClass,
    report,
    tensorboard,
    snapshotEvery,
    resume,
    overwrite,
    ...settings
  } = flags;
  const out = path.resolve(folder);
  const files = runFiles(out);
  const { rankSettings } = await import("../training/ranks.js");
  const ranks = rankSettings("new Trainer", trainerOptions.shape.distributed.parse(settings.distributed));
  const writes = ranks === undefined || ranks.rank === 0;
  if (writes) refuseOtherRun(out, resume, overwrite);
  refuseInDataset("out", out, data);
  const { dir } = settings.cache ?? {};
  if (dir !== undefined) refuseInDataset("cache.dir", path.resolve(dir), data);
  const inputs = [data, settings.backboneWeights, settings.init];
  refuseInputs("out", Object.values(files), inputs);
  if (report !== undefined && writes) {
    const { report: own, checkpoint, ...others } = files;
    const place = path.resolve(report);
    refuseWithin("report", place, [checkpoint]);
    // A training that goes on writes its own report again.
    const again = overwrite || (resume && place === own);
    await checkReportPlace("report", report, { data, others: [...inputs, ...Object.values(others)], overwrite: again });
  }
  if (snapshotEvery !== undefined && tensorboard === undefined)
    throw wrongUsage(text`${option("snapshotEvery")} is for ${option("tensorboard")}, which is missing.`);
  if (tensorboard !== undefined && writes) {
    const taken = report === undefined ? Object.values(files) : [...Object.values(files), report];
    await checkEventFolder(path.resolve(tensorboard), data, taken, resume || overwrite);
  }
  const source = { kind, category, fold, ignoreClass };
  const began = performance.now();
  const asked = { began, data, source, settings, report, tensorboard, snapshotEvery, resume, overwrite };
  return { ...asked, out, files, ranks, writes };
}

/** Refuses a folder in which event files would be in the way, or be mixed with those of another training. */
async function checkEventFolder(
  folder: string,
  data: string,
  taken: readonly string[],
  again: boolean | undefined,
): Promise<void> {
  const name = "tensorboard";
  refuseInDataset(name, folder, data);
  refuseWithin(name, folder, taken);
  const { hasEvents } = await import("../tensorboard/events.js");
  if (again || !(await hasEvents(folder))) return;
  const fix = text`Give another ${option(name)}, such as a folder for each training, or ${option("overwrite")}.`;
  throw badPath(name, folder, `${folder} holds the events of another training.`, fix);
}

async function trainAndEvaluate(plan: Plan, signal: AbortSignal): Promise<number> {
  const { settings, ranks, files, out } = plan;
  const { Trainer } = await import("../training/trainer.js");
  const { options: checked } = new Trainer(settings); // wrong options are found before a large data set is read
  if (plan.writes) {
    await probeFolder(out);
    if (plan.report !== undefined) await probeFolder(path.dirname(path.resolve(plan.report)));
    if (plan.tensorboard !== undefined) await probeFolder(plan.tensorboard);
    await refuseSpecialFiles(files);
  }
  if (ranks) {
    const { rank, worldSize, masterAddress, masterPort } = ranks;
    output.log(`rank ${rank} of ${worldSize}; waiting for all of them at ${masterAddress}:${masterPort}`);
  }
  const first = plan.writes ? await firstModel(checked, ranks) : undefined;
  const dataset = await openDataset(plan);
  const published = await publishedSettings(dataset, settings);
  const trainer = new Trainer(mergeOptions(published, settings));
  if (ranks && !plan.writes) {
    await trainer.fit(dataset, { signal });
    output.result(`rank ${ranks.rank} is done; rank 0 writes the model`);
    return 0;
  }

  const { resume, overwrite, snapshotEvery } = plan;
  const board = await openBoard(plan, dataset);
  const { callbacks, started, last } = showTraining(files.log, settings.optimizer?.balancedSampling);
  const onStart: typeof callbacks.onStart = async (event) => {
    removeFile(files.quickstart); // what is here now is worth keeping
    await callbacks.onStart?.(event);
    await board?.callbacks.onStart(event);
  };
  const onEpoch: typeof callbacks.onEpoch = async (event) => {
    await callbacks.onEpoch?.(event);
    await board?.callbacks.onEpoch(event);
  };
  const onSnapshot = board?.callbacks.onSnapshot;
  const fit = { signal, out, resume, overwrite, snapshotEvery, ...callbacks, onStart, onEpoch, onSnapshot };
  const model = await trainer.fit(dataset, fit).catch((error: unknown) => {
    throw started() ? withWhatIsKept(error, resumingCommand(), out) : error;
  });
  await saveRun(files, model);
  output.done();
  output.result(`model: ${files.model}`);
  output.result(thresholdsText(model.config.thresholds));
  const told = started()?.warnings ?? [];
  const { evaluation, before, evaluated } = await evaluateModels(plan, model, first, dataset, told, signal);
  await board?.finish(model, evaluated.evaluation);
  const seconds = (performance.now() - plan.began) / 1000;
  output.result(`${duration(seconds)} in all`);
  output.document({
    model: describeModel(files.model, model.config),
    run: out,
    start: started() ?? null,
    lastEpoch: last() ?? null,
    seconds,
    evaluation,
    before,
  });
  const { config } = model;
  return plan.report === undefined
    ? 0
    : writeLast(plan.report, { modelFile: files.model, config, log: files.log, ...evaluated });
}

/** The model with which the training begins, where it begins with one. */
async function firstModel(options: CheckedOptions, ranks: RankSettings | undefined): Promise<Model | undefined> {
  if (options.init === undefined) return undefined;
  const { Model } = await import("../models/model.js");
  const { chooseDevice } = await import("../training/plan.js");
  chooseDevice(options, ranks); // reading a model opens the engine: the one for the device
  return Model.load(options.init);
}

async function openDataset({ data, source, settings }: Plan): Promise<Dataset> {
  const { datasets } = await import("../datasets/index.js");
  const { segmentedRatio, segmentedCount } = settings.masks ?? {};
  return datasets.open(data, { ...source, segmentedRatio, segmentedCount });
}

async function openBoard({ tensorboard }: Plan, dataset: Dataset): Promise<Tensorboard | undefined> {
  if (tensorboard === undefined) return undefined;
  const { openTensorboard } = await import("../tensorboard/tensorboard.js");
  const onFailure = ({ message }: Error): void =>
    output.warn(`TensorBoard: ${printable(message)} The training goes on without.`);
  const board = await openTensorboard(tensorboard, dataset, { onFailure });
  output.log(`watch it: tensorboard --logdir ${quoted(tensorboard)}`);
  return board;
}

/** The settings that were published for the data set. Tells those which the user did not give, nor the model of --init. */
async function publishedSettings(dataset: Dataset, settings: TrainerOptions): Promise<TrainerOptions> {
  const { datasets } = await import("../datasets/index.js");
  const { imageSize, pace, ...others } = datasets.publishedSettings(dataset);
  const published: TrainerOptions = settings.init === undefined ? { imageSize, pace, ...others } : others;
  const used = entries(trainerOptions).flatMap(({ path }) => {
    const value = valueAt(published, path);
    return value === undefined || valueAt(settings, path) !== undefined
      ? []
      : [`${path.at(-1)} ${JSON.stringify(value)}`];
  });
  if (used.length > 0) output.log(`${dataset.name}: published settings ${used.join(", ")}`);
  return published;
}

const valueAt = (options: object, path: readonly string[]): unknown =>
  path.reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], options);

/** The command that was called, with --resume. */
function resumingCommand(): string {
  const again = process.argv.slice(3).filter((argument) => argument !== "--overwrite" && argument !== "--resume");
  return [program, "train", ...again.map(quoted), "--resume"].join(" ");
}

/** Metrics on the test split, as metrics.json holds them. */
interface Evaluations {
  /** Null without a test split. */
  evaluation: Record<string, unknown> | null;
  /** Of the model that the training began with; null where there is none either. */
  before: Record<string, unknown> | null;
  /** For the report. */
  evaluated: Pick<ReportParts, "evaluation" | "data" | "pictures">;
}

async function evaluateModels(
  plan: Plan,
  model: Model,
  first: Model | undefined,
  dataset: Dataset,
  told: readonly string[],
  signal: AbortSignal,
): Promise<Evaluations> {
  const { files, settings } = plan;
  if (!dataset.samples.some((sample) => sample.split === "test")) {
    output.result("The data set has no test split: nothing to evaluate.");
    const evaluated = { evaluation: undefined, data: undefined, pictures: undefined };
    return { evaluation: null, before: null, evaluated };
  }
  const { device, threads, backboneWeights } = settings;
  const pictures = plan.report === undefined ? undefined : await picturesFor(dataset, "test", model.config);
  const after = await evaluateModel(model, { device, threads }, dataset, { signal, pictures });
  const evaluation = await saveMetrics(files, model, after, dataset);
  output.result(evaluationText(after, told));
  output.result(`metrics: ${files.metrics}`);
  const evaluated = { evaluation: after, data: { dataset, split: "test" as const }, pictures };
  if (!first) return { evaluation, before: null, evaluated };
  const earlier = await evaluateModel(first, { device, threads, backboneWeights }, dataset, { signal });
  output.result(comparisonText(earlier, after));
  return { evaluation, before: metricsDocument(settings.init!, first, earlier, dataset), evaluated };
}

async function evaluateModel(
  model: Model,
  options: DetectorOptions,
  dataset: Dataset,
  evaluating: Parameters<typeof runEvaluation>[2],
): Promise<Evaluation> {
  const { Detector } = await import("../detection/detector.js");
  return withDetector(Detector.load(model, options), (detector) => runEvaluation(detector, dataset, evaluating));
}
