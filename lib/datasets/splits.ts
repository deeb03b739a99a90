import path from "node:path";

import { SuperSimpleNetError } from "../errors.js";
import { engine } from "../native/engine.js";

/** A sample in a published split file: its number or name, and whether its mask may be used. */
export interface SplitEntry {
  id: string;
  segmented: boolean;
}

/** Turns the unpickled list of (id, is_segmented) pairs into entries. DATASET_INVALID when it is anything else. */
export function splitEntries(value: unknown, file: string): SplitEntry[] {
  const wrong = (what: string): never => {
    const problem = `${path.basename(file)} is not a split file: expected a list of pairs (image, is_segmented), but ${what}.`;
    throw new SuperSimpleNetError("DATASET_INVALID", `${file}: ${problem}`, { path: file, problems: [problem] });
  };
  if (!Array.isArray(value)) return wrong("it holds something else");
  return value.map((pair: unknown): SplitEntry => {
    if (!Array.isArray(pair) || pair.length !== 2) return wrong(`it holds ${JSON.stringify(pair)}`);
    const [id, segmented] = pair as [unknown, unknown];
    if (
      (typeof id !== "number" && typeof id !== "string") ||
      (typeof segmented !== "boolean" && segmented !== 0 && segmented !== 1)
    ) {
      return wrong(`it holds (${String(id)}, ${String(segmented)})`);
    }
    return { id: String(id), segmented: Boolean(segmented) };
  });
}

/** Reads a Python pickle through the engine's restricted unpickler. Errors: PICKLE_REFUSED, FILE_CORRUPT, file codes. */
export const readSplit = (file: string): Promise<unknown> => engine().readPickle(file);
