import os from "node:os";

import { SuperSimpleNetError } from "../errors.js";
import { checkChoice, checkNumber, invalid } from "../options.js";
import type { Precision } from "./binding.js";
import { engine, engineFiles } from "./engine.js";

/** Throws INVALID_OPTION for what cannot be a device's name anywhere. */
export function checkDevice(where: string, device: unknown): string {
  if (typeof device !== "string" || !/^(auto|cpu|cuda(:\d+)?)$/.test(device))
    throw invalid(where, "device", "'auto', 'cpu', 'cuda' or 'cuda:N'", device);
  return device;
}

/** Where the network runs, and why there. */
export interface ChosenDevice {
  /** "cpu", "cuda:0"... */
  device: string;
  reason: string;
}

/**
 * The device to run on: "auto" takes CUDA when the engine has it, else the CPU. Asking for CUDA without it is
 * DEVICE_UNAVAILABLE with what was found and what is needed, never a silent fallback.
 */
export function resolveDevice(where: string, device: string): ChosenDevice {
  checkDevice(where, device);
  const present = engine(device).devices();
  const gpu = present.find((name) => name.startsWith("cuda"));
  const { choice, libtorch } = engineFiles();
  if (device === "auto")
    return gpu
      ? { device: gpu, reason: `libtorch ${libtorch.version} sees it` }
      : { device: "cpu", reason: choice.reason };
  const wanted = device === "cuda" ? "cuda:0" : device;
  if (present.includes(wanted)) return { device: wanted, reason: "asked for" };
  const why = gpu ? "there is no GPU of that number." : `${choice.reason}. ${choice.fix ?? ""}`.trimEnd();
  throw new SuperSimpleNetError(
    "DEVICE_UNAVAILABLE",
    `${where}: device '${device}' is not usable here: ${why} Available: ${present.join(", ")}. 'supersimplenet doctor' tells more.`,
  );
}

export const detectorPrecisions = ["float32", "tf32", "bfloat16", "float16"] as const;
export const trainerPrecisions = ["float32", "tf32", "bfloat16"] as const;

/** Throws INVALID_OPTION for another precision than `choices`, and for float16 and tf32 without CUDA. `device`: as resolveDevice gave it. */
export function checkPrecision<P extends Precision>(
  where: string,
  precision: unknown,
  device: string,
  choices: readonly P[],
): P {
  const checked = checkChoice(where, "precision", precision, choices);
  if ((checked === "float16" || checked === "tf32") && device === "cpu") {
    throw new SuperSimpleNetError(
      "INVALID_OPTION",
      `${where}: precision '${checked}' is for CUDA, but the device is 'cpu'. Use 'float32', or 'bfloat16' where the processor is faster with it.`,
    );
  }
  return checked;
}

/** What the engine of this JavaScript thread was last set to. */
let applied: number | undefined;

/**
 * Sets the engine's CPU threads: the option; without it, at the first use, SUPERSIMPLENET_THREADS or else the number of
 * cores. Later calls without the option change nothing, because a training may be running. Returns the number in force.
 * INVALID_OPTION also for more than can be started here, were it the number of cores: fewer would give other last bits.
 */
export async function applyThreads(where: string, threads: number | undefined): Promise<number> {
  if (threads === undefined && applied !== undefined) return applied;
  const variable = process.env["SUPERSIMPLENET_THREADS"];
  const value = threads ?? (variable ? Number(variable) : os.availableParallelism());
  checkNumber(where, threads === undefined && variable ? "SUPERSIMPLENET_THREADS" : "threads", value, {
    min: 1,
    max: 1024,
    integer: true,
  });
  const before = applied;
  applied = value;
  try {
    await engine().setThreads(value);
  } catch (error) {
    if (applied === value) applied = before;
    throw error;
  }
  return value;
}
