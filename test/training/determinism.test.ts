import assert from "node:assert/strict";
import path from "node:path";
import { before, test } from "node:test";

import type { Dataset, TrainerOptions } from "../../lib/index.js";
import { bytesOf, distance, filesUnder, headsOf, scratchFolder, smallDataset, tinier, train } from "./support.js";

const folder = scratchFolder();
let data: Dataset;
before(async () => void (data = await smallDataset(folder)));

const trained = async (options: TrainerOptions = {}): Promise<Buffer> => bytesOf(await train(data, options), folder);

test("two runs with one seed write the same bytes, another seed others", async () => {
  const model = await train(data);
  const bytes = await bytesOf(model, folder);
  assert.ok(bytes.equals(await trained()));
  const other = await train(data, { seed: 1 });
  assert.ok(!bytes.equals(await bytesOf(other, folder)));
  // Not only the random backbone and the recorded seed: the heads begin and learn differently too.
  assert.notDeepEqual(headsOf(other)["discriminator.fc_score.bias"], headsOf(model)["discriminator.fc_score.bias"]);
});

test("the feature cache changes nothing: none, room for a few images, room for all", async () => {
  const none = await trained({ ...tinier, epochs: 2, cache: { memoryMiB: 0 } });
  // 128 x 4 x 4 and 256 x 2 x 2 floats are 12 KiB an image.
  for (const memoryMiB of [0.05, 64])
    assert.ok(none.equals(await trained({ ...tinier, epochs: 2, cache: { memoryMiB } })), `${memoryMiB} MiB`);
});

test("two trainings at once do not touch each other", async () => {
  const alone = await trained({ ...tinier, seed: 1 });
  const [a, b] = await Promise.all([trained({ ...tinier, seed: 1 }), trained({ ...tinier, seed: 2 })]);
  assert.ok(alone.equals(a));
  assert.ok(!alone.equals(b));
});

test("direct heads learn the same weights as the low-resolution ones", async () => {
  const options = { ...tinier, epochs: 2 } as const;
  const fast = headsOf(await train(data, options));
  const direct = headsOf(await train(data, { ...options, network: { heads: "direct" } }));
  const start = headsOf(
    await train(data, { ...options, optimizer: { adaptorLearningRate: 1e-12, headsLearningRate: 1e-12 } }),
  );
  for (const [name, weights] of Object.entries(direct)) {
    // Both round differently, and AdamW's step is about the learning rate however small a gradient is: where a gradient
    // is near zero its sign is rounding. So weights cannot agree to 1e-6 of their size, but what was learned agrees to a
    // few hundredths, which a wrong gradient of any tensor would miss by far.
    const learned = distance(weights, start[name]!);
    assert.ok(learned > 0, `${name} was trained`);
    // Biases before a batch norm, which takes them away again, have no gradient but rounding.
    const cancelled = [
      "feature_adaptor.projection.bias",
      "discriminator.seg.0.bias",
      "discriminator.dec_head.0.bias",
    ].includes(name);
    // The running means hold those biases, so their rounding shows there.
    const bound = name.endsWith("running_mean") ? 0.25 : 0.05;
    if (!cancelled)
      assert.ok(
        distance(weights, fast[name]!) < bound * learned,
        `${name}: ${distance(weights, fast[name]!) / learned} of what was learned`,
      );
  }
});

test("interrupted in epoch 3 of 4 and resumed: the bytes of an uninterrupted run", async () => {
  const options = { ...tinier, epochs: 4, optimizer: { learningRateMilestones: [0.5, 0.75] } };
  const whole = await trained(options);
  const out = path.join(folder, "run");
  const controller = new AbortController();
  const epochs: number[] = [];
  const stopped = train(data, options, {
    out,
    signal: controller.signal,
    onStep: ({ epoch, step }) => epoch === 3 && step === 2 && controller.abort(),
    onEpoch: ({ epoch }) => epochs.push(epoch),
  });
  await assert.rejects(stopped, { code: "ABORTED" });
  assert.deepEqual(epochs, [1, 2]);
  assert.deepEqual(filesUnder(out), ["checkpoint", "checkpoint/last.safetensors"]);

  const started: number[] = [];
  // Where it runs may change: the cache's size and the thread count are not part of the result.
  const model = await train(
    data,
    { ...options, cache: { memoryMiB: 1 } },
    {
      out,
      resume: true,
      onStart: ({ epochsDone }) => started.push(epochsDone),
      onEpoch: ({ epoch }) => epochs.push(epoch),
    },
  );
  assert.deepEqual(started, [2]);
  assert.deepEqual(epochs, [1, 2, 3, 4]);
  assert.ok(whole.equals(await bytesOf(model, folder)));

  // Once more from the finished run: nothing is trained, the model is the same.
  const again = await train(data, options, {
    out,
    resume: true,
    onEpoch: () => assert.fail("there is nothing left to train"),
  });
  assert.ok(whole.equals(await bytesOf(again, folder)));
});
