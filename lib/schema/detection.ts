import { z } from "zod";

import { callback, decisionRow, device, headsForms, headsRow, memoryMiB, pathType, signal, threads } from "./common.js";
import { decisions } from "./decisions.js";
import { option } from "./option.js";
import type { Settings } from "./types.js";

export const precision = option(z.enum(["float32", "tf32", "bfloat16", "float16"]).default("float32"), {
  help:
    "Number format of the backbone and of the wide products of the heads: bfloat16 is faster on processors with " +
    "instructions for it; float16 and tf32 are for CUDA.",
  record: false,
});

export const heads = option(z.enum(headsForms).optional(), headsRow);

/** The weights of a model whose file does not hold them. */
export const backboneWeights = option(pathType.default("auto"), {
  help: "Weights of the backbone, for a model file that does not hold them: a .safetensors or .pth file; auto: those of the cache folder or the package that the model was trained with.",
  placeholder: "FILE",
  expected: "'auto', 'distilled' or a path",
  record: false,
});

/** Options of Detector.load. */
export const detectorOptions = z.strictObject({
  device,
  threads,
  memoryMiB,
  backboneWeights,
  decision: option(z.enum(decisions).optional(), decisionRow),
  threshold: option(z.number().min(0).max(1).optional(), {
    help: "Score from 0 to 1 at and above which an image is anomalous.",
    placeholder: "SCORE",
    defaultText: "the model's own",
  }),
  mapThreshold: option(z.number().optional(), {
    help: "Map maximum, a logit, at and above which an image is anomalous.",
    placeholder: "LOGIT",
    defaultText: "the model's own",
  }),
  pixelThreshold: option(z.number().optional(), {
    help: "Map logit at and above which a pixel belongs to a region.",
    placeholder: "LOGIT",
    defaultText: "the model's own",
  }),
  minAreaPx: option(z.number().min(0).default(0), {
    help: "Leave out regions with fewer pixels than this; they do not make an image anomalous either.",
    placeholder: "PX",
    flag: "min-area",
  }),
  minPeak: option(z.number().optional(), {
    help: "Leave out regions whose highest map logit is below this; they do not make an image anomalous either.",
    placeholder: "LOGIT",
    defaultText: "none is left out",
  }),
  mapSize: option(z.enum(["model", "image", "none"]).default("model"), {
    help: "Size of the anomaly map: as the model sees the image, or as large as the part of the image that it covers. none: no map is kept, which saves memory with very large images.",
    flag: false,
  }),
  batchSize: option(z.int().min(1).max(4096).default(8), { help: "Images per forward pass.", flag: "batch" }),
  precision,
  cudaGraphs: option(z.int().min(0).max(64).default(4), {
    help:
      "With a GPU: for how many batch sizes the work is kept as a CUDA graph, which starts faster from the second batch " +
      "of that size on and takes GPU memory; 0: none.",
    flag: false,
  }),
  heads,
});

/** Options of Detector.load. */
export type DetectorOptions = Settings<typeof detectorOptions>;

const onTiles = callback("How many of the tiles of an image are done, and how many there are.");

export const detectOptions = z.strictObject({ signal, onTiles });

export const detectEachOptions = z.strictObject({
  signal,
  onTiles,
  latestOnly: option(z.boolean().default(false), {
    help:
      "Of an async iterable: when images come faster than they are judged, judge the newest one and drop those that " +
      "waited. One image is judged at a time.",
    flag: false,
  }),
  onUnreadable: callback("An image that cannot be read: it is left out, instead of ending the stream."),
});
