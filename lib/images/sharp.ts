import type sharpModule from "sharp";

import { SuperSimpleNetError } from "../errors.js";

let opened: typeof sharpModule | undefined;

/** The image library, opened at the first use: without its binary everything but images still works. Throws SHARP_MISSING. */
export function openSharp(): typeof sharpModule {
  try {
    return (opened ??= require("sharp") as typeof sharpModule);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
    const fix = "npm install --include=optional sharp";
    throw new SuperSimpleNetError(
      "SHARP_MISSING",
      `The image library 'sharp' does not open: ${reason}. npm leaves its binary out with --omit=optional, and with a package-lock.json made on another platform.`,
      { cause, fix: `Run '${fix}'.` },
    );
  }
}

/** `sharp(input, options)`. */
export const sharp = (...[input, options]: Parameters<typeof sharpModule>): sharpModule.Sharp =>
  openSharp()(input, options);
