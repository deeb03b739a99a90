import { z } from "zod";

import { call, invalid, option, SuperSimpleNetError, text } from "../errors.js";
import { isPath } from "./common.js";
import { didYouMean } from "./nearest.js";
import { bare, choicesOf, entries, expectation, rowOf } from "./option.js";

/**
 * Options as a call takes them, checked, with their defaults. `where` names the call, such as "new Trainer". Errors:
 * UNKNOWN_OPTION for a name that the schema does not have, INVALID_OPTION for anything else. A value of undefined counts
 * as left out.
 */
export function check<Schema extends z.ZodType>(where: string, schema: Schema, options: unknown): z.output<Schema> {
  if (!isPlain(options)) throw invalid(where, "options", "a plain object", options);
  const parsed = schema.safeParse(options, { reportInput: true });
  if (parsed.success) return defined(parsed.data);
  throw explained(where, schema, options, parsed.error.issues[0]!);
}

function explained(where: string, schema: z.ZodType, options: object, found: z.core.$ZodIssue): SuperSimpleNetError {
  const issue = innermost(found);
  const { path, type } = nearest(schema, issue.path.map(String));
  const value = path.reduce<unknown>((at, name) => (at as Record<string, unknown>)[name], options);
  if (issue.code === "unrecognized_keys") return unknownOption(where, schema, path, issue.keys, knownNames(type));
  return invalid(where, path.join("."), expectation(type) + suggestion(type, value), value);
}

/** A union reports what each of its forms says; what is said of the inside of an object is about that object's form. */
function innermost(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== "invalid_union") return issue;
  const all = issue.errors.flat();
  const inside = all.find(({ code }) => code === "unrecognized_keys") ?? all.find(({ path }) => path.length > 0);
  return inside ? innermost({ ...inside, path: [...issue.path, ...inside.path] } as z.core.$ZodIssue) : issue;
}

/** UNKNOWN_OPTION for a name that is not known, in an object that may be of any class. */
export function checkNames(where: string, object: object, known: readonly string[]): void {
  const unknown = Object.keys(object).filter((name) => !known.includes(name));
  if (unknown.length > 0) throw unknownOption(where, z.unknown(), [], unknown, known);
}

/** One value that is no option of an object: an argument of its own, a variable of the environment, a field of a file. */
export function checkValue<Type extends z.ZodType>(
  where: string,
  name: string,
  type: Type,
  value: unknown,
): z.output<Type> {
  const parsed = type.safeParse(value);
  if (parsed.success) return parsed.data;
  throw invalid(where, name, expectation(type) + suggestion(type, value), value);
}

/** The path of a file or folder. */
export function checkPath(where: string, name: string, value: unknown, expected = "a path"): string {
  if (!isPath(value)) throw invalid(where, name, expected, value);
  return value;
}

/** " (did you mean 'train'?)" for a misspelt choice. */
export function suggestion(type: z.ZodType, value: unknown): string {
  const inner = bare(type);
  const choices = choicesOf(inner instanceof z.ZodArray ? (inner.element as z.ZodType) : inner);
  if (!choices) return "";
  const wrong: unknown = Array.isArray(value) ? value.find((each) => !choices.includes(each as string)) : value;
  const near = typeof wrong === "string" ? didYouMean(wrong, choices) : undefined;
  return near === undefined ? "" : ` (did you mean '${near}'?)`;
}

/** The deepest option or group on the way to what is wrong: what a list holds is told as the whole list. */
function nearest(schema: z.ZodType, path: readonly string[]): { path: string[]; type: z.ZodType } {
  let found = { path: [] as string[], type: schema };
  let type: z.ZodType | undefined = schema;
  for (const [i, name] of path.entries()) {
    type = shapeOf(type)[name];
    if (!type) break;
    if (rowOf(type) || Object.keys(shapeOf(type)).length > 0) found = { path: path.slice(0, i + 1), type };
  }
  return found;
}

/** The members of an object, or of a union's form that is one. */
function shapeOf(type: z.ZodType): Record<string, z.ZodType> {
  const inner = bare(type) as z.ZodType & { shape?: Record<string, z.ZodType>; options?: z.ZodType[] };
  return (
    inner.shape ??
    inner.options
      ?.map(bare)
      .map(shapeOf)
      .find((shape) => Object.keys(shape).length > 0) ??
    {}
  );
}

const knownNames = (type: z.ZodType): string[] => Object.keys(shapeOf(type));

function unknownOption(
  where: string,
  schema: z.ZodType,
  path: readonly string[],
  [name]: readonly string[],
  known: readonly string[],
): SuperSimpleNetError {
  const full = [...path, name!].join(".");
  // Written without its group, as its flag or as checkpoints call it.
  const plain = (known: string): string => known.replaceAll("-", "").toLowerCase();
  const elsewhere = entries(schema).filter(({ path: there, row: { flag, record } }) =>
    [there.at(-1), flag, record].some((known) => typeof known === "string" && plain(known) === plain(name!)),
  );
  const here = didYouMean(name!, known);
  const near = elsewhere.length === 1 ? elsewhere[0]!.path.join(".") : here && [...path, here].join(".");
  const fix = near === undefined ? `It takes: ${known.join(", ")}.` : text`Did you mean ${option(near)}?`;
  const place = path.length === 0 ? "" : `, ${path.join(".")},`;
  const what = text`${call(where)}${place} has no option '${name!}'.`;
  return new SuperSimpleNetError("UNKNOWN_OPTION", what, { option: full, fix });
}

/** Also one of another realm (a vm context, Jest), whose Object is not ours. */
export function isPlain(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return (
    prototype === null ||
    (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype as object, "hasOwnProperty"))
  );
}

/** Without what is undefined, in groups too, so that it hides no default. */
export function defined<T>(options: T): T {
  if (!isPlain(options)) return options;
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given.map(([name, value]) => [name, defined(value as unknown)])) as T;
}

/** Options over options, group by group: what a later one gives counts. */
export function mergeOptions<T extends object>(...layers: readonly T[]): T {
  const merged: Record<string, unknown> = {};
  for (const layer of layers)
    for (const [name, value] of Object.entries(defined(layer))) {
      const before = merged[name];
      merged[name] = isPlain(before) && isPlain(value) ? mergeOptions(before, value) : value;
    }
  return merged as T;
}
