// A training that is killed goes on from its last checkpoint; here one is written after every step. `node dist/benchmarks/soak.js --kills N` does it
// more often, at other moments each time.
import assert from "node:assert/strict";
import { test } from "node:test";

import { scratchFolder } from "../training/support.js";
import { killTrainings } from "./kill.js";

test("kill -9 at random moments, again and again: the model is that of an uninterrupted training, byte for byte", async () => {
  const { kills, trainings, resumed } = await killTrainings(scratchFolder(), 3, 1);
  assert.equal(kills, 3);
  assert.ok(trainings >= 1 && resumed >= 1, `${trainings} trainings, ${resumed} resumed`);
});
