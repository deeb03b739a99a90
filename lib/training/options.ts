import { networkDefaults } from "../models/config.js";
import type {
  Architecture,
  ClassificationHead,
  Compute,
  Loss,
  ResizeMethod,
  StepLosses,
  SyntheticAnomalies,
  Variant,
} from "../native/binding.js";
import type { Regime } from "../datasets/types.js";

/** A scale relative to the backbone's features: the noise of channel c has `relative` times the standard deviation of that channel. */
export interface RelativeNoise {
  relative: number;
}

/** One process of a training with several (docs/distributed.md). What is left out comes from the environment, as torchrun sets it. */
export interface DistributedOptions {
  /** 0 to worldSize - 1; rank 0 writes the files. RANK. */
  rank?: number;
  /** Number of processes. WORLD_SIZE; without it 1, which trains in this process alone. */
  worldSize?: number;
  /** Where rank 0 is, and a free port there. MASTER_ADDR, MASTER_PORT. */
  masterAddress?: string;
  masterPort?: number;
  /** Number of this process on its machine: device "auto" and "cuda" take the GPU of that number. LOCAL_RANK. */
  localRank?: number;
  /** A rank from which nothing is heard for so long has failed. Default 60. */
  timeoutSeconds?: number;
  /** How long to wait for all ranks to come. Default 300. */
  joinTimeoutSeconds?: number;
  /** Sum gradients by NCCL where every rank has a GPU of its own; else on the CPU, by Gloo. Default true. */
  nccl?: boolean;
}

export interface TrainerOptions {
  /** ResNet whose layers feed the heads; frozen. Default "wide_resnet50_2". */
  backbone?: Architecture;
  /**
   * "auto" (default): the official ImageNet V1 file from the cache folder (`supersimplenet weights pull`); a path:
   * .safetensors or .pth; "random": untrained weights, for tests and demonstrations only.
   */
  backboneWeights?: string;
  /** Taps. Default ["layer2", "layer3"] (spec section 1). */
  layers?: readonly string[];
  /** Height, width in pixels; images are resized to it without keeping the aspect. Default [256, 256]. */
  imageSize?: readonly [number, number];
  /** "bilinear" (default, as the authors) or "antialias" (as anomalib). */
  resize?: ResizeMethod;
  /** "jims" (default): the classification head sees raw features; "icpr": adapted features. */
  variant?: Variant;
  /** Of the feature upscaling. Default true; anomalib's models use false. */
  alignCorners?: boolean;
  /** Upscale the features to twice the largest tap's size; false leaves them at its size. Default true. This and the next five are the paper's ablations (docs/ablations.md). */
  upscale?: boolean;
  /**
   * "standard" (default): one 5x5 convolutional block; "complex": three; "mapMax": none, the score logit is the maximum of the map
   * logits at feature size, has no loss of its own, and image labels without masks teach nothing.
   */
  classificationHead?: ClassificationHead;
  /** The classification head sees the map, in its convolution and in its last layer. Default true. */
  mapInput?: boolean;
  /**
   * "perlin" (default): noise within Perlin masks; "simplenet": noise on the whole map of the second copy of each batch, none on the
   * first; "none": real defects only, which the unsupervised regime does not have (INVALID_OPTION).
   */
  syntheticAnomalies?: SyntheticAnomalies;
  /** Synthetic anomalies also on the real defects that have masks. Default false. */
  overlap?: boolean;
  /** "default": the four terms of spec section 4; "truncatedL1": the map without its focal term. Default "default". */
  loss?: Loss;
  /** "auto" (default) infers it from the labels; see docs/training.md. */
  regime?: Regime | "auto";
  /** Default 300. */
  epochs?: number;
  /** Images per step, before the duplication of spec section 3; over all processes together. Default 32. */
  batchSize?: number;
  /** Same seed, same data, same machine: the same model file, bit for bit (CPU). Default 0. */
  seed?: number;
  /** CPU threads of the engine, for everything it does from now on. Default: as before; at first SUPERSIMPLENET_THREADS or the number of cores. */
  threads?: number;
  /** "auto" (default), "cpu", "cuda" or "cuda:1". */
  device?: string;
  /**
   * Of the operands of the wide matrix products: "float32" (default), "bfloat16", or "tf32" on CUDA alone. Weights, optimiser,
   * sums and everything else stay float32. For the low-resolution heads.
   */
  precision?: "float32" | "tf32" | "bfloat16";
  /** Default 1e-4. */
  adaptorLearningRate?: number;
  /** Default 2e-4. */
  headsLearningRate?: number;
  /** Default 0.01. */
  adaptorWeightDecay?: number;
  /** Default 1e-5. */
  headsWeightDecay?: number;
  /** Learning rates are multiplied by `learningRateFactor` when this share of the epochs is done. Default [0.8, 0.9]. */
  learningRateMilestones?: readonly number[];
  /** Default 0.4. */
  learningRateFactor?: number;
  /** Global gradient norm limit; 0 does not clip. Default by regime: 1 supervised, 0 unsupervised. */
  gradientClip?: number;
  /** Standard deviation of the latent noise. Default: 0.015 for trained wide_resnet50_2, else relative (docs/training.md). */
  noiseStd?: number | RelativeNoise;
  /** Threshold of the Perlin masks. Default by regime: 0.2 unsupervised and weak, 0.6 mixed and full. */
  perlinThreshold?: number;
  /** Side in pixels of the square that dilates training masks; 0 does not. Default by regime: 7 mixed and full, else 0. */
  maskDilation?: number;
  /** Distance weight of spec section 4, or false for weight 1. Default by regime: { w: 3, p: 2 } mixed and full, else false. */
  distanceWeight?: { w: number; p: number } | false;
  /** Stop the gradient from the classification head into the map. Default by regime: true unsupervised, else false. */
  stopGradient?: boolean;
  /** As many normal as anomalous samples per epoch, anomalous ones in four flips. Default by regime: false unsupervised, else true. */
  balancedSampling?: boolean;
  /**
   * Share of the anomalous training images that keep their masks, 0 to 1: makes a mixed set of a fully annotated one, the
   * same for every seed and a smaller one inside a larger one. Default: all masks there are.
   */
  segmentedRatio?: number;
  /** The same as a number of images; not both. */
  segmentedCount?: number;
  /** Share of the training images held out to set the thresholds; 0 trains on everything and leaves the thresholds at 0.5. Default 0.1. */
  calibrationFraction?: number;
  /** Memory for the cached features of the frozen backbone, MiB, of the device; what does not fit is computed again in each epoch. Default 2048. */
  featureCacheMiB?: number;
  /** With a GPU: page-locked memory of the host for the features that do not fit there, MiB; taken as it is needed. Default 4096. */
  featureCacheHostMiB?: number;
  /**
   * Disk space for a file of cached features, MiB, so that the next training on the same images and backbone need not
   * compute them. 0 (default): none.
   */
  featureCacheFileMiB?: number;
  /** Folder of those files. Default: "features" in the cache folder (SUPERSIMPLENET_CACHE). Needs featureCacheFileMiB. */
  featureCacheDir?: string;
  /** "float32" (default) or "float16": half the memory and disk space, and features rounded to 11 bits, cached or not. */
  featureCachePrecision?: "float32" | "float16";
  /** With a GPU: for how many sizes of steps the work is kept as a CUDA graph, which starts faster. 0: none. Default 32. */
  cudaGraphs?: number;
  /**
   * "lowResolution" or "direct": the same function computed the plain way, several times slower; the tests' oracle. Default
   * "lowResolution", but "direct" for a classification head other than the paper's, which has no other form.
   */
  heads?: Compute;
  /**
   * Several processes that train one model together: "auto" (default) does if the environment says so (WORLD_SIZE above 1), an object
   * says it here; false never. The model is that of one process, up to rounding.
   */
  distributed?: "auto" | false | DistributedOptions;
  /** Store the backbone in the model file; random weights must be. Default: unless its weights came from the cache folder, where every machine can have them. */
  embedBackbone?: boolean;
}

/** Defaults that do not depend on the regime. */
export const trainerDefaults = {
  backbone: "wide_resnet50_2",
  backboneWeights: "auto",
  layers: ["layer2", "layer3"],
  imageSize: [256, 256],
  resize: "bilinear",
  variant: "jims",
  alignCorners: true,
  ...networkDefaults,
  syntheticAnomalies: "perlin",
  overlap: false,
  loss: "default",
  regime: "auto",
  epochs: 300,
  batchSize: 32,
  seed: 0,
  device: "auto",
  precision: "float32",
  adaptorLearningRate: 1e-4,
  headsLearningRate: 2e-4,
  adaptorWeightDecay: 0.01,
  headsWeightDecay: 1e-5,
  learningRateMilestones: [0.8, 0.9],
  learningRateFactor: 0.4,
  calibrationFraction: 0.1,
  featureCacheMiB: 2048,
  featureCacheHostMiB: 4096,
  featureCacheFileMiB: 0,
  featureCachePrecision: "float32",
  cudaGraphs: 32,
  distributed: "auto",
} as const satisfies TrainerOptions;

export interface RegimePreset {
  gradientClip: number;
  perlinThreshold: number;
  maskDilation: number;
  distanceWeight: { w: number; p: number } | false;
  stopGradient: boolean;
  balancedSampling: boolean;
}

const supervised = {
  gradientClip: 1,
  maskDilation: 7,
  distanceWeight: { w: 3, p: 2 },
  stopGradient: false,
  balancedSampling: true,
} as const;

/** What the regime decides (spec sections 2 to 5). */
export const regimePresets: Record<Regime, RegimePreset> = {
  unsupervised: {
    gradientClip: 0,
    perlinThreshold: 0.2,
    maskDilation: 0,
    distanceWeight: false,
    stopGradient: true,
    balancedSampling: false,
  },
  weak: { ...supervised, perlinThreshold: 0.2, maskDilation: 0, distanceWeight: false },
  mixed: { ...supervised, perlinThreshold: 0.6 },
  full: { ...supervised, perlinThreshold: 0.6 },
};

/** The published noise scale, tuned to wide_resnet50_2 with ImageNet V1 weights (paper, section 4). */
export const publishedNoiseStd = 0.015;

/** Default scale of relative noise (docs/noise.md has the experiment). */
export const relativeNoise = 0.5;

export interface StepEvent extends StepLosses {
  epoch: number;
  epochs: number;
  /** Step within the epoch, from 1. */
  step: number;
  steps: number;
}

export interface EpochEvent {
  /** From 1. */
  epoch: number;
  epochs: number;
  /** Mean of the total loss over the epoch's steps. */
  loss: number;
  l1Normal: number;
  l1Anomalous: number;
  focalMap: number;
  focalScore: number;
  gradientNorm: number;
  adaptorLearningRate: number;
  headsLearningRate: number;
  /** Images of this process whose features came from memory, from page-locked memory of the host (with a GPU), from the cache file, were computed; in the first epoch also those of measuring the noise. */
  features: { memory: number; host: number; file: number; computed: number };
  /** What came up during the epoch: a cache file that is damaged, full, or cannot be written. */
  warnings: string[];
  seconds: number;
}

/** What the training settled on before the first epoch. */
export interface StartEvent {
  regime: Regime;
  counts: {
    trainNormal: number;
    trainAnomalous: number;
    trainSegmented: number;
    calibrationNormal: number;
    calibrationAnomalous: number;
  };
  warnings: string[];
  backbone: { architecture: Architecture; source: string; trained: boolean };
  /** Mean over the channels. */
  noiseStd: number;
  noise: "absolute" | "relative";
  device: string;
  /** This process and the number of processes that train together: 0 of 1 when it is alone. */
  rank: number;
  ranks: number;
  /** Why that device. */
  deviceReason: string;
  /** 0, or the number of epochs already done when a run is resumed. */
  epochsDone: number;
  epochs: number;
  stepsPerEpoch: number;
}

/** Work before the first and after the last epoch. */
export interface StageEvent {
  stage: "validate" | "load" | "measure" | "calibrate";
  done: number;
  total: number;
}

export interface FitOptions {
  signal?: AbortSignal | undefined;
  /** Training waits for the promise of an asynchronous callback; what one fails with ends the training. */
  onStage?: (event: StageEvent) => void;
  onStart?: (event: StartEvent) => void;
  onStep?: (event: StepEvent) => void;
  onEpoch?: (event: EpochEvent) => void;
  /** Folder for the checkpoint, written after every epoch (by rank 0). Without it nothing is kept when training stops early. */
  out?: string;
  /** Continue from `out`'s checkpoint (rank 0's, for all ranks); it is an error if there is none or if it was made with other options or data. Default false. */
  resume?: boolean;
  /** Replace the checkpoint of another training in `out`, which is an error otherwise. Default false. */
  overwrite?: boolean;
}
