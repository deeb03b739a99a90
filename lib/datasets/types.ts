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
  /** Absolute path of the mask: any non-zero pixel is defect. Absent for normal images and for image-level labels. */
  mask?: string;
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
  /** What the loader could not place (files that are no images, masks without an image): validateDataset reports them. */
  problems?: readonly DatasetProblem[];
}
