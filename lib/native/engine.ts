import { types } from "node:util";
import { isMainThread } from "node:worker_threads";

import { type ErrorCode, SuperSimpleNetError } from "../errors.js";
import type { NativeBinding } from "./binding.js";
import { type EngineChoice, chooseEngine } from "./cuda.js";
import { checkGlibc } from "./glibc.js";
import { openLoader, systemTooOld } from "./loader.js";
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

/** Where the opened engine came from. */
export interface Opened {
  addon: Addon;
  libtorch: Libtorch;
  /** Which engine, and why. */
  choice: EngineChoice;
}

let opened: { native: NativeBinding; from: Opened } | undefined;

/**
 * The native engine, opened at the first call (once per worker thread). Its errors arrive as SuperSimpleNetError.
 * A process holds one libtorch, so `device` matters at the first call only: "cpu" opens the CPU engine, anything else the
 * CUDA engine where it is built and finds a GPU. SUPERSIMPLENET_ENGINE (cpu, cuda, auto) decides before `device` does.
 * Throws ENGINE_NOT_BUILT, GLIBC_TOO_OLD, LIBTORCH_NOT_FOUND, LIBTORCH_VERSION, LIBTORCH_LOAD_FAILED.
 */
export function engine(device = "auto"): NativeBinding {
  opened ??= open(device);
  return opened.native;
}

/** The files behind `engine()`; opens it when it is not open yet. */
export function engineFiles(): Opened {
  opened ??= open("auto");
  return opened.from;
}

function open(device: string): { native: NativeBinding; from: Opened } {
  const choice = chooseEngine(device);
  const cuda = choice.kind === "cuda" ? locateCudaAddon() : undefined;
  const addon = cuda ?? locateAddon();
  checkGlibc(addon);
  const loader = openLoader(addon);
  const libtorch = cuda ? locateCudaLibtorch(loader.libtorch) : locateLibtorch(loader.libtorch);
  let native: NativeBinding;
  try {
    native = loader.load(libtorchFiles(libtorch), addon.engine);
  } catch (cause) {
    const message = `libtorch ${libtorch.version} in ${libtorch.folder} (found by: ${libtorch.foundBy}) or the engine ${addon.engine} cannot be opened: ${text(cause)}.`;
    throw (
      systemTooOld(text(cause), cause, libtorch.folder) ??
      new SuperSimpleNetError("LIBTORCH_LOAD_FAILED", message, { cause, path: libtorch.folder, fix: repair(libtorch) })
    );
  }
  // Node runs no environment clean-up hooks on process.exit() of the main thread; a running engine thread would crash
  // there. Workers have their hook (native/addon/engine_thread.cc).
  if (isMainThread) process.on("exit", () => native.shutdown());
  return { native: translated(native), from: { addon, libtorch, choice } };
}

const text = (error: unknown): string => (types.isNativeError(error) ? error.message : String(error));

function translate(error: unknown): unknown {
  if (!types.isNativeError(error) || error instanceof SuperSimpleNetError) return error;
  const { code, path } = error as { code?: unknown; path?: string };
  return typeof code === "string" && /^[A-Z_]+$/.test(code)
    ? new SuperSimpleNetError(code as ErrorCode, error.message, { cause: error, path })
    : error;
}

/** The same object, whose functions and promises fail with our error class. */
function translated<T extends object>(target: T): T {
  return new Proxy(target, {
    get(object, property) {
      const value: unknown = Reflect.get(object, property, object);
      if (typeof value !== "function") return value;
      return new Proxy(value, {
        apply(callee, _self, args: unknown[]) {
          try {
            const result: unknown = Reflect.apply(callee, object, args);
            return types.isPromise(result)
              ? result.then(translatedInstance, (error: unknown) => Promise.reject(translate(error)))
              : translatedInstance(result);
          } catch (error) {
            throw translate(error);
          }
        },
      });
    },
  });
}

/** Trainers, detectors and groups fail in the same way. */
function translatedInstance(value: unknown): unknown {
  const native =
    typeof value === "object" &&
    value !== null &&
    /^Native(Trainer|Detector|Group)$/.test(value.constructor?.name ?? "");
  return native ? translated(value) : value;
}
