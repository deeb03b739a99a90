import { z } from "zod";

import { callback, signal, threads } from "./common.js";
import { backboneWeights } from "./detection.js";
import { option } from "./option.js";
import { evaluateOptions } from "./evaluation.js";
import type { Settings } from "./types.js";

/** The versions of ONNX's operators whose graphs are tested; older ones lack operators that the graph has. */
export const opsets = { oldest: 13, newest: 21, usual: 17 } as const;

const largestBatch = 256;

/** Options of model.exportOnnx. */
export const exportOptions = z.strictObject({
  precision: option(z.enum(["float32", "float16"]).default("float32"), {
    help: "Number format of the backbone and of the wide products of the heads; what is behind them is float32.",
  }),
  input: option(z.enum(["image", "normalised"]).default("image"), {
    help:
      "What the graph takes: image: uint8 RGB of any size, resized and normalised in the graph; normalised: float32 at the " +
      "model's size, for hosts that do both themselves.",
  }),
  opset: option(z.int().min(opsets.oldest).max(opsets.newest).default(opsets.usual), {
    help: "Version of ONNX's operators.",
  }),
  batch: option(z.union([z.literal("dynamic"), z.int().min(1).max(largestBatch)]).default("dynamic"), {
    help: "Images per run: any number, or a fixed one.",
    placeholder: "dynamic|N",
    expected: `'dynamic' or an integer at least 1 and at most ${largestBatch}`,
    written: `dynamic, or an integer from 1 to ${largestBatch}`,
    read: (written) => (written === "dynamic" ? written : /^\d+$/.test(written) ? Number(written) : undefined),
  }),
  backboneWeights,
  threads,
  signal,
  onProgress: callback("How many of the images are compared with the engine's results."),
});

export type ExportOptions = Settings<typeof exportOptions>;

/** Options of verifyOnnx. */
export const verifyOptions = z.strictObject({
  split: evaluateOptions.shape.split,
  backboneWeights,
  threads,
  signal,
  onProgress: callback("How many of the images are compared."),
});

export type VerifyOptions = Settings<typeof verifyOptions>;
