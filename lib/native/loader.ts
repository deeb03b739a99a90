import { SuperSimpleNetError } from "../errors.js";
import type { NativeBinding } from "./binding.js";
import type { createError } from "./errors.js";
import { olderSystem } from "./glibc.js";
import { type Addon, sourceBuild } from "./locate.js";

/** What supersimplenet.node exports. */
export interface Loader {
  /** The libtorch version whose headers the engine was compiled with, such as "2.13.0". */
  libtorch: string;
  load(libraries: string[], engine: string, errors: typeof createError): NativeBinding;
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
      systemTooOld(text, cause, addon.loader) ??
      new SuperSimpleNetError(
        "ENGINE_NOT_BUILT",
        `${addon.loader} cannot be opened here: ${text}. It is damaged, or of another platform. ${sourceBuild}`,
        { cause, path: addon.loader },
      )
    );
  }
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
