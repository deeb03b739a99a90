import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

import { SuperSimpleNetError } from "../errors.js";
import type { NativeBinding } from "./binding.js";
import type { createError } from "./errors.js";
import { type Addon, isCheckout, pinned, sourceBuild } from "./locate.js";
import { allowExec, noexecMount, noexecReason } from "./mounts.js";

/** What supersimplenet.node exports. */
export interface Loader {
  /** The libtorch version whose headers the engine was compiled with, such as "2.13.0". */
  libtorch: string;
  load(libraries: string[], engine: string, errors: typeof createError): NativeBinding;
  /** Opens the libraries on another thread, for `load` to find them open. It never rejects: `load` says what is wrong with them. */
  open(libraries: string[]): Promise<void>;
}

/** supersimplenet.node, which can be opened without libtorch. Throws ENGINE_NOT_BUILT, GLIBC_TOO_OLD. */
export function openLoader(addon: Addon): Loader {
  try {
    return require(addon.loader) as Loader;
  } catch (cause) {
    const { code, message: text } = cause as NodeJS.ErrnoException; // of Node's own realm
    if (code === "ERR_DLOPEN_DISABLED")
      throw new SuperSimpleNetError(
        "ENGINE_NOT_BUILT",
        `${addon.loader} may not be opened: ${text} Run Node with --allow-addons, or without --no-addons.`,
        { cause, path: addon.loader },
      );
    throw (
      noexec(addon.loader, cause) ??
      systemTooOld(text, cause, addon.loader) ??
      new SuperSimpleNetError(
        "ENGINE_NOT_BUILT",
        `${addon.loader} cannot be opened here: ${text}. It is damaged, or of another platform. ${sourceBuild}`,
        { cause, path: addon.loader },
      )
    );
  }
}

/** ENGINE_NOT_BUILT, if the reason is how the file system of one of the engine's files is mounted. */
export function noexec(file: string, cause: unknown): SuperSimpleNetError | undefined {
  const mount = noexecMount(file);
  if (mount === undefined) return undefined;
  const elsewhere = isCheckout
    ? "put this checkout on another file system"
    : "install the package on another file system";
  return new SuperSimpleNetError("ENGINE_NOT_BUILT", `${file} cannot be opened: ${noexecReason(mount)}`, {
    cause,
    path: file,
    fix: `${allowExec(mount)}, or ${elsewhere}.`,
  });
}

/** GLIBC_TOO_OLD, if that is what the dynamic linker says: a libc or libstdc++ older than the one a library was linked with. */
export function systemTooOld(text: string, cause: unknown, file: string): SuperSimpleNetError | undefined {
  if (!/version [`'](GLIBC|GLIBCXX|CXXABI)_[\d.]+' not found/.test(text)) return undefined;
  return new SuperSimpleNetError(
    "GLIBC_TOO_OLD",
    `The system's C or C++ library is too old for ${file}: ${text}. ${olderSystem}`,
    { cause, path: file },
  );
}

/** The version of the C library that this process runs on; null where it is not glibc. */
export function glibcVersion(): string | null {
  if (process.platform !== "linux" || !process.report) return null;
  const reporter: NodeJS.ProcessReport & { excludeNetwork?: boolean } = process.report;
  reporter.excludeNetwork = true; // otherwise the report looks up host names, which can take seconds
  const report = reporter.getReport() as { header?: { glibcVersionRuntime?: string } };
  return report.header?.glibcVersionRuntime ?? null;
}

/** The oldest glibc that libtorch runs on and, where a prebuilt addon states more (needs.json beside it), that one needs. */
export function glibcNeeded(addon: Addon | null): string {
  const needs = addon && path.join(path.dirname(addon.loader), "needs.json");
  return needs && existsSync(needs)
    ? (JSON.parse(readFileSync(needs, "utf8")) as { glibc: string }).glibc
    : pinned.glibc;
}

/** Throws GLIBC_TOO_OLD before dlopen would fail with a symbol's name. */
export function checkGlibc(addon: Addon | null, found: string | null = glibcVersion()): void {
  if (process.platform !== "linux") return;
  const needed = glibcNeeded(addon);
  if (found !== null && !older(found, needed)) return;
  const here = found === null ? "this system has another C library (Alpine's musl?)" : `this system has ${found}`;
  throw new SuperSimpleNetError(
    "GLIBC_TOO_OLD",
    `The native engine needs glibc ${needed} or newer; ${here}. ${olderSystem}`,
  );
}

/** What helps against a C or C++ library that is too old. */
export const olderSystem = "Use a newer system or container (glibc 2.28: Debian 10, Ubuntu 20.04, RHEL 8).";

function older(version: string, than: string): boolean {
  const [a, b] = [version, than].map((v) => v.split(".").map(Number));
  return a![0]! !== b![0]! ? a![0]! < b![0]! : a![1]! < b![1]!;
}
