#!/usr/bin/env node
import { readFileSync } from "node:fs";
import path from "node:path";

import { SuperSimpleNetError } from "../errors.js";
import { isCheckout } from "../native/locate.js";
import { didYouMean } from "../options.js";
import { inFlags, textInFlags } from "./flags.js";
import { type Command, helpText, parse } from "./options.js";
import { exitCode, handleOutputErrors, output, report, table } from "./output.js";

/** Loaded when called, so that --help and wrong usage answer at once and work without the engine. */
const commands: Record<string, () => Promise<Command>> = {
  train: async () => (await import("./train.js")).train,
  evaluate: async () => (await import("./evaluate.js")).evaluate,
  experiment: async () => (await import("./experiment.js")).experiment,
  predict: async () => (await import("./predict.js")).predict,
  convert: async () => (await import("./convert.js")).convert,
  weights: async () => (await import("./weights.js")).weights,
  cuda: async () => (await import("./cuda.js")).cuda,
  benchmark: async () => (await import("./benchmark.js")).benchmark,
  doctor: async () => (await import("./doctor.js")).doctor,
  quickstart: async () => (await import("./quickstart.js")).quickstart,
};

async function overview(): Promise<string> {
  const loaded = await Promise.all(Object.values(commands).map((load) => load()));
  const rows = table(loaded.map(({ name, summary }) => [`  ${name}`, summary]));
  return `Usage: supersimplenet <command> [options]\n\nFinds defects on surfaces with SuperSimpleNet, trained with the labels there are.\n\nCommands:\n${rows}\n\n'supersimplenet <command> --help' explains one. 'supersimplenet --version' prints the version.\n`;
}

async function main(args: string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    const topic = name === "help" ? rest[0] : undefined;
    if (topic !== undefined) return main([topic, "--help"]);
    const text = await overview();
    (name === undefined ? process.stderr : process.stdout).write(text);
    return name === undefined ? 2 : 0;
  }
  if (name === "--version" || name === "-v") {
    const manifest = JSON.parse(readFileSync(path.resolve(__dirname, "../../../package.json"), "utf8")) as {
      version: string;
    };
    process.stdout.write(`${manifest.version}\n`);
    return 0;
  }
  // Known before anything can fail, so that even wrong usage is reported as JSON.
  output.json = rest.includes("--json");
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!load) {
    const near = didYouMean(name, Object.keys(commands));
    throw new SuperSimpleNetError(
      "UNKNOWN_OPTION",
      `There is no command '${name}'.${near ? ` Did you mean '${near}'?` : ` The commands are ${Object.keys(commands).join(", ")}.`}`,
    );
  }
  // npm starts its scripts in the package's folder; paths count from where it was called.
  if (isCheckout && process.env["npm_lifecycle_event"] === "supersimplenet" && process.env["INIT_CWD"])
    process.chdir(process.env["INIT_CWD"]);
  const command = await load();
  const { values, positionals, json, help } = parse(command, rest);
  output.json = json;
  output.inFlags = (text) => textInFlags(text, command);
  if (help) {
    process.stdout.write(helpText(command));
    return 0;
  }
  try {
    return await command.run(values as never, positionals);
  } catch (error) {
    throw inFlags(error, command);
  }
}

handleOutputErrors();
main(process.argv.slice(2)).then(
  (code) => {
    output.done();
    process.exitCode = code === 0 && output.lost ? 1 : code;
  },
  (error: unknown) => {
    output.done();
    report(error);
    process.exitCode = exitCode(error);
  },
);
