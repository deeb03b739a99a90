import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";

import { SuperSimpleNetError } from "../errors.js";
import type { Evaluation } from "../evaluation/evaluate.js";
import { byIdentifier, type Metrics } from "../evaluation/metrics_table.js";
import { readRegular } from "../files/input.js";
import type { ModelConfig, Thresholds } from "../models/config.js";

/** What a training has left of its evaluation. */
export interface Recorded {
  evaluation: Pick<Evaluation, "metrics" | "samples" | "decisions" | "decision" | "notes" | "counts">;
  dataset: { kind: string; name: string };
  split: "test";
  /** Whether the model's thresholds are still those of these results. */
  isCurrent: boolean;
  /** When they were written, in milliseconds since 1970. */
  writtenMs: number;
}

interface Document extends Omit<Recorded["evaluation"], "metrics">, Pick<Recorded, "dataset" | "split"> {
  metrics: Record<string, number | null>;
  model: { thresholds: Partial<Thresholds> };
}

/** Reads a run's metrics.json; undefined where there is none. Throws FILE_CORRUPT. */
export async function readRecorded(file: string, { thresholds }: ModelConfig): Promise<Recorded | undefined> {
  if (!existsSync(file)) return undefined;
  const text = await readRegular(file);
  const { mtimeMs: writtenMs } = await stat(file);
  try {
    const { metrics, samples, decisions, decision, notes, counts, dataset, split, model } = JSON.parse(
      String(text),
    ) as Document;
    const evaluation = { metrics: byIdentifier(metrics) as Metrics, samples, decisions, decision, notes, counts };
    const isWhole =
      Array.isArray(notes) &&
      [decision?.source, dataset?.name].every((value) => typeof value === "string") &&
      typeof decisions?.threshold === "number" &&
      samples.every(
        ({ id, logit, peak, margin, anomalous }) =>
          typeof id === "string" && typeof anomalous === "boolean" && [logit, peak, margin].every(Number.isFinite),
      );
    if (!isWhole) throw new Error("it is no metrics.json");
    const then = model.thresholds;
    const isCurrent = (["decision", "scoreLogit", "mapLogit"] as const).every(
      (name) => then[name] === thresholds[name],
    );
    return { evaluation, dataset, split, isCurrent, writtenMs };
  } catch (cause) {
    throw new SuperSimpleNetError("FILE_CORRUPT", `${file} is damaged: ${(cause as Error).message}.`, {
      cause,
      path: file,
      fix: "Give the data set, to judge its images again.",
    });
  }
}
