import type { Regime } from "./regimes.js";
import type { TrainerOptions } from "./types.js";

/** The options whose defaults depend on the regime. */
export interface RegimePreset {
  optimizer: { gradientClip: number; stopGradient: boolean; balancedSampling: boolean };
  anomalies: { perlinThreshold: number };
  masks: { dilation: number; distanceWeight: { w: number; p: number } | false };
}

/** What the regime decides (docs/method.md, Regimes). */
export const regimePresets: Readonly<Record<Regime, RegimePreset>> = {
  unsupervised: {
    optimizer: { gradientClip: 0, stopGradient: true, balancedSampling: false },
    anomalies: { perlinThreshold: 0.2 },
    masks: { dilation: 0, distanceWeight: false },
  },
  weak: {
    optimizer: { gradientClip: 1, stopGradient: false, balancedSampling: true },
    anomalies: { perlinThreshold: 0.2 },
    masks: { dilation: 0, distanceWeight: false },
  },
  mixed: {
    optimizer: { gradientClip: 1, stopGradient: false, balancedSampling: true },
    anomalies: { perlinThreshold: 0.6 },
    masks: { dilation: 7, distanceWeight: { w: 3, p: 2 } },
  },
  full: {
    optimizer: { gradientClip: 1, stopGradient: false, balancedSampling: true },
    anomalies: { perlinThreshold: 0.6 },
    masks: { dilation: 7, distanceWeight: { w: 3, p: 2 } },
  },
};

export const paceNames = ["short", "published"] as const;
export type PaceName = (typeof paceNames)[number];

/** How long a training is, and how fast it learns. */
export interface Pace {
  epochs: number;
  /** More epochs where those have fewer steps than this. */
  leastSteps: number;
  optimizer: { adaptorLearningRate: number; headsLearningRate: number };
  anomalies: { noiseSchedule: { from: number; to: number; over: number } | false };
}

/** The paper's pace, and one that is five times as short (docs/guides/train.md, Length). */
export const paces = {
  published: {
    epochs: 300,
    leastSteps: 0,
    optimizer: { adaptorLearningRate: 1e-4, headsLearningRate: 2e-4 },
    anomalies: { noiseSchedule: false },
  },
  short: {
    epochs: 60,
    leastSteps: 240,
    optimizer: { adaptorLearningRate: 5e-4, headsLearningRate: 1e-3 },
    anomalies: { noiseSchedule: { from: 2, to: 0.8, over: 0.3 } },
  },
} as const satisfies Record<PaceName, Pace>;

/** The published noise scale, tuned to wide_resnet50_2 with ImageNet V1 weights (paper, section 4). */
export const publishedNoiseStd = 0.015;

/** What the paper's experiments do and the trainer's defaults do not: its pace, and noise of its own for each position. */
export const publishedTraining = { pace: "published", anomalies: { noiseVectors: "independent" } } as const;

/** Default scale of relative noise (docs/measurements/noise.md has the experiments). */
export const relativeNoise: Readonly<Record<Regime, number>> = { unsupervised: 0.5, weak: 1, mixed: 0.5, full: 0.5 };

/** The keys of `ablations`. */
export type AblationName =
  | "noUpscaling"
  | "mapMaxScore"
  | "complexClassificationHead"
  | "noMapInput"
  | "adaptedFeatures"
  | "oldLossNoScheduler"
  | "overlap"
  | "noDistanceWeight"
  | "simpleNetNoise"
  | "simpleNetNoiseMapMax"
  | "simpleNetNoiseComplex"
  | "noSyntheticAnomalies"
  | "simpleNetPerlin"
  | "simpleNet"
  | "simpleNetSupervised";

export interface Ablation {
  /** For tables. */
  title: string;
  /** What differs from the defaults; mergeOptions puts it over the other options of a training. */
  options: TrainerOptions;
}

/** Table 5's "improved training" taken back: loss, scheduler, clipping, and the stop of the gradient between the heads. */
const oldTraining = {
  optimizer: { learningRateMilestones: [], stopGradient: false, gradientClip: 0 },
  ablation: { loss: "truncatedL1" },
} as const satisfies TrainerOptions;

/** SimpleNet (Liu et al. 2023) as its authors run it. docs/method.md, Ablations, says what stays ours. */
function simpleNet(syntheticAnomalies: "perlin" | "simplenet", more: { overlap?: boolean } = {}): TrainerOptions {
  return {
    epochs: 160,
    batchSize: 8,
    network: { alignCorners: false },
    optimizer: oldTraining.optimizer,
    masks: { distanceWeight: false },
    ablation: { ...oldTraining.ablation, upscale: false, classificationHead: "mapMax", syntheticAnomalies, ...more },
  };
}

/**
 * The rows of the paper's Table 5 as options of the trainer, and SimpleNet. docs/method.md, Ablations, says what each
 * changes, and which reading was chosen where the paper is silent. The first row of the table is the default network.
 */
export const ablations: Readonly<Record<AblationName, Readonly<Ablation>>> = {
  noUpscaling: { title: "no upscaling", options: { ablation: { upscale: false } } },
  mapMaxScore: { title: "score = maximum of the map", options: { ablation: { classificationHead: "mapMax" } } },
  complexClassificationHead: {
    title: "complex classification head",
    options: { ablation: { classificationHead: "complex" } },
  },
  noMapInput: { title: "no map input to the classification head", options: { ablation: { mapInput: false } } },
  adaptedFeatures: {
    title: "adapted features into the classification head",
    options: { network: { variant: "icpr" } },
  },
  oldLossNoScheduler: { title: "old loss, no scheduler", options: oldTraining },
  overlap: { title: "synthetic anomalies on real defects", options: { ablation: { overlap: true } } },
  noDistanceWeight: { title: "no distance weight", options: { masks: { distanceWeight: false } } },
  simpleNetNoise: { title: "SimpleNet's noise", options: { ablation: { syntheticAnomalies: "simplenet" } } },
  simpleNetNoiseMapMax: {
    title: "SimpleNet's noise, score = maximum of the map",
    options: { ablation: { syntheticAnomalies: "simplenet", classificationHead: "mapMax" } },
  },
  simpleNetNoiseComplex: {
    title: "SimpleNet's noise, complex classification head",
    options: { ablation: { syntheticAnomalies: "simplenet", classificationHead: "complex" } },
  },
  noSyntheticAnomalies: {
    title: "no synthetic anomalies (needs real ones)",
    options: { ablation: { syntheticAnomalies: "none" } },
  },
  simpleNetPerlin: { title: "SimpleNet with our synthetic anomalies", options: simpleNet("perlin") },
  simpleNet: { title: "SimpleNet as published", options: { ...simpleNet("simplenet"), regime: "unsupervised" } },
  simpleNetSupervised: {
    title: "SimpleNet, modified for supervision",
    options: simpleNet("simplenet", { overlap: true }),
  },
};
