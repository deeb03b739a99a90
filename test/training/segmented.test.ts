import assert from "node:assert/strict";
import { before, test } from "node:test";

import { type Dataset, mergeOptions, type StartEvent, type TrainerOptions } from "../../lib/index.js";
import { recordOf } from "../../lib/schema/record.js";
import { trainerOptions } from "../../lib/schema/training.js";
import { scratchFolder, smallDataset, tinier, train } from "./support.js";

const folder = scratchFolder();
let data: Dataset; // 3 anomalous training images with masks
before(async () => void (data = await smallDataset(folder)));

async function start(options: TrainerOptions): Promise<StartEvent> {
  let event: StartEvent | undefined;
  const model = await train(data, mergeOptions<TrainerOptions>(tinier, options), { onStart: (e) => (event = e) });
  for (const [name, value] of Object.entries(recordOf(trainerOptions, options)))
    assert.deepEqual(model.config.training!.options[name], value);
  return event!;
}

test("a share of the masks makes a full data set mixed, and none makes it weak", async () => {
  const mixed = await start({ masks: { segmentedRatio: 0.4 } });
  assert.deepEqual([mixed.regime, mixed.counts.trainAnomalous, mixed.counts.trainSegmented], ["mixed", 3, 1]);
  const two = await start({ masks: { segmentedCount: 2 } });
  assert.deepEqual([two.regime, two.counts.trainSegmented], ["mixed", 2]);
  const weak = await start({ masks: { segmentedRatio: 0 } });
  assert.deepEqual([weak.regime, weak.counts.trainAnomalous, weak.counts.trainSegmented], ["weak", 3, 0]);
});

test("too many masks, or a regime that needs more of them, is refused before training", async () => {
  await assert.rejects(start({ masks: { segmentedCount: 4 } }), {
    code: "DATASET_INVALID",
    message: /4 masks, but only 3 of 3/,
  });
  await assert.rejects(start({ masks: { segmentedCount: 2 }, regime: "full" }), {
    code: "DATASET_INVALID",
    message: /'full' is not possible: 1 of 3/,
  });
  await assert.rejects(start({ masks: { segmentedCount: 0 }, regime: "mixed" }), {
    code: "DATASET_INVALID",
    message: /'mixed' is not possible/,
  });
});
