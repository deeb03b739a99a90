import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, realpathSync } from "node:fs";
import path from "node:path";

import { invalid, SuperSimpleNetError } from "../errors.js";

import type { CudaStatus } from "./binding.js";
import { checkGlibc, openLoader } from "./loader.js";
import { cudaInstall, isCheckout, libtorchFiles, locateCudaAddon, locateCudaLibtorch } from "./locate.js";

/** Which of the two engines this process opens, and why. */
export interface EngineChoice {
  kind: "cpu" | "cuda";
  reason: string;
  /** What would bring the GPU into use; absent where nothing is in its way. */
  fix?: string;
}

/** Why the CUDA engine cannot be used, and what to do about it. */
export interface Unusable {
  reason: string;
  fix: string;
}

/** What CUDA 13 needs (NVIDIA's release notes of CUDA 13.0). */
const needed =
  "CUDA 13 needs an NVIDIA driver of version 580 or newer and a GPU of compute capability 7.5 (Turing) or newer";

/** SUPERSIMPLENET_ENGINE, then what this process holds already, then `device`, then a trial in a child process. */
export function chooseEngine(device: string): EngineChoice {
  const variable = process.env["SUPERSIMPLENET_ENGINE"] || "auto";
  if (!["auto", "cpu", "cuda"].includes(variable))
    throw invalid("engine", "SUPERSIMPLENET_ENGINE", "'auto', 'cpu' or 'cuda'", variable);
  if (variable === "cpu")
    return { kind: "cpu", reason: "SUPERSIMPLENET_ENGINE is cpu", fix: "Unset SUPERSIMPLENET_ENGINE to use a GPU." };
  const addon = locateCudaAddon();
  if (variable === "cuda") {
    if (!addon)
      throw new SuperSimpleNetError("ENGINE_NOT_BUILT", `SUPERSIMPLENET_ENGINE is cuda, but ${noCudaEngine.reason}.`, {
        fix: noCudaEngine.fix,
      });
    return {
      kind: "cuda",
      reason: `SUPERSIMPLENET_ENGINE is cuda. ${needed}; this machine: ${nvidiaDriver() ?? "no NVIDIA driver"}`,
      fix: "Unset SUPERSIMPLENET_ENGINE to have the engine tried first, which tells what is in the way.",
    };
  }
  if (!addon)
    return {
      kind: "cpu",
      ...(nvidiaDriver() === undefined
        ? {
            reason: `${noCudaEngine.reason}, and there is no NVIDIA driver`,
            fix: `${installDriver} ${noCudaEngine.fix}`,
          }
        : noCudaEngine),
    };
  if (device === "cpu")
    return {
      kind: "cpu",
      reason: "the CPU was asked for first, and a process holds one engine",
      fix: "SUPERSIMPLENET_ENGINE=cuda opens the other one, which computes on the CPU as well.",
    };
  try {
    checkGlibc(addon);
    const libtorch = locateCudaLibtorch(openLoader(addon).libtorch);
    const held = heldLibtorch();
    if (held !== undefined && held !== realpathSync(path.join(libtorch.folder, "lib")))
      return {
        kind: "cpu",
        reason: `this process holds the libtorch in ${held} already, and it can hold one only`,
        fix: "Ask for the GPU before anything else in this process, or set SUPERSIMPLENET_ENGINE=cuda.",
      };
    const status = tryCuda(addon, libtorchFiles(libtorch));
    if ("reason" in status) return { kind: "cpu", ...status };
    return {
      kind: "cuda",
      reason: status.devices
        .map(({ name, capability }, i) => `cuda:${i} is ${name}, compute capability ${capability}`)
        .join("; "),
    };
  } catch (error) {
    // Set by hand and wrong: said, not passed over.
    if (!(error instanceof SuperSimpleNetError) || process.env["SUPERSIMPLENET_LIBTORCH_CUDA"]) throw error;
    return {
      kind: "cpu",
      reason: error.message,
      fix: error.code === "LIBTORCH_NOT_FOUND" ? `Run '${cudaInstall}'.` : "Correct what it names.",
    };
  }
}

const noCudaEngine: Unusable = isCheckout
  ? { reason: "the CUDA engine is not built", fix: "Run 'npm run build -- --cuda'." }
  : {
      reason: "this package was packed without the CUDA engine",
      fix: "Pack one with it in a clone of the repository: 'npm run pack:all -- --cuda --out DIR' (docs/guides/gpu.md).",
    };
const installDriver =
  "Install NVIDIA's driver, version 580 or newer (https://www.nvidia.com/drivers); in a container give it the GPU ('docker run --gpus all ...').";

/**
 * Opens the CUDA engine and computes on every GPU in a process of its own: a broken driver can end that one only. Takes a
 * few seconds.
 */
export function tryCuda(addon: { loader: string; engine: string }, libraries: string[]): CudaStatus | Unusable {
  const script = `const e = require(${JSON.stringify(addon.loader)}).load(${JSON.stringify(libraries)}, ${JSON.stringify(addon.engine)}, ({ message }) => new Error(message));
    process.stdout.write("\\n" + JSON.stringify(e.cudaStatus())); e.shutdown();`;
  const run = spawnSync(process.execPath, ["-e", script], { encoding: "utf8", timeout: 120_000 });
  const broken = `Run 'nvidia-smi': if it fails too, reinstall the driver; if not, fetch libtorch again with '${cudaInstall} --force'.`;
  if (run.error) return { reason: `the CUDA engine could not be tried: ${run.error.message}`, fix: broken };
  if (run.signal) return { reason: `the process that tried the CUDA engine was ended by ${run.signal}`, fix: broken };
  if (run.status !== 0)
    return {
      reason: `the CUDA engine does not open: ${/^Error: (.*)$/m.exec(run.stderr)?.[1] ?? run.stderr.trim().split("\n").at(-1)}`,
      fix: `Fetch libtorch again with '${cudaInstall} --force'${isCheckout ? ", or build the engine again with 'npm run build -- --cuda'" : ""}.`,
    };
  const status = JSON.parse(run.stdout.split("\n").at(-1)!) as CudaStatus;
  return unusable(status) ?? status;
}

/** What keeps the GPUs from being used, by what the CUDA runtime said. */
function unusable(status: CudaStatus): Unusable | undefined {
  const here = `(CUDA runtime ${dotted(status.runtime)}; ${status.driver === 0 ? "no driver" : `driver for CUDA ${dotted(status.driver)}`}${nvidiaDriver() === undefined ? "" : `, ${nvidiaDriver()}`})`;
  if (status.driver === 0) return { reason: `there is no NVIDIA driver ${here}`, fix: installDriver };
  if (Math.floor(status.driver / 1000) < Math.floor(status.runtime / 1000))
    return { reason: `the NVIDIA driver is too old ${here}`, fix: installDriver };
  const hidden = process.env["CUDA_VISIBLE_DEVICES"];
  if (status.devices.length === 0)
    return {
      reason: `${status.error} ${here}`,
      fix:
        hidden === undefined
          ? `Run 'nvidia-smi', which lists the GPUs that the driver sees. ${needed}.`
          : `CUDA_VISIBLE_DEVICES is '${hidden}': unset it, or name a GPU.`,
    };
  const failing = status.devices.findIndex((device) => device.error !== "");
  if (failing < 0) return undefined;
  const { name, capability, error } = status.devices[failing]!;
  return {
    reason: `cuda:${failing} (${name}, compute capability ${capability}) does not compute: ${error} ${here}`,
    fix: `${needed}. Leave a GPU out with CUDA_VISIBLE_DEVICES.`,
  };
}

/** 13000 -> "13.0". */
const dotted = (version: number): string => `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`;

/** Such as "driver 580.65.06"; undefined without the kernel's part of the driver. */
export function nvidiaDriver(): string | undefined {
  const file = "/proc/driver/nvidia/version";
  if (!existsSync(file)) return undefined;
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
