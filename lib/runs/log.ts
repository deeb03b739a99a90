import { readRegular } from "../files/input.js";
import type { EpochEvent, StartEvent } from "../training/events.js";

/** What the log of a training tells. */
export interface RunLog {
  /** Null: it had not begun. */
  start: StartEvent | null;
  epochs: EpochEvent[];
}

/** Reads a run's log.jsonl. Null where there is none. */
export async function readLog(file: string): Promise<RunLog | null> {
  const text = await readRegular(file).then(String, () => undefined);
  if (text === undefined) return null;
  const log: RunLog = { start: null, epochs: [] };
  for (const line of text.split("\n")) {
    const entry = parsed(line);
    if (entry?.event === "start") log.start = entry;
    else if (entry?.event === "epoch") log.epochs.push(entry);
  }
  return log;
}

type Entry = ({ event: "start" } & StartEvent) | ({ event: "epoch" } & EpochEvent);

/** A line that a crash has cut off is no event. */
function parsed(line: string): Entry | undefined {
  try {
    return JSON.parse(line) as Entry;
  } catch {
    return undefined;
  }
}
