import { parseArgs, type ParseArgsConfig } from "node:util";

import { SuperSimpleNetError } from "../errors.js";
import { didYouMean } from "../options.js";

/**
 * One row of a command's option table. The same row parses, validates and documents the option, so --help cannot differ
 * from what the command does.
 */
export interface ValueOption<T> {
  /** What the value is called in --help, e.g. "N" or "auto|cpu|cuda". */
  placeholder: string;
  help: string;
  /** Shown in --help; the value itself is applied by whoever takes the option. */
  default?: string;
  required?: boolean;
  /** Throws an Error whose message says what was expected. `before`: what the same option was given earlier. */
  parse(text: string, before?: T): T;
}

export interface FlagOption {
  help: string;
  parse?: undefined;
}

export type Option = ValueOption<unknown> | FlagOption;
export type OptionTable = Readonly<Record<string, Option>>;

/** The parsed values of a table: flags are booleans, required options are always there. */
export type Values<Table extends OptionTable> = {
  [Name in keyof Table]: Table[Name] extends ValueOption<infer T>
    ? Table[Name] extends { required: true }
      ? T
      : T | undefined
    : boolean;
};

export interface Command<Table extends OptionTable = OptionTable> {
  name: string;
  /** One line for the list of commands. */
  summary: string;
  /** What it does, for its own --help. */
  description: string;
  options: Table;
  /** Arguments that are not options; absent when it takes none. */
  positionals?: { usage: string; min: number; max?: number; what: string };
  examples: string[];
  /** Resolves to the exit code. */
  run(values: Values<Table>, positionals: string[]): Promise<number>;
}

/** Infers the types of `run`'s values from the table. */
export function command<const Table extends OptionTable>(definition: Command<Table>): Command<Table> {
  return definition;
}

type Extra = { default?: unknown; required?: true };

const shown = (value: unknown): { default?: string } => (value === undefined ? {} : { default: String(value) });

export const flag = (help: string): FlagOption => ({ help });

export function text<const E extends Extra>(
  placeholder: string,
  help: string,
  extra?: E,
): ValueOption<string> & { required: E["required"] } {
  return {
    placeholder,
    help,
    required: extra?.required,
    ...shown(extra?.default),
    parse(value) {
      if (value === "") throw new Error("a value that is not empty");
      return value;
    },
  };
}

export function number(
  placeholder: string,
  help: string,
  range: { min?: number; max?: number; integer?: boolean; default?: unknown } = {},
): ValueOption<number> {
  const { min = -Infinity, max = Infinity, integer = false } = range;
  const limits = [min > -Infinity ? `at least ${min}` : "", max < Infinity ? `at most ${max}` : ""]
    .filter(Boolean)
    .join(" and ");
  return {
    placeholder,
    help,
    ...shown(range.default),
    parse(value) {
      const parsed = value.trim() === "" ? NaN : Number(value);
      if (!Number.isFinite(parsed) || parsed < min || parsed > max || (integer && !Number.isInteger(parsed)))
        throw new Error(`${integer ? "an integer" : "a number"}${limits && ` ${limits}`}`);
      return parsed;
    },
  };
}

export const integer = (
  placeholder: string,
  help: string,
  range: { min?: number; max?: number; default?: unknown } = {},
): ValueOption<number> => number(placeholder, help, { ...range, integer: true });

export function choice<const T extends string>(
  choices: readonly T[],
  help: string,
  extra: { default?: unknown } = {},
): ValueOption<T> {
  return {
    placeholder: choices.join("|"),
    help,
    ...shown(extra.default),
    parse(value) {
      if ((choices as readonly string[]).includes(value)) return value as T;
      const near = didYouMean(value, choices);
      throw new Error(`one of ${choices.join(", ")}${near ? ` (did you mean '${near}'?)` : ""}`);
    },
  };
}

/** true or false, spelt out. */
export function onOff(help: string, extra: { default?: unknown } = {}): ValueOption<boolean> {
  const { parse, ...row } = choice(["true", "false"], help, extra);
  return { ...row, parse: (value) => parse(value) === "true" };
}

/** Numbers separated by commas. */
export function numbers(
  placeholder: string,
  help: string,
  extra: { default?: readonly number[] | string; count?: number } = {},
): ValueOption<number[]> {
  return {
    placeholder,
    help,
    ...shown(extra.default),
    parse(value) {
      const parsed = value.split(",").map((part) => (part.trim() === "" ? NaN : Number(part)));
      if (!parsed.every(Number.isFinite) || (extra.count !== undefined && parsed.length !== extra.count))
        throw new Error(`${extra.count ?? "one or more"} numbers separated by commas`);
      return parsed;
    },
  };
}

/** HxW, or one number for a square. */
export function size<const E extends Extra>(
  help: string,
  extra?: E & { default?: readonly [number, number] },
): ValueOption<[number, number]> & { required: E["required"] } {
  const fallback = extra?.default as readonly [number, number] | undefined;
  return {
    placeholder: "HxW",
    help: `${help}; one number for a square`,
    required: extra?.required,
    ...shown(fallback?.join("x")),
    parse(value) {
      const match = /^(\d+)(?:x(\d+))?$/i.exec(value);
      if (!match || Number(match[1]) === 0 || match[2] === "0")
        throw new Error("HEIGHTxWIDTH in pixels, such as 256x256");
      return [Number(match[1]), Number(match[2] ?? match[1])];
    },
  };
}

/** Every command has these. */
const common = {
  json: { help: "print one JSON document on stdout, and nothing else there" },
  help: { help: "show this text" },
} satisfies OptionTable;

const usage = (
  command: Command,
  message: string,
  code: "INVALID_OPTION" | "UNKNOWN_OPTION" = "INVALID_OPTION",
): SuperSimpleNetError =>
  new SuperSimpleNetError(code, `${command.name}: ${message} See 'supersimplenet ${command.name} --help'.`);

export interface Parsed {
  values: Record<string, unknown>;
  positionals: string[];
  json: boolean;
  help: boolean;
}

/** Throws UNKNOWN_OPTION and INVALID_OPTION. With --help nothing is required. */
export function parse(command: Command, args: string[]): Parsed {
  const table: OptionTable = { ...command.options, ...common };
  const config: NonNullable<ParseArgsConfig["options"]> = { h: { type: "boolean" } };
  for (const [name, option] of Object.entries(table)) config[name] = { type: option.parse ? "string" : "boolean" };
  const { tokens } = parseArgs({ args, options: config, strict: false, allowPositionals: true, tokens: true });

  const values: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(command.options)) values[name] = option.parse ? undefined : false;
  const positionals: string[] = [];
  const seen = new Set<string>();
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    const name = token.rawName === "-h" ? "help" : token.name;
    const option = token.rawName.startsWith("--") || name === "help" ? table[name] : undefined;
    if (!option || !Object.hasOwn(table, name)) {
      const near = didYouMean(name, Object.keys(table));
      throw usage(
        command,
        `there is no option '${token.rawName}'.${near ? ` Did you mean '--${near}'?` : ""}`,
        "UNKNOWN_OPTION",
      );
    }
    seen.add(name);
    if (!option.parse) {
      if (token.value !== undefined) throw usage(command, `--${name} takes no value, but received '${token.value}'.`);
      values[name] = true;
      continue;
    }
    // A value that looks like an option is one that was forgotten; --name=--value is the way to mean it.
    if (token.value === undefined || (!token.inlineValue && /^--./.test(token.value)))
      throw usage(command, `--${name} needs a value: ${option.placeholder}.`);
    try {
      values[name] = option.parse(token.value, values[name]);
    } catch (error) {
      throw usage(command, `expected ${(error as Error).message} for --${name} but received '${token.value}'.`);
    }
  }
  const [json, help] = [seen.has("json"), seen.has("help")];
  if (!help) {
    for (const [name, option] of Object.entries(command.options)) {
      if (option.parse && option.required && !seen.has(name))
        throw usage(command, `--${name} ${option.placeholder} is missing: ${option.help}.`);
    }
    const { min = 0, max = command.positionals ? Infinity : 0, what = "" } = command.positionals ?? {};
    if (positionals.length < min) throw usage(command, `${what} is missing.`);
    if (positionals.length > max) throw usage(command, `unexpected argument '${positionals[max]}'.`);
  }
  return { values, positionals, json, help };
}

/** The text of --help. */
export function helpText(command: Command): string {
  const rows = Object.entries({ ...command.options, ...common } as OptionTable).map(([name, option]) => {
    const label = `  --${name}${option.parse ? ` ${option.placeholder}` : ""}`;
    const notes = option.parse
      ? [option.required ? "required" : "", option.default === undefined ? "" : `default: ${option.default}`]
          .filter(Boolean)
          .join(", ")
      : "";
    return { label, help: `${option.help}${notes && ` (${notes})`}` };
  });
  const column = 34;
  const lines = rows.map(({ label, help }) => {
    const wrapped = wrap(help, 110 - column).join(`\n${" ".repeat(column)}`);
    return label.length > column - 2
      ? `${label}\n${" ".repeat(column)}${wrapped}`
      : `${label.padEnd(column)}${wrapped}`;
  });
  const required = Object.entries(command.options).flatMap(([name, option]) =>
    option.parse && option.required ? [`--${name} ${option.placeholder}`] : [],
  );
  const line = ["supersimplenet", command.name, ...required, command.positionals?.usage ?? "", "[options]"]
    .filter(Boolean)
    .join(" ");
  return [
    `Usage: ${line}`,
    "",
    ...wrap(command.description, 100),
    "",
    "Options:",
    ...lines,
    "",
    "Examples:",
    ...command.examples.map((example) => `  ${example}`),
    "",
  ].join("\n");
}

function wrap(paragraph: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of paragraph.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
