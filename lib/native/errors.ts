import { type ErrorCode, SuperSimpleNetError } from "../errors.js";

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

/** What to do, in the names of options: the native code states facts and does not know the options. */
const remedies = {
  lessMemory:
    "Take smaller batches (batchSize), or train with smaller images (imageSize) or a smaller feature cache (featureCacheMiB).",
  fewerThreads: "Set 'threads' or SUPERSIMPLENET_THREADS to less.",
  float32Features: "Set featureCachePrecision to 'float32'.",
  otherFeatureFile: "Choose another featureCacheDir, or set featureCacheFileMiB to 0.",
  largerFeatureFile: "Raise featureCacheFileMiB, or delete the file if it is for other images.",
  lessHostMemory: "Lower featureCacheHostMiB.",
} as const;
type Remedy = keyof typeof remedies;

/** Makes the error that the addon throws or rejects with. The addon gets this function once, when it is opened. */
export function createError({ code, message, path, remedy }: NativeFailure): SuperSimpleNetError {
  const error = new SuperSimpleNetError(code, withRemedy(message, remedy), { path });
  Error.captureStackTrace(error, createError); // begins where JavaScript called or awaited the addon
  return error;
}

export const warningText = ({ message, remedy }: NativeWarning): string => withRemedy(message, remedy);

function withRemedy(message: string, remedy: Remedy | undefined): string {
  return remedy === undefined ? message : `${message} ${remedies[remedy]}`;
}
