import { open, readFile, type FileHandle } from "node:fs/promises";
import path from "node:path";

import { listFolder } from "../datasets/listing.js";
import type { DatasetCounts } from "../datasets/dataset.js";
import { fileError, hasCode, SuperSimpleNetError } from "../errors.js";
import { byIdentifier, byPaperName, type Metrics } from "../evaluation/metrics_table.js";
import type { Condition, PublishedKind } from "./protocols.js";

/** Hits and misses at the threshold of the highest F1 on the test split (docs/method.md, Metrics). */
export interface Misclassification {
  /** Score logit from which an image is called anomalous. */
  threshold: number;
  truePositive: number;
  trueNegative: number;
  falsePositive: number;
  falseNegative: number;
  /** Share of the image that is anomalous, in %, summed over the images with a mask, and how many these are. */
  truePositiveArea: { percentSum: number; images: number };
  falseNegativeArea: { percentSum: number; images: number };
}

/** One finished run: a line of the results files. */
export interface RunResult {
  format: 1;
  key: string;
  protocol: string;
  dataset: string;
  published: PublishedKind | null;
  condition: Pick<Condition, "name" | "title" | "summary" | "published">;
  /** Place of the condition in the protocol. */
  order: number;
  part: string;
  category: string | null;
  seed: number;
  /** Everything that decides the result but data and version. */
  options: Record<string, unknown> & { parts: string[] };
  data: { counts: DatasetCounts; samples: string };
  metrics: Metrics;
  misclassification?: Misclassification;
  /** Training and evaluation. */
  seconds: number;
  version: string;
}

const isResult = (value: unknown): value is RunResult => {
  const { format, key, protocol, condition, options, metrics } = (value ?? {}) as Partial<RunResult>;
  return (
    format === 1 &&
    typeof key === "string" &&
    typeof protocol === "string" &&
    typeof condition?.name === "string" &&
    Array.isArray(options?.parts) &&
    typeof metrics === "object"
  );
};

/** Parses one file of results. Skips a last line without its end, which an interrupted write left. */
export function parseResults(text: string, file: string): RunResult[] {
  const lines = text
    .slice(0, text.lastIndexOf("\n") + 1)
    .split("\n")
    .slice(0, -1);
  return lines.map((line, i) => {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      value = undefined;
    }
    if (isResult(value)) return { ...value, metrics: byIdentifier({ ...value.metrics }) as Metrics };
    throw new SuperSimpleNetError(
      "FILE_CORRUPT",
      `${file}, line ${i + 1}, is not a result of this version of 'experiment'. Remove the line; its run will be done again.`,
      { path: file },
    );
  });
}

/** Reads the files results*.jsonl of a folder, if it exists. Where two machines did the same run, the first result counts. */
export async function readResults(folder: string): Promise<Map<string, RunResult>> {
  const found = new Map<string, RunResult>();
  let files: string[];
  try {
    files = (await listFolder(folder)).files.filter((name) => /^results.*\.jsonl$/.test(name));
  } catch (error) {
    if (hasCode(error, "FILE_NOT_FOUND")) return found;
    throw error;
  }
  for (const name of files) {
    const file = path.join(folder, name);
    const text = await readFile(file, "utf8").catch((error: unknown) =>
      Promise.reject(fileError(error, "read results", file)),
    );
    for (const result of parseResults(text, file)) if (!found.has(result.key)) found.set(result.key, result);
  }
  return found;
}

/**
 * Appends one line and flushes it. First cuts off what an interrupted write left behind the last whole line; earlier
 * lines are never touched.
 */
export async function appendResult(file: string, result: RunResult): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(file, "a+");
    const text = await handle.readFile();
    const whole = text.lastIndexOf(0x0a) + 1;
    if (whole < text.length) await handle.truncate(whole);
    await handle.appendFile(`${JSON.stringify({ ...result, metrics: byPaperName(result.metrics) })}\n`);
    await handle.sync();
  } catch (error) {
    throw fileError(error, "write results", file);
  } finally {
    await handle?.close();
  }
}

/** Says what differs between two sets of decisive options: "epochs 5 instead of 300". */
export function optionDifferences(
  have: Record<string, unknown>,
  want: Record<string, unknown>,
  ignore: readonly string[] = [],
): string[] {
  const names = [...new Set([...Object.keys(have), ...Object.keys(want)])].filter((name) => !ignore.includes(name));
  const shown = (value: unknown): string => (value === undefined ? "none" : JSON.stringify(value));
  return names.flatMap((name) =>
    shown(have[name]) === shown(want[name]) ? [] : [`${name} ${shown(have[name])} instead of ${shown(want[name])}`],
  );
}
