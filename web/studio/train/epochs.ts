import type { ReportEpoch } from "../../../lib/report/types.js";
import type { StudioRun } from "../../../lib/studio/types.js";

/** The epochs of the run that trains, since the page is open. */
export interface Heard {
  run: string;
  epochs: readonly ReportEpoch[];
}

export const nothingHeard: Heard = { run: "", epochs: [] };

/** One more. What is heard of the same epoch and of later ones is of before the run went back to its checkpoint. */
export const heardOf = (before: Heard, run: string, epoch: ReportEpoch): Heard => ({
  run,
  epochs: [...(before.run === run ? before.epochs.filter((one) => one.epoch < epoch.epoch) : []), epoch],
});

/** Forgets a run that does not train any more: another one may have its name. */
export const stillRunning = (before: Heard, runs: readonly StudioRun[]): Heard =>
  runs.some(({ name, state }) => name === before.run && state === "running") ? before : nothingHeard;

/** What the file had when the page came, and what was heard since. */
export function merged(before: readonly ReportEpoch[], heard: readonly ReportEpoch[]): ReportEpoch[] {
  const byEpoch = new Map([...before, ...heard].map((one) => [one.epoch, one]));
  return [...byEpoch.values()].sort((a, b) => a.epoch - b.epoch);
}
