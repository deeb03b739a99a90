import { existsSync, rmSync } from "node:fs";
import path from "node:path";

import { fileError, option, SuperSimpleNetError, text } from "../errors.js";
import type { Dataset } from "../datasets/dataset.js";
import type { Evaluation } from "../evaluation/evaluate.js";
import type { Model } from "../models/model.js";
import { checkpointFile } from "../training/checkpoint.js";
import { refuseSpecial, writeJson } from "../write.js";
import { describeModel } from "../models/describe.js";
import { wrongUsage } from "./command.js";
import { evaluationDocument } from "./evaluation.js";
import { badPath } from "./guards.js";

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

/** Refuses to mix two trainings in one folder. Nothing is written. */
export function refuseOtherRun(out: string, resume: boolean | undefined, overwrite: boolean | undefined): void {
  if (resume && overwrite) throw wrongUsage(text`${option("resume")} and ${option("overwrite")} exclude each other.`);
  if (resume || overwrite) return;
  const files = runFiles(out);
  const found = existsSync(files.model)
    ? "a finished model"
    : existsSync(checkpointFile(out))
      ? "the checkpoint of an unfinished training"
      : undefined;
  if (found === undefined) return;
  const fix = text`Give another ${option("out")}, ${option("resume")} to continue it, or ${option("overwrite")} to replace it.`;
  throw badPath("out", out, `${out} already holds ${found}.`, fix);
}

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

/**
 * The error that ended a training, with what is kept and the command that continues it. After a divergence the
 * checkpoint would lead to the same again.
 */
export function withWhatIsKept(error: unknown, resume: string, out: string): unknown {
  if (!(error instanceof SuperSimpleNetError) || error.code === "DIVERGED") return error;
  const ended = error.code === "ABORTED" ? error.with(() => "Interrupted.") : error;
  if (!existsSync(checkpointFile(out))) return ended.advising("No checkpoint was written yet, so nothing is kept.");
  const where = error.code === "RANK_FAILED" ? " on all ranks" : "";
  return ended.advising(`A checkpoint is kept; continue${where} with: ${resume}`);
}
