import { type Command as Parser, Option } from "commander";

import { command as commandLine, SuperSimpleNetError, type Text, text } from "../errors.js";
import { asWritten, defaultText } from "../schema/describe.js";
import { assemble, type Flag, flagFor, flagsOf, flagTerm, placeholder, readFlag } from "../schema/flags.js";
import { didYouMean } from "../schema/nearest.js";
import { type Command, wrongUsage } from "./command.js";
import { newParser } from "./help.js";
import { programSpelling, type ProgramSpelling } from "./output.js";

export interface Parsed {
  /** In groups, as in the command's schema. */
  options: Record<string, unknown>;
  positionals: readonly string[];
  json: boolean;
  help: boolean;
}

/** Throws UNKNOWN_OPTION and INVALID_OPTION. With --help nothing is required. */
export function parse(command: Command, args: readonly string[]): Parsed {
  const values = new Map<Flag, unknown>();
  const parser = parserOf(command, (flag, written) => {
    values.set(flag, flag.sets ?? valueOf(command, flag, written, values.get(flag)));
  });
  const { operands: positionals, unknown } = parser.parseOptions([...args]);
  if (unknown[0] !== undefined) throw unknownFlag(command, parser, unknown[0]);
  const { json = false, help = false } = parser.opts<{ json?: boolean; help?: boolean }>();
  if (!help) {
    checkFlags(command, values);
    checkPositionals(command, positionals);
  }
  return { options: assemble([...values].map(([{ path }, value]) => [path, value])), positionals, json, help };
}

/** commander's parser for the command. `take` gets every flag with the text after it, or null where none is. */
function parserOf(command: Command, take: (flag: Flag, written: string | null) => void): Parser {
  const parser = newParser(`supersimplenet ${command.name}`);
  for (const flag of flagsOf(command.options)) {
    const option = new Option(flag.sets === undefined ? `--${flag.name} [value]` : `--${flag.name}`);
    parser.addOption(option.helpGroup(`${flag.group ?? "Options"}:`));
    parser.on(`option:${flag.name}`, (written: string | null) => take(flag, written));
  }
  return parser
    .option("--json", "Print one JSON document on stdout, and nothing else there.")
    .option("-h, --help", "Show this text.");
}

function valueOf(command: Command, flag: Flag, written: string | null, before: unknown): unknown {
  if (written === null) throw misused(command, `--${flag.name} needs a value: ${placeholder(flag)}.`, flag);
  return readFlag(command.name, flag, written, before);
}

function checkFlags(command: Command, values: ReadonlyMap<Flag, unknown>): void {
  for (const flag of flagsOf(command.options)) {
    if (isRequired(flag) && ![...values.keys()].some(({ name }) => name === flag.name))
      throw misused(command, `${flagTerm(flag)} is missing: ${flag.row.help}`, flag);
  }
  for (const off of values.keys()) {
    const on = [...values.keys()].find(({ path, sets }) => off.sets === false && sets !== false && path === off.path);
    if (on) throw misused(command, `--${on.name} and --${off.name} exclude each other.`, on);
  }
}

function checkPositionals(command: Command, positionals: readonly string[]): void {
  const { min, max = Infinity, what } = command.positionals ?? { min: 0, max: 0, what: "" };
  if (positionals.length < min) throw misused(command, `${what} is missing.`);
  if (positionals.length > max) throw misused(command, `unexpected argument '${positionals[max]}'.`);
}

function unknownFlag(command: Command, parser: Parser, argument: string): SuperSimpleNetError {
  const [written, value] = argument.split(/=(.*)/s) as [string, string?];
  const known = parser.options.map(({ long }) => long!);
  if (known.includes(written)) return misused(command, `${written} takes no value, but received '${value}'.`);
  const near = didYouMean(written, known);
  const suggestion = near === undefined ? "" : ` Did you mean '${near}'?`;
  const what = text`${command.name}: there is no option '${written}'.${suggestion}`;
  return new SuperSimpleNetError("UNKNOWN_OPTION", what, { option: written, fix: helpHint(command) });
}

/** The command line is wrong; the message points to --help. */
function misused(command: Command, what: Text, flag?: Flag): SuperSimpleNetError {
  return wrongUsage(what, { fix: helpHint(command), ...(flag && { option: flag.path.join(".") }) });
}

const helpHint = ({ name }: Command): Text => text`See ${commandLine(`${name} --help`)}.`;

const isRequired = ({ path, type }: Flag): boolean => path.length === 1 && !type.isOptional();

/** The text of --help, as wide as the terminal unless another width is values. */
export function helpText(command: Command, width?: number): string {
  const flags = new Map(flagsOf(command.options).map((flag) => [flag.name, flag]));
  const required = [...flags.values()].filter(isRequired).map(flagTerm);
  const parser = parserOf(command, () => undefined)
    .usage([...required, command.positionals?.usage ?? "", "[options]"].filter(Boolean).join(" "))
    .description(command.description);
  parser.configureHelp({
    ...parser.configureHelp(),
    ...(width !== undefined && { helpWidth: width }),
    optionTerm: (option) => (flags.has(option.name()) ? flagTerm(flags.get(option.name())!) : option.flags),
    optionDescription: (option) =>
      flags.has(option.name()) ? describe(flags.get(option.name())!) : option.description,
  });
  return [parser.helpInformation(), "Examples:", ...command.examples.map((example) => `  ${example}`), ""].join("\n");
}

function describe(flag: Flag): string {
  const standard = flag.sets === undefined ? defaultText(flag, (value) => asWritten(value, flag.row)) : undefined;
  const notes = [isRequired(flag) && "required", standard !== undefined && `default: ${standard}`].filter(Boolean);
  return `${flag.row.help}${notes.length > 0 ? ` (${notes.join(", ")})` : ""}`;
}

/** Spells errors of the library in the words of a command: options as its flags, functions as its name. */
export function spellingOf({ name, options }: Command): ProgramSpelling {
  const flags = flagsOf(options);
  const spelled = (path: string): string | undefined => {
    const flag = flagFor(flags, path);
    return flag && `--${flag.name}`;
  };
  return {
    ...programSpelling,
    option: (path) => spelled(path) ?? programSpelling.option(path),
    optionName: (path) => spelled(path) ?? path,
    call: () => name,
  };
}
