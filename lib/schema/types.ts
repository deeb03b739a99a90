import type { z } from "zod";

import type { View } from "./view.js";
import type { ablationShape, distributedOptions, networkShape, trainerOptions } from "./training.js";

// The build turns Settings<...> into plain interfaces with comments (scripts/lib/declarations.mjs).

/** What users may give, without callbacks. */
export type Settings<Schema extends z.ZodType> = {
  [Name in keyof z.input<Schema> as Name extends `on${Capitalize<string>}` ? never : Name]: z.input<Schema>[Name];
};

/** Options of Trainer. Every one may be left out. */
export type TrainerOptions = Settings<typeof trainerOptions>;

/** One process of a training with several. What is left out comes from the environment, as torchrun sets it. */
export type DistributedOptions = Settings<typeof distributedOptions>;

/** How the network departs from the paper's. What is left out: as in the paper. */
export type AblationSettings = z.output<z.ZodObject<typeof ablationShape>>;

/** What decides the network and its input, besides the backbone; model files have it. */
export type NetworkSettings = Pick<z.output<typeof trainerOptions>, "imageSize"> &
  z.output<z.ZodObject<typeof networkShape>> &
  z.input<z.ZodObject<typeof ablationShape>> & {
    /** Bits that the samples of images with 16 bits per channel hold, 8 to 16. Default 16. */
    bitDepth?: number | undefined;
    /** What the network sees of an image. Default: all of it, stretched to the input size. */
    view?: View | undefined;
  };

/** The group of the trainer's options, with everything filled in, as the engine takes it. */
export type OptimizerGroup = Required<z.output<typeof trainerOptions>["optimizer"]>;

/** The same of the ablations. */
export type AblationGroup = z.output<typeof trainerOptions>["ablation"];

/** The group of the trainer's options, with its defaults. */
export type CalibrationGroup = z.output<typeof trainerOptions>["calibration"];

/** A factor on the noise that falls geometrically from `from` to `to` over the share `over` of the steps. */
export type NoiseSchedule = Exclude<z.output<typeof trainerOptions>["anomalies"]["noiseSchedule"], false | undefined>;

/** A scale relative to the backbone's features: the noise of channel c has `relative` times the standard deviation of that channel. */
export interface RelativeNoise {
  relative: number;
}
