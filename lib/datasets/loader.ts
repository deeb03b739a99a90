import path from "node:path";

import { z } from "zod";

import { call, option, SuperSimpleNetError, text } from "../errors.js";
import { engine } from "../native/engine.js";
import { checkValue } from "../schema/check.js";
import type { DatasetKind, OpenOptions } from "../schema/datasets.js";
import { type Dataset, oneProblem } from "./dataset.js";

export type { OpenOptions };

/** One way of reading a data set. A new kind is one file with one of these, added to `loaders`. */
export interface Loader {
  kind: DatasetKind;
  /** One line for --help and messages. */
  summary: string;
  /** What is expected where, for the message when it is not. */
  layout: string;
  /** The options of datasets.open that it reads itself; `category`, `fold` and `ignoreClass` are refused by the others. */
  takes?: readonly ("category" | "fold" | "ignoreClass" | "segmentedCount" | "segmentedRatio")[];
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
  const last = folds - 1;
  if (wanted !== undefined) return checkValue("datasets.open", "fold", z.int().min(0).max(last), wanted);
  throw new SuperSimpleNetError(
    "INVALID_OPTION",
    text`${call("datasets.open")}: the data set, ${kind}, is evaluated in ${folds} folds.`,
    { option: "fold", fix: text`Choose one with ${option("fold")}: 0 to ${last}.` },
  );
}

/** A sample in a published split file: its number or name, and whether its mask may be used. */
export interface SplitEntry {
  id: string;
  segmented: boolean;
}

/** Turns the unpickled list of (id, is_segmented) pairs into entries. DATASET_INVALID when it is anything else. */
export function splitEntries(value: unknown, file: string): SplitEntry[] {
  const wrong = (what: string): never => {
    const problem = `${path.basename(file)} is not a split file: expected a list of pairs (image, is_segmented), but ${what}.`;
    throw oneProblem(file, problem, file);
  };
  if (!Array.isArray(value)) return wrong("it holds something else");
  return value.map((pair: unknown): SplitEntry => {
    if (!Array.isArray(pair) || pair.length !== 2) return wrong(`it holds ${JSON.stringify(pair)}`);
    const [id, segmented] = pair as [unknown, unknown];
    if (
      (typeof id !== "number" && typeof id !== "string") ||
      (typeof segmented !== "boolean" && segmented !== 0 && segmented !== 1)
    ) {
      return wrong(`it holds (${String(id)}, ${String(segmented)})`);
    }
    return { id: String(id), segmented: Boolean(segmented) };
  });
}

/** Reads a Python pickle through the engine's restricted unpickler. Errors: PICKLE_REFUSED, FILE_CORRUPT, file codes. */
export const readSplit = (file: string): Promise<unknown> => engine().readPickle(file);
