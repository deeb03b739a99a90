import { existsSync } from "node:fs";

import { option, SuperSimpleNetError, text } from "../errors.js";
import { runFiles } from "../runs/files.js";
import { checkpointFile } from "../training/checkpoint.js";
import { wrongUsage } from "./command.js";
import { badPath } from "./guards.js";

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
