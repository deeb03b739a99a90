import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import { types } from "node:util";

import { badValues } from "../backbones/check.js";
import type { CalibrationImage } from "../calibration/images.js";
import { call, fileError, option, SuperSimpleNetError, text } from "../errors.js";
import { tryLockFolder } from "../files/lock.js";
import { readMetadata, readTensors, writeTensors } from "../files/tensors.js";
import type { StepLosses, TensorMap } from "../native/binding.js";
import { emptyFolders, makeFolder, probeFolder, removeTemporaries } from "../write.js";

const formatName = "supersimplenet-checkpoint";
const formatVersion = "2";

/** What must be equal for a resumed run to end where an uninterrupted one would: resolved options, data, backbone. */
export type Fingerprint = Record<string, unknown>;

/** How far a training has come. */
export interface Progress {
  /** Epochs that were finished. */
  epochsDone: number;
  /** Steps of the epoch after those. */
  stepsDone: number;
  /** What these steps add to the epoch's mean losses. */
  losses: StepLosses;
  /** What the epoch has chosen by scores (Examples.begin). */
  tiles?: readonly number[] | undefined;
}

/** The progress of a training before its first step. */
export const notBegun = (): Progress => ({
  epochsDone: 0,
  stepsDone: 0,
  losses: { l1Normal: 0, l1Anomalous: 0, focalMap: 0, focalScore: 0, total: 0, gradientNorm: 0 },
});

export interface Checkpoint extends Progress {
  heads: TensorMap;
  optimizer: TensorMap;
  /**
   * CPU threads it was computed with; undefined when the file does not say. Not in the fingerprint: another number
   * changes the last bits only.
   */
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
  await writeTensors(file, tensors, {
    format: formatName,
    format_version: formatVersion,
    epochs_done: String(checkpoint.epochsDone),
    steps_done: String(checkpoint.stepsDone),
    losses: JSON.stringify(checkpoint.losses),
    threads: String(checkpoint.threads),
    ...(checkpoint.tiles && checkpoint.tiles.length > 0 && { tiles: JSON.stringify(checkpoint.tiles) }),
    fingerprint: JSON.stringify(fingerprint),
  });
}

/**
 * Creates `out` and keeps other trainings out of it, until the returned function is called or the process ends. Throws
 * FILE_ERROR when another training writes there, and what makes a folder unusable.
 */
export async function lockFolder(out: string): Promise<() => Promise<void>> {
  const removeEmpty = emptyFolders(out);
  await probeFolder(out);
  const checkpoints = path.dirname(checkpointFile(out));
  if (existsSync(checkpoints)) await probeFolder(checkpoints); // the first checkpoint may be hours away
  const unlock = await tryLockFolder(out);
  if (!unlock)
    throw new SuperSimpleNetError(
      "FILE_ERROR",
      `Another training is writing into ${out}. Wait for its end, stop it, or choose another folder.`,
      { path: out },
    );
  for (const written of [out, checkpoints]) await removeTemporaries(written);
  return async () => {
    removeEmpty();
    await unlock();
  };
}

const foldFormat = "supersimplenet-fold";
const foldVersion = "1";

/** The scores of one fold of a cross-fitting, beside the checkpoint; `fold` is from 1. */
export function foldFile(out: string, fold: number): string {
  return path.join(path.dirname(checkpointFile(out)), `fold-${fold}.safetensors`);
}

type ScoredImage = Pick<CalibrationImage, "logit" | "peak" | "map">;

/** Writes what a fold's heads say about its images, with the maps of those that have one. */
export async function writeFold(
  out: string,
  fold: number,
  images: readonly ScoredImage[],
  [height, width]: readonly [number, number],
  fingerprint: Fingerprint,
): Promise<void> {
  const maps = images.flatMap(({ map }) => (map ? [map] : []));
  const all = new Float32Array(maps.length * height * width);
  maps.forEach((map, i) => all.set(map, i * height * width));
  const list = (data: Float32Array): TensorMap[string] => ({ dtype: "float32", shape: [data.length], data });
  const tensors: TensorMap = {
    logits: list(Float32Array.from(images, ({ logit }) => logit)),
    peaks: list(Float32Array.from(images, ({ peak }) => peak)),
    ...(maps.length > 0 && { maps: { dtype: "float32", shape: [maps.length, height, width], data: all } }),
  };
  await writeTensors(foldFile(out, fold), tensors, {
    format: foldFormat,
    format_version: foldVersion,
    fold: String(fold),
    fingerprint: JSON.stringify(fingerprint),
  });
}

/**
 * Reads what writeFold wrote; undefined when that fold is still to do. `withMaps` says for each image whether its map is
 * needed. Throws FILE_CORRUPT, and CHECKPOINT_MISMATCH for a fold of another training.
 */
export async function readFold(
  out: string,
  fold: number,
  withMaps: readonly boolean[],
  [height, width]: readonly [number, number],
  fingerprint: Fingerprint,
): Promise<ScoredImage[] | undefined> {
  const file = foldFile(out, fold);
  if (!existsSync(file)) return undefined;
  const { tensors, metadata } = await readTensors(file);
  const saved = parsedObject(metadata["fingerprint"]);
  if (metadata["format"] !== foldFormat || metadata["format_version"] !== foldVersion || saved === undefined)
    throw corrupt(file, "it does not hold a fold of this version of supersimplenet");
  compare(file, saved, fingerprint, [...new Set([...Object.keys(saved), ...Object.keys(fingerprint)])]);
  const values = (name: string, count: number): Float32Array => {
    const data = tensors[name]?.data ?? new Float32Array();
    if (!types.isFloat32Array(data) || data.length !== count || !data.every(Number.isFinite))
      throw corrupt(file, `it has no ${name} of all images of the fold`);
    return data;
  };
  const pixels = height * width;
  const logits = values("logits", withMaps.length);
  const peaks = values("peaks", withMaps.length);
  const maps = values("maps", withMaps.filter(Boolean).length * pixels);
  let next = 0;
  const nextMap = (): Float32Array => maps.slice(next * pixels, ++next * pixels);
  return withMaps.map((hasMap, i) => ({ logit: logits[i]!, peak: peaks[i]!, map: hasMap ? nextMap() : undefined }));
}

const withoutResume = text`Start without ${option("resume")}.`;

/** Throws FILE_NOT_FOUND when there is nothing to resume in `out`. */
export function requireCheckpoint(out: string): void {
  const file = checkpointFile(out);
  if (!existsSync(file))
    throw new SuperSimpleNetError("FILE_NOT_FOUND", `There is nothing to resume: ${file} does not exist.`, {
      option: "resume",
      path: file,
      fix: withoutResume,
    });
}

/** Throws INVALID_OPTION when there is a checkpoint in `out`, which would be lost. */
export function refuseCheckpoint(out: string): void {
  const file = checkpointFile(out);
  if (existsSync(file))
    throw new SuperSimpleNetError(
      "INVALID_OPTION",
      text`${call("trainer.fit")}: ${out} holds the checkpoint of a training already.`,
      {
        option: "out",
        path: file,
        fix: text`Continue it with ${option("resume")}, replace it with ${option("overwrite")}, or choose another folder.`,
      },
    );
}

/** Removes what a training before left, so that a new one cannot be resumed from it. */
export async function removeCheckpoint(out: string): Promise<void> {
  const folder = path.dirname(checkpointFile(out));
  await rm(folder, { recursive: true, force: true }).catch((error: unknown) =>
    Promise.reject(fileError(error, "remove", folder)),
  );
}

/**
 * Throws CHECKPOINT_MISMATCH when `out`'s checkpoint was made with other options, and FILE_CORRUPT. Options that depend on
 * the data are undefined, or "auto", and are compared later: this one is called before anything else is read.
 */
export async function checkCheckpoint(out: string, known: Fingerprint): Promise<void> {
  const file = checkpointFile(out);
  const metadata = await readMetadata(file);
  const { saved } = header(file, metadata);
  const settled = Object.keys(known).filter((key) => known[key] !== undefined && known[key] !== "auto");
  compare(file, saved, known, settled);
}

/** An option as `out`'s checkpoint has it, if it is a string. Throws FILE_NOT_FOUND and FILE_CORRUPT. */
export async function savedOption(out: string, name: "backbone" | "precision"): Promise<string | undefined> {
  requireCheckpoint(out);
  const file = checkpointFile(out);
  const value = header(file, await readMetadata(file)).saved[name];
  return typeof value === "string" ? value : undefined;
}

/**
 * Reads `out`'s checkpoint. Throws FILE_NOT_FOUND when there is none, FILE_CORRUPT, and CHECKPOINT_MISMATCH naming what
 * differs when it was made with other options, data or weights.
 */
export async function readCheckpoint(out: string, fingerprint: Fingerprint): Promise<Checkpoint> {
  requireCheckpoint(out);
  const file = checkpointFile(out);
  const { tensors, metadata } = await readTensors(file);
  const { saved, ...progress } = header(file, metadata);
  compare(file, saved, fingerprint, [...new Set([...Object.keys(saved), ...Object.keys(fingerprint)])]);
  const epochs = fingerprint["epochs"];
  if (typeof epochs === "number" && progress.epochsDone > epochs)
    throw corrupt(file, `it claims ${progress.epochsDone} of ${epochs} epochs`);
  for (const [name, { data }] of Object.entries(tensors)) {
    const bad = types.isFloat32Array(data)
      ? badValues(data, /running_var$|^optimizer\.variance\./.test(name))
      : undefined;
    if (bad) throw corrupt(file, `tensor '${name}' holds ${bad}`);
  }
  const part = (prefix: string): TensorMap =>
    Object.fromEntries(
      Object.entries(tensors)
        .filter(([name]) => name.startsWith(prefix))
        .map(([name, tensor]) => [name.slice(prefix.length), tensor]),
    );
  const threads = /^\d+$/.test(metadata["threads"] ?? "") ? Number(metadata["threads"]) : undefined;
  return { ...progress, threads, heads: part("heads."), optimizer: part("optimizer.") };
}

function header(file: string, metadata: Record<string, string>): Progress & { saved: Fingerprint } {
  const saved = parsedObject(metadata["fingerprint"]);
  const progress = progressOf(metadata);
  if (
    metadata["format"] !== formatName ||
    metadata["format_version"] !== formatVersion ||
    saved === undefined ||
    progress === undefined
  ) {
    throw corrupt(file, "it is not a checkpoint of this version of supersimplenet");
  }
  return { ...progress, saved };
}

function progressOf(metadata: Record<string, string>): Progress | undefined {
  const number = (name: string): number => (/^\d{1,15}$/.test(metadata[name] ?? "") ? Number(metadata[name]) : NaN);
  const [epochsDone, stepsDone] = [number("epochs_done"), number("steps_done")];
  if (Number.isNaN(epochsDone + stepsDone)) return undefined;
  const { losses } = notBegun();
  if (stepsDone === 0) return { epochsDone, stepsDone, losses };
  const saved = parsedObject(metadata["losses"]) ?? {};
  for (const name of Object.keys(losses) as (keyof StepLosses)[]) {
    const value = saved[name];
    if (typeof value !== "number") return undefined;
    losses[name] = value;
  }
  const tiles: unknown = metadata["tiles"] === undefined ? undefined : JSON.parse(metadata["tiles"]);
  if (tiles !== undefined && !(Array.isArray(tiles) && tiles.every((tile) => Number.isSafeInteger(tile) && tile >= 0)))
    return undefined;
  return { epochsDone, stepsDone, losses, ...(tiles !== undefined && { tiles: tiles as number[] }) };
}

function compare(file: string, saved: Fingerprint, now: Fingerprint, keys: readonly string[]): void {
  const differing = keys.filter((key) => JSON.stringify(saved[key]) !== JSON.stringify(now[key]));
  if (differing.length === 0) return;
  const shown = differing.map((key) => `${key} ${short(saved[key])}, which is now ${short(now[key])}`);
  throw new SuperSimpleNetError(
    "CHECKPOINT_MISMATCH",
    `Cannot resume from ${file}: it was made with ${shown.join("; ")}.`,
    { path: file, fix: text`Use the same options and data, or start without ${option("resume")}.` },
  );
}

/** FILE_CORRUPT for a checkpoint; `what` says what is wrong with it. */
export function corrupt(file: string, what: string, cause?: unknown): SuperSimpleNetError {
  const fix = withoutResume;
  return new SuperSimpleNetError("FILE_CORRUPT", `Cannot resume from ${file}: ${what}.`, { path: file, cause, fix });
}

function parsedObject(text: string | undefined): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text ?? "");
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function short(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 40 ? `${text.slice(0, 37)}...` : text;
}
