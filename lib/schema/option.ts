import { z } from "zod";

/** What is known of an option besides its type, range and default. Everything else about it is derived. */
export interface OptionRow {
  /** One sentence: for --help, the docs and the comment of the TypeScript type. */
  help: string;
  /** Name on the command line, without dashes. Default: the name in kebab-case. False: not on the command line. */
  flag?: string | false;
  /** What the value is called in --help. Default: by the type. */
  placeholder?: string;
  /** The default in words, where it is not one value. */
  defaultText?: string;
  /** What an error says was expected. Default: by the type. */
  expected?: string;
  /** Reads the command line's text; `before` is what the same flag gave earlier. Undefined: not readable. Default: by the type. */
  read?: (text: string, before?: unknown) => unknown;
  /** What an error on the command line says was expected. Default: `expected`, or by the type. */
  written?: string;
  /** Help of a second flag --no-NAME, which sets the option to false. */
  off?: string;
  /** The flag takes no value: whoever gives it means true. */
  switch?: true;
  /** Name in the checkpoint's fingerprint and the model's record. False: the option does not decide results. Default: its name. */
  record?: string | false;
  /** The default depends on the regime: lib/schema/presets.ts. */
  byRegime?: true;
  /** The TypeScript type, where it cannot be derived. */
  type?: string;
}

const rows = new WeakMap<z.ZodType, OptionRow>();

/** One option: its type with range and default, and its row. */
export function option<T extends z.ZodType>(type: T, row: OptionRow): T {
  const described = type.describe(row.help); // for JSON Schema
  rows.set(described, row);
  return described;
}

/** Options that belong together: an object of its own, which may be left out. `help` says what they are about, without a full stop. */
export function group<Shape extends z.ZodRawShape>(
  help: string,
  shape: Shape,
): z.ZodPrefault<z.ZodObject<Shape, z.core.$strict>> {
  const object = z.strictObject(shape);
  return z.prefault(object, {} as z.input<typeof object>).describe(help);
}

/** The type without what says that it may be left out. */
export function bare(type: z.ZodType): z.ZodType {
  let inner = type;
  while (
    inner instanceof z.ZodDefault ||
    inner instanceof z.ZodPrefault ||
    inner instanceof z.ZodOptional ||
    inner instanceof z.ZodReadonly
  )
    inner = inner.unwrap() as z.ZodType;
  return inner;
}

/** An option with its place in the schema. */
export interface Entry {
  /** Such as ["masks", "dilation"]. */
  path: readonly string[];
  type: z.ZodType;
  row: OptionRow;
  /** What the group that it stands in is about. */
  group?: string | undefined;
}

/** Every option of a schema, groups followed, in the order in which they are written. */
export function entries(schema: z.ZodType, path: readonly string[] = [], group?: string): Entry[] {
  const object = bare(schema);
  if (!(object instanceof z.ZodObject)) return [];
  return Object.entries(object.shape as Record<string, z.ZodType>).flatMap(([name, type]) => {
    const row = rows.get(type);
    const here = [...path, name];
    return row
      ? [{ path: here, type, row, group }, ...members(type, here, group)]
      : entries(type, here, type.description);
  });
}

/** An option may itself have options, one of the forms of a union ("auto", false or an object). */
function members(type: z.ZodType, path: readonly string[], group: string | undefined): Entry[] {
  const inner = bare(type);
  const forms = inner instanceof z.ZodUnion ? (inner.options as z.ZodType[]) : [inner];
  return forms.flatMap((form) => entries(form, path, group));
}

export function rowOf(type: z.ZodType): OptionRow | undefined {
  return rows.get(type);
}

/** The default of an option, or undefined. */
export function defaultOf(type: z.ZodType): unknown {
  if (type instanceof z.ZodDefault) return type.def.defaultValue;
  return type instanceof z.ZodReadonly ? defaultOf(type.unwrap() as z.ZodType) : undefined;
}

/** What a value must be, in words: "an integer at least 1 and at most 64". */
export function expectation(type: z.ZodType): string {
  const row = rows.get(type);
  if (row?.expected !== undefined) return row.expected;
  const inner = bare(type);
  const choices = choicesOf(type);
  if (choices) return `one of ${choices.map((choice) => `'${choice}'`).join(", ")}`;
  if (inner instanceof z.ZodBoolean) return "true or false";
  if (inner instanceof z.ZodNumber) return numberExpectation(inner);
  if (inner instanceof z.ZodString) return "a non-empty string";
  if (inner instanceof z.ZodArray) return `a list; each element is ${expectation(inner.element as z.ZodType)}`;
  if (inner instanceof z.ZodObject) return "an object";
  throw new Error(`an option of type ${inner.def.type} has to say what it expects`);
}

/** The values of an option that is one of several words. */
export function choicesOf(type: z.ZodType): readonly string[] | undefined {
  const inner = bare(type);
  return inner instanceof z.ZodEnum ? inner.options.map(String) : undefined;
}

function numberExpectation(type: z.ZodNumber): string {
  const schema = z.toJSONSchema(type) as {
    type: string;
    minimum?: number;
    exclusiveMinimum?: number;
    maximum?: number;
  };
  const { minimum = -Infinity, exclusiveMinimum, maximum = Infinity } = schema;
  const low =
    exclusiveMinimum !== undefined
      ? `above ${exclusiveMinimum}`
      : minimum > Number.MIN_SAFE_INTEGER
        ? `at least ${minimum}`
        : "";
  const limits = [low, maximum < Number.MAX_SAFE_INTEGER ? `at most ${maximum}` : ""].filter(Boolean).join(" and ");
  return `${schema.type === "integer" ? "an integer" : "a number"}${limits && ` ${limits}`}`;
}
