import { z } from "zod";

import {
  architectures,
  callback,
  device,
  imageSizeRow,
  imageSizeType,
  paperBackbone,
  pathType,
  signal,
  threads,
  weightsRow,
} from "./common.js";
import { heads, precision } from "./detection.js";
import { option } from "./option.js";
import { trainerDefaults } from "./training.js";

/** Options of benchmark. */
export const benchmarkOptions = z.strictObject({
  model: option(pathType.optional(), {
    help: "Model file that train or convert wrote. Of one with a view, one input of the network is measured: a tile, where there are tiles.",
    placeholder: "FILE",
    defaultText: "random heads on the backbone",
    expected: "a path",
  }),
  backbone: option(z.enum(architectures).optional(), {
    help: `Backbone to measure where no model file is given: ${architectures.join(", ")}.`,
    placeholder: "NAME",
    defaultText: `${paperBackbone}, or resnet18 with the weights distilled`,
  }),
  backboneWeights: option(pathType.optional(), {
    ...weightsRow,
    defaultText: "auto, else random without a model file",
  }),
  imageSize: option(imageSizeType.optional(), {
    ...imageSizeRow,
    help: "Input size in pixels where no model file is given.",
    defaultText: trainerDefaults.imageSize.join("x"),
  }),
  device,
  precision,
  heads,
  threads,
  batchSize: option(z.int().min(1).max(4096).default(1), { help: "Images per call.", flag: "batch" }),
  repetitions: option(z.int().min(1).max(1e6).default(50), { help: "Timed calls of each kind." }),
  warmup: option(z.int().min(0).max(1e6).default(5), { help: "Calls before the timed ones." }),
  signal,
  onProgress: callback("How many of the calls are done."),
});
