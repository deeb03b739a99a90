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

/** The functions of the library that a command calls, as their errors begin. */
const caller =
  /^(new Trainer|[a-z]\w*\.fit|[A-Z]\w*\.load|datasets\.\w+|modelFromCheckpoint|loadBackbone|pullWeights|importWeights|installCuda)\b/;

/**
 * A text in the words of the command line: the library's names of options become flags, where they are written as only names are
 * (batchSize). With `quoted` all that is quoted: not where files and labels of users are.
 */
export function textInFlags(text: string, { options }: Command, quoted = false): string {
  return text.replace(
    /(?<!received )'(\w+)'|(?<![\w'/.-])([a-z]+[A-Z]\w*)(?![\w'/(-]|\.\w)/g,
    (found, inQuotes: string | undefined, bare: string | undefined) => {
      if (inQuotes !== undefined && !quoted && !/[A-Z]/.test(inQuotes)) return found;
      const name = (inQuotes ?? bare)!;
      const flag = others[name] ?? name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
      return Object.hasOwn(options, flag) ? `--${flag}` : found;
    },
  );
}

/** An error in the words of the command line. */
export function inFlags(error: unknown, command: Command): unknown {
  if (!(error instanceof SuperSimpleNetError)) return error;
  const isOption = error.code === "INVALID_OPTION" || error.code === "UNKNOWN_OPTION";
  const message = textInFlags(error.message.replace(caller, command.name), command, isOption);
  return new SuperSimpleNetError(error.code, message, {
    cause: error.cause,
    problems: error.problems,
    ...(error.path !== undefined && { path: error.path }),
    ...(error.fix !== undefined && { fix: error.fix }),
  });
}
