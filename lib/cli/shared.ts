import type { Detector } from "../detection/detector.js";
import type { ModelConfig } from "../models/config.js";
import { choice, flag, integer, number, text, type ValueOption } from "./options.js";
import { isCheckout } from "../native/locate.js";
import { output } from "./output.js";

/** How this program is called here: a checkout has no `supersimplenet` on the PATH, and npm finds its scripts inside it only. */
export const program = !isCheckout
  ? "supersimplenet"
  : process.env["npm_package_name"] === "supersimplenet"
    ? "npm run -s supersimplenet --"
    : `node ${quoted(process.argv[1]!)}`;

/** An argument as a POSIX shell reads it. */
export function quoted(argument: string): string {
  return /^[\w./:=,@%+-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`;
}

const heads: ValueOption<"lowResolution" | "direct"> = (() => {
  const { parse, ...row } = choice(
    ["low-resolution", "direct"],
    "the fast form of the heads, or the plain one (slow; for checking)",
    { default: "low-resolution" },
  );
  return { ...row, parse: (value: string) => (parse(value) === "direct" ? "direct" : "lowResolution") };
})();

/** Options that several commands take, written once. */
export const shared = {
  model: text("FILE", "model file that train or convert wrote", { required: true }),
  data: text("DIR", "data set: a folder, or a manifest file (docs/guides/data.md)", { required: true }),
  dataset: text("KIND", "how to read it: folder, manifest, mvtec, visa, ksdd2, sensum, bmad or mtd", {
    default: "found from the files",
  }),
  category: text("NAME", "category of a published data set, such as bottle"),
  fold: integer("N", "cross-validation fold of a published data set, from 0", { min: 0 }),
  device: text("auto|cpu|cuda", "where the network runs; cuda:1 is the second GPU", { default: "auto" }),
  threads: integer("N", "CPU threads", { min: 1, default: "the number of cores, or SUPERSIMPLENET_THREADS" }),
  precision: choice(
    ["float32", "tf32", "bfloat16", "float16"],
    "of the network: bfloat16 is faster on processors with instructions for it, float16 and tf32 are for CUDA (docs/measurements/performance.md)",
    { default: "float32" },
  ),
  backboneWeights: text("FILE", "backbone weights, when the model file does not hold them", {
    default: "the cache folder",
  }),
  heads,
  batch: integer("N", "images per forward pass", { min: 1, default: 8 }),
  threshold: number("SCORE", "score from 0 to 1 from which an image is anomalous", {
    min: 0,
    max: 1,
    default: "the model's own",
  }),
  pixelThreshold: number("LOGIT", "map logit from which a pixel belongs to a region", { default: "the model's own" }),
  overwrite: flag("replace what is there"),
};

/** The fields of `options` that were given. */
export function given<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}

const untrainedWarning =
  "the backbone has random weights, not trained ones: for demonstrations and tests only, results on real images will be poor.";

/** Says so whenever a model's backbone was never trained. */
export function warnIfUntrained(backbone: { trained: boolean }): void {
  if (!backbone.trained) output.warn(untrainedWarning);
}

/** The model as every JSON document of the command line names it. */
export function describeModel(file: string, config: ModelConfig): Record<string, unknown> {
  const { backbone, imageSize, variant, training, thresholds } = config;
  return {
    path: file,
    backbone: { architecture: backbone.architecture, trained: backbone.trained, source: backbone.source },
    imageSize,
    variant,
    regime: training?.regime ?? null,
    thresholds,
  };
}

/** Runs `body` with a detector, whose memory is freed afterwards. */
export async function withDetector<T>(load: Promise<Detector>, body: (detector: Detector) => Promise<T>): Promise<T> {
  const detector = await load;
  try {
    return await body(detector);
  } finally {
    detector.dispose();
  }
}
