import path from "node:path";

import { tensorsSha256 } from "../backbones/check.js";
import { packaged } from "../backbones/catalogue.js";
import type { Backbone } from "../backbones/load.js";
import { call, option, shown, SuperSimpleNetError, text } from "../errors.js";
import { type Calibration, networkSettings, type ModelConfig, type Thresholds } from "../models/config.js";
import { Model } from "../models/model.js";
import { sha256 } from "../images/identity.js";
import { mergeOptions } from "../schema/check.js";
import type { NoiseSchedule, TrainerOptions } from "../schema/types.js";
import { optionsOfView } from "../view/options.js";
import { type CheckedOptions, checkOptions, checkTiling } from "./resolve.js";

const where = "new Trainer";

/** The model that a training begins with. */
export interface Init {
  model: Model;
  /** The file's name, without its folder: it goes into logs. */
  name: string;
  /** Over the heads: tells whether a training that is resumed, or another process, began with the same ones. */
  headsSha256: string;
  /** Over heads and thresholds. */
  sha256: string;
  /** What was asked for, with the network and the input of the model. */
  options: CheckedOptions;
}

/**
 * Reads the model and puts its network into the options. `asked` has no defaults: only what somebody gave can contradict the
 * model. Errors: those of Model.load, and INVALID_OPTION for what was asked for and is otherwise in the model.
 */
export async function loadInit(file: string, asked: TrainerOptions): Promise<Init> {
  const model = await Model.load(file);
  const own = optionsOf(model.config);
  refuseConflicts(file, asked, own);
  refuseOtherBackbone(file, asked.backboneWeights, model.config);
  const checked = checkOptions(mergeOptions<TrainerOptions>(noiseOf(model.config), asked, own));
  checkTiling(where, checked);
  const { thresholds } = model.config;
  const { decision } = thresholds;
  const headsSha256 = await tensorsSha256(model.heads);
  return {
    model,
    name: path.basename(file),
    headsSha256,
    sha256: await sha256(Buffer.from(JSON.stringify([headsSha256, thresholds]))),
    options: { ...checked, calibration: { ...checked.calibration, method: "none", decision } },
  };
}

/** The options that decide the network and its input, as the model has them. */
function optionsOf(config: ModelConfig): TrainerOptions {
  const { imageSize, bitDepth, view, upscale, classificationHead, mapInput, ...network } = networkSettings(config);
  const { architecture, trained } = config.backbone;
  return {
    backbone: architecture,
    ...(!trained && { backboneWeights: "random" }),
    imageSize,
    bitDepth,
    view: optionsOfView(view),
    network,
    ablation: { upscale, classificationHead, mapInput },
  };
}

/** As strong as at the end of the training before, unless something else is asked for: other noise would shift all scores. */
function noiseOf({ training }: ModelConfig): TrainerOptions {
  if (training === null) return {};
  const { noiseRelative: relative, noiseStd, options } = training;
  const schedule = options["noiseSchedule"] as NoiseSchedule | false | undefined;
  const last = schedule ? schedule.to : 1;
  return { anomalies: { noiseStd: relative === null ? noiseStd * last : { relative: relative * last } } };
}

/** Throws INVALID_OPTION for the first option that was given and is not as in the model. */
function refuseConflicts(file: string, asked: TrainerOptions, own: TrainerOptions): void {
  const { backboneWeights: _, network, ablation, view, ...top } = own;
  const { tiles, ...seen } = view!;
  const groups = [
    ["", asked, top],
    ["view.", asked.view ?? {}, seen],
    ["view.tiles.", asked.view?.tiles ?? {}, { size: undefined, overlap: undefined, scales: undefined, ...tiles }],
    ["network.", asked.network ?? {}, network!],
    ["ablation.", asked.ablation ?? {}, ablation!],
  ] as const;
  for (const [group, given, wanted] of groups)
    for (const [name, value] of Object.entries(wanted)) {
      const other = (given as Record<string, unknown>)[name];
      if (other !== undefined && other !== "auto" && JSON.stringify(other) !== JSON.stringify(value))
        throw conflict(file, group + name, other, shown(value));
    }
}

/** Throws INVALID_OPTION for weights by a name that cannot be those of the model. Those in a file are compared when it is read. */
function refuseOtherBackbone(file: string, asked: string | undefined, { backbone }: ModelConfig): void {
  if (asked === undefined || asked === "auto") return;
  const differs =
    backbone.trained === (asked === "random") || (asked === "distilled" && backbone.sha256 !== packaged.tensorsSha256);
  if (differs) throw conflict(file, "backboneWeights", asked, shown(backbone.source));
}

function conflict(file: string, name: string, given: unknown, own: string): SuperSimpleNetError {
  const what = text`${call(where)}: ${option(name)} is ${shown(given)}, but ${own} in the model ${file}, with whose heads the training begins.`;
  const fix = text`Leave ${option(name)} away, which takes over the model's, or train anew without ${option("init")}.`;
  return new SuperSimpleNetError("INVALID_OPTION", what, { option: name, value: given, fix });
}

/** What a checkpoint and other processes must have begun with too. */
export const initFingerprint = (init: Init | undefined): { initSha256?: string } =>
  init ? { initSha256: init.sha256 } : {};

/** The images that the model has seen by now: those of the training before, then those that came now. */
export function imagesSeen(init: Init | undefined, images: readonly string[]): { images?: string[] } {
  if (!init) return { images: [...images] };
  const before = init.model.config.training?.images;
  // A list without them would pass for complete.
  return before ? { images: [...new Set([...before, ...images])] } : {};
}

/** The backbone of the model: in its file, in `weights`, or where its weights lie on this machine. */
export async function initBackbone({ model }: Init, weights: string, signal?: AbortSignal): Promise<Backbone> {
  const { config } = model;
  const isFile = !["auto", "distilled", "random"].includes(weights);
  // The weights in the model's own file would hide that a file holds others.
  const source = isFile ? new Model(config, model.heads) : model;
  return { ...config.backbone, tensors: await source.backbone(weights, signal) };
}

/** What was asked of the thresholds goes on; what was known of them was known of another model. */
function askedOnly(calibration: Calibration): Calibration {
  const none = { rate: null, f1: null };
  return {
    ...calibration,
    points: { score: none, map: none, either: none },
    good: null,
    parts: null,
    previous: null,
    warnings: [],
  };
}

/** The thresholds of a model that begins with the heads of another one. */
export function inheritedThresholds({ model }: Init): Thresholds {
  const thresholds = structuredClone(model.config.thresholds);
  const method = (own: Thresholds["scoreMethod"]): Thresholds["scoreMethod"] =>
    own === "manual" || own === "default" ? own : "inherited";
  return {
    ...thresholds,
    scoreMethod: method(thresholds.scoreMethod),
    mapMethod: method(thresholds.mapMethod),
    calibration: thresholds.calibration && askedOnly(thresholds.calibration),
  };
}
