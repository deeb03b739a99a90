import { architectures } from "../schema/common.js";
import { checkSegmented } from "../datasets/segmented.js";
import type { Regime } from "../datasets/types.js";
import { checkNetworkSettings, computeFor, randomNotEmbedded } from "../models/config.js";
import { checkValue } from "../schema/check.js";
import { device } from "../schema/common.js";
import { checkBoolean, checkChoice, checkNumber, checkPath, invalid, rejectUnknown } from "../options.js";
import {
  publishedNoiseStd,
  type RegimePreset,
  regimePresets,
  type RelativeNoise,
  relativeNoise,
  trainerDefaults,
  type TrainerOptions,
} from "./options.js";
import { checkDistributed } from "./ranks.js";

const where = "new Trainer";

/** Options whose default is decided later, or is to do nothing. */
type Undecided = "noiseStd" | "threads" | "embedBackbone" | "featureCacheDir" | "segmentedRatio" | "segmentedCount";

/** Options with every default that does not depend on the data filled in. */
export type CheckedOptions = Required<Omit<TrainerOptions, keyof RegimePreset | Undecided>> &
  Partial<RegimePreset> &
  Pick<TrainerOptions, Undecided>;

/** Options as one training uses them. */
export type ResolvedOptions = Omit<CheckedOptions, "regime" | "noiseStd" | keyof RegimePreset> &
  RegimePreset & { regime: Regime; noiseStd: number | RelativeNoise };

const names = [
  ...Object.keys(trainerDefaults),
  ...Object.keys(regimePresets.full),
  "noiseStd",
  "heads",
  "threads",
  "embedBackbone",
  "featureCacheDir",
  "segmentedRatio",
  "segmentedCount",
];

/** Throws UNKNOWN_OPTION or INVALID_OPTION for the first option that is wrong. */
export function checkOptions(options: TrainerOptions): CheckedOptions {
  rejectUnknown(options, names, where);
  const given = Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as TrainerOptions;
  const o = { ...trainerDefaults, ...given } as unknown as CheckedOptions;
  checkChoice(where, "backbone", o.backbone, architectures);
  checkPath(where, "backboneWeights", o.backboneWeights, "'auto', 'random' or a path");
  checkNetworkSettings(where, o);
  checkChoice(where, "syntheticAnomalies", o.syntheticAnomalies, ["perlin", "simplenet", "none"]);
  checkBoolean(where, "overlap", o.overlap);
  checkChoice(where, "loss", o.loss, ["default", "truncatedL1"]);
  checkChoice(where, "regime", o.regime, ["auto", "unsupervised", "weak", "mixed", "full"]);
  checkNumber(where, "epochs", o.epochs, { min: 1, max: 1e6, integer: true });
  checkNumber(where, "batchSize", o.batchSize, { min: 1, max: 4096, integer: true });
  checkNumber(where, "seed", o.seed, { min: 0, max: Number.MAX_SAFE_INTEGER, integer: true });
  if (o.threads !== undefined) checkNumber(where, "threads", o.threads, { min: 1, max: 1024, integer: true });
  checkValue(where, "device", device, o.device);
  checkChoice(where, "precision", o.precision, ["float32", "tf32", "bfloat16"]);
  for (const name of ["adaptorLearningRate", "headsLearningRate"] as const)
    checkNumber(where, name, o[name], { above: 0, max: 1 });
  for (const name of ["adaptorWeightDecay", "headsWeightDecay"] as const)
    checkNumber(where, name, o[name], { min: 0, max: 1 });
  if (!Array.isArray(o.learningRateMilestones))
    throw invalid(where, "learningRateMilestones", "a list of shares of the epochs", o.learningRateMilestones);
  for (const milestone of o.learningRateMilestones)
    checkNumber(where, "learningRateMilestones", milestone, { min: 0, max: 1 });
  checkNumber(where, "learningRateFactor", o.learningRateFactor, { above: 0, max: 1 });
  checkSegmented(where, o);
  checkNumber(where, "calibrationFraction", o.calibrationFraction, { min: 0, max: 0.5 });
  checkNumber(where, "cudaGraphs", o.cudaGraphs, { min: 0, max: 64, integer: true });
  for (const name of ["featureCacheMiB", "featureCacheHostMiB", "featureCacheFileMiB"] as const)
    checkNumber(where, name, o[name], { min: 0, max: 2 ** 32 });
  checkChoice(where, "featureCachePrecision", o.featureCachePrecision, ["float32", "float16"]);
  if (o.featureCacheDir !== undefined) {
    checkPath(where, "featureCacheDir", o.featureCacheDir, "a folder");
    if (o.featureCacheFileMiB === 0)
      throw invalid(
        where,
        "featureCacheFileMiB",
        "a number above 0, because 'featureCacheDir' is given,",
        o.featureCacheFileMiB,
      );
  }
  checkDistributed(where, o.distributed);
  o.heads = computeFor(where, o, given.heads);
  if (o.heads === "direct" && o.precision === "bfloat16")
    throw invalid(where, "precision", "'float32', or on a GPU 'tf32', with the direct heads,", o.precision);
  if (o.embedBackbone !== undefined) checkBoolean(where, "embedBackbone", o.embedBackbone);
  if (o.embedBackbone === false && o.backboneWeights === "random") throw randomNotEmbedded(where);
  if (o.gradientClip !== undefined) checkNumber(where, "gradientClip", o.gradientClip, { min: 0 });
  if (o.perlinThreshold !== undefined) checkNumber(where, "perlinThreshold", o.perlinThreshold, { min: -2, max: 2 });
  if (o.maskDilation !== undefined)
    checkNumber(where, "maskDilation", o.maskDilation, { min: 0, max: 255, integer: true });
  if (o.stopGradient !== undefined) checkBoolean(where, "stopGradient", o.stopGradient);
  if (o.balancedSampling !== undefined) checkBoolean(where, "balancedSampling", o.balancedSampling);
  if (o.distanceWeight !== undefined && o.distanceWeight !== false) {
    if (typeof o.distanceWeight !== "object" || o.distanceWeight === null)
      throw invalid(where, "distanceWeight", "{ w, p } or false", o.distanceWeight);
    rejectUnknown(o.distanceWeight, ["w", "p"], `${where}, distanceWeight`);
    checkNumber(where, "distanceWeight.w", o.distanceWeight.w, { above: 0, max: 1000 });
    checkNumber(where, "distanceWeight.p", o.distanceWeight.p, { min: 0, max: 100 });
  }
  if (typeof o.noiseStd === "object" && o.noiseStd !== null) {
    rejectUnknown(o.noiseStd, ["relative"], `${where}, noiseStd`);
    checkNumber(where, "noiseStd.relative", o.noiseStd.relative, { above: 0 });
  } else if (o.noiseStd !== undefined) {
    checkNumber(where, "noiseStd", o.noiseStd, { above: 0 });
  }
  return structuredClone(o); // lists and objects are the caller's, or the defaults themselves
}

/** Fills in what depends on the regime and on the backbone (spec sections 4, 5 and 11). Throws INVALID_OPTION where nothing would be left to learn. */
export function resolveOptions(checked: CheckedOptions, regime: Regime): ResolvedOptions {
  if (regime === "unsupervised" && checked.syntheticAnomalies === "none")
    throw invalid(
      where,
      "syntheticAnomalies",
      "'perlin' or 'simplenet' in the unsupervised regime, which has no other anomalies to learn from,",
      checked.syntheticAnomalies,
    );
  const published = checked.backbone === "wide_resnet50_2" && checked.backboneWeights !== "random";
  const given = Object.fromEntries(
    Object.entries(checked).filter(([, value]) => value !== undefined),
  ) as CheckedOptions;
  return structuredClone({
    ...regimePresets[regime],
    noiseStd: published ? publishedNoiseStd : { relative: relativeNoise },
    ...given,
    regime,
  });
}
