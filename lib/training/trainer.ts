import { checkStructure, type Dataset, type Sample } from "../datasets/dataset.js";
import { invalid, throwIfAborted } from "../errors.js";
import {
  defaultThresholds,
  networkSettings,
  type Thresholds,
  type TrainingCounts,
  type TrainingInfo,
} from "../models/config.js";
import { Model } from "../models/model.js";
import type { TensorMap } from "../native/binding.js";
import { warningText } from "../native/errors.js";
import { check, defined } from "../schema/check.js";
import { fitOptions } from "../schema/training.js";
import { paces } from "../schema/presets.js";
import type { TrainerOptions } from "../schema/types.js";
import { packageVersion } from "../native/locate.js";
import { readView } from "../view/options.js";
import { calibrate } from "./calibrate.js";
import { timeFactor } from "./cross_fit.js";
import {
  checkCheckpoint,
  lockFolder,
  notBegun,
  type Progress,
  refuseCheckpoint,
  removeCheckpoint,
  requireCheckpoint,
} from "./checkpoint.js";
import { CheckpointWriter } from "./checkpoint_writer.js";
import { type FitOptions, StageReporter, type StartEvent } from "./events.js";
import { imagesSeen, inheritedThresholds, type Init, initFingerprint, loadInit } from "./init.js";
import { chooseDevice, type FitCall, planTraining, type TrainingPlan } from "./plan.js";
import { type LoopOptions, trainEpochs } from "./loop.js";
import { Ranks, rankSettings } from "./ranks.js";
import { type CheckedOptions, checkOptions, networkOf, recordedOptions } from "./resolve.js";
import { Session, type SettledNoise } from "./session.js";

/** Trains SuperSimpleNet in any of the four regimes (paper, section 3). */
export class Trainer {
  /** With the defaults. With `init`, what its model decides is settled by `fit` only. */
  readonly options: Readonly<CheckedOptions>;
  /** Without the defaults: with `init`, only what was asked for can contradict its model. */
  readonly #asked: Readonly<TrainerOptions>;

  /** Throws UNKNOWN_OPTION or INVALID_OPTION. */
  constructor(options: TrainerOptions = {}) {
    this.options = frozen(checkOptions(options));
    this.#asked = frozen(structuredClone(defined(options)));
  }

  /**
   * Trains on the training split and returns the model of the last epoch. The test split is never read.
   *
   * Errors before the first epoch: DATASET_INVALID (every problem at once), WEIGHTS_MISSING, WEIGHTS_INVALID,
   * DEVICE_UNAVAILABLE, CHECKPOINT_MISMATCH, INVALID_OPTION (also for a checkpoint in `out` that is neither resumed nor
   * overwritten), FILE_ERROR (`out` cannot be used, or another training writes there). Errors during training: ABORTED,
   * DIVERGED, and what writing the checkpoint meets (NO_SPACE, NO_PERMISSION). `out` keeps the
   * last checkpoint; unless a step failed half-way, one of all finished steps is written before the error is thrown.
   *
   * With `init` also those of Model.load, INVALID_OPTION for options that are otherwise in its model, and what
   * model.backbone throws.
   *
   * With several processes (option `distributed`) every one of them calls this with the same data and options and gets
   * the same model; rank 0 writes the checkpoint. RANKS_DIFFER: they do not train the same. RANK_FAILED, at any time:
   * another one has failed.
   */
  async fit(data: Dataset, options: FitOptions = {}): Promise<Model> {
    checkFitOptions(options);
    checkStructure("trainer.fit", data);
    data = { ...data, samples: [...data.samples] }; // the caller may go on with its list
    const settings = rankSettings("new Trainer", this.options.distributed);
    throwIfAborted(options.signal);
    if (!settings) return this.#fitHere(data, options, undefined);
    chooseDevice(this.options, settings); // opens the engine for it
    const ranks = Ranks.of(settings);
    // A rank that waits for others in the engine is reached this way only.
    const onAbort = (): void => ranks.native.fail("ABORTED", "The operation was cancelled by its signal.");
    options.signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await ranks.native.join();
      return await this.#fitHere(data, options, ranks);
    } catch (error) {
      ranks.fail(error);
      throw error;
    } finally {
      options.signal?.removeEventListener("abort", onAbort);
      await ranks.native.leave();
    }
  }

  /** Keeps other trainings out of `out`, and keeps what is there unless it may be continued or replaced. */
  async #fitHere(data: Dataset, options: FitOptions, ranks: Ranks | undefined): Promise<Model> {
    const { out } = options;
    if (out === undefined || !(ranks?.first ?? true))
      return this.#train(data, { ...options, out: undefined, resume: false }, ranks);
    if (options.resume) requireCheckpoint(out);
    const unlock = await lockFolder(out);
    try {
      if (!options.resume && !options.overwrite) refuseCheckpoint(out);
      return await this.#train(data, options, ranks);
    } finally {
      await unlock();
    }
  }

  async #train(data: Dataset, options: FitOptions, ranks: Ranks | undefined): Promise<Model> {
    const call: FitCall = { options, ranks, stages: new StageReporter(options.onStage) };
    const init = await this.#init(ranks);
    const given = init?.options ?? this.options;
    const asked = { ...given, view: await readView("new Trainer", given.view) };
    if (options.resume) await checkCheckpoint(options.out!, { ...recordedOptions(asked), ...initFingerprint(init) });
    const plan = await planTraining(asked, init, data, call);
    const session = await Session.open(plan, call);
    try {
      const { noise, progress } = await prepare(plan, session, call);
      const { out, onStep, onEpoch } = options;
      const { threads, fingerprint } = plan;
      const checkpoints = out === undefined ? undefined : new CheckpointWriter(out, threads, fingerprint, progress);
      const snapshots = snapshotsFor(noise, plan, session, call);
      await trainEpochs(session, { from: progress, checkpoints, onStep, onEpoch, snapshots });
      return await finish(noise, plan, session, call);
    } finally {
      session.close();
    }
  }

  async #init(ranks: Ranks | undefined): Promise<Init | undefined> {
    const { init } = this.options;
    if (init === undefined) return undefined;
    chooseDevice(this.options, ranks?.settings); // reading a model opens the engine: the one for the device
    return loadInit(init, this.#asked);
  }
}

function checkFitOptions(options: FitOptions): void {
  const where = "trainer.fit";
  check(where, fitOptions, options);
  if (options.resume && options.out === undefined)
    throw invalid(where, "out", "the folder of the checkpoint to resume from", options.out);
  if (options.resume && options.overwrite)
    throw invalid(where, "overwrite", "nothing, because a checkpoint is to be resumed,", true);
}

/** Everything before the first step: targets, noise, and the state of a checkpoint. */
async function prepare(
  plan: TrainingPlan,
  session: Session,
  call: FitCall,
): Promise<{ noise: SettledNoise; progress: Progress }> {
  const { checkpoint, warnings } = plan;
  const { ranks, stages } = call;
  const { out, onStart } = call.options;
  if (!session.examples.epochByEpoch) await session.begin(0);
  const noise = await session.settleNoise((done, total) => stages.report("measure", done, total));
  warnings.push(...(await session.native.cacheReport()).warnings.map(warningText));
  warnings.push(...shortWarnings(plan, session));
  if (checkpoint) await session.restore(checkpoint, out!);
  const { epochsDone, stepsDone, losses } = checkpoint ?? notBegun();
  const own = { epochsDone, stepsDone, losses, tiles: checkpoint?.tiles };
  const progress = ranks ? await ranks.fromFirst(own) : own;
  if (ranks) await session.native.shareState();
  await stages.settled();
  if (out !== undefined && !checkpoint) await removeCheckpoint(out);
  await onStart?.(startEvent(noise, progress, plan, session, ranks));
  return { noise, progress };
}

/** Steps from which on random heads have learned (docs/guides/train.md, Length). Labels tell sooner what a defect is. */
const enoughSteps = ({ regime, pace }: TrainingPlan["settings"]): number =>
  Math.max(regime === "unsupervised" ? 100 : 50, paces[pace].leastSteps);

function shortWarnings({ settings, init }: TrainingPlan, session: Session): string[] {
  if (init) return [];
  const [steps, enough] = [session.stepsInAll(), enoughSteps(settings)];
  if (steps >= enough) return [];
  const epochs = Math.ceil(enough / session.stepsPerEpoch);
  return [
    `The training has ${steps} steps in all, too few to learn much: give it ${enough}, which are ${epochs} epochs of these images.`,
  ];
}

function startEvent(
  noise: SettledNoise,
  { epochsDone, stepsDone }: Progress,
  plan: TrainingPlan,
  session: Session,
  ranks: Ranks | undefined,
): StartEvent {
  const { settings, backbone, init, calibration, folds, device, deviceReason, precisionReason, warnings } = plan;
  return {
    regime: settings.regime,
    counts: {
      ...trainingCounts(plan),
      calibrationNormal: countLabel(calibration, "normal"),
      calibrationAnomalous: countLabel(calibration, "anomalous"),
    },
    warnings,
    backbone: {
      architecture: backbone.architecture,
      source: backbone.source,
      trained: backbone.trained,
      reason: plan.backboneReason,
    },
    init: init?.name ?? null,
    view: plan.view,
    bitDepth: settings.bitDepth,
    noiseStd: noise.std,
    noiseRelative: noise.relative,
    noise: typeof settings.anomalies.noiseStd === "number" ? "absolute" : "relative",
    device,
    deviceReason,
    precision: settings.precision,
    precisionReason,
    rank: ranks?.settings.rank ?? 0,
    ranks: ranks?.settings.worldSize ?? 1,
    epochsDone,
    stepsDone,
    epochs: session.epochs,
    stepsPerEpoch: session.stepsPerEpoch,
    calibration: {
      method: settings.calibration.method,
      folds: folds.length > 0 ? folds.length : null,
      timeFactor: timeFactor(session, folds),
      falseRejectRate: settings.calibration.falseRejectRate,
    },
  };
}

/** The models that `onSnapshot` gets. */
function snapshotsFor(
  noise: SettledNoise,
  plan: TrainingPlan,
  { epochs }: Session,
  { options }: FitCall,
): LoopOptions["snapshots"] {
  const { onSnapshot } = options;
  if (!onSnapshot) return undefined;
  const every = fitOptions.shape.snapshotEvery.parse(options.snapshotEvery);
  const thresholds = (): Thresholds => (plan.init ? inheritedThresholds(plan.init) : { ...defaultThresholds });
  const take = (epoch: number, heads: TensorMap): unknown =>
    onSnapshot({ epoch, epochs, model: modelOf(plan, heads, thresholds(), { epochs: epoch, noiseStd: noise.std }) });
  return { every, take };
}

/** Takes the heads out of the engine, sets the thresholds and makes the model. */
async function finish(noise: SettledNoise, plan: TrainingPlan, session: Session, call: FitCall): Promise<Model> {
  await call.ranks?.gather(null); // none leaves, or ends its GPU's connections, before all have the last sum
  const { heads } = await session.native.state();
  const { epochs } = session;
  const thresholds = await calibrate(plan, heads, session, call);
  await call.stages.settled();
  return modelOf(plan, heads, thresholds, { epochs, noiseStd: noise.std });
}

function modelOf(
  plan: TrainingPlan,
  heads: TensorMap,
  thresholds: Thresholds,
  { epochs, noiseStd }: Pick<TrainingInfo, "epochs" | "noiseStd">,
): Model {
  const { settings, backbone, init } = plan;
  const { architecture, trained, source, sha256, tensors } = backbone;
  const noise = settings.anomalies.noiseStd;
  const training: TrainingInfo = {
    regime: settings.regime,
    epochs,
    batchSize: settings.batchSize,
    seed: settings.seed,
    noiseStd,
    noiseRelative: typeof noise === "number" ? null : noise.relative,
    options: recordedOptions(settings),
    ...imagesSeen(init, plan.images),
    init: init ? { headsSha256: init.headsSha256 } : null,
    ...trainingCounts(plan),
  };
  const config = {
    backbone: { architecture, trained, source, sha256 },
    ...networkSettings(networkOf(settings)),
    thresholds,
    training,
    createdBy: `supersimplenet ${packageVersion}`,
  };
  // What lies in the cache folder or in the package every machine can have; anything else goes into the model file.
  const mustEmbed = init?.model.embedsBackbone ?? !["auto", "distilled"].includes(settings.backboneWeights);
  const embedded = settings.network.embedBackbone ?? mustEmbed;
  return new Model(config, heads, { tensors, embedded });
}

const countLabel = (samples: readonly Sample[], label: Sample["label"]): number =>
  samples.filter((sample) => sample.label === label).length;

function trainingCounts({ fit }: TrainingPlan): TrainingCounts {
  return {
    trainNormal: countLabel(fit, "normal"),
    trainAnomalous: countLabel(fit, "anomalous"),
    trainSegmented: fit.filter((sample) => sample.label === "anomalous" && sample.mask !== undefined).length,
  };
}

/** Freezes a value and all that is in it: what has been checked stays as it is. */
function frozen<T>(value: T): Readonly<T> {
  if (typeof value === "object" && value !== null) Object.values(value).forEach(frozen);
  return Object.freeze(value);
}
