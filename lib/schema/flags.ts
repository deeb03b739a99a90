import { z } from "zod";

import { invalid } from "../errors.js";
import { suggestion } from "./check.js";
import { bare, choicesOf, type Entry, entries, expectation } from "./option.js";

/** A flag of the command line, made of one option. */
export interface Flag extends Entry {
  /** Without dashes. */
  name: string;
  /** What a flag without a value sets: true, or false for --no-NAME. Undefined: the flag takes a value. */
  sets?: boolean;
}

/** The flags of a schema, in its order. */
export function flagsOf(schema: z.ZodType): Flag[] {
  return entries(schema)
    .filter(({ row }) => row.flag !== false)
    .flatMap((entry): Flag[] => {
      const { off, switch: isSwitch } = entry.row;
      const flag = { ...entry, name: flagName(entry), ...(isSwitch && { sets: true }) };
      if (off === undefined) return [flag];
      return [flag, { ...entry, row: { help: off }, name: `no-${flag.name}`, sets: false }];
    });
}

export function flagName({ path, row }: Entry): string {
  return typeof row.flag === "string"
    ? row.flag
    : path.at(-1)!.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** A flag as --help shows it, with what it takes. */
export function flagTerm(flag: Flag): string {
  return flag.sets === undefined ? `--${flag.name} ${placeholder(flag)}` : `--${flag.name}`;
}

/** What the value of a flag is called in --help. */
export function placeholder({ type, row }: Entry): string {
  if (row.placeholder !== undefined) return row.placeholder;
  const inner = bare(type);
  if (inner instanceof z.ZodNumber) return inner instanceof z.ZodNumberFormat ? "N" : "X";
  return choicesOf(type)?.join("|") ?? (inner instanceof z.ZodBoolean ? "true|false" : "VALUE");
}

/** The flag that stands for an option of this path; a call inside may name it without its outer groups. */
export function flagFor(flags: readonly Flag[], path: string): Flag | undefined {
  const positive = flags.filter(({ sets }) => sets !== false);
  const inside = positive.filter((flag) => flag.path.join(".").endsWith(`.${path}`));
  return positive.find((flag) => flag.path.join(".") === path) ?? (inside.length === 1 ? inside[0] : undefined);
}

/** The value that a flag's text stands for. `before`: what the same flag gave earlier. Throws INVALID_OPTION. */
export function readFlag(where: string, flag: Flag, written: string, before?: unknown): unknown {
  const { type, row } = flag;
  const value = row.read ? row.read(written, before) : readByType(bare(type), written);
  const parsed = value === undefined ? undefined : type.safeParse(value);
  if (!parsed?.success) throw invalid(where, flag.path.join("."), writtenExpectation(flag, written), written);
  return value;
}

function readByType(type: z.ZodType, written: string): unknown {
  if (type instanceof z.ZodNumber) return written.trim() === "" ? undefined : Number(written);
  if (type instanceof z.ZodBoolean) return { true: true, false: false }[written];
  return written;
}

function writtenExpectation({ type, row }: Flag, written: string): string {
  if (row.written !== undefined) return row.written;
  if (bare(type) instanceof z.ZodBoolean) return "one of true, false";
  const choices = choicesOf(type);
  return choices ? `one of ${choices.join(", ")}${suggestion(type, written)}` : expectation(type);
}

/** Options, in their groups, of the values that flags gave. */
export function assemble(
  values: Iterable<readonly [path: readonly string[], value: unknown]>,
): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  for (const [path, value] of values) put(options, path, value);
  return options;
}

function put(options: Record<string, unknown>, [name, ...rest]: readonly string[], value: unknown): void {
  if (rest.length === 0) {
    // What belongs to an option may have come first: --rank-timeout 5 --distributed auto.
    if (!(typeof options[name!] === "object" && value === "auto")) options[name!] = value;
    return;
  }
  if (options[name!] === false) return; // --distributed off: what belongs to it does not matter
  if (typeof options[name!] !== "object") options[name!] = {};
  put(options[name!] as Record<string, unknown>, rest, value);
}
