import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import { type ErrorCode, SuperSimpleNetError } from "../errors.js";
import { cacheFolder } from "./cache.js";
import type { EngineChoice } from "./cuda.js";
import { engine, openLoader } from "./engine.js";
import { checkGlibc, glibcVersion } from "./glibc.js";
import { fetchCommand, isCheckout, type Libtorch, locateAddon, locateLibtorch, packageFolder, pinned, setupCommand } from "./locate.js";

/** Something that keeps the package, or part of it, from working. */
export interface Problem {
  code: ErrorCode | "NODE_TOO_OLD" | "ENGINE_CRASHED" | "SHARP_MISSING" | "GPU_UNUSED";
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
  /** null where the C library is not glibc. */
  glibc: string | null;
  cpu: { model: string; cores: number; /** libtorch's name of the instruction set it uses, e.g. "AVX512". */ capability: string | null };
  /** `builtFor`: the libtorch version that the engine was compiled with. */
  addon: { folder: string; builtFor: string | null } | null;
  libtorch: { version: string; folder: string; foundBy: Libtorch["foundBy"] } | null;
  mkldnn: string | null;
  /** Which engine a process opens when no device is asked for, and why. */
  choice: EngineChoice | null;
  /** "cpu" first, then "cuda:0"...; empty when the engine does not open. */
  devices: string[];
  /** `entries`: the paths inside, two levels deep, with their sizes in bytes. Empty when the folder does not exist. */
  cache: { folder: string; entries: { path: string; bytes: number }[] };
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
  const attempt = <T>(body: () => T): T | null => {
    try {
      return body();
    } catch (error) {
      problems.push(problemOf(error));
      return null;
    }
  };

  const manifest = JSON.parse(readFileSync(path.join(packageFolder, "package.json"), "utf8")) as { name: string; version: string };
  if (Number(process.versions.node.split(".")[0]) < 20)
    problems.push({ code: "NODE_TOO_OLD", text: `Node ${process.versions.node}; 20 or newer is needed.`, fix: "install Node 20 or newer from https://nodejs.org", fatal: true });
  const glibc = glibcVersion();
  const addon = attempt(locateAddon);
  const runs = attempt(() => (checkGlibc(addon, glibc), true));
  const builtFor = runs && addon ? attempt(() => openLoader(addon).libtorch) : null;
  const libtorch = attempt(() => locateLibtorch(builtFor ?? pinned.version));
  const probe = addon && builtFor && libtorch ? attempt(probeEngine) : null;

  try {
    require("sharp");
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    problems.push({ code: "SHARP_MISSING", text: `The image decoder 'sharp' does not open: ${reason}`, fix: "npm install sharp", fatal: true });
  }
  if (probe && probe.devices.length === 1 && existsSync("/proc/driver/nvidia/version"))
    problems.push({
      code: "GPU_UNUSED",
      text: `There is an NVIDIA driver, but no GPU is used: ${probe.choice.reason}.`,
      fix: "build the CUDA engine: npm run build -- --cuda (docs/cuda.md)",
      fatal: false,
    });

  return {
    package: { name: manifest.name, version: manifest.version, folder: packageFolder },
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
    glibc,
    cpu: { model: os.cpus()[0]?.model.trim() ?? "unknown", cores: os.availableParallelism(), capability: probe?.versions.cpuCapability ?? null },
    addon: addon && { folder: path.dirname(addon.loader), builtFor },
    libtorch,
    mkldnn: probe?.versions.mkldnn ?? null,
    choice: probe?.choice ?? null,
    devices: probe?.devices ?? [],
    cache: { folder: cacheFolder(), entries: attempt(cacheEntries) ?? [] },
    problems,
  };
}

/** Opens the engine in a process of its own: a libtorch that crashes there (wrong CPU, broken driver) is a finding, not the end. */
function probeEngine(): Probe {
  const script = `const { engine, engineFiles } = require(${JSON.stringify(path.join(__dirname, "engine.js"))}), e = engine();
    process.stdout.write("\\n" + JSON.stringify({ versions: e.versions(), devices: e.devices(), choice: engineFiles().choice }));`;
  const run = spawnSync(process.execPath, ["-e", script], { encoding: "utf8", timeout: 120_000 });
  const answer = run.stdout?.split("\n").at(-1);
  if (run.status === 0 && answer) return JSON.parse(answer) as Probe;
  if (run.signal) throw new EngineCrash(`The process that opened the engine was ended by ${run.signal}.`);
  // An ordinary error: open it here, for its code and message.
  engine();
  throw new EngineCrash(`The process that opened the engine ended with code ${run.status}: ${run.stderr.trim().split("\n").at(-1)}`);
}

class EngineCrash extends Error {}

const fixes: Partial<Record<ErrorCode, string>> = {
  LIBTORCH_NOT_FOUND: fetchCommand,
  LIBTORCH_VERSION: fetchCommand,
  ENGINE_NOT_BUILT: isCheckout ? setupCommand : "npm run pack:all -- --out DIR in a clone of the repository, then npm install DIR/*.tgz here",
  GLIBC_TOO_OLD: "use a newer distribution or container, or npm run pack:all -- --out DIR in a clone of the repository on this one",
};

function problemOf(error: unknown): Problem {
  if (error instanceof EngineCrash) return { code: "ENGINE_CRASHED", text: error.message, fix: `remove ${path.join(cacheFolder(), "libtorch")} and build-cmake/, then ${setupCommand}`, fatal: true };
  if (!(error instanceof SuperSimpleNetError)) return { code: "INTERNAL", text: error instanceof Error ? error.message : String(error), fix: "report this with the whole output", fatal: true };
  // With a folder chosen by hand, fetching another would not be used.
  const fix = error.code.startsWith("LIBTORCH") && process.env["SUPERSIMPLENET_LIBTORCH"] ? `unset SUPERSIMPLENET_LIBTORCH && ${fetchCommand}` : (fixes[error.code] ?? setupCommand);
  return { code: error.code, text: error.message, fix, fatal: true };
}

function cacheEntries(): { path: string; bytes: number }[] {
  const root = cacheFolder();
  const list = (folder: string): string[] => (existsSync(folder) && statSync(folder).isDirectory() ? readdirSync(folder).sort() : []);
  return list(root).flatMap((name) => {
    const inside = list(path.join(root, name));
    return inside.length > 0 ? inside.map((child) => path.join(name, child)) : [name];
  }).map((entry) => ({ path: entry, bytes: sizeOf(path.join(root, entry)) }));
}

function sizeOf(entry: string): number {
  const stat = statSync(entry, { throwIfNoEntry: false });
  if (!stat) return 0; // a link to nowhere, or removed meanwhile
  return stat.isDirectory() ? readdirSync(entry).reduce((sum, name) => sum + sizeOf(path.join(entry, name)), 0) : stat.size;
}
