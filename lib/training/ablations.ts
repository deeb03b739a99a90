import type { TrainerOptions } from "./options.js";

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
  /** What differs from the defaults; spread it over the other options of a training. */
  options: TrainerOptions;
}

/** Table 5's "improved training" taken back: loss, scheduler, and how gradients flow (clipping; the stop between the heads). */
const oldTraining = {
  loss: "truncatedL1",
  learningRateMilestones: [],
  stopGradient: false,
  gradientClip: 0,
} as const satisfies TrainerOptions;

/**
 * SimpleNet (Liu et al. 2023) as its authors run it: features at the size of layer2, half-pixel upscaling of layer3, one branch, 40 x 4
 * epochs of batch 8, constant learning rates. Two things stay ours: features are pooled 3x3 per channel, where SimpleNet averages
 * groups of channels and patch cells down to 1536 numbers; and the segmentation head's optimiser is AdamW with weight decay 1e-5, where
 * SimpleNet's is Adam with the same number as L2 penalty. SimpleNet's choice of the best epoch on the test set is not made: the
 * last epoch counts, as in the paper's comparison.
 */
const simpleNetBase = {
  ...oldTraining,
  upscale: false,
  alignCorners: false,
  classificationHead: "mapMax",
  distanceWeight: false,
  epochs: 160,
  batchSize: 8,
} as const satisfies TrainerOptions;

/**
 * The rows of the paper's Table 5 (spec section 9) as options of the trainer, and SimpleNet. What each changes and which reading was
 * chosen where the paper is silent: docs/method.md. The default network without any of them is the first row.
 */
export const ablations: Readonly<Record<AblationName, Readonly<Ablation>>> = {
  noUpscaling: { title: "no upscaling", options: { upscale: false } },
  mapMaxScore: { title: "score = maximum of the map", options: { classificationHead: "mapMax" } },
  complexClassificationHead: { title: "complex classification head", options: { classificationHead: "complex" } },
  noMapInput: { title: "no map input to the classification head", options: { mapInput: false } },
  adaptedFeatures: { title: "adapted features into the classification head", options: { variant: "icpr" } },
  oldLossNoScheduler: { title: "old loss, no scheduler", options: oldTraining },
  overlap: { title: "synthetic anomalies on real defects", options: { overlap: true } },
  noDistanceWeight: { title: "no distance weight", options: { distanceWeight: false } },
  simpleNetNoise: { title: "SimpleNet's noise", options: { syntheticAnomalies: "simplenet" } },
  simpleNetNoiseMapMax: {
    title: "SimpleNet's noise, score = maximum of the map",
    options: { syntheticAnomalies: "simplenet", classificationHead: "mapMax" },
  },
  simpleNetNoiseComplex: {
    title: "SimpleNet's noise, complex classification head",
    options: { syntheticAnomalies: "simplenet", classificationHead: "complex" },
  },
  noSyntheticAnomalies: { title: "no synthetic anomalies (needs real ones)", options: { syntheticAnomalies: "none" } },
  simpleNetPerlin: { title: "SimpleNet with our synthetic anomalies", options: simpleNetBase },
  simpleNet: {
    title: "SimpleNet as published",
    options: { ...simpleNetBase, syntheticAnomalies: "simplenet", regime: "unsupervised" },
  },
  simpleNetSupervised: {
    title: "SimpleNet, modified for supervision",
    options: { ...simpleNetBase, syntheticAnomalies: "simplenet", overlap: true },
  },
};
