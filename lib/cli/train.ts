import { existsSync, rmSync } from "node:fs";
import path from "node:path";

import { architectures } from "../schema/common.js";
import type { DatasetKind } from "../schema/datasets.js";
import { regimes as REGIMES } from "../schema/regimes.js";
import type { Regime } from "../datasets/types.js";
import { fileError, SuperSimpleNetError } from "../errors.js";
import type { Model } from "../models/model.js";
import {
  publishedNoiseStd,
  type FitOptions,
  regimePresets,
  type RelativeNoise,
  trainerDefaults as defaults,
  type TrainerOptions,
} from "../training/options.js";
import { rankDefaults, rankSettings } from "../training/ranks.js";
import { probeFolder, writeWholeFile } from "../write.js";
import { evaluationDocument, evaluationText, runEvaluation } from "./evaluation.js";
import { interruptible } from "./interrupt.js";
import {
  choice,
  command,
  flag,
  integer,
  number,
  numbers,
  onOff,
  size,
  text,
  type ValueOption,
  type Values,
} from "./options.js";
import { duration, output } from "./output.js";
import { refuseInDataset, refuseInputs, withoutEmptyFolders } from "./places.js";
import { showTraining } from "./progress.js";
import { describeModel, given, program, quoted, shared, withDetector } from "./shared.js";

/** The presets of one field, as --help shows them: "0.2 unsupervised, weak; 0.6 mixed, full". */
function byRegime(field: keyof typeof regimePresets.full): string {
  const groups = new Map<string, Regime[]>();
  for (const regime of REGIMES) {
    const value = regimePresets[regime][field];
    const shown =
      typeof value === "object"
        ? `${value.w},${value.p}`
        : value === false && field === "distanceWeight"
          ? "none"
          : String(value);
    groups.set(shown, [...(groups.get(shown) ?? []), regime]);
  }
  return [...groups].map(([value, regimes]) => `${value} ${regimes.join(", ")}`).join("; ");
}

const noise: ValueOption<number | RelativeNoise> = {
  placeholder: "S|relative:R",
  help: "latent noise: a standard deviation, or R times the features' own",
  default: `${publishedNoiseStd} for the trained ${defaults.backbone}, else relative`,
  parse(value) {
    const match = /^(relative:)?(.+)$/.exec(value);
    const scale = Number(match?.[2]);
    if (!(scale > 0 && Number.isFinite(scale))) throw new Error("a number above 0, or relative:NUMBER");
    return match?.[1] ? { relative: scale } : scale;
  },
};

const layers: ValueOption<string[]> = {
  placeholder: "NAME,...",
  help: "layers that feed the heads",
  default: defaults.layers.join(","),
  parse: (value) => value.split(","),
};

const options = {
  data: shared.data,
  out: text("RUN", "folder for the model, metrics, log and checkpoint", { required: true }),
  dataset: shared.dataset,
  category: shared.category,
  fold: shared.fold,
  regime: choice(["auto", ...REGIMES], "which labels to learn from; auto goes by the labels found", {
    default: defaults.regime,
  }),
  backbone: choice(architectures, "frozen network whose features are used", { default: defaults.backbone }),
  "backbone-weights": text(
    "FILE",
    "its weights (.safetensors or .pth); auto takes the cache folder, random is for demonstrations",
    { default: defaults.backboneWeights },
  ),
  "image-size": size("images are resized to it", { default: defaults.imageSize }),
  epochs: integer("N", "passes over the training images", { min: 1, default: defaults.epochs }),
  batch: integer("N", "images per step", { min: 1, default: defaults.batchSize }),
  seed: integer("N", "same seed, data and machine: the same model file", { min: 0, default: defaults.seed }),
  device: shared.device,
  precision: choice(["float32", "tf32", "bfloat16"], "of the wide matrix products; tf32 is for CUDA", {
    default: defaults.precision,
  }),
  threads: shared.threads,
  variant: choice(["jims", "icpr"], "which published network", { default: defaults.variant }),
  resume: flag("continue from the checkpoint in RUN"),
  overwrite: flag("replace the run in RUN"),
  layers,
  resize: choice(["bilinear", "antialias"], "how images are resized", { default: defaults.resize }),
  "align-corners": onOff("of the feature upscaling", { default: defaults.alignCorners }),
  "noise-std": noise,
  "perlin-threshold": number("X", "threshold of the synthetic anomalies' masks", {
    default: byRegime("perlinThreshold"),
  }),
  "mask-dilation": integer("PX", "side of the square that dilates training masks; 0 does not", {
    min: 0,
    default: byRegime("maskDilation"),
  }),
  "distance-weight": numbers("W,P", "weight and power of the distance weight", {
    count: 2,
    default: byRegime("distanceWeight"),
  }),
  "no-distance-weight": flag("weigh all pixels the same"),
  "stop-gradient": onOff("keep the score's gradient out of the map", { default: byRegime("stopGradient") }),
  "balanced-sampling": onOff("as many normal as anomalous images per epoch", { default: byRegime("balancedSampling") }),
  "gradient-clip": number("X", "limit of the gradient norm; 0 does not clip", {
    min: 0,
    default: byRegime("gradientClip"),
  }),
  "adaptor-lr": number("X", "learning rate of the adaptor", { min: 0, default: defaults.adaptorLearningRate }),
  "heads-lr": number("X", "learning rate of both heads", { min: 0, default: defaults.headsLearningRate }),
  "adaptor-weight-decay": number("X", "weight decay of the adaptor", { min: 0, default: defaults.adaptorWeightDecay }),
  "heads-weight-decay": number("X", "weight decay of both heads", { min: 0, default: defaults.headsWeightDecay }),
  "lr-milestones": numbers("A,B", "shares of the epochs after which the learning rates fall", {
    default: defaults.learningRateMilestones,
  }),
  "lr-factor": number("X", "what they are multiplied by then", { min: 0, default: defaults.learningRateFactor }),
  "segmented-ratio": number("X", "share of the anomalous training images that keep their masks", {
    min: 0,
    max: 1,
    default: "all masks there are",
  }),
  "segmented-count": integer("N", "the same as a number of images", { min: 0 }),
  "calibration-fraction": number(
    "X",
    "share of the training images held out to set the thresholds; 0 leaves them at 0.5",
    { min: 0, max: 0.5, default: defaults.calibrationFraction },
  ),
  "feature-cache-mib": integer("MIB", "memory for cached backbone features", {
    min: 0,
    default: defaults.featureCacheMiB,
  }),
  "feature-cache-host-mib": integer("MIB", "with a GPU: page-locked memory of the host for what does not fit there", {
    min: 0,
    default: defaults.featureCacheHostMiB,
  }),
  "feature-cache-file-mib": integer("MIB", "disk space to keep them for the next training; 0 does not", {
    min: 0,
    default: defaults.featureCacheFileMiB,
  }),
  "feature-cache-dir": text("FOLDER", "where", { default: "features in the cache folder" }),
  "feature-cache-precision": choice(
    ["float32", "float16"],
    "of backbone features; float16 takes half the space and rounds them",
    { default: defaults.featureCachePrecision },
  ),
  "cuda-graphs": integer("N", "with a GPU: for how many sizes of steps the work is kept as a CUDA graph; 0: none", {
    min: 0,
    max: 64,
    default: defaults.cudaGraphs,
  }),
  heads: shared.heads,
  upscale: onOff("ablation: upscale the features", { default: defaults.upscale }),
  "classification-head": choice(["standard", "complex", "mapMax"], "ablation: what makes the score", {
    default: defaults.classificationHead,
  }),
  "map-input": onOff("ablation: the classification head sees the map", { default: defaults.mapInput }),
  "synthetic-anomalies": choice(["perlin", "simplenet", "none"], "ablation: how they are made", {
    default: defaults.syntheticAnomalies,
  }),
  overlap: onOff("ablation: synthetic anomalies on real defects too", { default: defaults.overlap }),
  loss: choice(["default", "truncatedL1"], "ablation: of the map", { default: defaults.loss }),
  distributed: choice(
    ["auto", "off"],
    "train with other processes if the environment says so, as torchrun sets it (docs/distributed.md)",
    { default: defaults.distributed },
  ),
  "rank-timeout": number("S", "seconds after which a process from which nothing is heard has failed", {
    min: 1,
    default: rankDefaults.timeoutSeconds,
  }),
  "join-timeout": number("S", "seconds to wait for all processes to come", {
    min: 1,
    default: rankDefaults.joinTimeoutSeconds,
  }),
  nccl: onOff("several processes: sum gradients by NCCL where each has a GPU of its own", { default: true }),
  "embed-backbone": onOff("store the backbone in the model file", { default: "unless it comes from the cache folder" }),
};

type TrainValues = Values<typeof options>;

function distributedOption(values: TrainValues): TrainerOptions["distributed"] {
  if (values.distributed === "off") return false;
  const settings = given({
    timeoutSeconds: values["rank-timeout"],
    joinTimeoutSeconds: values["join-timeout"],
    nccl: values.nccl,
  });
  return Object.keys(settings).length > 0 ? settings : values.distributed;
}

function trainerOptions(values: TrainValues): TrainerOptions {
  const weight = values["distance-weight"];
  if (values["no-distance-weight"] && weight)
    throw new SuperSimpleNetError(
      "INVALID_OPTION",
      "train: --distance-weight and --no-distance-weight exclude each other.",
    );
  // A type that names every field: one that is added to TrainerOptions must be given its option here.
  const all: { [Field in keyof Required<TrainerOptions>]: TrainerOptions[Field] } = {
    backbone: values.backbone,
    backboneWeights: values["backbone-weights"],
    layers: values.layers,
    imageSize: values["image-size"],
    resize: values.resize,
    variant: values.variant,
    alignCorners: values["align-corners"],
    regime: values.regime,
    epochs: values.epochs,
    batchSize: values.batch,
    seed: values.seed,
    threads: values.threads,
    device: values.device,
    precision: values.precision,
    adaptorLearningRate: values["adaptor-lr"],
    headsLearningRate: values["heads-lr"],
    adaptorWeightDecay: values["adaptor-weight-decay"],
    headsWeightDecay: values["heads-weight-decay"],
    learningRateMilestones: values["lr-milestones"],
    learningRateFactor: values["lr-factor"],
    gradientClip: values["gradient-clip"],
    noiseStd: values["noise-std"],
    perlinThreshold: values["perlin-threshold"],
    maskDilation: values["mask-dilation"],
    distanceWeight: values["no-distance-weight"] ? false : weight && { w: weight[0]!, p: weight[1]! },
    stopGradient: values["stop-gradient"],
    balancedSampling: values["balanced-sampling"],
    segmentedRatio: values["segmented-ratio"],
    segmentedCount: values["segmented-count"],
    calibrationFraction: values["calibration-fraction"],
    featureCacheMiB: values["feature-cache-mib"],
    featureCacheHostMiB: values["feature-cache-host-mib"],
    featureCacheFileMiB: values["feature-cache-file-mib"],
    featureCacheDir: values["feature-cache-dir"],
    featureCachePrecision: values["feature-cache-precision"],
    cudaGraphs: values["cuda-graphs"],
    heads: values.heads,
    upscale: values.upscale,
    classificationHead: values["classification-head"],
    mapInput: values["map-input"],
    syntheticAnomalies: values["synthetic-anomalies"],
    overlap: values.overlap,
    loss: values.loss,
    distributed: distributedOption(values),
    embedBackbone: values["embed-backbone"],
  };
  return given(all);
}

/** Says that the folder is quickstart's own. */
export const quickstartMarker = "quickstart.json";

/** The files of a run. */
export const runFiles = (out: string): { model: string; metrics: string; log: string; checkpoint: string } => ({
  model: path.join(out, "model.safetensors"),
  metrics: path.join(out, "metrics.json"),
  log: path.join(out, "log.jsonl"),
  checkpoint: path.join(out, "checkpoint"),
});

/** Refuses to mix two runs. Nothing is written. */
function checkRun(out: string, { resume, overwrite }: { resume: boolean; overwrite: boolean }): void {
  if (resume && overwrite)
    throw new SuperSimpleNetError("INVALID_OPTION", "train: --resume and --overwrite exclude each other.");
  const files = runFiles(out);
  if (!resume && !overwrite) {
    const found = existsSync(files.model)
      ? "a finished model"
      : existsSync(files.checkpoint)
        ? "the checkpoint of an unfinished training"
        : undefined;
    if (found)
      throw new SuperSimpleNetError(
        "INVALID_OPTION",
        `train: ${out} already holds ${found}. Give another --out, --resume to continue it, or --overwrite to replace it.`,
        { path: out },
      );
  }
}

function remove(file: string): void {
  try {
    rmSync(file, { recursive: true, force: true });
  } catch (error) {
    throw fileError(error, "remove", file);
  }
}

/** Writes the model. Metrics of another model never stand beside it. */
export async function saveRun(out: string, model: Model): Promise<void> {
  remove(runFiles(out).metrics);
  await model.save(runFiles(out).model);
}

/** What ends a training that has begun says what is kept. After a divergence the checkpoint would lead to the same again. */
export function explainEnd(error: unknown, resume: string, checkpoint: string): unknown {
  if (!(error instanceof SuperSimpleNetError) || error.code === "DIVERGED") return error;
  const what = error.code === "ABORTED" ? "Interrupted." : error.message.replace(/(?<![.!?])$/, ".");
  const kept = existsSync(checkpoint)
    ? `The checkpoint of the last whole epoch is kept; continue${error.code === "RANK_FAILED" ? " on all ranks" : ""} with: ${resume}`
    : "No epoch was finished, so nothing is kept.";
  return new SuperSimpleNetError(error.code, `${what} ${kept}`, {
    cause: error,
    problems: error.problems,
    ...(error.path !== undefined && { path: error.path }),
  });
}

export const train = command({
  name: "train",
  summary: "train a model on a folder of images and evaluate it",
  description:
    "Trains on the data set's train split, writes RUN/model.safetensors, RUN/log.jsonl and RUN/checkpoint, and, when the data has a test split, evaluates the model into RUN/metrics.json. Ctrl-C keeps the checkpoint of the last epoch.",
  options,
  examples: [
    "supersimplenet train --data data/bottle --out runs/bottle",
    "supersimplenet train --data samples.csv --out runs/tiles --backbone resnet18 --image-size 128x128 --epochs 50",
    "supersimplenet train --data data/bottle --out runs/bottle --resume",
  ],
  async run(values) {
    const began = performance.now();
    output.worksOn = true;
    const out = path.resolve(values.out);
    const files = runFiles(out);
    const settings = trainerOptions(values);
    // Of several processes, rank 0 writes, and the others write nothing.
    const ranks = rankSettings("new Trainer", settings.distributed ?? defaults.distributed);
    const writes = ranks === undefined || ranks.rank === 0;
    if (writes) checkRun(out, values);
    refuseInDataset("train", "--out", out, values.data);
    if (values["feature-cache-dir"] !== undefined)
      refuseInDataset("train", "--feature-cache-dir", path.resolve(values["feature-cache-dir"]), values.data);
    refuseInputs("train", "--out", Object.values(files), [values.data, values["backbone-weights"]]);
    const { datasets } = await import("../datasets/index.js");
    const { Trainer } = await import("../training/trainer.js");
    const { Detector } = await import("../detection/detector.js");
    const progress = showTraining(files.log, settings.balancedSampling);

    const run = (): Promise<number> =>
      interruptible(async (signal) => {
        new Trainer(settings); // wrong options are found before a large data set is read
        if (writes) await probeFolder(out);
        if (ranks)
          output.log(
            `rank ${ranks.rank} of ${ranks.worldSize}; waiting for all of them at ${ranks.masterAddress}:${ranks.masterPort}`,
          );
        const { segmentedRatio, segmentedCount } = settings;
        const dataset = await datasets.open(values.data, {
          kind: values.dataset as DatasetKind | undefined,
          category: values.category,
          fold: values.fold,
          segmentedRatio,
          segmentedCount,
        });
        const published = datasets.publishedSettings(dataset);
        const used = Object.entries(published).filter(([name]) => !(name in settings));
        if (used.length > 0)
          output.log(
            `${dataset.name}: published settings ${used.map(([name, value]) => `${name} ${JSON.stringify(value)}`).join(", ")}`,
          );
        const trainer = new Trainer({ ...published, ...settings });
        const again = process.argv.slice(3).filter((argument) => argument !== "--overwrite" && argument !== "--resume");
        const resume = [program, "train", ...again.map(quoted), "--resume"].join(" ");
        if (!writes) {
          await trainer.fit(dataset, { signal });
          output.result(`rank ${ranks.rank} is done; rank 0 writes the model`);
          return 0;
        }
        const callbacks: FitOptions = {
          ...progress.callbacks,
          onStart(event) {
            remove(path.join(out, quickstartMarker)); // what is here now is worth keeping
            progress.callbacks.onStart?.(event);
          },
        };
        const model = await trainer
          .fit(dataset, { signal, out, resume: values.resume, overwrite: values.overwrite, ...callbacks })
          .catch((error: unknown) =>
            Promise.reject(progress.started() === undefined ? error : explainEnd(error, resume, files.checkpoint)),
          );
        await saveRun(out, model);
        output.done();
        output.result(`model: ${files.model}`);

        let metrics: Record<string, unknown> | null = null;
        if (dataset.samples.some((sample) => sample.split === "test")) {
          const load = Detector.load(model, given({ device: settings.device, threads: settings.threads }));
          const evaluation = await withDetector(load, (detector) => runEvaluation(detector, dataset, { signal }));
          metrics = {
            model: describeModel(path.basename(files.model), model.config),
            ...evaluationDocument(evaluation, dataset, "test"),
          };
          await writeWholeFile(files.metrics, `${JSON.stringify(metrics, null, 2)}\n`);
          output.result(evaluationText(evaluation));
          output.result(`metrics: ${files.metrics}`);
        } else {
          output.result("The data set has no test split: nothing to evaluate.");
        }
        const seconds = (performance.now() - began) / 1000;
        output.result(`${duration(seconds)} in all`);
        output.document({
          model: describeModel(files.model, model.config),
          run: out,
          start: progress.started() ?? null,
          lastEpoch: progress.last() ?? null,
          seconds,
          evaluation: metrics,
        });
        return 0;
      });
    return writes ? withoutEmptyFolders(out, run) : run();
  },
});
