import path from "node:path";

import { invalid } from "../errors.js";
import { holdFolder } from "../files/hold.js";
import { check } from "../schema/check.js";
import { outputOptions, type OutputSettings } from "../schema/outputs.js";
import { makeFolder } from "../write.js";
import { Health } from "./health.js";
import type { Output, Result } from "./output.js";
import { placeOf } from "./places.js";

/** Options of openOutputs. */
export interface OutputOptions extends OutputSettings {
  /** Told once when an output begins to fail, with why, and once when it works again, without. */
  onChange?: ((output: string, error: string | undefined) => void) | undefined;
}

/**
 * Opens the places that results go to, such as "csv:results" and "webhook:https://mes.example/defects", as one output: what
 * is written goes to all of them, and one that fails does not keep the others waiting.
 *
 * Errors: INVALID_OPTION (a form that does not exist, a package that is not installed), NO_PERMISSION, NO_SPACE, FILE_ERROR
 * (also: the folder of what waits is in use by another process), FILE_CORRUPT (what waits there).
 */
export async function openOutputs(to: readonly string[], options: OutputOptions = {}): Promise<Output> {
  const where = "openOutputs";
  if (!Array.isArray(to)) throw invalid(where, "to", "a list of outputs", to);
  const settings = check(where, outputOptions, options);
  const places = to.map((written: unknown) => placeOf(where, String(written)));
  const twice = places.find((_, i) => to.indexOf(to[i]!) < i);
  if (twice) throw invalid(where, "to", "every output once", twice.name);
  const folder = path.resolve(settings.stateDir, "outputs");
  const open: Output[] = [];
  let release: (() => Promise<void>) | undefined;
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    await Promise.all(open.map((output) => output.close()));
    await release?.();
  };
  try {
    if (places.some(({ spooled }) => spooled)) {
      await makeFolder(folder);
      release = await holdFolder(folder);
    }
    for (const place of places) {
      const health = new Health(place.name, (output, error) => options.onChange?.(output, error));
      open.push(await place.open({ health, settings }));
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    async write(result: Result) {
      const kept = await Promise.all(open.map((output) => output.write(result)));
      return kept.every(Boolean);
    },
    status: () => open.flatMap((output) => output.status()),
    close: () => (closing ??= close()),
  };
}
