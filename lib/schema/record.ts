import type { z } from "zod";

import { entries } from "./option.js";

/**
 * The options that decide results, by the names that checkpoints and model files have for them. Options that say where
 * the work runs, or where files lie, are left out. Throws where two options share a name.
 */
export function recordOf(schema: z.ZodType, options: object): Record<string, unknown> {
  const record: Record<string, unknown> = {};
  const [hidden, names] = [new Set<string>(), new Set<string>()];
  for (const { path, row } of entries(schema)) {
    if (row.record === false) hidden.add(path.join("."));
    if (path.some((_, i) => hidden.has(path.slice(0, i + 1).join(".")))) continue;
    const name = row.record || path.at(-1)!;
    if (names.has(name)) throw new Error(`two options have the record name '${name}'`);
    names.add(name);
    const value = path.reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], options);
    if (value !== undefined) record[name] = value;
  }
  return record;
}
