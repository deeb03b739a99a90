import os from "node:os";

import { SuperSimpleNetError } from "../errors.js";
import { checkNumber, invalid } from "../options.js";
import { engine } from "./engine.js";

/** Throws INVALID_OPTION for what cannot be a device's name anywhere. */
export function checkDevice(where: string, device: unknown): string {
  if (typeof device !== "string" || !/^(auto|cpu|cuda(:\d+)?)$/.test(device)) throw invalid(where, "device", "'auto', 'cpu', 'cuda' or 'cuda:N'", device);
  return device;
}

/**
 * The device to run on: "auto" takes CUDA when the engine has it, else the CPU. Asking for CUDA without it is
 * DEVICE_UNAVAILABLE, never a silent fallback.
 */
export function resolveDevice(where: string, device: string): string {
  checkDevice(where, device);
  const present = engine().devices();
  if (device === "auto") return present.find((name) => name.startsWith("cuda")) ?? "cpu";
  const wanted = device === "cuda" ? "cuda:0" : device;
  if (!present.includes(wanted)) {
    throw new SuperSimpleNetError("DEVICE_UNAVAILABLE", `${where}: device '${device}' is not usable here; available: ${present.join(", ")}. Run 'supersimplenet doctor' to see why, or use device 'cpu'.`);
  }
  return wanted;
}

/** Sets the engine's CPU threads: the option, else SUPERSIMPLENET_THREADS, else the number of cores. */
export async function applyThreads(where: string, threads: number | undefined): Promise<void> {
  const variable = process.env["SUPERSIMPLENET_THREADS"];
  const value = threads ?? (variable ? Number(variable) : os.availableParallelism());
  await engine().setThreads(checkNumber(where, threads === undefined && variable ? "SUPERSIMPLENET_THREADS" : "threads", value, { min: 1, max: 1024, integer: true }));
}
