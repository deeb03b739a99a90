import assert from "node:assert/strict";
import { test } from "node:test";

import type { ReportEpoch } from "../../lib/report/types.js";
import type { StudioRun } from "../../lib/studio/types.js";
import { type Heard, heardOf, merged, nothingHeard, stillRunning } from "../../web/studio/train/epochs.js";

const epoch = (number: number, loss = 1): ReportEpoch => ({ epoch: number, loss }) as ReportEpoch;
const run = (name: string, state: StudioRun["state"]): StudioRun => ({ name, state }) as StudioRun;
const numbers = ({ epochs }: Heard): number[] => epochs.map(({ epoch: one }) => one);

test("a run that has the name of an earlier one does not show its curve", () => {
  let heard = nothingHeard;
  for (let i = 1; i <= 5; i++) heard = heardOf(heard, "run-001", epoch(i));
  assert.deepEqual(numbers(heard), [1, 2, 3, 4, 5]);
  assert.equal(stillRunning(heard, [run("run-001", "running")]), heard);
  assert.equal(stillRunning(heard, [run("run-001", "done")]), nothingHeard);
  assert.equal(stillRunning(heard, []), nothingHeard);
  // Also where nobody told that the first one has ended, or where it goes on from its checkpoint.
  assert.deepEqual(numbers(heardOf(heard, "run-001", epoch(1))), [1]);
  assert.deepEqual(numbers(heardOf(heard, "run-001", epoch(4))), [1, 2, 3, 4]);
  assert.deepEqual(numbers(heardOf(heard, "run-002", epoch(2))), [2]);
});

test("what was heard goes on from what the file had", () => {
  const all = merged([epoch(1, 5), epoch(2, 5)], [epoch(2, 7), epoch(3, 7)]);
  assert.deepEqual(
    all.map(({ epoch: one, loss }) => [one, loss]),
    [
      [1, 5],
      [2, 7],
      [3, 7],
    ],
  );
});
