import { z } from "zod";

import { callback, signal } from "./common.js";
import { split } from "./datasets.js";
import { option } from "./option.js";
import type { Settings } from "./types.js";

/** Options of evaluate. */
export const evaluateOptions = z.strictObject({
  split: option(split.default("test"), { help: "Which images of the data set are evaluated." }),
  signal,
  onProgress: callback("How many of the images are done."),
  onDetection: callback("The result of each image, such as for pictures. Awaited before the next one."),
});

const side = z.int().min(1);

/** Options of evaluateMaps. */
export const evaluateMapsOptions = z.strictObject({
  height: option(side, { help: "Height of every map in pixels." }),
  width: option(side, { help: "Width of every map in pixels." }),
  fprLimit: option(z.number().gt(0).max(1).default(0.3), { help: "False-positive rate up to which AUPRO is taken." }),
});

/** Options of evaluateMaps. */
export type EvaluateMapsOptions = Settings<typeof evaluateMapsOptions>;
