import { invalid, SuperSimpleNetError } from "./errors.js";
import { isPlain } from "./schema/check.js";
import { didYouMean } from "./schema/nearest.js";

export { didYouMean, invalid };

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

function isSignal(value: unknown): boolean {
  const signal = value as Partial<AbortSignal> | null;
  return (
    typeof signal === "object" &&
    signal !== null &&
    typeof signal.aborted === "boolean" &&
    typeof signal.addEventListener === "function"
  );
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
