import { types } from "node:util";
import { isMainThread } from "node:worker_threads";

import { SuperSimpleNetError } from "../errors.js";
import type { NativeBinding } from "./binding.js";
import { type EngineChoice, chooseEngine } from "./cuda.js";
import { createError } from "./errors.js";
import { checkGlibc, type Loader, noexec, openLoader, systemTooOld } from "./loader.js";
import {
  type Addon,
  type Libtorch,
  libtorchFiles,
  locateAddon,
  locateCudaAddon,
  locateCudaLibtorch,
  locateLibtorch,
  repair,
} from "./locate.js";
import { allowExec, noexecMount, noexecReason } from "./mounts.js";

/** Where the opened engine came from. */
export interface Opened {
  addon: Addon;
  libtorch: Libtorch;
  /** Which engine, and why. */
  choice: EngineChoice;
}

let opened: { native: NativeBinding; from: Opened } | undefined;
let opening: { located: Located; done: Promise<void> } | undefined;

/**
 * The native engine, opened at the first call (once per worker thread). It fails with SuperSimpleNetError.
 * A process holds one libtorch, so `device` matters at the first call only: "cpu" opens the CPU engine, anything else the
 * CUDA engine where it is built and finds a GPU. SUPERSIMPLENET_ENGINE (cpu, cuda, auto) decides before `device` does.
 * Throws ENGINE_NOT_BUILT, GLIBC_TOO_OLD, LIBTORCH_NOT_FOUND, LIBTORCH_VERSION, LIBTORCH_LOAD_FAILED.
 */
export function engine(device = "auto"): NativeBinding {
  opened ??= open(opening?.located ?? locate(device));
  return opened.native;
}

/**
 * engine(), opened on another thread: it takes a quarter of a second. A call while another one is opening waits for that
 * one, whatever its device.
 */
export async function openEngine(device = "auto"): Promise<NativeBinding> {
  if (opened === undefined) {
    opening ??= openBeside(locate(device));
    await opening.done;
  }
  return engine(device);
}

/** What is being opened is what engine() opens meanwhile: a process holds one libtorch. */
function openBeside(located: Located): { located: Located; done: Promise<void> } {
  const openAndKeep = async (): Promise<void> => {
    await located.loader.open(libtorchFiles(located.libtorch));
    opened ??= open(located); // engine() may have been faster
  };
  return { located, done: openAndKeep().finally(() => (opening = undefined)) };
}

/** The files behind `engine()`; opens it when it is not open yet. */
export function engineFiles(): Opened {
  opened ??= open(opening?.located ?? locate("auto"));
  return opened.from;
}

interface Located extends Opened {
  loader: Loader;
}

function locate(device: string): Located {
  const choice = chooseEngine(device);
  const cuda = choice.kind === "cuda" ? locateCudaAddon() : undefined;
  const addon = cuda ?? locateAddon();
  checkGlibc(addon);
  const loader = openLoader(addon);
  const libtorch = cuda ? locateCudaLibtorch(loader.libtorch) : locateLibtorch(loader.libtorch);
  return { addon, libtorch, choice, loader };
}

function open({ addon, libtorch, choice, loader }: Located): { native: NativeBinding; from: Opened } {
  let native: NativeBinding;
  try {
    native = loader.load(libtorchFiles(libtorch), addon.engine, createError);
  } catch (cause) {
    const message = `libtorch ${libtorch.version} in ${libtorch.folder} (found by: ${libtorch.foundBy}) or the engine ${addon.engine} cannot be opened: ${text(cause)}.`;
    throw (
      libtorchNoexec(libtorch, cause) ??
      noexec(addon.engine, cause) ??
      systemTooOld(text(cause), cause, libtorch.folder) ??
      new SuperSimpleNetError("LIBTORCH_LOAD_FAILED", message, { cause, path: libtorch.folder, fix: repair(libtorch) })
    );
  }
  // Node runs no environment clean-up hooks on process.exit() of the main thread; a running engine thread would crash
  // there. Workers have their hook (native/addon/engine_thread.cc).
  if (isMainThread) process.on("exit", () => native.shutdown());
  return { native, from: { addon, libtorch, choice } };
}

/** LIBTORCH_LOAD_FAILED, if the reason is how libtorch's file system is mounted: nothing is damaged then. */
function libtorchNoexec({ folder, version, foundBy }: Libtorch, cause: unknown): SuperSimpleNetError | undefined {
  const mount = noexecMount(folder);
  if (mount === undefined) return undefined;
  const message = `libtorch ${version} in ${folder} (found by: ${foundBy}) cannot be opened: ${noexecReason(mount)}`;
  const elsewhere = {
    SUPERSIMPLENET_LIBTORCH: "set SUPERSIMPLENET_LIBTORCH to a copy on another file system",
    SUPERSIMPLENET_LIBTORCH_CUDA: "set SUPERSIMPLENET_LIBTORCH_CUDA to a copy on another file system",
    "platform package": "install the package on another file system, or set SUPERSIMPLENET_LIBTORCH to a copy there",
    cache: "move the cache folder to another file system and set SUPERSIMPLENET_CACHE to it",
    python: "set SUPERSIMPLENET_LIBTORCH to a copy on another file system",
  }[foundBy];
  const fix = `${allowExec(mount)}, or ${elsewhere}.`;
  return new SuperSimpleNetError("LIBTORCH_LOAD_FAILED", message, { cause, path: folder, fix });
}

const text = (error: unknown): string => (types.isNativeError(error) ? error.message : String(error));
