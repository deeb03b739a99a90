#!/usr/bin/env node
import { SuperSimpleNetError } from "../errors.js";
import { isCheckout, packageVersion } from "../native/locate.js";
import { didYouMean } from "../schema/nearest.js";
import { type CommandEntry, commands } from "./commands.js";
import { overview } from "./help.js";
import { exitCode, handleOutputErrors, output, report } from "./output.js";

async function main([name, ...args]: readonly string[]): Promise<number> {
  switch (name) {
    case undefined:
      process.stderr.write(overview());
      return 2;
    case "help":
      return main(args.length === 0 ? ["--help"] : [args[0]!, "--help"]);
    case "-h":
    case "--help":
      process.stdout.write(overview());
      return 0;
    case "-v":
    case "--version":
      process.stdout.write(`${packageVersion}\n`);
      return 0;
    default:
      // Known before anything can fail, so that even wrong usage is reported as JSON.
      output.json = args.includes("--json");
      countPathsFromCaller();
      return run(entryOf(name), args);
  }
}

function entryOf(name: string): CommandEntry {
  const entry = commands.find((one) => one.name === name);
  if (entry) return entry;
  const names = commands.map((one) => one.name);
  const near = didYouMean(name, names);
  throw new SuperSimpleNetError("UNKNOWN_OPTION", `There is no command '${name}'.`, {
    fix: near === undefined ? `The commands are ${names.join(", ")}.` : `Did you mean '${near}'?`,
  });
}

/** npm starts its scripts in the package's folder; paths count from where it was called. */
function countPathsFromCaller(): void {
  if (isCheckout && process.env["npm_lifecycle_event"] === "supersimplenet" && process.env["INIT_CWD"])
    process.chdir(process.env["INIT_CWD"]);
}

async function run(entry: CommandEntry, args: readonly string[]): Promise<number> {
  const [command, { helpText, parse, spellingOf }] = await Promise.all([entry.load(), import("./parse.js")]);
  output.spelling = spellingOf(command);
  const { options, positionals, json, help } = parse(command, args);
  output.json = json;
  if (help) {
    process.stdout.write(helpText(command));
    return 0;
  }
  return command.run(options, positionals);
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
