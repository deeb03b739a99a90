import { createHash } from "node:crypto";

import { type BackboneChoice, chooseBackbone, isNamed } from "../backbones/choose.js";
import { type Backbone, loadBackbone, weightsFile } from "../backbones/load.js";
import { type SettledCalibration, settleCalibration } from "../calibration/method.js";
import { supportWarnings } from "../calibration/thresholds.js";
import { crossFitFolds, splitCalibration } from "../datasets/calibration.js";
import { examplesPerEpoch } from "../datasets/order.js";
import { applyRegime, limitSegmented } from "../datasets/regime.js";
import type { Dataset, Sample } from "../datasets/dataset.js";
import { validateDataset } from "../datasets/validate.js";
import { applyMemory } from "../images/budget.js";
import { availableCores } from "../machine.js";
import { networkConfigOf } from "../models/config.js";
import { applyThreads, checkPrecision, type ChosenDevice, resolveDevice } from "../native/device.js";
import { engine } from "../native/engine.js";
import { packageVersion } from "../native/locate.js";
import { describeSamples } from "../view/describe.js";
import { isPlain } from "../view/layout.js";
import { defectWarnings, type ViewNumbers } from "../view/numbers.js";
import { type Checkpoint, type Fingerprint, readCheckpoint, savedOption } from "./checkpoint.js";
import type { FitOptions, StageReporter } from "./events.js";
import { type Init, initBackbone, initFingerprint } from "./init.js";
import { type ChosenPrecision, choosePrecision, type TrainingPrecision } from "./precision.js";
import { TilePlan } from "./examples/tile_plan.js";
import type { Ranks, RankSettings } from "./ranks.js";
import {
  type CheckedOptions,
  epochsOf,
  eyeOf,
  networkOf,
  recordedOptions,
  type ResolvedOptions,
  resolveOptions,
  type SettledOptions,
} from "./resolve.js";

/** A call of fit. `options.out` is absent where another process writes the files. */
export interface FitCall {
  options: FitOptions;
  ranks: Ranks | undefined;
  stages: StageReporter;
}

type PlannedOptions = ResolvedOptions & {
  epochs: number;
  calibration: SettledCalibration;
  precision: TrainingPrecision;
};

/** What one training does, settled before its first step. */
export interface TrainingPlan {
  settings: PlannedOptions;
  device: string;
  deviceReason: string;
  /** Why that precision, where it was to be chosen; else null. */
  precisionReason: string | null;
  threads: number;
  backbone: Backbone;
  /** The model with whose heads the training begins; without one they are random. */
  init: Init | undefined;
  /** Why it is not the paper's backbone, where nobody asked for another one. */
  backboneReason: string | null;
  /** Training images whose labels the regime allows. */
  fit: readonly Sample[];
  /** What imageId says of the images in `fit`. */
  images: readonly string[];
  /** Where the view has tiles: those of the images in `fit`. */
  tiles: TilePlan | undefined;
  /** What it makes of them; null where each is seen as a whole. */
  view: ViewNumbers | null;
  /** Images that the thresholds are set on: held out of the training, or those of `fit` that are in a fold. */
  calibration: readonly Sample[];
  /** Cross-fitting: the places in `fit` that each fold holds out; else empty. */
  folds: readonly (readonly number[])[];
  fingerprint: Fingerprint;
  /** Where a training that is resumed goes on. */
  checkpoint: Checkpoint | undefined;
  warnings: string[];
}

/**
 * Checks the data, loads backbone and checkpoint, and makes sure that all processes train the same. With `init`, `asked` is
 * what loadInit made of the options.
 */
export async function planTraining(
  asked: CheckedOptions,
  init: Init | undefined,
  data: Dataset,
  call: FitCall,
): Promise<TrainingPlan> {
  const { ranks, stages } = call;
  const { signal, out, resume } = call.options;
  applyMemory(asked.memoryMiB);
  const { reason: backboneReason, ...chosen } = await settleBackbone(asked, call);
  const options = { ...asked, ...chosen };
  const { device, reason: deviceReason } = chooseDevice(options, ranks?.settings);
  checkPrecision("new Trainer", options.precision, device);
  // Missing weights are found out before all images are read.
  const known = init && (await initBackbone(init, options.backboneWeights, signal));
  if (!known && options.backboneWeights !== "random")
    weightsFile("new Trainer", chosen.backbone, chosen.backboneWeights);
  const {
    settings: resolved,
    fit,
    images,
    tiles,
    view,
    calibration,
    folds,
    content,
    warnings,
  } = await planData(options, data, call);

  stages.report("load", 0, 1);
  const threads = await applyThreads("new Trainer", resolved.threads ?? threadsOf(ranks?.settings));
  const { precision, reason: precisionReason } = await settlePrecision(resolved, device, threads, call);
  checkPrecision("new Trainer", precision, device);
  const settings = { ...resolved, precision };
  const { backbone: architecture, backboneWeights: weights, seed } = settings;
  const backbone = known ?? (await loadBackbone({ architecture, weights, seed, signal }));
  if (!backbone.trained)
    warnings.push("The backbone has random weights: fine for a trial, not for finding real defects.");
  if (init) warnings.push(thresholdsStay(init));
  const fingerprint = {
    ...recordedOptions(settings),
    ...initFingerprint(init),
    backboneSha256: backbone.sha256,
    trainingData: content,
  };
  await ranks?.agree({ version: packageVersion, ...fingerprint });
  const checkpoint = resume ? await readCheckpoint(out!, fingerprint) : undefined;
  if (checkpoint?.threads !== undefined && checkpoint.threads !== threads && device === "cpu")
    warnings.push(
      `The checkpoint was computed with ${checkpoint.threads} threads and goes on with ${threads}: the model differs in the last bits from one trained without interruption.`,
    );
  stages.report("load", 1, 1);
  return {
    settings,
    device,
    deviceReason,
    precisionReason,
    threads,
    backbone,
    init,
    backboneReason,
    fit,
    images,
    tiles,
    view,
    calibration,
    folds,
    fingerprint,
    checkpoint,
    warnings,
  };
}

const thresholdsStay = ({ name }: Init): string =>
  `The thresholds stay those of ${name}. Set them on good parts that the model has not seen: 'supersimplenet calibrate --model MODEL --good DIR'.`;

/** Where nobody names a backbone, rank 0 chooses for all: the others may have other weights on their machines. */
async function settleBackbone(asked: CheckedOptions, { ranks, options }: FitCall): Promise<BackboneChoice> {
  const own = chooseBackbone(asked, options.resume ? await savedOption(options.out!, "backbone") : undefined);
  const first = ranks && (await ranks.fromFirst(own));
  return first && !isNamed(asked) ? first : own;
}

/** What was asked for, what a checkpoint has, or what suits the machine: then rank 0 chooses for all. */
async function settlePrecision(
  { precision, network }: ResolvedOptions,
  device: string,
  threads: number,
  { ranks, options }: FitCall,
): Promise<ChosenPrecision> {
  if (precision !== "auto") return { precision, reason: null };
  const saved = options.resume ? await savedOption(options.out!, "precision") : undefined;
  const choose = (): Promise<ChosenPrecision> => choosePrecision({ saved, device, threads, heads: network.heads });
  if (!ranks) return choose();
  return ranks.fromFirst(ranks.first ? await choose() : undefined);
}

interface DataPlan extends Pick<
  TrainingPlan,
  "fit" | "images" | "tiles" | "view" | "calibration" | "folds" | "warnings"
> {
  settings: ResolvedOptions & { epochs: number; calibration: SettledCalibration };
  /** Number and digest of the training images, for the fingerprint. */
  content: string;
}

/** Reads every image once, settles the regime and chooses the images of the calibration. */
async function planData(options: SettledOptions, data: Dataset, call: FitCall): Promise<DataPlan> {
  const { imageSize, view, bitDepth, regime, masks } = options;
  const { signal } = call.options;
  const inTiles = view.tiles.size !== undefined;
  const { segmentedRatio, segmentedCount } = masks;
  const dataset = limitSegmented(data, { segmentedRatio, segmentedCount });
  const validated = await validateDataset(dataset, {
    ...(!inTiles && { imageSize }),
    bitDepth,
    regime,
    signal,
    onProgress: ({ checked, total }) => call.stages.report("validate", checked, total),
  });
  const training = applyRegime(dataset, validated.regime).samples.filter((sample) => sample.split === "train");
  const resolved = resolveOptions({ ...options, bitDepth: validated.bitDepth }, validated.regime);
  const { settled, chosen } = chooseImages(training, resolved, call.ranks?.settings.worldSize ?? 1);
  const { batchSize, optimizer } = resolved;
  const { balancedSampling: balanced } = optimizer;
  const labels = chosen.fit.map((sample) => sample.label);
  const tiles = inTiles ? await TilePlan.lay(chosen.fit, resolved, signal) : undefined;
  const tilesPerEpoch = tiles?.perEpoch([...labels.keys()]) ?? null;
  const examples = tilesPerEpoch ?? examplesPerEpoch({ labels, balanced, flips: balanced });
  const { view: numbers, doubts } = await describeImages(training, resolved, tilesPerEpoch, signal);
  const epochs = epochsOf(resolved, Math.ceil(examples / batchSize));
  const settings = { ...resolved, epochs, calibration: settled.calibration };
  const warnings = [...validated.warnings, ...doubts, ...settled.warnings, ...chosen.warnings];
  const ids = new Map(training.map((sample, i) => [sample, validated.trainingImages[i]!]));
  const images = chosen.fit.map((sample) => ids.get(sample)!);
  const content = contentDigest(training, validated.trainingContent);
  return { settings, ...chosen, images, tiles, view: numbers, content, warnings };
}

/** Settles how thresholds are set, and on which of the training images. */
export function chooseImages(
  training: readonly Sample[],
  resolved: ResolvedOptions,
  processes: number,
): {
  settled: ReturnType<typeof settleCalibration<ResolvedOptions["calibration"]>>;
  chosen: Pick<TrainingPlan, "fit" | "calibration" | "folds" | "warnings">;
} {
  const settled = settleCalibration(resolved.calibration, { ...countLabels(training), processes });
  return { settled, chosen: calibrationImages(training, { ...resolved, calibration: settled.calibration }) };
}

/** What the view makes of the images; null where each is seen as a whole. And what is doubtful about it, whatever the view. */
async function describeImages(
  training: readonly Sample[],
  resolved: ResolvedOptions,
  tilesPerEpoch: number | null,
  signal: AbortSignal | undefined,
): Promise<{ view: ViewNumbers | null; doubts: string[] }> {
  const network = networkOf(resolved);
  const eye = eyeOf(resolved);
  const plain = isPlain(eye.view) && training.every(({ roi, ignore }) => roi === undefined && ignore === undefined);
  const samples = plain ? training.filter(({ mask }) => mask !== undefined) : training;
  const features = engine().featureShape(networkConfigOf(resolved.backbone, network));
  const { numbers } = await describeSamples(samples, eye, features, { signal });
  return { view: plain ? null : { ...numbers, tilesPerEpoch }, doubts: defectWarnings(numbers) };
}

/** Which images are trained on, and which set the thresholds. */
function calibrationImages(
  training: readonly Sample[],
  {
    calibration: { method, folds: count, fraction, falseRejectRate, decision, objective },
    seed,
  }: Omit<DataPlan["settings"], "epochs">,
): Pick<TrainingPlan, "fit" | "calibration" | "folds" | "warnings"> {
  // Who asks for the best F1 does not ask for a rate.
  const doubts = (samples: readonly Sample[]): string[] =>
    objective === "f1" ? [] : supportWarnings(countLabels(samples).normal, falseRejectRate, decision);
  if (method === "none") return { fit: training, calibration: [], folds: [], warnings: [] };
  if (method === "holdOut") {
    const { fit, calibration, reason } = splitCalibration(training, { fraction, seed });
    const warnings = reason
      ? [`${reason} The thresholds stay at 0.5: give thresholds of your own when detecting.`]
      : doubts(calibration);
    return { fit, calibration, folds: [], warnings };
  }
  const folds = crossFitFolds(training, { folds: count!, seed });
  const calibration = folds.flat().map((place) => training[place]!);
  return {
    fit: training,
    calibration,
    folds,
    warnings: doubts(calibration),
  };
}

function countLabels(samples: readonly Sample[]): { normal: number; anomalous: number } {
  const normal = samples.filter((sample) => sample.label === "normal").length;
  return { normal, anomalous: samples.length - normal };
}

function contentDigest(training: readonly Sample[], content: string): string {
  const digest = createHash("sha256").update(content);
  for (const sample of training) digest.update(JSON.stringify([sample.id, sample.label, sample.mask !== undefined]));
  return `${training.length} images, ${digest.digest("hex").slice(0, 16)}`;
}

/** With several processes on a machine, each takes the GPU of its number there. */
export function chooseDevice({ device }: CheckedOptions, ranks: RankSettings | undefined): ChosenDevice {
  const { localRank } = ranks ?? {};
  const own =
    localRank !== undefined && (device === "cuda" || (device === "auto" && engine(device).devices().length > 1));
  return resolveDevice("new Trainer", own ? `cuda:${localRank}` : device);
}

/** The processes on a machine share its cores. Undefined: nothing to share, or the environment says how many. */
function threadsOf(ranks: RankSettings | undefined): number | undefined {
  if (ranks?.localWorldSize === undefined || process.env["SUPERSIMPLENET_THREADS"]) return undefined;
  return Math.max(1, Math.floor(availableCores() / ranks.localWorldSize));
}
