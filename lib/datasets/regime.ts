import { z } from "zod";

import { call, option, SuperSimpleNetError, type Text, text } from "../errors.js";
import { byHash } from "../random.js";
import { check, checkValue } from "../schema/check.js";
import { type SegmentedOptions, segmentedOptions } from "../schema/datasets.js";
import { regimes } from "../schema/regimes.js";
import { type Dataset, type Label, oneProblem, type Regime, type Sample } from "./dataset.js";
import { firstOf } from "./listing.js";

const anomalousTraining = ({ samples }: Dataset): Sample[] =>
  samples.filter((sample) => sample.split === "train" && sample.label === "anomalous");

/** The regime that the labels of the training split allow: masks count only there, for test masks serve evaluation. */
export function inferRegime(dataset: Dataset): Regime {
  const anomalous = anomalousTraining(dataset);
  if (anomalous.length === 0) return "unsupervised";
  const masked = anomalous.filter((sample) => sample.mask !== undefined).length;
  return masked === 0 ? "weak" : masked < anomalous.length ? "mixed" : "full";
}

/**
 * The data set as the given regime sees it. `unsupervised` drops the anomalous training images and `weak` their masks;
 * `mixed` needs at least one mask and `full` one for every anomalous training image. "auto" changes nothing. The test
 * split is never touched. Throws DATASET_INVALID when labels are missing.
 */
export function applyRegime(dataset: Dataset, regime: Regime | "auto"): Dataset {
  checkValue("applyRegime", "regime", z.enum(["auto", ...regimes]), regime);
  if (regime === "auto") return dataset;
  if (regime === "unsupervised") {
    return {
      ...dataset,
      samples: dataset.samples.filter((sample) => sample.split === "test" || sample.label === "normal"),
    };
  }

  const anomalous = anomalousTraining(dataset);
  const unmasked = anomalous.filter((sample) => sample.mask === undefined);
  const refuse = (missing: string): never => {
    const allowed = `These labels allow '${inferRegime(dataset)}'.`;
    throw oneProblem(dataset.root, `Regime '${regime}' is not possible: ${missing} ${allowed}`);
  };
  if (anomalous.length === 0) refuse("it needs anomalous training images and there are none.");
  if (regime === "mixed" && unmasked.length === anomalous.length) {
    refuse(`it needs masks for some of the ${anomalous.length} anomalous training images and there are none.`);
  }
  if (regime === "full" && unmasked.length > 0) {
    const named = firstOf(unmasked.map((sample) => sample.id));
    refuse(`${unmasked.length} of ${anomalous.length} anomalous training images have no mask (${named}).`);
  }
  if (regime !== "weak") return dataset;
  return {
    ...dataset,
    samples: dataset.samples.map((sample) =>
      sample.split === "train" && sample.mask !== undefined ? { ...sample, mask: undefined } : sample,
    ),
  };
}

/** Throws INVALID_OPTION. */
export function checkSegmented(where: string, { segmentedRatio, segmentedCount }: SegmentedOptions): void {
  check(where, segmentedOptions, { segmentedRatio, segmentedCount });
  if (segmentedRatio === undefined || segmentedCount === undefined) return;
  const what = text`${call(where)}: ${option("segmentedRatio")} and ${option("segmentedCount")} exclude each other.`;
  throw new SuperSimpleNetError("INVALID_OPTION", what, { option: "segmentedCount", value: segmentedCount });
}

/** "'segmentedCount' 53" */
const choice = (ratio: number | undefined, count: number | undefined): Text =>
  ratio === undefined ? text`${option("segmentedCount")} ${count!}` : text`${option("segmentedRatio")} ${ratio}`;

/**
 * Turns a fully annotated training split into a mixed one: only so many anomalous training images keep their masks (paper,
 * section on mixed supervision), the others their label alone. Which ones depends on the samples' ids and nothing else,
 * and a smaller choice lies within every larger one. Masks of the test split stay.
 *
 * A data set whose loader took the masks from a published split file (`dataset.segmented`) is returned as it is: that
 * choice goes before this one, and another number than it was opened with is an error.
 *
 * Errors: INVALID_OPTION; DATASET_INVALID when there are fewer masks than asked for.
 */
export function limitSegmented(dataset: Dataset, options: SegmentedOptions): Dataset {
  checkSegmented("limitSegmented", options);
  const { segmentedRatio: ratio, segmentedCount: count } = options;
  if (ratio === undefined && count === undefined) return dataset;
  const asked = choice(ratio, count);

  const { segmented } = dataset;
  if (segmented !== undefined) {
    if (segmented.ratio === ratio && segmented.count === count) return dataset;
    const opened = choice(segmented.ratio, segmented.count);
    throw new SuperSimpleNetError(
      "INVALID_OPTION",
      text`The data set was opened with ${opened} (${segmented.file}) and cannot be trained with ${asked}.`,
      { fix: text`Open it with ${asked}.` },
    );
  }

  const anomalous = anomalousTraining(dataset);
  const masked = anomalous.filter((sample) => sample.mask !== undefined);
  const wanted = count ?? Math.round(ratio! * anomalous.length);
  if (anomalous.length === 0 || wanted > masked.length) {
    const problem =
      anomalous.length === 0
        ? "needs anomalous training images, and there are none."
        : `asks for ${wanted} masks, but only ${masked.length} of ${anomalous.length} anomalous training images have one.`;
    throw new SuperSimpleNetError("DATASET_INVALID", text`Data set ${dataset.root}: ${asked} ${problem}`, {
      path: dataset.root,
      problems: [problem],
    });
  }
  const dropped = new Set(byHash(masked, ({ id }) => `segmented\u0000${id}`).slice(wanted));
  return {
    ...dataset,
    samples: dataset.samples.map((sample) => (dropped.has(sample) ? { ...sample, mask: undefined } : sample)),
  };
}

/**
 * Keeps a share of the normal and of the anomalous training images, at least the two normal ones and the anomalous one
 * that a training needs. The choice depends on the ids alone, and a smaller choice lies within every larger one. The test
 * split stays.
 */
export function limitTraining(dataset: Dataset, shares: { normalShare?: number; anomalousShare?: number }): Dataset {
  const keep = (label: Label, share: number, least: number): Set<Sample> => {
    const training = dataset.samples.filter((sample) => sample.split === "train" && sample.label === label);
    const all = byHash(training, ({ id }) => `training\u0000${id}`);
    return new Set(all.slice(0, Math.max(least, Math.round(share * all.length))));
  };
  const kept = {
    normal: keep("normal", shares.normalShare ?? 1, 2),
    anomalous: keep("anomalous", shares.anomalousShare ?? 1, 1),
  };
  return {
    ...dataset,
    samples: dataset.samples.filter((sample) => sample.split === "test" || kept[sample.label].has(sample)),
  };
}
