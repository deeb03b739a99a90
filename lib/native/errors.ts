import { apiSpelling, type ErrorCode, option, spell, SuperSimpleNetError, text, type Text } from "../errors.js";

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
  lessHostMemory: "Let the feature cache take less of the host's memory.",
  withoutNccl: text`Set ${option("distributed.nccl")} to false: the ranks then sum on the CPU.`,
  diverged: text`Lower the learning rates (${option("optimizer.adaptorLearningRate")}, ${option("optimizer.headsLearningRate")}) or the noise (${option("anomalies.noiseStd")}), or look for broken images.`,
} satisfies Record<string, Text>;
type Remedy = keyof typeof remedies;

/** Throws INTERNAL for a name that is not here. */
function textOf(remedy: Remedy, message: string): Text {
  if (Object.hasOwn(remedies, remedy)) return remedies[remedy];
  throw new SuperSimpleNetError("INTERNAL", `${message} The remedy '${remedy}' has no text.`);
}

/** Makes the error that the addon throws or rejects with. The addon gets this function once, when it is opened. */
export function createError({ code, message, path, remedy }: NativeFailure): SuperSimpleNetError {
  const error = new SuperSimpleNetError(code, message, { path, fix: remedy && textOf(remedy, message) });
  Error.captureStackTrace(error, createError); // begins where JavaScript called or awaited the addon
  return error;
}

/** A warning in words. */
export const warningText = ({ message, remedy }: NativeWarning): string =>
  remedy === undefined ? message : `${message} ${spell(textOf(remedy, message), apiSpelling)}`;
