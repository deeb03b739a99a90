import { createHash } from "node:crypto";
import os from "node:os";
import { types } from "node:util";

import { loadBackbone, weightsFile } from "../backbones/load.js";
import { splitCalibration } from "../datasets/calibration.js";
import { epochOrder } from "../datasets/order.js";
import { applyRegime } from "../datasets/regime.js";
import { limitSegmented } from "../datasets/segmented.js";
import { checkStructure } from "../datasets/structure.js";
import type { Dataset, Sample } from "../datasets/types.js";
import { validateDataset } from "../datasets/validate.js";
import { calibrateThresholds, type CalibrationImage, defaultThresholds } from "../detection/thresholds.js";
import { SuperSimpleNetError } from "../errors.js";
import { decodeMask, loadImage, loadMask } from "../images/decode.js";
import { prefetch, throwIfAborted } from "../images/pipeline.js";
import { type ModelConfig, networkConfigOf, type Thresholds, type TrainingInfo } from "../models/config.js";
import { Model } from "../models/model.js";
import type {
  NativeTrainer,
  PlannedStep,
  StepItem,
  StepLosses,
  Target,
  TensorMap,
  TrainerConfig,
} from "../native/binding.js";
import { applyThreads, checkPrecision, resolveDevice, trainerPrecisions } from "../native/device.js";
import { engine } from "../native/engine.js";
import { warningText } from "../native/errors.js";
import { checkBoolean, checkPath, invalid, rejectUnknown } from "../options.js";
import { packageVersion } from "../version.js";
import {
  checkCheckpoint,
  checkpointFile,
  corrupt,
  type Fingerprint,
  lockFolder,
  readCheckpoint,
  refuseCheckpoint,
  removeCheckpoint,
  requireCheckpoint,
  writeCheckpoint,
} from "./checkpoint.js";
import { contentOf, featureFile } from "./feature_file.js";
import type { EpochEvent, FitOptions, StageEvent, TrainerOptions } from "./options.js";
import { Ranks, rankSettings, type RankSettings } from "./ranks.js";
import { type CheckedOptions, checkOptions, type ResolvedOptions, resolveOptions } from "./resolve.js";
import { learningRateScale } from "./schedule.js";

const fitOptionNames: (keyof FitOptions)[] = [
  "signal",
  "onStage",
  "onStart",
  "onStep",
  "onEpoch",
  "out",
  "resume",
  "overwrite",
];

/** Feature-cache key and target key of a sample in one of its four flips. */
const keyOf = (sample: number, flip: number): number => sample * 4 + flip;

/** Trains SuperSimpleNet in any of the four regimes (paper section 3; docs/training.md). */
export class Trainer {
  readonly options: Readonly<CheckedOptions>;

  /** Throws UNKNOWN_OPTION or INVALID_OPTION. */
  constructor(options: TrainerOptions = {}) {
    this.options = frozen(checkOptions(options));
  }

  /**
   * Trains on the training split and returns the model of the last epoch; the test split is never read.
   *
   * Errors, all before the first epoch but the last three: DATASET_INVALID (every problem at once), WEIGHTS_MISSING,
   * WEIGHTS_INVALID, DEVICE_UNAVAILABLE, CHECKPOINT_MISMATCH, INVALID_OPTION (also for a checkpoint in `out` that is neither to be
   * resumed nor overwritten), FILE_ERROR (`out` cannot be used, or another training writes there); then ABORTED, DIVERGED and what writing the checkpoint
   * meets (NO_SPACE, NO_PERMISSION). When it stops early, the checkpoint of the last finished epoch is kept in `out`.
   *
   * With several processes (option `distributed`) every one of them calls this with the same data and options and gets the
   * same model; rank 0 writes the checkpoint. RANKS_DIFFER, and RANK_FAILED at any time, when another one has failed.
   */
  async fit(data: Dataset, options: FitOptions = {}): Promise<Model> {
    rejectUnknown(options, fitOptionNames, "trainer.fit");
    if (options.out !== undefined) checkPath("trainer.fit", "out", options.out, "a folder");
    for (const name of ["resume", "overwrite"] as const)
      if (options[name] !== undefined) checkBoolean("trainer.fit", name, options[name]);
    if (options.resume && options.out === undefined)
      throw invalid("trainer.fit", "out", "the folder of the checkpoint to resume from", options.out);
    if (options.resume && options.overwrite)
      throw invalid("trainer.fit", "overwrite", "nothing, because 'resume' is given,", true);
    checkStructure("trainer.fit", data);
    data = { ...data, samples: [...data.samples] }; // the caller may go on with its list
    const settings = rankSettings("new Trainer", this.options.distributed);
    throwIfAborted(options.signal);
    if (!settings) return this.#fit(data, options, undefined);
    resolveDevice("new Trainer", deviceOf(this.options.device, settings)); // opens the engine for it
    const ranks = Ranks.of(settings);
    // A rank that waits for others in the engine is reached this way only.
    const onAbort = (): void => ranks.native.fail("ABORTED", "The operation was cancelled by its signal.");
    options.signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await ranks.native.join();
      return await this.#fit(data, options, ranks);
    } catch (error) {
      ranks.fail(error);
      throw error;
    } finally {
      options.signal?.removeEventListener("abort", onAbort);
      await ranks.native.leave();
    }
  }

  async #fit(data: Dataset, options: FitOptions, ranks: Ranks | undefined): Promise<Model> {
    const { out } = options;
    if (out === undefined || !(ranks?.first ?? true))
      return this.#train(data, { ...options, out: undefined, resume: false }, ranks);
    if (options.resume) requireCheckpoint(out);
    const unlock = await lockFolder(out);
    try {
      if (options.resume) await checkCheckpoint(out, reproducible(this.options));
      else if (!options.overwrite) refuseCheckpoint(out);
      return await this.#train(data, options, ranks);
    } finally {
      await unlock();
    }
  }

  async #train(data: Dataset, options: FitOptions, ranks: Ranks | undefined): Promise<Model> {
    const { out } = options;
    const writes = ranks?.first ?? true;
    const { device, reason: deviceReason } = resolveDevice(
      "new Trainer",
      deviceOf(this.options.device, ranks?.settings),
    );
    checkPrecision("new Trainer", this.options.precision, device, trainerPrecisions);
    // Those of the stages are called where nothing can wait for them: that is done before the first epoch and at the end.
    let stages: Promise<unknown> = Promise.resolve();
    const stage = (name: StageEvent["stage"], done: number, total: number): void => {
      const called: unknown = options.onStage?.({ stage: name, done, total });
      stages = stages.then(() => called);
      stages.catch(() => undefined); // heard where it is waited for
      if (types.isPromise(called)) called.catch(() => undefined);
    };

    const { signal } = options;
    // Missing weights are found out before all images are read.
    if (this.options.backboneWeights !== "random") weightsFile(this.options.backbone, this.options.backboneWeights);
    const { imageSize, segmentedRatio, segmentedCount } = this.options;
    const dataset = limitSegmented(data, { segmentedRatio, segmentedCount });
    const validated = await validateDataset(dataset, {
      imageSize,
      regime: this.options.regime,
      signal,
      onProgress: ({ checked, total }) => stage("validate", checked, total),
    });
    const settings = resolveOptions(this.options, validated.regime);
    const training = applyRegime(dataset, settings.regime).samples.filter((sample) => sample.split === "train");
    const { fit, calibration, reason } = splitCalibration(training, {
      fraction: settings.calibrationFraction,
      seed: settings.seed,
    });
    const warnings = [...validated.warnings];
    if (reason && settings.calibrationFraction > 0)
      warnings.push(`${reason} The thresholds stay at 0.5: give your own when detecting (threshold, pixelThreshold).`);

    stage("load", 0, 1);
    const threads = await applyThreads("new Trainer", settings.threads ?? threadsOf(ranks?.settings));
    const backbone = await loadBackbone({
      architecture: settings.backbone,
      weights: settings.backboneWeights,
      seed: settings.seed,
      signal,
    });
    if (!backbone.trained)
      warnings.push("The backbone has random weights: fine for a trial, not for finding real defects.");
    const fingerprint = fingerprintOf(settings, training, validated.trainingContent, backbone.sha256);
    await ranks?.agree({ version: packageVersion, ...fingerprint });
    const checkpoint = options.resume ? await readCheckpoint(out!, fingerprint) : undefined;
    if (checkpoint?.threads !== undefined && checkpoint.threads !== threads && device === "cpu") {
      warnings.push(
        `The checkpoint was computed with ${checkpoint.threads} threads and goes on with ${threads}: the model differs in the last bits from one trained without interruption.`,
      );
    }
    stage("load", 1, 1);

    const cacheFile = await featureFile(settings, { backboneSha256: backbone.sha256, device, threads });
    const session = await Session.open(settings, device, backbone.tensors, fit, cacheFile, signal, ranks);
    try {
      const noise = await session.prepare((done, total) => stage("measure", done, total));
      warnings.push(...session.native.cacheReport().warnings.map(warningText));
      if (checkpoint)
        await session.native.restore(checkpoint).catch((error: unknown) => Promise.reject(restoreError(error, out!)));
      const epochsDone = ranks ? await ranks.fromFirst(checkpoint?.epochsDone ?? 0) : (checkpoint?.epochsDone ?? 0);
      if (ranks) await session.native.shareState();
      const count = (samples: Sample[], label: Sample["label"]): number =>
        samples.filter((sample) => sample.label === label).length;
      const segmented = fit.filter((sample) => sample.label === "anomalous" && sample.mask !== undefined).length;
      await stages;
      if (out !== undefined && epochsDone === 0) await removeCheckpoint(out);
      await options.onStart?.({
        regime: settings.regime,
        counts: {
          trainNormal: count(fit, "normal"),
          trainAnomalous: count(fit, "anomalous"),
          trainSegmented: segmented,
          calibrationNormal: count(calibration, "normal"),
          calibrationAnomalous: count(calibration, "anomalous"),
        },
        warnings,
        backbone: { architecture: backbone.architecture, source: backbone.source, trained: backbone.trained },
        noiseStd: noise,
        noise: typeof settings.noiseStd === "number" ? "absolute" : "relative",
        device,
        deviceReason,
        rank: ranks?.settings.rank ?? 0,
        ranks: ranks?.settings.worldSize ?? 1,
        epochsDone,
        epochs: settings.epochs,
        stepsPerEpoch: session.stepsPerEpoch,
      });

      for (let epoch = epochsDone; epoch < settings.epochs; epoch++) {
        const event = await session.epoch(epoch, options);
        if (out !== undefined)
          await writeCheckpoint(
            out,
            { epochsDone: epoch + 1, threads, ...(await session.native.state()) },
            fingerprint,
          );
        await options.onEpoch?.(event);
      }

      await ranks?.gather(null); // none leaves, or ends its GPU's connections, before all have the last sum
      const { heads } = await session.native.state();
      const embedded = settings.embedBackbone ?? settings.backboneWeights !== "auto";
      const info: TrainingInfo = {
        regime: settings.regime,
        epochs: settings.epochs,
        batchSize: settings.batchSize,
        seed: settings.seed,
        noiseStd: noise,
        noiseRelative: typeof settings.noiseStd === "number" ? null : settings.noiseStd.relative,
        options: reproducible(settings),
        trainNormal: count(fit, "normal"),
        trainAnomalous: count(fit, "anomalous"),
        trainSegmented: segmented,
      };
      const config: ModelConfig = {
        backbone: {
          architecture: backbone.architecture,
          trained: backbone.trained,
          source: backbone.source,
          sha256: backbone.sha256,
        },
        layers: [...settings.layers],
        imageSize: [...settings.imageSize],
        resize: settings.resize,
        variant: settings.variant,
        alignCorners: settings.alignCorners,
        upscale: settings.upscale,
        classificationHead: settings.classificationHead,
        mapInput: settings.mapInput,
        thresholds: { ...defaultThresholds },
        training: info,
        createdBy: `supersimplenet ${packageVersion}`,
      };
      const model = new Model(config, heads, { tensors: backbone.tensors, embedded });
      if (calibration.length > 0) {
        const thresholds = writes
          ? await calibrated(model, settings, device, backbone.tensors, calibration, signal, (done, total) =>
              stage("calibrate", done, total),
            )
          : undefined;
        config.thresholds = ranks ? await ranks.fromFirst(thresholds) : thresholds!;
      }
      await stages;
      return model;
    } finally {
      session.native.dispose();
    }
  }
}

/** One training: the native trainer and the samples behind its keys. */
class Session {
  private constructor(
    readonly native: NativeTrainer,
    private readonly settings: ResolvedOptions,
    private readonly samples: readonly Sample[],
    private readonly hasCacheFile: boolean,
    private readonly signal: AbortSignal | undefined,
    private readonly ranks: Ranks | undefined,
  ) {}

  static async open(
    settings: ResolvedOptions,
    device: string,
    backbone: TensorMap,
    samples: readonly Sample[],
    cacheFile: TrainerConfig["featureCacheFile"],
    signal: AbortSignal | undefined,
    ranks: Ranks | undefined,
  ): Promise<Session> {
    const config: TrainerConfig = {
      ...networkConfigOf(settings.backbone, settings),
      device,
      compute: settings.heads,
      seed: settings.seed,
      noiseStd: Float32Array.of(typeof settings.noiseStd === "number" ? settings.noiseStd : 1),
      perlinThreshold: settings.perlinThreshold,
      syntheticAnomalies: settings.syntheticAnomalies,
      overlap: settings.overlap,
      loss: settings.loss,
      precision: settings.precision,
      featureCacheBytes: settings.featureCacheMiB * 2 ** 20,
      featureCacheHostBytes: settings.featureCacheHostMiB * 2 ** 20,
      featureCachePrecision: settings.featureCachePrecision,
      featureCacheFile: cacheFile,
      stopGradient: settings.stopGradient,
      gradientClip: settings.gradientClip,
      adaptorWeightDecay: settings.adaptorWeightDecay,
      headsWeightDecay: settings.headsWeightDecay,
      cudaGraphs: settings.cudaGraphs,
      // As all ranks must do it or none.
      nccl:
        ranks !== undefined && (await ranks.gather(ranks.settings.nccl && device.startsWith("cuda"))).every(Boolean),
    };
    const heads = await engine().randomHeads(engine().featureShape(config).channels, settings.seed, config);
    return new Session(
      await (ranks?.native ?? engine()).createTrainer(config, backbone, heads),
      settings,
      samples,
      cacheFile !== undefined,
      signal,
      ranks,
    );
  }

  #features: EpochEvent["features"] = { memory: 0, host: 0, file: 0, computed: 0 };

  /** Noise scale and targets. Returns the noise's standard deviation, averaged over the channels. */
  async prepare(onProgress: (done: number, total: number) => void): Promise<number> {
    await this.#setTargets();
    const { noiseStd } = this.settings;
    if (typeof noiseStd === "number") return noiseStd;
    const all = this.samples.flatMap((sample, i) => (sample.label === "normal" ? [keyOf(i, 0)] : []));
    const { first, count } = this.#share(all.length);
    const normal = all.slice(first, first + count);
    let done = 0;
    onProgress(0, normal.length);
    for await (const item of prefetch(normal, (key) => this.#item(key), { signal: this.signal })) {
      await this.#withFeatures([item], (items) => this.native.observeFeatures(items));
      onProgress(++done, normal.length);
    }
    const scaled = (await this.native.featureStd()).map((value) => value * noiseStd.relative);
    await this.native.setNoiseStd(scaled);
    return scaled.reduce((sum, value) => sum + value, 0) / scaled.length;
  }

  async #setTargets(): Promise<void> {
    const { imageSize, maskDilation, distanceWeight, alignCorners, variant, balancedSampling } = this.settings;
    const [imageHeight, imageWidth] = imageSize;
    const shape = engine().featureShape(networkConfigOf(this.settings.backbone, this.settings));
    const load = async (sample: Sample, index: number): Promise<Target[]> => {
      const flips = sample.label === "anomalous" && balancedSampling ? [0, 1, 2, 3] : [0];
      const label = sample.label === "anomalous" ? 1 : 0;
      if (sample.mask === undefined)
        return flips.map((flip) => ({ key: keyOf(index, flip), label, segmented: label === 0 }));
      const mask = await decodeMask(sample.mask);
      const targets = await engine().trainingTargets(mask.pixels, mask.height, mask.width, {
        imageHeight,
        imageWidth,
        featureHeight: shape.height,
        featureWidth: shape.width,
        // The preliminary version downsamples masks with half-pixel centres (spec, table of variants).
        alignCorners: alignCorners && variant === "jims",
        dilation: maskDilation,
        distanceWeight: distanceWeight === false ? null : distanceWeight,
        flips,
      });
      return targets.map((target, i) => ({ key: keyOf(index, flips[i]!), label, segmented: true, ...target }));
    };
    for await (const targets of prefetch(this.samples, load, { signal: this.signal }))
      await this.native.setTargets(targets);
  }

  async #item(key: number): Promise<StepItem> {
    return this.native.missing([key]).length === 0 ? { key } : this.#decoded(key);
  }

  /** Calls the engine; once more with all pixels if features that the cache file held have become unreadable. */
  async #withFeatures<R>(items: StepItem[], call: (items: StepItem[]) => Promise<R>): Promise<R> {
    try {
      return await call(items);
    } catch (error) {
      if (!(error instanceof SuperSimpleNetError && error.code === "FILE_CORRUPT")) throw error;
      return call(await Promise.all(items.map(({ key }) => this.#decoded(key))));
    }
  }

  async #decoded(key: number): Promise<StepItem> {
    const [height, width] = this.settings.imageSize;
    const image = await loadImage(this.samples[Math.floor(key / 4)]!.image, {
      height,
      width,
      resize: this.settings.resize,
    });
    const flip = key % 4;
    const pixels = flip === 0 ? image.pixels : engine().flipImage(image.pixels, height, width, 3, flip);
    return this.hasCacheFile ? { key, pixels, content: contentOf(pixels) } : { key, pixels };
  }

  #order(epoch: number): number[] {
    const { seed, balancedSampling } = this.settings;
    const labels = this.samples.map((sample) => sample.label);
    return epochOrder({ labels, seed, epoch, balanced: balancedSampling, flips: balancedSampling }).map(
      ({ sample, flip }) => keyOf(sample, flip),
    );
  }

  /** What of a number of images is this process's. */
  #share(total: number): { first: number; count: number } {
    return this.ranks?.share(total) ?? { first: 0, count: total };
  }

  get stepsPerEpoch(): number {
    return Math.ceil(this.#order(0).length / this.settings.batchSize);
  }

  #batches(epoch: number): PlannedStep[] {
    const { batchSize } = this.settings;
    const all = this.#order(epoch);
    const steps = Math.ceil(all.length / batchSize);
    return Array.from({ length: steps }, (_, step) => {
      const whole = all.slice(step * batchSize, (step + 1) * batchSize);
      const { first, count } = this.#share(whole.length);
      return {
        index: epoch * steps + step,
        share: { first, total: whole.length },
        keys: whole.slice(first, first + count),
      };
    });
  }

  #plannedEpoch = -1;

  async #plan(epoch: number): Promise<void> {
    await this.native.plan(this.#batches(epoch));
    this.#plannedEpoch = epoch;
  }

  async epoch(epoch: number, { onStep }: FitOptions): Promise<EpochEvent> {
    const { settings, signal } = this;
    const start = performance.now();
    const scale = learningRateScale(
      epoch,
      settings.epochs,
      settings.learningRateMilestones,
      settings.learningRateFactor,
    );
    const adaptorLearningRate = settings.adaptorLearningRate * scale;
    const headsLearningRate = settings.headsLearningRate * scale;
    const sums: StepLosses = { l1Normal: 0, l1Anomalous: 0, focalMap: 0, focalScore: 0, total: 0, gradientNorm: 0 };
    const batches = this.#batches(epoch);
    const steps = batches.length;
    if (this.#plannedEpoch !== epoch) await this.#plan(epoch);
    let reported = 0;
    const report = async (known: readonly StepLosses[]): Promise<void> => {
      for (const losses of known) {
        for (const name of Object.keys(sums) as (keyof StepLosses)[]) sums[name] += losses[name] / steps;
        await onStep?.({ ...losses, epoch: epoch + 1, epochs: settings.epochs, step: ++reported, steps });
      }
    };
    // A batch is decoded ahead while the engine computes the one before.
    const decoded = prefetch(
      batches.flatMap((batch) => batch.keys),
      (key) => this.#item(key),
      { ahead: Math.max(1, batches[0]!.keys.length), signal },
    );
    try {
      for (const { index, share, keys } of batches) {
        const batch: StepItem[] = [];
        while (batch.length < keys.length) batch.push((await decoded.next()).value as StepItem);
        await report(
          await this.#withFeatures(batch, (items) =>
            this.native.step({ index, items, share, adaptorLearningRate, headsLearningRate }),
          ),
        );
        throwIfAborted(signal);
      }
      // Before the losses are waited for: on a GPU one wait is for both.
      if (epoch + 1 < settings.epochs) await this.#plan(epoch + 1);
      // Until nothing is left: what was good before a divergence is told first.
      for (let known = await this.native.finishSteps(); known.length > 0; known = await this.native.finishSteps())
        await report(known);
    } finally {
      await decoded.return();
    }
    const { total, ...means } = sums;
    const { warnings, ...now } = this.native.cacheReport();
    const before = this.#features;
    this.#features = now;
    const features = {
      memory: now.memory - before.memory,
      host: now.host - before.host,
      file: now.file - before.file,
      computed: now.computed - before.computed,
    };
    return {
      epoch: epoch + 1,
      epochs: settings.epochs,
      loss: total,
      ...means,
      adaptorLearningRate,
      headsLearningRate,
      features,
      warnings: warnings.map(warningText),
      seconds: (performance.now() - start) / 1000,
    };
  }
}

async function calibrated(
  model: Model,
  settings: ResolvedOptions,
  device: string,
  backbone: TensorMap,
  samples: readonly Sample[],
  signal: AbortSignal | undefined,
  onProgress: (done: number, total: number) => void,
): Promise<Thresholds> {
  const [height, width] = settings.imageSize;
  const detector = await engine().createDetector(
    { ...model.networkConfig, device, compute: settings.heads, precision: "float32", cudaGraphs: 0 },
    backbone,
    model.heads,
  );
  const images: CalibrationImage[] = [];
  try {
    onProgress(0, samples.length);
    for await (const { sample, image } of prefetch(
      samples,
      async (s) => ({ sample: s, image: await loadImage(s.image, { height, width, resize: settings.resize }) }),
      { signal },
    )) {
      const { scores, maps } = await detector.detect(image.pixels, 1);
      const mask = sample.mask === undefined ? undefined : (await loadMask(sample.mask, { height, width })).pixels;
      images.push({ anomalous: sample.label === "anomalous", logit: scores[0]!, map: maps, mask });
      onProgress(images.length, samples.length);
    }
  } finally {
    detector.dispose();
  }
  return calibrateThresholds(images, { height, width });
}

/** With all that is in it: what has been checked stays as it is. */
function frozen<T>(value: T): Readonly<T> {
  if (typeof value === "object" && value !== null) Object.values(value).forEach(frozen);
  return Object.freeze(value);
}

/** With several processes on a machine, each takes the GPU of its number there. */
function deviceOf(device: string, ranks: RankSettings | undefined): string {
  if (ranks?.localRank === undefined || (device !== "cuda" && device !== "auto")) return device;
  return device === "cuda" || engine(device).devices().length > 1 ? `cuda:${ranks.localRank}` : device;
}

/** The cores are shared among the processes on a machine. Undefined: as without them. */
function threadsOf(ranks: RankSettings | undefined): number | undefined {
  if (ranks?.localWorldSize === undefined || process.env["SUPERSIMPLENET_THREADS"]) return undefined;
  return Math.max(1, Math.floor(os.availableParallelism() / ranks.localWorldSize));
}

/** What the checkpoint itself is to blame for, as FILE_CORRUPT; anything else as it is. */
function restoreError(error: unknown, out: string): unknown {
  const damaged =
    error instanceof SuperSimpleNetError && (error.code === "WEIGHTS_INVALID" || error.code === "FILE_CORRUPT");
  return damaged ? corrupt(checkpointFile(out), error.message, error) : error;
}

/** What decides the result; where it runs and where files lie does not. */
export function reproducible(settings: ResolvedOptions | CheckedOptions): Record<string, unknown> {
  const {
    device: _device,
    threads: _threads,
    backboneWeights: _weights,
    embedBackbone: _embed,
    featureCacheMiB: _memory,
    featureCacheHostMiB: _host,
    featureCacheFileMiB: _file,
    featureCacheDir: _folder,
    cudaGraphs: _graphs,
    distributed: _distributed,
    ...rest
  } = settings;
  return rest;
}

function fingerprintOf(
  settings: ResolvedOptions,
  samples: readonly Sample[],
  content: string,
  backboneSha256: string,
): Fingerprint {
  const data = createHash("sha256").update(content);
  for (const sample of samples) data.update(JSON.stringify([sample.id, sample.label, sample.mask !== undefined]));
  return {
    ...reproducible(settings),
    backboneSha256,
    trainingData: `${samples.length} images, ${data.digest("hex").slice(0, 16)}`,
  };
}
