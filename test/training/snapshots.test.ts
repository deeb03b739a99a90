import assert from "node:assert/strict";
import path from "node:path";
import { before, test } from "node:test";

import {
  type Dataset,
  Detector,
  type Model,
  type SnapshotEvent,
  Trainer,
  type TrainerOptions,
} from "../../lib/index.js";
import { checkpointPace } from "../../lib/training/checkpoint_writer.js";
import { bytesOf, headsOf, scratchFolder, smallDataset, tinier, train } from "./support.js";

const folder = scratchFolder();
let data: Dataset;
before(async () => void (data = await smallDataset(folder)));

// Without milestones the first epochs of a longer training are those of a shorter one.
const options = { ...tinier, optimizer: { learningRateMilestones: [] } } satisfies TrainerOptions;

/** Keeps the models, and detects with each of them while the training waits. */
function collector(): { models: Map<number, Model>; onSnapshot: (event: SnapshotEvent) => Promise<void> } {
  const models = new Map<number, Model>();
  const onSnapshot = async ({ epoch, model }: SnapshotEvent): Promise<void> => {
    models.set(epoch, model);
    const detector = await Detector.load(model, { device: "cpu" });
    const { logit } = await detector.detect(data.samples[0]!.image);
    detector.dispose();
    assert.ok(Number.isFinite(logit));
  };
  return { models, onSnapshot };
}

test("a snapshot is the model of a training that ends there, and leaves the training as it is", async () => {
  const { models, onSnapshot } = collector();
  const watched = await train(data, { ...options, epochs: 5 }, { snapshotEvery: 2, onSnapshot });
  const alone = await train(data, { ...options, epochs: 5 });
  assert.ok((await bytesOf(watched, folder)).equals(await bytesOf(alone, folder)));
  assert.deepEqual([...models.keys()], [2, 4]);
  for (const [epochs, model] of models) {
    assert.equal(model.config.training!.epochs, epochs);
    assert.deepEqual(headsOf(model), headsOf(await train(data, { ...options, epochs })));
  }
});

test("the last epoch has no snapshot: fit returns its model", async () => {
  const { models, onSnapshot } = collector();
  await train(data, { ...options, epochs: 2 }, { snapshotEvery: 1, onSnapshot });
  await train(data, { ...options, epochs: 3 }, { onSnapshot });
  assert.deepEqual([...models.keys()], [1]);
});

test("snapshots beside checkpoints after every step; each comes once when a training is stopped and goes on", async (t) => {
  const pace = { ...checkpointPace };
  t.after(() => Object.assign(checkpointPace, pace));
  Object.assign(checkpointPace, { leastSeconds: 0, timesItsCost: 0 });
  const alone = await train(data, { ...options, epochs: 4 });
  const { models, onSnapshot } = collector();
  const epochs: number[] = [];
  const fit = {
    out: path.join(folder, "run"),
    snapshotEvery: 1,
    onSnapshot: (event: SnapshotEvent) => (epochs.push(event.epoch), onSnapshot(event)),
  };
  const controller = new AbortController();
  // After the last step of the second epoch, before the news of it.
  const stopped = train(
    data,
    { ...options, epochs: 4 },
    {
      ...fit,
      signal: controller.signal,
      onStep: ({ epoch, step, steps }) => epoch === 2 && step === steps && controller.abort(),
    },
  );
  await assert.rejects(stopped, { code: "ABORTED" });
  const model = await train(data, { ...options, epochs: 4 }, { ...fit, resume: true });
  assert.ok((await bytesOf(model, folder)).equals(await bytesOf(alone, folder)));
  assert.deepEqual(epochs, [1, 2, 3]);
  assert.deepEqual(headsOf(models.get(2)!), headsOf(await train(data, { ...options, epochs: 2 })));
});

test("a snapshot of a training with init has that model's thresholds", async () => {
  const first = await train(data, options);
  Object.assign(first.config.thresholds, { scoreLogit: 1.25, scoreMethod: "manual" });
  const init = path.join(folder, "first.safetensors");
  await first.save(init);
  const { models, onSnapshot } = collector();
  await new Trainer({ init, epochs: 2, batchSize: 4, threads: 1 }).fit(data, { snapshotEvery: 1, onSnapshot });
  assert.deepEqual(models.get(1)!.config.thresholds, first.config.thresholds);
});

test("a callback that fails ends the training", async () => {
  const onSnapshot = (): Promise<void> => Promise.reject(new Error("no room"));
  await assert.rejects(train(data, { ...options, epochs: 2 }, { snapshotEvery: 1, onSnapshot }), {
    message: "no room",
  });
});

test("an epoch tells how many images it has used", async () => {
  const images: number[] = [];
  const { epochs: _, ...others } = tinier;
  const trainer = new Trainer({ ...others, regime: "unsupervised", steps: 5 });
  await trainer.fit(data, { onEpoch: (event) => void images.push(event.images) });
  assert.deepEqual(images, [10, 8]); // 3 steps of 4, 4 and 2 images; 2 of 4
});
