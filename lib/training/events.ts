import { types } from "node:util";

import type { Thresholds, TrainingCounts } from "../models/config.js";
import type { Model } from "../models/model.js";
import type { Architecture, StepLosses, StepOptions } from "../native/binding.js";
import type { Regime } from "../schema/regimes.js";
import type { fitOptions } from "../schema/training.js";
import type { Settings } from "../schema/types.js";
import type { ViewNumbers } from "../view/numbers.js";
import type { TrainingPrecision } from "./precision.js";

/** The losses of one step. */
export interface StepEvent extends StepLosses {
  epoch: number;
  epochs: number;
  /** Step within the epoch, from 1. */
  step: number;
  steps: number;
}

/** The learning rates of the adaptor and of both heads. */
export type LearningRates = Pick<StepOptions, "adaptorLearningRate" | "headsLearningRate">;

/** What an epoch has come to: means over its steps. */
export interface EpochEvent extends Omit<StepLosses, "total">, LearningRates {
  /** From 1. */
  epoch: number;
  epochs: number;
  /** Mean of the total loss over the epoch's steps. */
  loss: number;
  /**
   * Images of this process by where their features came from: memory, page-locked memory of the host (with a GPU), the
   * cache file, or the backbone, which computed them. The first epoch's numbers include the measuring of the noise.
   */
  features: { memory: number; host: number; file: number; computed: number };
  /** What came up during the epoch: a cache file that is damaged, full, or cannot be written. */
  warnings: string[];
  /** Since the epoch before ended; of an epoch that is resumed, since it was. */
  seconds: number;
  /** Images that the steps of those seconds have used, of all processes. */
  images: number;
}

/** A model between two epochs. */
export interface SnapshotEvent {
  /** Epochs that it has learned. */
  epoch: number;
  epochs: number;
  /** Its thresholds are not set yet; those of `init` are there already. */
  model: Model;
}

/** What the training settled on before the first epoch. */
export interface StartEvent {
  regime: Regime;
  counts: TrainingCounts & Pick<Thresholds, "calibrationNormal" | "calibrationAnomalous">;
  warnings: string[];
  /** `reason`: why it is not the paper's backbone, where nobody asked for another one. */
  backbone: { architecture: Architecture; source: string; trained: boolean; reason: string | null };
  /** Name of the model file with whose heads the training begins; null: they are random. */
  init: string | null;
  /** What the view makes of the images that are trained on; null where the network sees each as a whole. */
  view: ViewNumbers | null;
  /** Bits that the samples of images with 16 bits per channel are taken for. */
  bitDepth: number;
  /** Mean over the channels. */
  noiseStd: number;
  /** Its ratio to the standard deviation of the features, a mean over the channels too; of 32 normal images if it is absolute. */
  noiseRelative: number;
  noise: "absolute" | "relative";
  device: string;
  /** This process and the number of processes that train together: 0 of 1 when it is alone. */
  rank: number;
  ranks: number;
  /** Why that device. */
  deviceReason: string;
  /** Number format of the backbone and of large matrix products. */
  precision: TrainingPrecision;
  /** Why that one, where it was to be chosen ("auto"); else null. */
  precisionReason: string | null;
  /** 0, or the number of epochs already done when a run is resumed. */
  epochsDone: number;
  /** Steps already done of the epoch after those. */
  stepsDone: number;
  epochs: number;
  stepsPerEpoch: number;
  /** How the thresholds will be set. */
  calibration: {
    method: "crossFit" | "holdOut" | "none";
    /** Null unless the method is crossFit. */
    folds: number | null;
    /** How many times as long the whole training takes as without folds; 1 for other methods. Backbone left out. */
    timeFactor: number;
    falseRejectRate: number;
  };
}

/** One of the parts of a cross-fitting. */
export interface FoldEvent {
  /** From 1. */
  fold: number;
  folds: number;
}

/** Work before the first and after the last epoch. */
export interface StageEvent {
  /** crossFit: steps of all folds together. calibrate: images that are scored to set the thresholds. */
  stage: "validate" | "load" | "measure" | "crossFit" | "calibrate";
  done: number;
  total: number;
  /** The fold that is at work, in the stages crossFit and calibrate of a cross-fitting; else null. */
  fold: FoldEvent | null;
}

/** Options of trainer.fit. Training waits for the promise of an asynchronous callback; what one fails with ends the training. */
export interface FitOptions extends Settings<typeof fitOptions> {
  onStage?: (event: StageEvent) => void;
  onStart?: (event: StartEvent) => void;
  onStep?: (event: StepEvent) => void;
  onEpoch?: (event: EpochEvent) => void;
  onSnapshot?: (event: SnapshotEvent) => void;
}

/**
 * Calls `onStage`, which may return a promise. Nothing can wait for it where the work is reported, so the promises are
 * collected; `settled` awaits them.
 */
export class StageReporter {
  readonly #onStage: FitOptions["onStage"];
  #promises: Promise<unknown> = Promise.resolve();

  constructor(onStage: FitOptions["onStage"]) {
    this.#onStage = onStage;
  }

  report(stage: StageEvent["stage"], done: number, total: number, fold: FoldEvent | null = null): void {
    const called: unknown = this.#onStage?.({ stage, done, total, fold });
    this.#promises = this.#promises.then(() => called);
    // `settled` throws what a promise fails with; until then it must not count as unhandled.
    this.#promises.catch(() => undefined);
    if (types.isPromise(called)) called.catch(() => undefined);
  }

  /** Throws what a callback failed with. */
  async settled(): Promise<void> {
    await this.#promises;
  }
}
