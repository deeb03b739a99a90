import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import type { Compute } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { findCacheFolder, packageVersion } from "../native/locate.js";
import { writeJson } from "../write.js";

export type TrainingPrecision = "float32" | "tf32" | "bfloat16";

export interface ChosenPrecision {
  precision: TrainingPrecision;
  /** Null where it was asked for. */
  reason: string | null;
}

/** Milliseconds of the same matrix products. */
interface ProductSpeed {
  float32Ms: number;
  bfloat16Ms: number;
}

/** bfloat16 is taken from this gain on: well above what a busy machine makes of two equal times. */
const leastGain = 1.5;

/** What `precision: "auto"` trains in. `saved`: what the checkpoint has that is resumed. */
export async function choosePrecision({
  saved,
  device,
  threads,
  heads,
}: {
  saved: string | undefined;
  device: string;
  threads: number;
  heads: Compute;
}): Promise<ChosenPrecision> {
  if (saved === "float32" || saved === "tf32" || saved === "bfloat16")
    return { precision: saved, reason: "as in the checkpoint" };
  if (heads === "direct") return { precision: "float32", reason: "the direct heads know no other" };
  if (device !== "cpu") return { precision: "float32", reason: "auto is for processors" };
  const { float32Ms, bfloat16Ms } = await productSpeed(threads);
  const gain = float32Ms / bfloat16Ms;
  return {
    precision: gain >= leastGain ? "bfloat16" : "float32",
    reason: `products in bfloat16 are ${gain.toPrecision(2)} times as fast here`,
  };
}

/** What a machine's arithmetic depends on: processor, instruction set, and libraries that choose by it. */
export function machineIdentity(): (string | undefined)[] {
  const { libtorch, cpuCapability, mkldnn } = engine().versions();
  return [os.cpus()[0]?.model, os.arch(), libtorch, cpuCapability, mkldnn];
}

/** For this process, where the cache folder cannot be written. */
const measured = new Map<string, Promise<ProductSpeed>>();

/**
 * Returns how fast the machine multiplies. It is measured once and remembered in the cache folder: the same training must
 * not choose otherwise when the machine is busy.
 */
async function productSpeed(threads: number): Promise<ProductSpeed> {
  const machine = [...machineIdentity(), await instructions(), threads, packageVersion];
  const key = createHash("sha256").update(JSON.stringify(machine)).digest("hex").slice(0, 16);
  const folder = findCacheFolder();
  const file = folder && path.join(folder, "measured", `products-${key}.json`);
  const known = file && (await readSpeed(file));
  if (known) return known;
  const measuring = measured.get(key) ?? engine().productSpeed();
  measured.set(key, measuring);
  const speed = await measuring.catch((error: unknown) => {
    measured.delete(key);
    throw error;
  });
  if (file) await writeJson(file, { ...speed, machine }).catch(() => undefined); // remembered by this process at least
  return speed;
}

/** Undefined: no such file, or none that productSpeed wrote. */
async function readSpeed(file: string): Promise<ProductSpeed | undefined> {
  try {
    const { float32Ms, bfloat16Ms } = JSON.parse(await readFile(file, "utf8")) as Record<keyof ProductSpeed, unknown>;
    if (typeof float32Ms === "number" && typeof bfloat16Ms === "number" && float32Ms > 0 && bfloat16Ms > 0)
      return { float32Ms, bfloat16Ms };
  } catch {
    // measured anew
  }
  return undefined;
}

/** The processor's instructions: a virtual machine may hide some that its model has. Empty where the system does not tell. */
async function instructions(): Promise<string> {
  const text = await readFile("/proc/cpuinfo", "utf8").catch(() => "");
  return /^(?:flags|Features)\s*:.*$/m.exec(text)?.[0] ?? "";
}
