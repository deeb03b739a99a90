import { existsSync } from "node:fs";
import path from "node:path";

import { badValues } from "../backbones/check.js";
import { SuperSimpleNetError } from "../errors.js";
import type { TensorMap } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { makeFolder } from "../write.js";

const formatName = "supersimplenet-checkpoint";
const formatVersion = "1";

/** What must be equal for a resumed run to end where an uninterrupted one would: resolved options, data, backbone. */
export type Fingerprint = Record<string, unknown>;

export interface Checkpoint {
  /** Epochs that were finished. */
  epochsDone: number;
  heads: TensorMap;
  optimizer: TensorMap;
  /** CPU threads it was computed with; undefined when the file does not say. Not in the fingerprint: another number changes the last bits only. */
  threads: number | undefined;
}

export function checkpointFile(out: string): string {
  return path.join(out, "checkpoint", "last.safetensors");
}

/** Replaces the checkpoint as a whole: a reader sees the old one or the new one. */
export async function writeCheckpoint(out: string, checkpoint: Checkpoint, fingerprint: Fingerprint): Promise<void> {
  const file = checkpointFile(out);
  await makeFolder(path.dirname(file));
  const tensors: TensorMap = {};
  for (const [name, tensor] of Object.entries(checkpoint.heads)) tensors[`heads.${name}`] = tensor;
  for (const [name, tensor] of Object.entries(checkpoint.optimizer)) tensors[`optimizer.${name}`] = tensor;
  await engine().writeTensors(file, tensors, { format: formatName, format_version: formatVersion, epochs_done: String(checkpoint.epochsDone), threads: String(checkpoint.threads), fingerprint: JSON.stringify(fingerprint) });
}

/** Throws FILE_NOT_FOUND when there is nothing to resume in `out`. */
export function requireCheckpoint(out: string): void {
  const file = checkpointFile(out);
  if (!existsSync(file)) throw new SuperSimpleNetError("FILE_NOT_FOUND", `There is nothing to resume: ${file} does not exist. Start without resume.`, { path: file });
}

/**
 * Reads `out`'s checkpoint. Throws FILE_NOT_FOUND when there is none, FILE_CORRUPT, and CHECKPOINT_MISMATCH naming what
 * differs when it was made with other options, data or weights.
 */
export async function readCheckpoint(out: string, fingerprint: Fingerprint): Promise<Checkpoint> {
  requireCheckpoint(out);
  const file = checkpointFile(out);
  const { tensors, metadata } = await engine().readTensors(file);
  const saved = parsed(metadata["fingerprint"]);
  const epochsDone = /^\d+$/.test(metadata["epochs_done"] ?? "") ? Number(metadata["epochs_done"]) : undefined;
  if (metadata["format"] !== formatName || metadata["format_version"] !== formatVersion || saved === undefined || epochsDone === undefined) {
    throw corrupt(file, "it is not a checkpoint of this version of supersimplenet");
  }
  const differing = [...new Set([...Object.keys(saved), ...Object.keys(fingerprint)])].filter((key) => JSON.stringify(saved[key]) !== JSON.stringify(fingerprint[key]));
  if (differing.length > 0) {
    const shown = differing.map((key) => `${key} (${short(saved[key])} then, ${short(fingerprint[key])} now)`);
    throw new SuperSimpleNetError("CHECKPOINT_MISMATCH", `Cannot resume from ${file}: it was made with another ${shown.join(", ")}. Use the same options and data, or start without resume.`, { path: file });
  }
  const epochs = fingerprint["epochs"];
  if (typeof epochs === "number" && epochsDone > epochs) throw corrupt(file, `it claims ${epochsDone} of ${epochs} epochs`);
  for (const [name, { data }] of Object.entries(tensors)) {
    const bad = data instanceof Float32Array ? badValues(data, /running_var$|^optimizer\.variance\./.test(name)) : undefined;
    if (bad) throw corrupt(file, `tensor '${name}' holds ${bad}`);
  }
  const part = (prefix: string): TensorMap =>
    Object.fromEntries(Object.entries(tensors).filter(([name]) => name.startsWith(prefix)).map(([name, tensor]) => [name.slice(prefix.length), tensor]));
  const threads = /^\d+$/.test(metadata["threads"] ?? "") ? Number(metadata["threads"]) : undefined;
  return { epochsDone, threads, heads: part("heads."), optimizer: part("optimizer.") };
}

/** FILE_CORRUPT for a checkpoint; `what` says what is wrong with it. */
export function corrupt(file: string, what: string, cause?: unknown): SuperSimpleNetError {
  return new SuperSimpleNetError("FILE_CORRUPT", `Cannot resume from ${file}: ${what}. Start without resume.`, { path: file, cause });
}

function parsed(fingerprint: string | undefined): Fingerprint | undefined {
  try {
    const value: unknown = JSON.parse(fingerprint ?? "");
    return typeof value === "object" && value !== null ? (value as Fingerprint) : undefined;
  } catch {
    return undefined;
  }
}

function short(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 40 ? `${text.slice(0, 37)}...` : text;
}
