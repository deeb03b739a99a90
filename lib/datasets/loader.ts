import { SuperSimpleNetError } from "../errors.js";
import { checkChoice, checkNumber } from "../options.js";
import type { Dataset } from "./types.js";

export interface OpenOptions {
  /** Default: found from the files. */
  kind?: string | undefined;
  /** Part of a published data set: "bottle", "pcb1", "softgel", "brain". */
  category?: string | undefined;
  /** Cross-validation fold, from 0. */
  fold?: number | undefined;
  /** Share of the anomalous training images that keep their masks; by the published split file where there is one. */
  segmentedRatio?: number | undefined;
  /** The same as a number of images. */
  segmentedCount?: number | undefined;
}

/** One way of reading a data set. A new kind is one file with one of these, added to `loaders`. */
export interface Loader {
  kind: string;
  /** One line for --help and messages. */
  summary: string;
  /** What is expected where, for the message when it is not. */
  layout: string;
  /** Which of the options it understands; for the others it has no use. */
  takes?: readonly ("category" | "fold")[];
  /** Whether `root` looks like this kind; loaders are asked in order. Only cheap look-ups. */
  matches(root: string, isFile: boolean): Promise<boolean>;
  /** Whether to try `root` when the kind is asked for by name. Default: `matches`. */
  accepts?(root: string, isFile: boolean): Promise<boolean>;
  load(root: string, options: OpenOptions): Promise<Dataset>;
}

/** The wanted category, or the only one. INVALID_OPTION, with those that exist. */
export function chooseCategory(kind: string, wanted: string | undefined, available: readonly string[]): string {
  if (wanted !== undefined) return checkChoice(`datasets.open (${kind})`, "category", wanted, available);
  if (available.length === 1) return available[0]!;
  throw new SuperSimpleNetError(
    "INVALID_OPTION",
    `datasets.open (${kind}): the data set has several categories; choose one with 'category' (--category): ${available.join(", ")}.`,
  );
}

/** INVALID_OPTION when it is missing or out of range. */
export function chooseFold(kind: string, wanted: number | undefined, folds: number): number {
  if (wanted !== undefined)
    return checkNumber(`datasets.open (${kind})`, "fold", wanted, { min: 0, max: folds - 1, integer: true });
  throw new SuperSimpleNetError(
    "INVALID_OPTION",
    `datasets.open (${kind}): the data set is evaluated in ${folds} folds; choose one with 'fold' (--fold): 0 to ${folds - 1}.`,
  );
}
