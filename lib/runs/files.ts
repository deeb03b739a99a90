import { rmSync } from "node:fs";
import path from "node:path";

import type { Dataset, Split } from "../datasets/dataset.js";
import { fileError } from "../errors.js";
import type { Evaluation } from "../evaluation/evaluate.js";
import { byPaperName } from "../evaluation/metrics_table.js";
import type { Model } from "../models/model.js";
import { refuseSpecial, writeJson } from "../write.js";
import { describeModel } from "../models/describe.js";

/** The files of a training. */
export interface RunFiles {
  model: string;
  metrics: string;
  log: string;
  checkpoint: string;
  report: string;
  /** Says that the folder is quickstart's own. */
  quickstart: string;
}

export const runFiles = (out: string): RunFiles => ({
  model: path.join(out, "model.safetensors"),
  metrics: path.join(out, "metrics.json"),
  log: path.join(out, "log.jsonl"),
  checkpoint: path.join(out, "checkpoint"),
  report: path.join(out, "report.html"),
  quickstart: path.join(out, "quickstart.json"),
});

/** Throws FILE_ERROR, before hours of work, for a pipe or a device where a file is to be written. */
export async function refuseSpecialFiles(files: Readonly<Record<keyof RunFiles, string>>): Promise<void> {
  for (const file of Object.values(files)) await refuseSpecial(file);
}

export function removeFile(file: string): void {
  try {
    rmSync(file, { recursive: true, force: true });
  } catch (error) {
    throw fileError(error, "remove", file);
  }
}

/** Writes the model. Metrics and report of another model never stand beside it. */
export async function saveRun(files: RunFiles, model: Model): Promise<void> {
  removeFile(files.metrics);
  removeFile(files.report);
  await model.save(files.model);
}

/** Writes the metrics on the test split; returns them as metrics.json holds them. */
export async function saveMetrics(
  files: RunFiles,
  model: Model,
  evaluation: Evaluation,
  dataset: Dataset,
): Promise<Record<string, unknown>> {
  const metrics = metricsDocument(files.model, model, evaluation, dataset);
  await writeJson(files.metrics, metrics);
  return metrics;
}

/** The metrics of a model on the test split, as metrics.json holds them. */
export function metricsDocument(
  file: string,
  model: Model,
  evaluation: Evaluation,
  dataset: Dataset,
): Record<string, unknown> {
  const described = describeModel(path.basename(file), model.config);
  return { model: described, ...evaluationDocument(evaluation, dataset, "test") };
}

/** An evaluation without paths of this machine, as metrics.json and --json hold it. */
export function evaluationDocument(evaluation: Evaluation, dataset: Dataset, split: Split): Record<string, unknown> {
  return {
    dataset: { kind: dataset.kind, name: dataset.name },
    split,
    ...evaluation,
    metrics: byPaperName(evaluation.metrics),
    samples: evaluation.samples.map(({ image: _image, mask: _mask, ...sample }) => sample),
  };
}
