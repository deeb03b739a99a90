import type { Sample } from "../datasets/dataset.js";
import { hasCode } from "../errors.js";
import { prefetch } from "../images/pipeline.js";
import { networkConfigOf } from "../models/config.js";
import type { NativeTrainer, PlannedStep, StepItem, TensorMap, TrainerConfig } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { sendTensors } from "../native/send.js";
import { type Checkpoint, checkpointFile, corrupt } from "./checkpoint.js";
import type { EpochEvent, LearningRates } from "./events.js";
import type { Examples } from "./examples/examples.js";
import { Images } from "./examples/images.js";
import { Tiles } from "./examples/tiles.js";
import { contentOf, featureFile } from "./feature_file.js";
import type { FitCall, TrainingPlan } from "./plan.js";
import type { Ranks } from "./ranks.js";
import { networkOf } from "./resolve.js";
import { learningRateScale, noiseScale } from "./schedules.js";

/** So many images tell how a given noise compares with the features. */
const ratioImages = 32;

/** The noise of a training: its standard deviation, a mean over the channels, and its ratio to that of the features. */
export interface SettledNoise {
  std: number;
  relative: number;
}

/** The engine's trainer at work on the samples of a plan. */
export class Session {
  #features: EpochEvent["features"] = { memory: 0, host: 0, file: 0, computed: 0 };
  /** The samples that are trained on, by their place. */
  #chosen: readonly number[];
  #tiles: readonly number[] = [];
  #resumed: { epoch: number; tiles: readonly number[] | undefined } | undefined;

  private constructor(
    readonly native: NativeTrainer,
    private readonly settings: TrainingPlan["settings"],
    private readonly samples: readonly Sample[],
    readonly examples: Examples,
    private readonly firstHeads: () => Promise<TensorMap>,
    private readonly hasCacheFile: boolean,
    readonly signal: AbortSignal | undefined,
    readonly ranks: Ranks | undefined,
  ) {
    this.#chosen = [...samples.keys()];
  }

  static async open(plan: TrainingPlan, { ranks, options }: FitCall): Promise<Session> {
    const { settings, backbone, fit } = plan;
    const config = await trainerConfig(plan, ranks);
    const heads = (): Promise<TensorMap> => firstHeads(plan);
    const weights = [await sendTensors(backbone.tensors), await sendTensors(await heads())] as const;
    const native = await (ranks?.native ?? engine()).createTrainer(config, ...weights);
    const given = { native, settings, samples: fit, ranks, signal: options.signal };
    const examples = plan.tiles ? new Tiles(given, plan.tiles) : new Images(given);
    const hasCacheFile = config.featureCacheFile !== undefined;
    return new Session(native, settings, fit, examples, heads, hasCacheFile, options.signal, ranks);
  }

  /** Gets an epoch ready, from 0. It must have been, where examples are settled epoch by epoch, before its batches are asked for. */
  async begin(epoch: number): Promise<void> {
    const kept = this.#resumed?.epoch === epoch ? this.#resumed.tiles : undefined;
    this.#tiles = await this.examples.begin(epoch, this.#chosen, kept);
  }

  /** What the epoch at hand has chosen by scores: a training that is resumed within it must have the same. */
  get tiles(): readonly number[] {
    return this.#tiles;
  }

  /**
   * Settles the noise from the features of the normal images; where it is a number, some of them are enough to tell how
   * strong it is.
   */
  async settleNoise(onProgress: (done: number, total: number) => void): Promise<SettledNoise> {
    const { noiseStd } = this.settings.anomalies;
    const normals = this.examples.normals();
    const all = typeof noiseStd === "number" ? normals.slice(0, ratioImages) : normals;
    const { first, count } = this.#share(all.length);
    const normal = all.slice(first, first + count);
    let done = 0;
    onProgress(0, normal.length);
    for await (const item of prefetch(normal, (key) => this.item(key), { signal: this.signal })) {
      await this.#withFeatures([item], (items) => this.native.observeFeatures(items));
      onProgress(++done, normal.length);
    }
    const features = await this.native.featureStd();
    const mean = features.reduce((sum, value) => sum + value, 0) / features.length;
    if (typeof noiseStd === "number") return { std: noiseStd, relative: noiseStd / mean };
    const scaled = features.map((value) => value * noiseStd.relative);
    await this.native.setNoiseStd(scaled);
    return { std: scaled.reduce((sum, value) => sum + value, 0) / scaled.length, relative: noiseStd.relative };
  }

  /** Goes on from a checkpoint. If the checkpoint is at fault, throws FILE_CORRUPT. */
  async restore(checkpoint: Checkpoint, out: string): Promise<void> {
    const { epochsDone, stepsDone } = checkpoint;
    const steps = this.stepsIn(epochsDone);
    if (stepsDone > 0) this.#resumed = { epoch: epochsDone, tiles: checkpoint.tiles };
    if (stepsDone > steps)
      throw corrupt(checkpointFile(out), `it claims ${stepsDone} of ${steps} steps of epoch ${epochsDone + 1}`);
    try {
      await this.native.restore(checkpoint);
    } catch (error) {
      throw hasCode(error, "WEIGHTS_INVALID", "FILE_CORRUPT")
        ? corrupt(checkpointFile(out), error.message, error)
        : error;
    }
  }

  /**
   * Begins anew with the heads that the training began with, on all samples but those at the places `held`. Cached
   * features and targets stay.
   */
  async startOver(held: readonly number[]): Promise<void> {
    await this.native.restore({
      heads: await this.firstHeads(),
      optimizer: { updates: { dtype: "int64", shape: [1], data: BigInt64Array.of(0n) } },
    });
    this.#resumed = undefined;
    this.#chosen = placesWithout(this.samples.length, held);
  }

  close(): void {
    this.native.dispose();
    this.examples.close();
  }

  /** Images that an epoch shows without the samples at the places `held`. */
  imagesPerEpoch(held: readonly number[] = []): number {
    return this.examples.perEpoch(placesWithout(this.samples.length, held));
  }

  get stepsPerEpoch(): number {
    return Math.ceil(this.examples.perEpoch(this.#chosen) / this.settings.batchSize);
  }

  /** Epochs of the training on the samples that are chosen; the last one is shorter where steps are given. */
  get epochs(): number {
    const { epochs, steps } = this.settings;
    return steps === undefined ? epochs : Math.ceil(steps / this.stepsPerEpoch);
  }

  get #stepsOfChosen(): number {
    return this.settings.steps ?? this.settings.epochs * this.stepsPerEpoch;
  }

  /** Steps of the whole training without the samples at the places `held`. */
  stepsInAll(held: readonly number[] = []): number {
    const { epochs, steps, batchSize } = this.settings;
    return steps ?? epochs * Math.ceil(this.imagesPerEpoch(held) / batchSize);
  }

  /** Of the steps of an epoch, from 0. */
  learningRates(epoch: number): LearningRates {
    const { optimizer } = this.settings;
    const { learningRateMilestones, learningRateFactor } = optimizer;
    const scale = learningRateScale(epoch, this.epochs, learningRateMilestones, learningRateFactor);
    return {
      adaptorLearningRate: optimizer.adaptorLearningRate * scale,
      headsLearningRate: optimizer.headsLearningRate * scale,
    };
  }

  /** Factor on the noise in a step, from 0. */
  noiseScale(step: number): number {
    const { noiseSchedule } = this.settings.anomalies;
    return noiseSchedule === false ? 1 : noiseScale(step, this.#stepsOfChosen, noiseSchedule);
  }

  /** This process's part of `total` images. */
  #share(total: number): { first: number; count: number } {
    return this.ranks?.share(total) ?? { first: 0, count: total };
  }

  /** How many steps an epoch has, from 0. */
  stepsIn(epoch: number): number {
    if (epoch >= this.epochs) return 0;
    const steps = this.stepsPerEpoch;
    return Math.min(steps, (this.settings.steps ?? Infinity) - epoch * steps);
  }

  /** The steps of an epoch, from 0. */
  batches(epoch: number): PlannedStep[] {
    const { batchSize } = this.settings;
    const all = this.examples.order(epoch, this.#chosen);
    const steps = this.stepsPerEpoch;
    return Array.from({ length: this.stepsIn(epoch) }, (_, step) => {
      const whole = all.slice(step * batchSize, (step + 1) * batchSize);
      const { first, count } = this.#share(whole.length);
      return {
        index: epoch * steps + step,
        share: { first, total: whole.length },
        keys: whole.slice(first, first + count),
      };
    });
  }

  /** An image for the engine: decoded unless its features are cached. */
  async item(key: number): Promise<StepItem> {
    return this.native.missing([key]).length === 0 ? { key } : this.decoded(key);
  }

  async decoded(key: number): Promise<StepItem> {
    const { pixels, once } = await this.examples.show(key);
    if (once) return { key, pixels, once };
    return this.hasCacheFile ? { key, pixels, content: contentOf(pixels) } : { key, pixels };
  }

  /** Calls the engine; once more with all pixels if features in the cache file have become unreadable. */
  async #withFeatures<R>(items: StepItem[], call: (items: StepItem[]) => Promise<R>): Promise<R> {
    try {
      return await call(items);
    } catch (error) {
      if (!hasCode(error, "FILE_CORRUPT")) throw error;
      return call(await Promise.all(items.map(({ key }) => this.decoded(key))));
    }
  }

  /** Images by where their features came from, since the last call. */
  featuresSince(now: EpochEvent["features"]): EpochEvent["features"] {
    const before = this.#features;
    this.#features = now;
    return {
      memory: now.memory - before.memory,
      host: now.host - before.host,
      file: now.file - before.file,
      computed: now.computed - before.computed,
    };
  }
}

/** The heads that a training begins with: those of a model, which stay as they are, or random ones. */
async function firstHeads({ settings, init }: TrainingPlan): Promise<TensorMap> {
  if (init) return init.model.heads;
  const config = networkConfigOf(settings.backbone, networkOf(settings));
  return engine().randomHeads(engine().featureShape(config).channels, settings.seed, config);
}

function placesWithout(count: number, held: readonly number[]): number[] {
  const without = new Set(held);
  return Array.from({ length: count }, (_, place) => place).filter((place) => !without.has(place));
}

async function trainerConfig(plan: TrainingPlan, ranks: Ranks | undefined): Promise<TrainerConfig> {
  const { settings, backbone, device, threads } = plan;
  const { cache, precision, seed } = settings;
  const { noiseStd, noiseVectors, perlinThreshold } = settings.anomalies;
  return {
    ...networkConfigOf(settings.backbone, networkOf(settings)),
    optimizer: settings.optimizer,
    ablation: settings.ablation,
    device,
    compute: settings.network.heads,
    seed,
    noiseStd: Float32Array.of(typeof noiseStd === "number" ? noiseStd : 1),
    noiseVectors: noiseVectors === "independent" ? 0 : noiseVectors,
    perlinThreshold,
    precision,
    featureCacheBytes: cache.memoryMiB * 2 ** 20,
    featureCacheHostBytes: cache.hostMiB * 2 ** 20,
    featureCachePrecision: cache.precision,
    featureCacheFile: await featureFile(settings, { backboneSha256: backbone.sha256, device, threads }),
    cudaGraphs: settings.cuda.graphs,
    nccl: await allUseNccl(device, ranks),
  };
}

/** NCCL is used by all ranks or by none. */
async function allUseNccl(device: string, ranks: Ranks | undefined): Promise<boolean> {
  if (ranks === undefined) return false;
  return (await ranks.gather(ranks.settings.nccl && device.startsWith("cuda"))).every(Boolean);
}
