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
const caller = /^(new Trainer|[a-z]\w*\.fit|[A-Z]\w*\.load|datasets\.\w+|modelFromCheckpoint|loadBackbone|pullWeights|importWeights|installCuda)\b/;

/** A text in the words of the command line: the library's names of options become flags, quoted or written as only names are (batchSize). */
export function textInFlags(text: string, { options }: Command): string {
  return text.replace(/(?<!received )'(\w+)'|(?<![\w'/.-])([a-z]+(?:[A-Z]\w*)+)(?![\w'/.(-])/g, (found, quoted: string | undefined, bare: string | undefined) => {
    const name = (quoted ?? bare)!;
    const flag = others[name] ?? name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    return Object.hasOwn(options, flag) ? `--${flag}` : found;
  });
}

/** An error in the words of the command line. */
export function inFlags(error: unknown, command: Command): unknown {
  if (!(error instanceof SuperSimpleNetError)) return error;
  const message = textInFlags(error.message.replace(caller, command.name), command);
  const problems = error.problems.map((problem) => textInFlags(problem, command));
  return new SuperSimpleNetError(error.code, message, { cause: error.cause, problems, ...(error.path !== undefined && { path: error.path }), ...(error.fix !== undefined && { fix: error.fix }) });
}
