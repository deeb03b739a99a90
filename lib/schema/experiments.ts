import { z } from "zod";

import { callback, paperBackbone, pathType, readNames, signal } from "./common.js";
import { group, option, rowOf } from "./option.js";
import { paces, publishedTraining } from "./presets.js";
import { trainerOptions } from "./training.js";
import type { Settings } from "./types.js";

const decided = option(z.undefined().optional(), {
  help: "Left out: the protocol decides it.",
  expected: "nothing, because the protocol decides it,",
  flag: false,
  record: false,
  type: "undefined",
});

const { backbone, backboneWeights, epochs, precision, anomalies, masks, calibration } = trainerOptions.shape;
const { fraction } = calibration.unwrap().shape;
const { noiseVectors } = anomalies.unwrap().shape;

/** Options of the trainings of an experiment. */
export const experimentTraining = trainerOptions.extend({
  // The paper's tables are of the paper's backbone, whatever lies on this machine.
  backbone: option(backbone, { ...rowOf(backbone)!, defaultText: paperBackbone }),
  backboneWeights: option(backboneWeights, { ...rowOf(backboneWeights)!, defaultText: "auto" }),
  epochs: option(epochs, { ...rowOf(epochs)!, defaultText: String(paces.published.epochs) }),
  // Machines that share an experiment would choose differently.
  precision: option(precision.unwrap().exclude(["auto"]).default("float32"), {
    help: "Number format of the backbone and of the operands in large matrix products; the rest stays float32. tf32 needs CUDA.",
  }),
  init: decided,
  regime: decided,
  pace: decided,
  steps: decided,
  seed: decided,
  distributed: decided,
  anomalies: group("Synthetic anomalies", {
    ...anomalies.unwrap().shape,
    noiseVectors: option(noiseVectors.unwrap().optional(), {
      ...rowOf(noiseVectors)!,
      defaultText: publishedTraining.anomalies.noiseVectors,
    }),
  }),
  masks: group("Pixel labels", { ...masks.unwrap().shape, segmentedRatio: decided, segmentedCount: decided }),
  calibration: group("How the thresholds are set", {
    // The paper trains on every training image.
    fraction: option(fraction.unwrap().default(0), { ...rowOf(fraction)!, defaultText: "0" }),
  }),
});

/** What the protocol leaves free. */
export type ExperimentTraining = Settings<typeof experimentTraining>;

const shardType = z.strictObject({ index: z.int().min(1), count: z.int().min(1) });

/** One of `count` machines that share the runs of an experiment; `index` is from 1. */
export type Shard = z.output<typeof shardType>;

/** Options of experiment. */
export const experimentOptions = z.strictObject({
  data: option(z.union([pathType, z.record(z.string(), pathType)]).optional(), {
    help:
      "A data set, or several by name: mvtec, visa, ksdd2, sensum, bmad, or a name for one of your own. " +
      "Without it the tables are made of the results that are there.",
    placeholder: "[NAME=]DIR",
    expected: "a data set, or several by name",
  }),
  out: option(pathType, {
    help: "Folder for results and tables. What is done there already is not done again.",
    placeholder: "OUT",
    expected: "a folder",
  }),
  seeds: option(z.int().min(1).max(1000).default(5), {
    help: "Number of trainings of each model; their seeds count from 0.",
  }),
  categories: option(z.array(z.string()).readonly().optional(), {
    help: "Use only these categories of the data sets.",
    placeholder: "NAME,...",
    defaultText: "those of the paper",
    expected: "a list of categories",
    read: readNames,
  }),
  shard: option(shardType.refine(({ index, count }) => index <= count).default({ index: 1, count: 1 }), {
    help: "Do only the I-th of N parts of the runs, one for each machine; collect their results*.jsonl in one folder.",
    placeholder: "I/N",
    defaultText: "1/1",
    expected: "{ index, count } with an index from 1 to the count",
    written: "I/N with I from 1 to N",
    read: readShard,
  }),
  published: option(pathType.optional(), {
    help: "File of the authors' results, which the tables show beside ours.",
    placeholder: "FILE",
    defaultText: "no comparison",
    expected: "a path",
  }),
  training: option(experimentTraining.prefault({}), {
    help: "Options of the trainings, over the data set's published settings and under the protocol's.",
    expected: "an object",
    flag: false,
    type: 'import("../schema/experiments.js").ExperimentTraining',
  }),
  signal,
  onEvent: callback("What the experiment does."),
});

function readShard(written: string): Shard | undefined {
  const [, index, count] = /^(\d+)\/(\d+)$/.exec(written) ?? [];
  return index === undefined ? undefined : { index: Number(index), count: Number(count) };
}
