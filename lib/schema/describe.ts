import { z } from "zod";

import { flagName, placeholder } from "./flags.js";
import { bare, defaultOf, type Entry, expectation, type OptionRow } from "./option.js";
import { regimePresets } from "./presets.js";
import { type Regime, regimes } from "./regimes.js";

/** The default of an option in words, or undefined. `write` says how a value is written. Without `regime`: of all regimes. */
export function defaultText(
  { path, type, row }: Entry,
  write: (value: unknown) => string,
  regime?: Regime,
): string | undefined {
  if (row.defaultText !== undefined) return row.defaultText;
  if (row.byRegime) return regime ? write(presetOf(regime, path)) : regimeDefaults(path, write);
  const value = defaultOf(type);
  return value === undefined ? undefined : write(value);
}

/** "0.2 unsupervised, weak; 0.6 mixed, full" */
function regimeDefaults(path: readonly string[], write: (value: unknown) => string): string {
  const groups = new Map<string, string[]>();
  for (const regime of regimes) {
    const value = write(presetOf(regime, path));
    groups.set(value, [...(groups.get(value) ?? []), regime]);
  }
  return [...groups].map(([value, names]) => `${value} ${names.join(", ")}`).join("; ");
}

/** What a regime's preset has for an option. An experiment has the options of a training one level deeper. */
const presetOf = (regime: Regime, path: readonly string[]): unknown =>
  path.slice(-2).reduce<unknown>((at, name) => (at as Record<string, unknown>)[name], regimePresets[regime]);

/** A value as the command line writes it. */
export function asWritten(value: unknown, { off }: OptionRow): string {
  if (value === false && off !== undefined) return "none";
  if (Array.isArray(value)) return value.join(value.length === 2 && value.every((side) => side >= 32) ? "x" : ",");
  if (typeof value === "object" && value !== null) return Object.values(value).join(",");
  return String(value);
}

/** A value as TypeScript writes it. */
export const asCode = (value: unknown): string =>
  JSON.stringify(value)
    .replaceAll(/"(\w+)":/g, "$1: ")
    .replaceAll(",", ", ")
    .replaceAll(/\{(.+)\}/g, "{ $1 }");

/** The TypeScript type of an option. */
export function typeText(type: z.ZodType, given?: string): string {
  if (given !== undefined) return given;
  const inner = bare(type);
  if (inner instanceof z.ZodEnum) return inner.options.map((choice) => `"${choice}"`).join(" | ");
  if (inner instanceof z.ZodLiteral) return [...inner.values].map((value) => JSON.stringify(value)).join(" | ");
  if (inner instanceof z.ZodNumber) return "number";
  if (inner instanceof z.ZodBoolean) return "boolean";
  if (inner instanceof z.ZodString) return "string";
  if (inner instanceof z.ZodUnion) return inner.options.map((form) => typeText(form as z.ZodType)).join(" | ");
  if (inner instanceof z.ZodTuple)
    return `readonly [${(inner.def.items as z.ZodType[]).map((item) => typeText(item)).join(", ")}]`;
  if (inner instanceof z.ZodArray) {
    const element = typeText(inner.element as z.ZodType);
    return `readonly ${element.includes("|") ? `(${element})` : element}[]`;
  }
  if (inner instanceof z.ZodRecord) return `Readonly<Record<string, ${typeText(inner.valueType as z.ZodType)}>>`;
  if (inner instanceof z.ZodObject) {
    const members = Object.entries(inner.shape as Record<string, z.ZodType>);
    return `{ ${members.map(([name, member]) => `${name}${member.isOptional() ? "?" : ""}: ${typeText(member)}`).join("; ")} }`;
  }
  throw new Error(`an option of type ${inner.def.type} has to say its TypeScript type`);
}

/** One row of the reference: option, flag, what it takes, default, what it does. */
export function tableRow(entry: Entry): [option: string, flag: string, takes: string, standard: string, help: string] {
  const { path, type, row } = entry;
  const flag = row.flag === false ? "" : `--${flagName(entry)}${row.switch ? "" : ` ${placeholder(entry)}`}`;
  return [path.join("."), flag, expectation(type), defaultText(entry, asCode) ?? "", row.help];
}
