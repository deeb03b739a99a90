import { invalid, SuperSimpleNetError } from "../errors.js";
import { isRectangle, type Rectangle } from "../images/rectangle.js";
import { checkPath } from "../schema/check.js";
import { isPath } from "../schema/common.js";
import type { splits } from "../schema/datasets.js";

export type { Regime } from "../schema/regimes.js";

/** What a sample is known to be. */
export type Label = "normal" | "anomalous";
export type Split = (typeof splits)[number];

/** One image with what is known of it. */
export interface Sample {
  /** Unique in the data set and stable between machines: the image's path relative to the root, with forward slashes. */
  id: string;
  /** Absolute path. */
  image: string;
  label: Label;
  /**
   * Absolute path of the mask: any non-zero pixel is defect. Of a folder: its masks count together. Absent for normal images
   * and for image-level labels.
   */
  mask?: string;
  /**
   * Absolute path of a mask, or of a folder of masks: any non-zero pixel counts neither as defect nor as good. Normal images
   * may have one too.
   */
  ignore?: string;
  /** The part of the image to look at: a rectangle in its pixels, or the absolute path of a mask whose non-zero pixels it is. */
  roi?: Rectangle | string;
  split: Split;
  /** Kind of defect, when the data set names it (MVTec's folder name). */
  defect?: string;
}

/** Something that a loader could not place. */
export interface DatasetProblem {
  message: string;
  /** The split that it concerns. Absent when it may be either. */
  split?: Split;
}

/** Images with their labels, as the loaders make it and as every other call takes it. */
export interface Dataset {
  /** The loader that made it: "folder", "manifest", "generated", ... */
  kind: string;
  name: string;
  /** Absolute path. */
  root: string;
  samples: Sample[];
  /** Which part of a published data set this is. */
  category?: string;
  /** Cross-validation fold, from 0. */
  fold?: number;
  /** The published split file that chose which training images keep their masks, and what was asked for. */
  segmented?: { file: string; ratio?: number; count?: number };
  /** Masks that were found for normal images, by absolute path: validateDataset refuses those that mark anything. */
  normalMasks?: readonly { mask: string; split?: Split }[];
  /** What looks wrong but can be used, such as fewer images than were published: validateDataset returns them. */
  warnings?: readonly string[];
  /**
   * Files in the data set's folder that are not used, relative to the root with forward slashes, at most 10000:
   * validateDataset names them by kind.
   */
  unused?: readonly string[];
  /** Pipes, sockets and devices below `root`, which are never read; as `unused`. */
  special?: readonly string[];
  /** What the loader could not place (files that are no images, masks without an image): validateDataset reports them. */
  problems?: readonly DatasetProblem[];
}

export interface DatasetCounts {
  trainNormal: number;
  trainAnomalous: number;
  /** Anomalous training images with a mask. */
  trainSegmented: number;
  testNormal: number;
  testAnomalous: number;
  testSegmented: number;
}

/** How many samples each split has, without reading a file. */
export function countSamples(dataset: Dataset): DatasetCounts {
  const count = (split: Sample["split"], label: Sample["label"], masked = false): number =>
    dataset.samples.filter(
      (sample) => sample.split === split && sample.label === label && (!masked || sample.mask !== undefined),
    ).length;
  return {
    trainNormal: count("train", "normal"),
    trainAnomalous: count("train", "anomalous"),
    trainSegmented: count("train", "anomalous", true),
    testNormal: count("test", "normal"),
    testAnomalous: count("test", "anomalous"),
    testSegmented: count("test", "anomalous", true),
  };
}

/**
 * What the types promise, for a data set that a program put together: a label or a split that is none would be left out in silence.
 * Throws INVALID_OPTION for what is no data set at all, and DATASET_INVALID with every sample that is wrong.
 */
export function checkStructure(where: string, dataset: Dataset): void {
  const { samples } = (dataset ?? {}) as Partial<Dataset>;
  if (!Array.isArray(samples)) throw invalid(where, "dataset", "a data set, as datasets.open returns it,", dataset);
  checkPath(where, "dataset.root", dataset.root);
  const found = dataset.problems ?? [];
  if (
    !Array.isArray(found) ||
    found.some((problem: unknown) => typeof (problem as { message?: unknown } | null)?.message !== "string")
  )
    throw invalid(where, "dataset.problems", "a list of { message }", found);
  for (const name of ["unused", "special"] as const) {
    const files: unknown = dataset[name] ?? [];
    if (!Array.isArray(files) || files.some((file) => typeof file !== "string"))
      throw invalid(where, `dataset.${name}`, "a list of paths", files);
  }
  const wrong: string[] = [];
  samples.forEach((sample: unknown, i) => {
    const { id, image, mask, ignore, roi, label, split } = (sample ?? {}) as Record<string, unknown>;
    const problem = (what: string, value: unknown): void =>
      void wrong.push(
        `samples[${i}]${typeof id === "string" ? ` (${id})` : ""}: ${what}, not ${JSON.stringify(value) ?? String(value)}`,
      );
    if (typeof id !== "string") problem("'id' must be a string", id);
    if (!isPath(image)) problem("'image' must be a path", image);
    if (mask !== undefined && !isPath(mask)) problem("'mask' must be a path or undefined", mask);
    if (ignore !== undefined && !isPath(ignore)) problem("'ignore' must be a path or undefined", ignore);
    if (roi !== undefined && !isPath(roi) && !isRectangle(roi))
      problem("'roi' must be { x, y, width, height } in whole pixels, a path or undefined", roi);
    if (label !== "normal" && label !== "anomalous") problem("'label' must be 'normal' or 'anomalous'", label);
    if (split !== "train" && split !== "test") problem("'split' must be 'train' or 'test'", split);
  });
  if (wrong.length > 0) throw manyProblems(`${where}: the data set`, dataset.root, wrong);
}

/** DATASET_INVALID for one problem of a data set, or of a file of it. */
export const oneProblem = (path: string, problem: string, subject = `Data set ${path}`): SuperSimpleNetError =>
  new SuperSimpleNetError("DATASET_INVALID", `${subject}: ${problem}`, { path, problems: [problem] });

/** DATASET_INVALID with the first problems in the message and all of them in `problems`. */
export function manyProblems(subject: string, path: string, problems: readonly string[]): SuperSimpleNetError {
  const listed = problems.slice(0, 20);
  const more = problems.length - listed.length;
  if (more > 0) listed.push(`... and ${more} more (all of them are in the error's 'problems')`);
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  const message = `${subject} has ${count}:\n${listed.map((line) => `  ${line}`).join("\n")}`;
  return new SuperSimpleNetError("DATASET_INVALID", message, { path, problems });
}
