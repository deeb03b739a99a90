import type { z } from "zod";

import { entries } from "./option.js";

/**
 * The options that decide results, by the names that checkpoints and model files have for them. Options that say where
 * the work runs, or where files lie, are left out.
 */
export function recordOf(schema: z.ZodType, options: object): Record<string, unknown> {
  const record: Record<string, unknown> = {};
  const hidden = new Set<string>();
  for (const { path, row } of entries(schema)) {
    if (row.record === false) hidden.add(path.join("."));
    if (path.some((_, i) => hidden.has(path.slice(0, i + 1).join(".")))) continue;
    const value = path.reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], options);
    if (value !== undefined) record[row.record || path.at(-1)!] = value;
  }
  return record;
}
