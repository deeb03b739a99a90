import type sharpModule from "sharp";

import { SuperSimpleNetError } from "../errors.js";
import { allowExec, noexecMount, noexecReason } from "../native/mounts.js";

let opened: typeof sharpModule | undefined;

/** The image library, opened at the first use: without its binary everything but images still works. Throws SHARP_MISSING. */
export function openSharp(): typeof sharpModule {
  try {
    return (opened ??= require("sharp") as typeof sharpModule);
  } catch (cause) {
    const mount = binaryMount();
    if (mount !== undefined)
      throw new SuperSimpleNetError(
        "SHARP_MISSING",
        `The image library 'sharp' does not open: ${noexecReason(mount)}`,
        {
          cause,
          fix: `${allowExec(mount)}, or install the package on another file system.`,
        },
      );
    const reason = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
    const fix = "npm install --include=optional sharp";
    throw new SuperSimpleNetError(
      "SHARP_MISSING",
      `The image library 'sharp' does not open: ${reason}. npm leaves its binary out with --omit=optional, and with a package-lock.json made on another platform.`,
      { cause, fix: `Run '${fix}'.` },
    );
  }
}

/** Where sharp's binary lies, if that is mounted noexec. */
function binaryMount(): string | undefined {
  try {
    const from = { paths: [require.resolve("sharp")] };
    return noexecMount(require.resolve(`@img/sharp-${process.platform}-${process.arch}/package`, from));
  } catch {
    return undefined; // not installed
  }
}

/** `sharp(input, options)`. */
export const sharp = (...[input, options]: Parameters<typeof sharpModule>): sharpModule.Sharp =>
  openSharp()(input, options);
