import type { z } from "zod";

import { checkStructure, type Dataset, oneProblem, type Sample } from "../datasets/dataset.js";
import { applyRegime, inferRegime } from "../datasets/regime.js";
import { eyeFor } from "../detection/prepare.js";
import { invalid } from "../errors.js";
import { networkConfigOf, networkSettings } from "../models/config.js";
import { Model } from "../models/model.js";
import type { NetworkConfig } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { check } from "../schema/check.js";
import { fullDepth, paperBackbone } from "../schema/common.js";
import { entries } from "../schema/option.js";
import { describeViewOptions } from "../schema/training.js";
import type { NetworkSettings, Settings, TrainerOptions } from "../schema/types.js";
import type { View } from "../schema/view.js";
import { describeSamples } from "../view/describe.js";
import { defectWarnings, type ViewNumbers } from "../view/numbers.js";
import type { Eye } from "../view/open.js";
import { optionsOfView, readView } from "../view/options.js";
import { TilePlan } from "./examples/tile_plan.js";
import { chooseImages } from "./plan.js";
import { checkOptions, checkTiling, inputSize, networkOf, resolveOptions } from "./resolve.js";

const where = "describeView";

/** Options of describeView. */
export interface DescribeViewOptions extends Settings<typeof describeViewOptions> {
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/** What a view makes of a data set, both splits together. */
export interface ViewDescription extends ViewNumbers {
  view: View;
  /** Of the network: [height, width]. */
  imageSize: readonly [number, number];
  warnings: string[];
}

/**
 * Says what the network will see of the images of a data set: regions, scales, tiles, and how large the labelled defects are
 * to it. The view is that of the options, or of a model file. Feature cells are those of the paper's layers, or the model's.
 *
 * Errors: INVALID_OPTION, UNKNOWN_OPTION, VIEW_MISMATCH for an image that the view cannot be applied to, DATASET_INVALID for a
 * data set without images, those of reading images and masks, and of Model.load.
 */
export async function describeView(dataset: Dataset, options: DescribeViewOptions = {}): Promise<ViewDescription> {
  return (await inspectView(dataset, options)).description;
}

/** What describeView says, and what a picture of it needs. */
export interface InspectedView {
  description: ViewDescription;
  eye: Eye;
  /** Feature cells of each image's smallest defect, by the image's id. */
  smallest: ReadonlyMap<string, number>;
}

export async function inspectView(dataset: Dataset, options: DescribeViewOptions): Promise<InspectedView> {
  const checked = check(where, describeViewOptions, options);
  checkStructure(where, dataset);
  const { samples } = dataset;
  if (samples.length === 0) throw oneProblem(dataset.root, "There are no images to look at.");
  const { signal } = checked;
  const { asked, network, config } = await networkFor(checked, options);
  const eye = eyeFor(networkSettings(network));
  const features = engine().featureShape(config);
  const { numbers, smallest } = await describeSamples(samples, eye, features, {
    signal,
    onProgress: options.onProgress,
  });
  const tilesPerEpoch = eye.view.tiles ? await countPerEpoch(dataset, asked, signal) : null;
  const { imageSize, view } = networkSettings(network);
  const description = { view, imageSize, ...numbers, tilesPerEpoch, warnings: defectWarnings(numbers) };
  return { description, eye, smallest };
}

interface Network {
  /** The options that make it. */
  asked: TrainerOptions;
  network: NetworkSettings;
  config: NetworkConfig;
}

async function networkFor(checked: z.output<typeof describeViewOptions>, given: DescribeViewOptions): Promise<Network> {
  const { tiling, model } = checked;
  if (model !== undefined) {
    refuseBeside(given);
    const { config } = await Model.load(model);
    const { view, imageSize, ...others } = networkSettings(config);
    const asked = { view: optionsOfView(view), imageSize, tiling };
    checkTiling(where, asked);
    return {
      asked,
      network: { view, imageSize, ...others },
      config: networkConfigOf(config.backbone.architecture, { view, imageSize, ...others }),
    };
  }
  const imageSize = inputSize(where, checked, given.imageSize);
  checkTiling(where, checked);
  const asked = { view: await readView(where, checked.view), imageSize, tiling };
  const network = networkOf(resolvedFor(asked, "unsupervised"));
  return { asked, network, config: networkConfigOf(paperBackbone, network) };
}

const resolvedFor = (asked: TrainerOptions, regime: Parameters<typeof resolveOptions>[1]) =>
  resolveOptions({ ...checkOptions(asked), backbone: paperBackbone, bitDepth: fullDepth }, regime);

/** The view of a model is settled. */
function refuseBeside(given: DescribeViewOptions): void {
  for (const { path } of entries(describeViewOptions)) {
    if (path[0] !== "view" && path[0] !== "imageSize") continue;
    const value = path.reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], given);
    if (value !== undefined) throw invalid(where, path.join("."), "nothing beside a model, which has its own,", value);
  }
}

/** The tiles of an epoch, where thresholds are set as they are without being asked for. */
async function countPerEpoch(
  dataset: Dataset,
  asked: TrainerOptions,
  signal: AbortSignal | undefined,
): Promise<number | null> {
  const regime = inferRegime(dataset);
  const isTraining = ({ split }: Sample): boolean => split === "train";
  const training = applyRegime(dataset, regime).samples.filter(isTraining);
  if (!training.some(({ label }) => label === "normal")) return null;
  const resolved = resolvedFor(asked, regime);
  const { fit } = chooseImages(training, resolved, 1).chosen;
  return (await TilePlan.lay(fit, resolved, signal)).perEpoch([...fit.keys()]);
}
