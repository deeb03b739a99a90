import { inspect } from "node:util";

import { SuperSimpleNetError } from "./errors.js";

/** The known name nearest to a misspelt one, if one is near enough to suggest. */
export function didYouMean(name: string, known: readonly string[]): string | undefined {
  const distance = (a: string, b: string): number => {
    let row = Array.from({ length: b.length + 1 }, (_, j) => j);
    for (let i = 1; i <= a.length; i++) {
      const next = [i];
      for (let j = 1; j <= b.length; j++)
        next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
      row = next;
    }
    return row[b.length]!;
  };
  let best: string | undefined;
  let least = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const d = distance(name.toLowerCase(), candidate.toLowerCase());
    if (d < least) [best, least] = [candidate, d];
  }
  return best;
}

/**
 * Throws UNKNOWN_OPTION for a key of `options` that is not in `known`, and INVALID_OPTION when they are no plain object (what an
 * instance of a class inherits would not be found) or when one that means the same everywhere is wrong: `signal`, and callbacks
 * (onProgress, ..). `where` names the call, e.g. "new Trainer".
 */
export function rejectUnknown(options: object, known: readonly string[], where: string): void {
  if (!isPlain(options)) throw invalid(where, "options", "a plain object", options);
  rejectUnknownNames(options, known, where);
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined) continue;
    if (key === "signal" && !isSignal(value)) throw invalid(where, key, "an AbortSignal", value);
    if (/^on[A-Z]/.test(key) && typeof value !== "function") throw invalid(where, key, "a function", value);
  }
}

/** UNKNOWN_OPTION alone, for an object that may be of any class. */
export function rejectUnknownNames(object: object, known: readonly string[], where: string): void {
  for (const key of Object.keys(object)) {
    if (known.includes(key)) continue;
    const near = didYouMean(key, known);
    throw new SuperSimpleNetError(
      "UNKNOWN_OPTION",
      `${where} has no option '${key}'.${near ? ` Did you mean '${near}'?` : ` It takes: ${known.join(", ")}.`}`,
    );
  }
}

/** Also one of another realm (a vm context, Jest), whose Object is not ours. */
function isPlain(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return (
    prototype === null ||
    (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype as object, "hasOwnProperty"))
  );
}

function isSignal(value: unknown): boolean {
  const signal = value as Partial<AbortSignal> | null;
  return (
    typeof signal === "object" &&
    signal !== null &&
    typeof signal.aborted === "boolean" &&
    typeof signal.addEventListener === "function"
  );
}

/** INVALID_OPTION in one form: what was expected, for which option, and what came. */
export function invalid(where: string, name: string, expected: string, value: unknown): SuperSimpleNetError {
  return new SuperSimpleNetError(
    "INVALID_OPTION",
    `${where}: expected ${expected} for '${name}' but received ${shown(value)}.`,
  );
}

function shown(value: unknown): string {
  if (typeof value === "string") return `'${value}'`;
  return inspect(value, { depth: 1, maxArrayLength: 10, breakLength: Infinity }).replace(/^\[ (.*) \]$/, "[$1]");
}

export function isPath(value: unknown): value is string {
  return typeof value === "string" && value !== "" && !value.includes("\0");
}

/** The path of a file or folder. */
export function checkPath(where: string, name: string, value: unknown, expected = "a path"): string {
  if (!isPath(value)) throw invalid(where, name, expected, value);
  return value;
}

export function checkNumber(
  where: string,
  name: string,
  value: unknown,
  range: { min?: number; max?: number; integer?: boolean; above?: number } = {},
): number {
  const { min = -Infinity, max = Infinity, integer = false, above } = range;
  const ok =
    typeof value === "number" &&
    Number.isFinite(value) &&
    value >= min &&
    value <= max &&
    (!integer || Number.isInteger(value)) &&
    (above === undefined || value > above);
  if (!ok) {
    const limits = [
      above !== undefined ? `above ${above}` : min > -Infinity ? `at least ${min}` : "",
      max < Infinity ? `at most ${max}` : "",
    ]
      .filter(Boolean)
      .join(" and ");
    throw invalid(where, name, `${integer ? "an integer" : "a number"}${limits ? ` ${limits}` : ""}`, value);
  }
  return value;
}

export function checkBoolean(where: string, name: string, value: unknown): boolean {
  if (typeof value !== "boolean") throw invalid(where, name, "true or false", value);
  return value;
}

export function checkChoice<T extends string>(where: string, name: string, value: unknown, choices: readonly T[]): T {
  if (typeof value === "string" && (choices as readonly string[]).includes(value)) return value as T;
  const near = typeof value === "string" ? didYouMean(value, choices) : undefined;
  throw invalid(
    where,
    name,
    `one of ${choices.map((c) => `'${c}'`).join(", ")}${near ? ` (did you mean '${near}'?)` : ""}`,
    value,
  );
}
