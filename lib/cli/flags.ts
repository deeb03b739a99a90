import { SuperSimpleNetError } from "../errors.js";
import type { Command } from "./options.js";

/** Where the flag is not the option's name in kebab-case. */
const others: Readonly<Record<string, string>> = {
  kind: "dataset",
  batchSize: "batch",
  adaptorLearningRate: "adaptor-lr",
  headsLearningRate: "heads-lr",
  learningRateMilestones: "lr-milestones",
  learningRateFactor: "lr-factor",
  featureCacheMiB: "feature-cache-mib",
  featureCacheHostMiB: "feature-cache-host-mib",
  featureCacheFileMiB: "feature-cache-file-mib",
  minAreaPx: "min-area",
};

/** A wrong option's error in the words of the command line: the library's names become flags. Other errors stay as they are. */
export function inFlags(error: unknown, { name, options }: Command): unknown {
  if (!(error instanceof SuperSimpleNetError) || (error.code !== "INVALID_OPTION" && error.code !== "UNKNOWN_OPTION")) return error;
  const message = error.message
    .replace(/^(new Trainer|[a-z]\w*\.fit|[A-Z]\w*\.load|datasets\.\w+|modelFromCheckpoint|loadBackbone)\b/, name)
    .replace(/(?<!received )'(\w+)'/g, (quoted, option: string) => {
      const flag = others[option] ?? option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
      return Object.hasOwn(options, flag) ? `--${flag}` : quoted;
    });
  return new SuperSimpleNetError(error.code, message, { cause: error, problems: error.problems, ...(error.path !== undefined && { path: error.path }) });
}
