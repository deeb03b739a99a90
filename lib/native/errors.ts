import { type ErrorCode, option, SuperSimpleNetError, text, type Text } from "../errors.js";

/** What the native code knows about a failure. */
export interface NativeFailure {
  code: ErrorCode;
  message: string;
  /** The file it is about. */
  path?: string;
  /** Names the entry of `remedies`. */
  remedy?: Remedy;
}

/** A warning of the native code. */
export type NativeWarning = Pick<NativeFailure, "message" | "remedy">;

/** What to do, which the native code does not know: it states facts and knows no options. */
const remedies = {
  lessMemory: text`Take smaller batches (${option("batchSize")}), or train with smaller images (${option("imageSize")}) or a smaller feature cache (${option("cache.memoryMiB")}).`,
  fewerThreads: text`Set ${option("threads")} or SUPERSIMPLENET_THREADS to less.`,
  float32Features: text`Set ${option("cache.precision")} to float32.`,
  otherFeatureFile: "Choose another folder for the feature cache file, or keep no file.",
  largerFeatureFile: "Give the feature cache file more space, or delete it if it is for other images.",
  lessHostMemory: "Give the feature cache less memory of the host.",
} satisfies Record<string, Text>;
type Remedy = keyof typeof remedies;

/** Makes the error that the addon throws or rejects with. The addon gets this function once, when it is opened. */
export function createError({ code, message, path, remedy }: NativeFailure): SuperSimpleNetError {
  const error = new SuperSimpleNetError(code, message, { path, fix: remedy && remedies[remedy] });
  Error.captureStackTrace(error, createError); // begins where JavaScript called or awaited the addon
  return error;
}

/** A warning in words; it names no option, because nobody spells it anew. */
export const warningText = ({ message, remedy }: NativeWarning): string =>
  remedy === undefined ? message : `${message} ${String(remedies[remedy])}`;
