import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, realpathSync } from "node:fs";
import path from "node:path";

import { SuperSimpleNetError } from "../errors.js";
import { invalid } from "../options.js";
import type { CudaStatus } from "./binding.js";
import { libtorchFiles, locateCudaAddon, locateCudaLibtorch } from "./locate.js";

/** Which of the two engines this process opens, and why. */
export interface EngineChoice {
  kind: "cpu" | "cuda";
  reason: string;
}

/** What CUDA 13 needs (NVIDIA's release notes of CUDA 13.0). */
const needed = "CUDA 13 needs an NVIDIA driver of version 580 or newer and a GPU of compute capability 7.5 (Turing) or newer";

/** SUPERSIMPLENET_ENGINE, then what this process holds already, then `device`, then a trial in a child process. */
export function chooseEngine(device: string): EngineChoice {
  const variable = process.env["SUPERSIMPLENET_ENGINE"] || "auto";
  if (!["auto", "cpu", "cuda"].includes(variable)) throw invalid("engine", "SUPERSIMPLENET_ENGINE", "'auto', 'cpu' or 'cuda'", variable);
  if (variable === "cpu") return { kind: "cpu", reason: "SUPERSIMPLENET_ENGINE is cpu" };
  const addon = locateCudaAddon();
  if (variable === "cuda") {
    if (!addon) throw new SuperSimpleNetError("ENGINE_NOT_BUILT", `SUPERSIMPLENET_ENGINE is cuda, but ${notBuilt}.`);
    return { kind: "cuda", reason: `SUPERSIMPLENET_ENGINE is cuda. ${needed}; this machine: ${driverVersion()}` };
  }
  if (!addon) return { kind: "cpu", reason: notBuilt };
  if (device === "cpu") return { kind: "cpu", reason: "the CPU was asked for first, and a process holds one engine; SUPERSIMPLENET_ENGINE=cuda opens the other one" };
  try {
    const libtorch = locateCudaLibtorch(openedFor(addon.loader));
    const held = heldLibtorch();
    if (held !== undefined && held !== realpathSync(path.join(libtorch.folder, "lib"))) return { kind: "cpu", reason: `this process holds the libtorch in ${held} already, and it can hold one only` };
    const status = tryCuda(addon, libtorchFiles(libtorch));
    if (typeof status === "string") return { kind: "cpu", reason: `${status}. ${needed}; this machine: ${driverVersion()}` };
    return { kind: "cuda", reason: status.devices.map(({ name, capability }, i) => `cuda:${i} is ${name}, compute capability ${capability}`).join("; ") };
  } catch (error) {
    // Set by hand and wrong: said, not passed over.
    if (!(error instanceof SuperSimpleNetError) || process.env["SUPERSIMPLENET_LIBTORCH_CUDA"]) throw error;
    return { kind: "cpu", reason: error.message };
  }
}

const notBuilt = "the CUDA engine is not built (npm run build -- --cuda)";

const openedFor = (loader: string): string => (require(loader) as { libtorch: string }).libtorch;

/**
 * Opens the CUDA engine and computes on every GPU in a process of its own: a broken driver can end that one only. Takes a
 * few seconds. Returns why it cannot be used, as text.
 */
export function tryCuda(addon: { loader: string; engine: string }, libraries: string[]): CudaStatus | string {
  const script = `const e = require(${JSON.stringify(addon.loader)}).load(${JSON.stringify(libraries)}, ${JSON.stringify(addon.engine)});
    process.stdout.write("\\n" + JSON.stringify(e.cudaStatus())); e.shutdown();`;
  const run = spawnSync(process.execPath, ["-e", script], { encoding: "utf8", timeout: 120_000 });
  if (run.error) return `the CUDA engine could not be tried: ${run.error.message}`;
  if (run.signal) return `the process that tried the CUDA engine was ended by ${run.signal}`;
  if (run.status !== 0) return `the CUDA engine does not open: ${/^Error: (.*)$/m.exec(run.stderr)?.[1] ?? run.stderr.trim().split("\n").at(-1)}`;
  const status = JSON.parse(run.stdout.split("\n").at(-1)!) as CudaStatus;
  const broken = status.devices.findIndex((device) => device.error !== "");
  if (broken >= 0) return `cuda:${broken} (${status.devices[broken]!.name}, compute capability ${status.devices[broken]!.capability}) does not compute: ${status.devices[broken]!.error} (${versions(status)})`;
  if (status.devices.length === 0) return `${status.error} (${versions(status)})`;
  return status;
}

/** 13000 -> "13.0". */
const dotted = (version: number): string => `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`;

const versions = ({ driver, runtime }: CudaStatus): string => `CUDA runtime ${dotted(runtime)}, ${driver === 0 ? "no driver" : `driver for CUDA ${dotted(driver)}`}`;

function driverVersion(): string {
  const file = "/proc/driver/nvidia/version";
  if (!existsSync(file)) return "no NVIDIA driver";
  return `driver ${/\b(\d{3,}\.\d+(\.\d+)?)\b/.exec(readFileSync(file, "utf8"))?.[1] ?? "of unknown version"}`;
}

/** The folder of the libtorch that this process, in whatever thread, has opened. */
function heldLibtorch(): string | undefined {
  try {
    const file = /\s(\/\S.*\/libtorch_cpu\.so)$/m.exec(readFileSync("/proc/self/maps", "utf8"))?.[1];
    return file && path.dirname(file);
  } catch {
    return undefined; // no /proc: no CUDA there either
  }
}
