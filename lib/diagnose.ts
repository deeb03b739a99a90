import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import { type ErrorCode, shownUrl, SuperSimpleNetError } from "./errors.js";
import { openSharp } from "./images/sharp.js";
import {
  type Addon,
  cacheFolder,
  fetchCommand,
  isCheckout,
  type Libtorch,
  locateAddon,
  locateCudaAddon,
  locateCudaLibtorch,
  locateLibtorch,
  packageFolder,
  packageVersion,
  pinned,
  setupCommand,
} from "./native/locate.js";
import { type EngineChoice, nvidiaDriver } from "./native/cuda.js";
import { availableCores } from "./machine.js";
import { engine } from "./native/engine.js";
import { checkGlibc, glibcNeeded, glibcVersion, openLoader } from "./native/loader.js";

/** Something that keeps the package, or part of it, from working. */
export interface Problem {
  code: ErrorCode | "NODE_TOO_OLD" | "ENGINE_CRASHED" | "GPU_UNUSED";
  /** What is wrong. */
  text: string;
  /** The command, or where there is none the action, that puts it right. */
  fix: string;
  /** False for what only costs speed. */
  fatal: boolean;
}

/** What `supersimplenet doctor` reports. null: not found, or unknown because something before it failed (see `problems`). */
export interface Diagnosis {
  package: { name: string; version: string; folder: string };
  node: string;
  /** Such as "linux-x64". */
  platform: string;
  /** The distribution's name (null where it states none) and the kernel's release. */
  system: { name: string | null; kernel: string };
  /** null where the C library is not glibc. */
  glibc: string | null;
  /** The oldest glibc that the engine runs on. */
  glibcNeeded: string;
  cpu: {
    model: string;
    cores: number;
    /** libtorch's name of the instruction set it uses, e.g. "AVX512". */ capability: string | null;
  };
  /** `builtFor`: the libtorch version that the engine was compiled with. */
  addon: { folder: string; builtFor: string | null } | null;
  libtorch: { version: string; folder: string; foundBy: Libtorch["foundBy"] } | null;
  mkldnn: string | null;
  /** Bytes. */
  memory: { total: number; free: number };
  /** For an NVIDIA GPU. `driver`: such as "driver 580.65.06"; `libtorch`: the CUDA build that the engine would open. */
  cuda: {
    driver: string | null;
    addon: { folder: string } | null;
    libtorch: { version: string; folder: string; foundBy: Libtorch["foundBy"] } | null;
  };
  /** Variables that change what this package does, where they are set; passwords of proxies are left out. */
  environment: Record<string, string>;
  /** Version of the image decoder. */
  sharp: string | null;
  /** Which engine a process opens when no device is asked for, and why. */
  choice: EngineChoice | null;
  /** "cpu" first, then "cuda:0"...; empty when the engine does not open. */
  devices: string[];
  /**
   * `folder`: null for a user without a home folder (see `problems`). `entries`: the paths inside, two levels deep, with
   * their sizes in bytes. Empty when the folder does not exist.
   */
  cache: { folder: string | null; entries: { path: string; bytes: number }[] };
  problems: Problem[];
}

interface Probe {
  versions: { cpuCapability: string; mkldnn: string };
  devices: string[];
  choice: EngineChoice;
}

/** Looks at everything this package needs and says what is wrong. Never throws for a broken installation. Takes about a second. */
export function diagnose(): Diagnosis {
  const problems: Problem[] = [];
  const attempt = <T>(body: () => T, fatal = true): T | null => {
    try {
      return body();
    } catch (error) {
      problems.push({ ...problemOf(error), fatal });
      return null;
    }
  };

  if (process.versions.node.localeCompare("20.18.1", "en", { numeric: true }) < 0)
    problems.push({
      code: "NODE_TOO_OLD",
      text: `Node ${process.versions.node}; 20.18.1 or newer is needed.`,
      fix: "install Node 20.18.1 or newer from https://nodejs.org",
      fatal: true,
    });
  const glibc = glibcVersion();
  const addon = attempt(locateAddon);
  const runs = attempt(() => (checkGlibc(addon, glibc), true));
  const builtFor = runs && addon ? attempt(() => openLoader(addon).libtorch) : null;
  const libtorch = attempt(() => locateLibtorch(builtFor ?? pinned.version));
  const probe = addon && builtFor && libtorch ? attempt(probeEngine) : null;

  const sharp = attempt(() => openSharp().versions.sharp ?? null);
  const driver = nvidiaDriver() ?? null;
  const cudaAddon = locateCudaAddon() ?? null;
  if (probe && probe.devices.length === 1 && (driver || cudaAddon))
    problems.push({
      code: "GPU_UNUSED",
      text: `No GPU is used: ${probe.choice.reason}.`,
      fix: probe.choice.fix ?? "docs/guides/gpu.md",
      fatal: false,
    });

  const cache = attempt(cacheFolder, false); // what is in the package works without one

  return {
    package: { name: "supersimplenet", version: packageVersion, folder: packageFolder },
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
    system: { name: distribution(), kernel: `${os.type()} ${os.release()}` },
    glibc,
    glibcNeeded: glibcNeeded(addon),
    cpu: {
      model: os.cpus()[0]?.model.trim() ?? "unknown",
      cores: availableCores(),
      capability: probe?.versions.cpuCapability ?? null,
    },
    addon: addon && { folder: path.dirname(addon.loader), builtFor },
    libtorch,
    mkldnn: probe?.versions.mkldnn ?? null,
    memory: { total: os.totalmem(), free: os.freemem() },
    cuda: {
      driver,
      addon: cudaAddon && { folder: path.dirname(cudaAddon.loader) },
      libtorch: cudaAddon && cudaLibtorch(cudaAddon),
    },
    environment: environment(),
    sharp,
    choice: probe?.choice ?? null,
    devices: probe?.devices ?? [],
    cache:
      cache === null
        ? { folder: null, entries: [] }
        : { folder: cache, entries: attempt(() => entriesOf(cache)) ?? [] },
    problems,
  };
}

/** Opens the engine in a process of its own: a libtorch that crashes there (wrong CPU, broken driver) is a finding, not the end. */
function probeEngine(): Probe {
  const script = `const { engine, engineFiles } = require(${JSON.stringify(path.join(__dirname, "native", "engine.js"))}), e = engine();
    process.stdout.write("\\n" + JSON.stringify({ versions: e.versions(), devices: e.devices(), choice: engineFiles().choice }));`;
  const run = spawnSync(process.execPath, ["-e", script], { encoding: "utf8", timeout: 120_000 });
  const answer = run.stdout?.split("\n").at(-1);
  if (run.status === 0 && answer) return JSON.parse(answer) as Probe;
  if (run.signal) throw new EngineCrash(`The process that opened the engine was ended by ${run.signal}.`);
  // An ordinary error: open it here, for its code and message.
  engine();
  throw new EngineCrash(
    `The process that opened the engine ended with code ${run.status}: ${run.stderr.trim().split("\n").at(-1)}`,
  );
}

/** What a CUDA engine would open; why it cannot is in `choice`. */
function cudaLibtorch(addon: Addon): Libtorch | null {
  try {
    return locateCudaLibtorch(openLoader(addon).libtorch);
  } catch {
    return null;
  }
}

/** The name that the distribution gives itself. */
function distribution(): string | null {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? null;
  } catch {
    return null; // not a Linux distribution, or a very small one
  }
}

function environment(): Record<string, string> {
  const names =
    /^(SUPERSIMPLENET_\w+|CUDA_\w+|OMP_\w+|MKL_\w+|LD_LIBRARY_PATH|LD_PRELOAD|XDG_CACHE_HOME|NODE_OPTIONS|(HTTPS?|NO)_PROXY)$/i;
  return Object.fromEntries(
    Object.keys(process.env)
      .filter((name) => names.test(name))
      .sort()
      .map((name) => [name, shownUrl(process.env[name]!)]),
  );
}

class EngineCrash extends Error {}

const fixes: Partial<Record<ErrorCode, string>> = {
  LIBTORCH_NOT_FOUND: fetchCommand,
  LIBTORCH_VERSION: fetchCommand,
  ENGINE_NOT_BUILT: isCheckout
    ? setupCommand
    : "npm run pack:all -- --out DIR in a clone of the repository, then npm install DIR/*.tgz here",
  GLIBC_TOO_OLD: "use a newer distribution or container",
};

function problemOf(error: unknown): Problem {
  if (error instanceof EngineCrash) {
    return {
      code: "ENGINE_CRASHED",
      text: error.message,
      fix: isCheckout ? `remove build-cmake/, then ${setupCommand}` : "remove node_modules, then npm install",
      fatal: true,
    };
  }
  if (!(error instanceof SuperSimpleNetError))
    return {
      code: "INTERNAL",
      text: error instanceof Error ? error.message : String(error),
      fix: "report this with the whole output",
      fatal: true,
    };
  // With a folder chosen by hand, fetching another would not be used.
  const fix =
    error.fix ?? (error.code === "INVALID_OPTION" ? "correct the variable that it names" : undefined) ?? fixOf(error);
  return { code: error.code, text: error.message, fix, fatal: true };
}

function fixOf(error: SuperSimpleNetError): string {
  if (error.code.startsWith("LIBTORCH") && process.env["SUPERSIMPLENET_LIBTORCH"])
    return `unset SUPERSIMPLENET_LIBTORCH && ${fetchCommand}`;
  return fixes[error.code] ?? setupCommand;
}

function entriesOf(root: string): { path: string; bytes: number }[] {
  const list = (folder: string): string[] =>
    existsSync(folder) && statSync(folder).isDirectory() ? readdirSync(folder).sort() : [];
  return list(root)
    .flatMap((name) => {
      const inside = list(path.join(root, name));
      return inside.length > 0 ? inside.map((child) => path.join(name, child)) : [name];
    })
    .map((entry) => ({ path: entry, bytes: sizeOf(path.join(root, entry)) }));
}

function sizeOf(entry: string): number {
  const stat = statSync(entry, { throwIfNoEntry: false });
  if (!stat) return 0; // a link to nowhere, or removed meanwhile
  return stat.isDirectory()
    ? readdirSync(entry).reduce((sum, name) => sum + sizeOf(path.join(entry, name)), 0)
    : stat.size;
}
