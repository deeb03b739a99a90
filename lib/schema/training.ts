import { z } from "zod";

import {
  architectures,
  bitDepthOrAuto,
  bitDepthRow,
  callback,
  decisionRow,
  device,
  fullDepth,
  headsForms,
  headsRow,
  imageSizeRow,
  imageSizeType,
  memoryMiB,
  paperBackbone,
  pathType,
  readNames,
  readNumbers,
  signal,
  threads,
  weightsRow,
} from "./common.js";
import { decisions } from "./decisions.js";
import { group, option } from "./option.js";
import { paceNames, paces, publishedNoiseStd, relativeNoise } from "./presets.js";
import { regimes } from "./regimes.js";
import { tilingOptions, viewOptions } from "./view.js";

export const layerNames = ["layer1", "layer2", "layer3"] as const;

/** What decides the network and its input, besides the backbone; a model's configuration and a conversion have it too. */
export const networkShape = {
  layers: option(
    z
      .array(z.enum(layerNames))
      .min(1)
      .refine((names) => new Set(names).size === names.length)
      .readonly()
      .default(["layer2", "layer3"]),
    {
      help: "Layers of the backbone whose maps feed the heads.",
      placeholder: "NAME,...",
      expected: "a list of different layers, each one of 'layer1', 'layer2', 'layer3'",
      written: "a comma-separated list of different layers out of layer1, layer2, layer3",
      read: readNames,
    },
  ),
  resize: option(z.enum(["bilinear", "antialias"]).default("bilinear"), {
    help: "How images are resized: bilinear as the authors do, antialias as anomalib does.",
  }),
  variant: option(z.enum(["jims", "icpr"]).default("jims"), {
    help: "Which published network: in jims the classification head sees the raw features, in icpr the adapted ones.",
  }),
  alignCorners: option(z.boolean().default(true), {
    help: "Upscale features with aligned corners, as in the paper; anomalib's models do not.",
  }),
};

export const ablationShape = {
  upscale: option(z.boolean().default(true), {
    help: "Upscale features to twice the size of the largest layer.",
  }),
  classificationHead: option(z.enum(["standard", "complex", "mapMax"]).default("standard"), {
    help: "What computes the score: one convolutional block, three, or no head but the maximum of the map.",
  }),
  mapInput: option(z.boolean().default(true), { help: "Let the classification head see the map." }),
};

/** From `low` on (exclusive) to `high`. */
const positive = (high = Infinity): z.ZodNumber => (high === Infinity ? z.number().gt(0) : z.number().gt(0).max(high));
const share = (high = 1): z.ZodNumber => z.number().min(0).max(high);
const mebibytes = z
  .number()
  .min(0)
  .max(2 ** 32);

export const distributedOptions = z.strictObject({
  rank: option(z.int().min(0).max(4095).optional(), {
    help: "Number of this process, from 0; rank 0 writes the files.",
    defaultText: "RANK",
    flag: false,
  }),
  worldSize: option(z.int().min(1).max(4096).optional(), {
    help: "Number of processes; 1 trains in this process alone.",
    defaultText: "WORLD_SIZE, else 1",
    flag: false,
  }),
  masterAddress: option(z.string().min(1).optional(), {
    help: "Address of the machine of rank 0.",
    defaultText: "MASTER_ADDR",
    expected: "a host name or an address",
    flag: false,
  }),
  masterPort: option(z.int().min(1).max(65535).optional(), {
    help: "A free port on the machine of rank 0.",
    defaultText: "MASTER_PORT",
    flag: false,
  }),
  localRank: option(z.int().min(0).max(4095).optional(), {
    help: "Number of this process on its machine; the devices auto and cuda take the GPU of that number.",
    defaultText: "LOCAL_RANK",
    flag: false,
  }),
  timeoutSeconds: option(z.number().min(1).max(86400).default(60), {
    help: "Seconds of silence after which another process counts as failed.",
    placeholder: "S",
    flag: "rank-timeout",
  }),
  joinTimeoutSeconds: option(z.number().min(1).max(86400).default(300), {
    help: "Seconds to wait until all processes have joined.",
    placeholder: "S",
    flag: "join-timeout",
  }),
  nccl: option(z.boolean().default(true), {
    help: "Several processes: sum gradients with NCCL if each has a GPU of its own.",
  }),
});

/** Epochs of a training that begins with a model's heads. */
export const epochsWithInit = 30;

const { published, short } = paces;
const falling = Object.values(short.anomalies.noiseSchedule).join(",");

/** Every option of Trainer. What most people set stands first; the rest is in groups. */
export const trainerOptions = z.strictObject({
  backbone: option(z.enum(architectures).optional(), {
    help: `Frozen ResNet whose features are used: ${architectures.join(", ")}.`,
    placeholder: "NAME",
    defaultText: `${paperBackbone} if its trained weights are on this machine, else the package's own resnet18`,
  }),
  backboneWeights: option(pathType.default("auto"), {
    ...weightsRow,
    defaultText: "auto, where no backbone is named either: distilled if auto finds none",
    record: false,
  }),
  imageSize: option(imageSizeType.default([256, 256]), {
    ...imageSizeRow,
    help: "Input size of the network. Images are resized to it; the aspect is not kept, unless fit says so.",
    defaultText: "256x256, or the size of the tiles",
  }),
  bitDepth: option(bitDepthOrAuto.default(fullDepth), {
    ...bitDepthRow,
    help: "Bits that the samples of 16-bit images hold, as 10 for a 10-bit camera; auto: as many as the highest sample of the training images needs, of 8, 10, 12, 14 and 16.",
  }),
  regime: option(z.enum(["auto", ...regimes]).default("auto"), {
    help: "Which labels to learn from; auto goes by the labels that are there.",
  }),
  pace: option(z.enum(paceNames).optional(), {
    help: "Sets the defaults of epochs, learning rates and noise schedule: short takes a fifth of the published epochs.",
    defaultText:
      "short in the unsupervised regime with relative noise, where neither init nor anything that the pace sets is given; else published",
    record: false,
  }),
  epochs: option(z.int().min(1).max(1e6).optional(), {
    help: "Passes over the training images.",
    defaultText: `${published.epochs}; with the short pace ${short.epochs}, or as many as make ${short.leastSteps} steps; ${epochsWithInit} with init`,
  }),
  steps: option(z.int().min(1).max(1e9).optional(), {
    help: "Steps of the optimizer in all, instead of a number of epochs; the last epoch may be cut short.",
    defaultText: "as many as the epochs have",
  }),
  init: option(pathType.optional(), {
    help: "Model file whose heads the training begins with; its network, its backbone and its thresholds are taken over.",
    placeholder: "MODEL",
    defaultText: "random heads",
    expected: "a path",
    record: false,
  }),
  batchSize: option(z.int().min(1).max(4096).default(32), {
    help: "Images per step, over all processes together.",
    flag: "batch",
  }),
  seed: option(z.int().min(0).default(0), {
    help: "Seed of the training. On the CPU, the same seed, data, machine and threads give the same file, bit for bit.",
  }),
  device,
  threads,
  memoryMiB,
  precision: option(z.enum(["auto", "float32", "tf32", "bfloat16"]).default("float32"), {
    help: "Number format of the backbone and of the operands in large matrix products; the rest stays float32. auto: bfloat16 where the processor is measured to be faster with it, else float32. tf32 needs CUDA.",
  }),
  distributed: option(z.union([z.literal("auto"), z.literal(false), distributedOptions]).default("auto"), {
    help: "Train together with other processes: auto does so if the environment names them, as under torchrun (docs/guides/several-processes.md).",
    placeholder: "auto|off",
    expected: "'auto', false or an object",
    written: "auto or off",
    read: (written) => (written === "auto" ? "auto" : written === "off" ? false : undefined),
    record: false,
  }),

  view: viewOptions,
  tiling: tilingOptions,

  network: group("The network and its input", {
    ...networkShape,
    heads: option(z.enum(headsForms).optional(), headsRow),
    embedBackbone: option(z.boolean().optional(), {
      help: "Store the backbone in the model file. Random weights must be stored.",
      defaultText: "unless its weights come from the cache folder or the package; with init as in that file",
      record: false,
    }),
  }),

  optimizer: group("How the heads learn", {
    adaptorLearningRate: option(positive(1).optional(), {
      help: "Learning rate of the adaptor.",
      flag: "adaptor-lr",
      defaultText: `${published.optimizer.adaptorLearningRate}; ${short.optimizer.adaptorLearningRate} with the short pace`,
    }),
    headsLearningRate: option(positive(1).optional(), {
      help: "Learning rate of both heads.",
      flag: "heads-lr",
      defaultText: `${published.optimizer.headsLearningRate}; ${short.optimizer.headsLearningRate} with the short pace`,
    }),
    adaptorWeightDecay: option(share().default(0.01), { help: "Weight decay of the adaptor." }),
    headsWeightDecay: option(share().default(1e-5), { help: "Weight decay of both heads." }),
    learningRateMilestones: option(z.array(share()).readonly().default([0.8, 0.9]), {
      help: "Shares of the epochs after which the learning rates fall.",
      placeholder: "A,B",
      flag: "lr-milestones",
      expected: "a list of shares of the epochs, each a number at least 0 and at most 1",
      written: "numbers from 0 to 1 separated by commas",
      read: readNumbers,
    }),
    learningRateFactor: option(positive(1).default(0.4), {
      help: "What the learning rates are multiplied by at a milestone.",
      flag: "lr-factor",
    }),
    gradientClip: option(z.number().min(0).optional(), {
      help: "Limit of the global gradient norm; 0 sets none.",
      byRegime: true,
    }),
    stopGradient: option(z.boolean().optional(), {
      help: "Keep the gradient of the score's loss out of the map.",
      byRegime: true,
    }),
    balancedSampling: option(z.boolean().optional(), {
      help: "Use as many normal as anomalous images per epoch, each anomalous one in four flips.",
      byRegime: true,
    }),
  }),

  anomalies: group("Synthetic anomalies", {
    noiseStd: option(z.union([positive(), z.strictObject({ relative: positive() })]).optional(), {
      help: "Strength of the latent noise: a standard deviation, or R times the standard deviation of each channel.",
      placeholder: "S|relative:R",
      defaultText: `${publishedNoiseStd} for the trained ${paperBackbone}, else relative:${relativeNoise.weak} in the weak regime and relative:${relativeNoise.full} in the others`,
      expected: "a number above 0, or { relative: a number above 0 }",
      written: "a number above 0, or relative:NUMBER",
      read: readNoise,
    }),
    noiseSchedule: option(
      z
        .union([
          z.literal(false),
          z.strictObject({ from: positive(1000), to: positive(1000), over: z.number().gt(0).max(1) }),
        ])
        .optional(),
      {
        help: "A factor on the noise. It falls geometrically from one value to another over the first share of the steps, then stays.",
        placeholder: "FROM,TO,OVER",
        written: "2 numbers above 0 and at most 1000 and a share above 0 and at most 1, separated by commas",
        off: "Keep the noise the same in all steps.",
        defaultText: `none; ${falling} with the short pace`,
        expected: "{ from, to, over } with from and to above 0 and at most 1000, over above 0 and at most 1, or false",
        read: readNoiseSchedule,
      },
    ),
    noiseVectors: option(z.union([z.literal("independent"), z.int().min(1).max(4096)]).default(512), {
      help: "How many noise vectors the positions of a step share. independent draws one for each position, as the paper does, and takes about twice as long.",
      placeholder: "K|independent",
      expected: "a whole number from 1 to 4096, or 'independent'",
      written: "a whole number from 1 to 4096, or independent",
      read: (written) => (written === "independent" ? written : Number(written)),
    }),
    perlinThreshold: option(z.number().min(-2).max(2).optional(), {
      help: "Threshold of the Perlin noise that masks the synthetic anomalies.",
      byRegime: true,
    }),
  }),

  masks: group("Pixel labels", {
    dilation: option(z.int().min(0).max(255).optional(), {
      help: "Side in pixels of the square by which training masks are dilated; 0 leaves them as they are.",
      placeholder: "PX",
      flag: "mask-dilation",
      record: "maskDilation",
      byRegime: true,
    }),
    distanceWeight: option(
      z.union([z.literal(false), z.strictObject({ w: positive(1000), p: z.number().min(0).max(100) })]).optional(),
      {
        help: "Weight and power of the distance weight on defect pixels.",
        placeholder: "W,P",
        written: "2 numbers separated by commas",
        off: "Weigh all pixels the same.",
        expected: "{ w, p } with w above 0 and at most 1000, p at least 0 and at most 100, or false",
        read: readDistanceWeight,
        byRegime: true,
      },
    ),
    segmentedRatio: option(share().optional(), {
      help: "Share of the anomalous training images that keep their masks.",
      defaultText: "all masks there are",
    }),
    segmentedCount: option(z.int().min(0).optional(), {
      help: "Number of anomalous training images that keep their masks, instead of a share.",
    }),
  }),

  cache: group("The cache of the backbone's features", {
    memoryMiB: option(mebibytes.default(2048), {
      help: "Memory of the device for cached features; what does not fit is computed again in each epoch.",
      placeholder: "MIB",
      flag: "feature-cache-mib",
      record: false,
    }),
    hostMiB: option(mebibytes.default(4096), {
      help: "With a GPU: page-locked memory of the host for the features that do not fit there.",
      placeholder: "MIB",
      flag: "feature-cache-host-mib",
      record: false,
    }),
    fileMiB: option(mebibytes.default(0), {
      help: "Disk space for a file of features that the next training on the same images can use; 0 keeps none.",
      placeholder: "MIB",
      flag: "feature-cache-file-mib",
      record: false,
    }),
    dir: option(pathType.optional(), {
      help: "Folder of the feature cache file.",
      placeholder: "FOLDER",
      flag: "feature-cache-dir",
      defaultText: "features in the cache folder",
      expected: "a folder",
      record: false,
    }),
    precision: option(z.enum(["float32", "float16"]).default("float32"), {
      help: "Element type of the features: float16 takes half the space and rounds them to 11 bits.",
      flag: "feature-cache-precision",
      record: "featureCachePrecision",
    }),
  }),

  calibration: group("How the thresholds are set", {
    method: option(z.enum(["auto", "crossFit", "holdOut", "none"]).default("auto"), {
      help: "Set the thresholds by cross-fitting, which trains on every image and takes several times as long, on images held out of the training, or not at all; auto goes by the number of images.",
      flag: "calibration",
      placeholder: "auto|cross-fit|hold-out|none",
      written: "auto, cross-fit, hold-out or none",
      read: readCalibration,
      record: "calibration",
    }),
    folds: option(z.int().min(2).max(20).optional(), {
      help: "Number of parts for cross-fitting; for each one, heads are trained on the others.",
      flag: "calibration-folds",
      defaultText: "5 with fewer than 50 good images, else 3",
      record: "calibrationFolds",
    }),
    falseRejectRate: option(positive(0.5).optional(), {
      help: "Share of good parts that may be rejected.",
      defaultText: "0.01",
      flag: "false-reject",
      placeholder: "R",
    }),
    decision: option(z.enum(decisions).optional(), {
      ...decisionRow,
      defaultText: "either in the unsupervised regime, else score",
    }),
    missRate: option(share(0.5).optional(), {
      help: "Share of the defects that may be called good: turns on the verdict unsure for parts between that and the threshold; 0 turns it off.",
      placeholder: "R",
      defaultText: "no part is unsure",
    }),
    objective: option(z.enum(["rate", "f1"]).optional(), {
      help: "Where the threshold lies: at the rate of false rejects, or where F1 is highest, which needs defects.",
      defaultText: "rate if a rate is given; else f1 with 10 defects or more to set it on, and rate with fewer",
    }),
    fraction: option(share(0.5).optional(), {
      help: "Share of the training images held out to set the thresholds; 0 leaves the score's threshold at 0.5.",
      flag: "calibration-fraction",
      defaultText: "0.1 where images are held out",
      record: "calibrationFraction",
    }),
  }),

  cuda: group("Only on a GPU", {
    graphs: option(z.int().min(0).max(64).default(32), {
      help: "Number of step sizes for which the work is kept as a CUDA graph, which starts faster; 0 keeps none.",
      flag: "cuda-graphs",
      record: false,
    }),
  }),

  ablation: group("The paper's ablations", {
    ...ablationShape,
    syntheticAnomalies: option(z.enum(["perlin", "simplenet", "none"]).default("perlin"), {
      help: "Where noise is added: within Perlin masks, on the whole second copy of a batch, or nowhere.",
    }),
    overlap: option(z.boolean().default(false), {
      help: "Put synthetic anomalies on real defects too.",
    }),
    loss: option(z.enum(["default", "truncatedL1"]).default("default"), {
      help: "Which loss the map has; truncatedL1 leaves out the focal term.",
    }),
  }),
});

/** Every default that depends neither on the regime nor on the pace. */
export const trainerDefaults = trainerOptions.parse({});

/** relative:R, or a number. */
function readNoise(written: string): number | { relative: number } | undefined {
  const [, relative, digits] = /^(relative:)?(.+)$/.exec(written) ?? [];
  const scale = Number(digits);
  if (digits === undefined || !Number.isFinite(scale)) return undefined;
  return relative ? { relative: scale } : scale;
}

function readCalibration(written: string): string {
  return written === "cross-fit" ? "crossFit" : written === "hold-out" ? "holdOut" : written;
}

function readNoiseSchedule(written: string): { from: number; to: number; over: number } | undefined {
  const numbers = readNumbers(written);
  return numbers?.length === 3 ? { from: numbers[0]!, to: numbers[1]!, over: numbers[2]! } : undefined;
}

function readDistanceWeight(written: string): { w: number; p: number } | undefined {
  const numbers = readNumbers(written);
  return numbers?.length === 2 ? { w: numbers[0]!, p: numbers[1]! } : undefined;
}

/** Options of openTensorboard. */
export const tensorboardOptions = z.strictObject({
  onFailure: callback("Called when the folder can no longer be written, and when the pictures fail: once for each."),
});

/** Options of trainer.fit. */
export const fitOptions = z.strictObject({
  signal,
  onStage: callback("Work before the first and after the last epoch."),
  onStart: callback("What the training settled on, before the first epoch."),
  onStep: callback("The losses of a step."),
  onEpoch: callback("The mean losses of an epoch, when it has ended."),
  onSnapshot: callback("A model between two epochs. Taking it changes nothing in the training."),
  snapshotEvery: option(z.int().min(1).max(1e6).default(10), {
    help: "Epochs between two models for onSnapshot, and between two pictures of maps for TensorBoard.",
  }),
  out: option(pathType.optional(), {
    help: "Folder of the checkpoint, which rank 0 writes now and then, at the end, and when the training is stopped. Without it nothing is kept.",
    expected: "a folder",
    flag: false,
  }),
  resume: option(z.boolean().default(false), {
    help: "Continue from the checkpoint in the folder, which must come from the same options and data.",
    switch: true,
  }),
  overwrite: option(z.boolean().default(false), { help: "Replace the earlier training in the folder.", switch: true }),
});

/** Options of describeView. */
export const describeViewOptions = z.strictObject({
  model: option(pathType.optional(), {
    help: "Model file whose view is described, instead of the one that the options make.",
    placeholder: "FILE",
    expected: "a model file's path",
  }),
  ...trainerOptions.pick({ imageSize: true, view: true, tiling: true }).shape,
  signal,
  onProgress: callback("How many of the images are read."),
});
