import { call, command, option, SuperSimpleNetError, text } from "../errors.js";
import { availableCores } from "../machine.js";
import { checkValue } from "../schema/check.js";
import { threads as threadsOption } from "../schema/common.js";
import type { Precision } from "./binding.js";
import { engine, engineFiles } from "./engine.js";

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
    text`${call(where)}: device '${device}' is not usable here: ${why} Available: ${present.join(", ")}. ${command("doctor")} tells more.`,
  );
}

/** Throws INVALID_OPTION for float16 and tf32 without CUDA. `device`: as resolveDevice gave it. */
export function checkPrecision(where: string, precision: Precision | "auto", device: string): void {
  if ((precision !== "float16" && precision !== "tf32") || device !== "cpu") return;
  const what = text`${call(where)}: ${option("precision")} '${precision}' is for CUDA, but the device is 'cpu'.`;
  const fix = "Use 'float32', or 'bfloat16' where the processor is faster with it.";
  throw new SuperSimpleNetError("INVALID_OPTION", what, { option: "precision", value: precision, fix });
}

/** What the engine of this JavaScript thread was last set to. */
let applied: number | undefined;

/**
 * Sets the engine's CPU threads: the option; without it, at the first use, SUPERSIMPLENET_THREADS or else the number of
 * cores, within a container's quota. Later calls without the option change nothing, because a training may be running. Returns the number in force.
 * INVALID_OPTION also for more than can be started here, were it the number of cores: fewer would give other last bits.
 */
export async function applyThreads(where: string, threads: number | undefined): Promise<number> {
  if (threads === undefined && applied !== undefined) return applied;
  const variable = process.env["SUPERSIMPLENET_THREADS"];
  const value = threads ?? (variable ? Number(variable) : availableCores());
  checkValue(where, threads === undefined && variable ? "SUPERSIMPLENET_THREADS" : "threads", threadsOption, value);
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
