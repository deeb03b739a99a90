import { z } from "zod";

import { call, option, SuperSimpleNetError, text } from "../errors.js";
import { checkValue } from "../schema/check.js";
import type { DatasetKind, OpenOptions } from "../schema/datasets.js";
import type { Dataset } from "./types.js";

export type { OpenOptions };

/** One way of reading a data set. A new kind is one file with one of these, added to `loaders`. */
export interface Loader {
  kind: DatasetKind;
  /** One line for --help and messages. */
  summary: string;
  /** What is expected where, for the message when it is not. */
  layout: string;
  /** The options of datasets.open that it reads itself; `category` and `fold` are refused by the others. */
  takes?: readonly ("category" | "fold" | "segmentedCount" | "segmentedRatio")[];
  /** Whether `root` looks like this kind; loaders are asked in order. Only cheap look-ups. */
  matches(root: string, isFile: boolean): Promise<boolean>;
  /** Whether to try `root` when the kind is asked for by name. Default: `matches`. */
  accepts?(root: string, isFile: boolean): Promise<boolean>;
  load(root: string, options: OpenOptions): Promise<Dataset>;
}

/** The wanted category, or the only one. INVALID_OPTION, with those that exist. */
export function chooseCategory(kind: string, wanted: string | undefined, available: readonly string[]): string {
  if (wanted !== undefined) return checkValue("datasets.open", "category", z.enum(available), wanted);
  if (available.length === 1) return available[0]!;
  throw new SuperSimpleNetError(
    "INVALID_OPTION",
    text`${call("datasets.open")}: the data set, ${kind}, has several categories.`,
    { option: "category", fix: text`Choose one with ${option("category")}: ${available.join(", ")}.` },
  );
}

/** INVALID_OPTION when it is missing or out of range. */
export function chooseFold(kind: string, wanted: number | undefined, folds: number): number {
  if (wanted !== undefined)
    return checkValue(
      "datasets.open",
      "fold",
      z
        .int()
        .min(0)
        .max(folds - 1),
      wanted,
    );
  throw new SuperSimpleNetError(
    "INVALID_OPTION",
    text`${call("datasets.open")}: the data set, ${kind}, is evaluated in ${folds} folds.`,
    { option: "fold", fix: text`Choose one with ${option("fold")}: 0 to ${folds - 1}.` },
  );
}
