import { call, option, SuperSimpleNetError, type Text, text } from "../errors.js";
import { hash32 } from "../random.js";
import { check } from "../schema/check.js";
import { type SegmentedOptions, segmentedOptions } from "../schema/datasets.js";
import type { Dataset, Sample } from "./types.js";

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

  const anomalous = dataset.samples.filter((sample) => sample.split === "train" && sample.label === "anomalous");
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
  const rank = (sample: Sample): number => hash32(`segmented\u0000${sample.id}`);
  const byRank = [...masked].sort((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1));
  const dropped = new Set(byRank.slice(wanted));
  return {
    ...dataset,
    samples: dataset.samples.map((sample) => (dropped.has(sample) ? { ...sample, mask: undefined } : sample)),
  };
}
