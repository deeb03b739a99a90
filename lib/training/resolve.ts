import type { z } from "zod";

import { call, invalid, option, SuperSimpleNetError, text } from "../errors.js";
import { checkCalibration, refuseCalibration } from "../calibration/method.js";
import { defaultRate } from "../calibration/rate.js";
import { eyeFor } from "../detection/prepare.js";
import { checkClassificationHead, computeFor, networkSettings, randomNotEmbedded } from "../models/config.js";
import { checkDistilled } from "../backbones/load.js";
import type { Architecture, Compute } from "../native/binding.js";
import { check, mergeOptions } from "../schema/check.js";
import { paperBackbone } from "../schema/common.js";
import type { Decision } from "../schema/decisions.js";
import {
  type Pace,
  type PaceName,
  paces,
  publishedNoiseStd,
  type RegimePreset,
  regimePresets,
  relativeNoise,
} from "../schema/presets.js";
import { recordOf } from "../schema/record.js";
import type { Regime } from "../schema/regimes.js";
import { epochsWithInit, trainerOptions } from "../schema/training.js";
import type { NetworkSettings, RelativeNoise, TrainerOptions } from "../schema/types.js";
import type { Eye } from "../view/open.js";
import { checkView, viewOf } from "../view/options.js";
import { checkRank } from "./ranks.js";

const where = "new Trainer";

/** Options with every default that depends neither on the data nor on the regime; the pace may. */
export type CheckedOptions = z.output<typeof trainerOptions> & { network: { heads: Compute } };

/** With the backbone that was asked for or chosen (chooseBackbone). */
export type SettledOptions = CheckedOptions & { backbone: Architecture };

/** With the bit depth that was asked for or found in the data. */
export type DeepOptions = SettledOptions & { bitDepth: number };

/** Options as one training uses them. */
export type ResolvedOptions = DeepOptions &
  Paced &
  RegimePreset & {
    regime: Regime;
    anomalies: { noiseStd: number | RelativeNoise };
    calibration: { decision: Decision; falseRejectRate: number };
  };

/** Throws UNKNOWN_OPTION or INVALID_OPTION for the first option that is wrong, alone or beside another. */
export function checkOptions(options: TrainerOptions): CheckedOptions {
  const checked = check(where, trainerOptions, options);
  const { network, ablation, cache, masks } = checked;
  checkClassificationHead(where, "ablation.mapInput", ablation);
  if (masks.segmentedRatio !== undefined && masks.segmentedCount !== undefined)
    throw excluding("masks.segmentedRatio", "masks.segmentedCount");
  if (checked.steps !== undefined && options.epochs !== undefined) throw excluding("epochs", "steps");
  checkDistilled(where, checked.backbone, checked.backboneWeights);
  checkRank(where, checked.distributed);
  const imageSize = inputSize(where, checked, options.imageSize);
  // The tiles of a model are known when it is read.
  if (checked.init === undefined) checkTiling(where, checked);
  checkCalibration(checked.calibration);
  if (checked.init !== undefined) refuseCalibration(checked.calibration);
  if (checked.init !== undefined && checked.pace === "short")
    throw invalid(where, "pace", "'published' where a model's heads are trained on", checked.pace);
  if (cache.dir !== undefined && cache.fileMiB === 0)
    throw invalid(where, "cache.fileMiB", "a number above 0, because a folder is given,", cache.fileMiB);
  const heads = computeFor(where, "network.heads", ablation, network.heads);
  if (heads === "direct" && checked.precision === "bfloat16")
    throw invalid(where, "precision", "'float32', or on a GPU 'tf32', with the direct heads,", checked.precision);
  if (network.embedBackbone === false && checked.backboneWeights === "random")
    throw randomNotEmbedded(where, "network.embedBackbone");
  const known = { ...checked, imageSize, network: { ...network, heads } };
  // The heads have learned already, with the noise that the model names.
  if (checked.init !== undefined) return withPace({ ...known, epochs: checked.epochs ?? epochsWithInit }, "published");
  return checked.pace === undefined ? known : withPace(known, checked.pace);
}

/** Throws INVALID_OPTION for options about tiles where there are none. */
export function checkTiling(where: string, { view, tiling }: Pick<CheckedOptions, "view" | "tiling">): void {
  if (view.tiles.size !== undefined) return;
  for (const [name, value] of Object.entries(tiling))
    if (value !== undefined) throw invalid(where, `tiling.${name}`, "nothing without tiles", value);
}

/** What the pace decides, but for the epochs of a pace that has a least number of steps. */
export type Paced = Pick<Pace, "optimizer" | "anomalies"> & { pace: PaceName };

/**
 * The input size of a network with this view: that of the tiles, where there are some. `asked`: what was given. Throws
 * INVALID_OPTION for options that do not go together.
 */
export function inputSize(
  where: string,
  { view, imageSize }: Pick<z.output<typeof trainerOptions>, "view" | "imageSize">,
  asked: TrainerOptions["imageSize"],
): readonly [number, number] {
  checkView(where, view);
  const side = view.tiles.size;
  if (side !== undefined && asked?.some((each) => each !== side))
    throw invalid(where, "imageSize", `${side}x${side}, the size of the tiles,`, asked);
  return side === undefined ? imageSize : [side, side];
}

/** With what the pace decides where it is not given. */
export function withPace<Options extends CheckedOptions>(checked: Options, pace: PaceName): Options & Paced {
  const { epochs, leastSteps, optimizer, anomalies } = paces[pace];
  const length = leastSteps === 0 ? { epochs } : {};
  return mergeOptions<object>({ optimizer, anomalies, ...length }, checked, { pace }) as Options & Paced;
}

/** The epochs of a training, where an epoch of its images has so many steps. */
export const epochsOf = ({ epochs, pace }: Pick<ResolvedOptions, "epochs" | "pace">, stepsPerEpoch: number): number =>
  epochs ?? Math.max(paces[pace].epochs, Math.ceil(paces[pace].leastSteps / stepsPerEpoch));

/**
 * The short one is measured where labels say nothing of defects, and the noise goes by the features, and as a whole: one
 * who chooses a part of it has the published rest (docs/guides/train.md, Length).
 */
function defaultPace(checked: CheckedOptions, noiseStd: number | RelativeNoise, regime: Regime): PaceName {
  const { epochs, steps, optimizer, anomalies } = checked;
  const { adaptorLearningRate, headsLearningRate } = optimizer;
  const chosen = [epochs, steps, adaptorLearningRate, headsLearningRate, anomalies.noiseSchedule];
  const isMeasured = regime === "unsupervised" && typeof noiseStd === "object";
  return isMeasured && chosen.every((value) => value === undefined) ? "short" : "published";
}

function excluding(one: string, other: string): SuperSimpleNetError {
  const what = text`${call(where)}: ${option(one)} and ${option(other)} exclude each other.`;
  return new SuperSimpleNetError("INVALID_OPTION", what, { option: other });
}

/** The noise where none is given: the published scale for the network it was tuned to (docs/method.md, Noise). */
export const defaultNoise = (
  { backbone, backboneWeights }: Pick<SettledOptions, "backbone" | "backboneWeights">,
  regime: Regime,
): number | RelativeNoise =>
  backbone === paperBackbone && backboneWeights !== "random" ? publishedNoiseStd : { relative: relativeNoise[regime] };

/**
 * What decides where nothing is asked for: without defects to learn from, the map tells apart what the score does not
 * (docs/guides/thresholds.md). A score that is the map's maximum has nothing to add.
 */
const defaultDecision = ({ ablation }: SettledOptions, regime: Regime): Decision =>
  regime === "unsupervised" && ablation.classificationHead !== "mapMax" ? "either" : "score";

/** Fills in what depends on the regime and on the backbone. Throws INVALID_OPTION where nothing would be left to learn. */
export function resolveOptions(checked: DeepOptions, regime: Regime): ResolvedOptions {
  const { syntheticAnomalies } = checked.ablation;
  if (regime === "unsupervised" && syntheticAnomalies === "none")
    throw invalid(
      where,
      "ablation.syntheticAnomalies",
      "'perlin' or 'simplenet' in the unsupervised regime, which has no other anomalies to learn from,",
      syntheticAnomalies,
    );
  const { noiseStd = defaultNoise(checked, regime) } = checked.anomalies;
  const { pace = defaultPace(checked, noiseStd, regime) } = checked;
  const calibration = {
    decision: defaultDecision(checked, regime),
    falseRejectRate: defaultRate,
    ...(checked.calibration.falseRejectRate !== undefined && { objective: "rate" }),
  };
  return structuredClone(
    mergeOptions<object>(regimePresets[regime], { calibration }, withPace(checked, pace), {
      regime,
      anomalies: { noiseStd },
    }) as ResolvedOptions,
  );
}

/** The options of the network, flat as a model file has them. */
export const networkOf = ({ imageSize, view, bitDepth, network, ablation }: ResolvedOptions): NetworkSettings => ({
  imageSize,
  view: viewOf(view),
  bitDepth,
  ...network,
  ...ablation,
});

/** What the network is fed with. */
export const eyeOf = (options: ResolvedOptions): Eye => eyeFor(networkSettings(networkOf(options)));

/** The options that decide the result, as checkpoints and model files record them. Where steps are given, epochs decide nothing. */
export function recordedOptions(options: CheckedOptions): Record<string, unknown> {
  const record = recordOf(trainerOptions, options);
  if (options.steps !== undefined) delete record["epochs"];
  return record;
}
