import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { before, mock, test } from "node:test";

import type { Dataset, StartEvent, TrainerOptions } from "../../lib/index.js";
import { engine } from "../../lib/native/engine.js";
import { readTensors, writeTensors } from "../../lib/files/tensors.js";
import { checkpointFile } from "../../lib/training/checkpoint.js";
import { choosePrecision } from "../../lib/training/precision.js";
import { failure } from "../datasets/files.js";
import { trainerConfig } from "../support/trainer_config.js";
import { bytesOf, labelledFor, scratchFolder, smallDataset, tinier, train } from "./support.js";

const folder = scratchFolder();
let data: Dataset;
before(async () => {
  await engine().setThreads(1); // libtorch may lie in the usual cache folder
  process.env["SUPERSIMPLENET_CACHE"] = path.join(folder, "cache");
  data = labelledFor(await smallDataset(folder), "unsupervised");
});

const choose = (more: Partial<Parameters<typeof choosePrecision>[0]> = {}) =>
  choosePrecision({ saved: undefined, device: "cpu", threads: 1, heads: "lowResolution", ...more });

const measuredFile = (): string => {
  const at = path.join(folder, "cache", "measured");
  const [name, ...others] = readdirSync(at);
  assert.deepEqual(others, []);
  return path.join(at, name!);
};

/** What the cache folder remembers of this machine: bfloat16 so many times as fast. */
async function remember(gain: number): Promise<void> {
  await choose();
  const file = measuredFile();
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), float32Ms: gain, bfloat16Ms: 1 }));
}

test("auto measures once and remembers; a file that says nothing is measured anew", async () => {
  const first = await choose();
  assert.match(first.reason!, /products in bfloat16 are [\d.e+-]+ times as fast here/);
  const written = readFileSync(measuredFile());
  assert.deepEqual(await choose(), first);
  assert.ok(written.equals(readFileSync(measuredFile())));
  await remember(6.3);
  assert.deepEqual(await choose(), {
    precision: "bfloat16",
    reason: "products in bfloat16 are 6.3 times as fast here",
  });
  await remember(1.2);
  assert.equal((await choose()).precision, "float32");
  for (const text of ["", "{}", '{"float32Ms":1,"bfloat16Ms":0}', "null"]) {
    writeFileSync(measuredFile(), text);
    await choose();
    assert.ok((JSON.parse(readFileSync(measuredFile(), "utf8")) as { bfloat16Ms: number }).bfloat16Ms > 0, text);
  }
});

test("auto is float32 with the direct heads and on a GPU, and what a checkpoint has", async () => {
  await remember(9);
  assert.equal((await choose({ heads: "direct" })).precision, "float32");
  assert.equal((await choose({ device: "cuda:0" })).precision, "float32");
  assert.deepEqual(await choose({ saved: "float32" }), { precision: "float32", reason: "as in the checkpoint" });
});

test("a training says and records what auto settled on, and is the one that names it", async () => {
  for (const [gain, precision] of [
    [8, "bfloat16"],
    [0.5, "float32"],
  ] as const) {
    await remember(gain);
    const starts: StartEvent[] = [];
    const onStart = (event: StartEvent): void => void starts.push(event);
    const chosen = await train(data, { ...tinier, precision: "auto" }, { onStart });
    const named = await train(data, { ...tinier, precision }, { onStart });
    assert.ok((await bytesOf(chosen, folder)).equals(await bytesOf(named, folder)));
    assert.equal(chosen.config.training!.options["precision"], precision);
    assert.deepEqual(
      starts.map(({ precision: of, precisionReason }) => [of, precisionReason]),
      [
        [precision, `products in bfloat16 are ${gain.toPrecision(2)} times as fast here`],
        [precision, null],
      ],
    );
  }
});

test("resumed where the machine has become another: auto keeps the checkpoint's precision", async () => {
  const options = { ...tinier, epochs: 2, precision: "auto" } satisfies TrainerOptions;
  await remember(8);
  const whole = await bytesOf(await train(data, options), folder);
  const out = path.join(folder, "run");
  const controller = new AbortController();
  const stop = { out, signal: controller.signal, onEpoch: () => controller.abort() };
  await assert.rejects(train(data, options, stop), { code: "ABORTED" });
  await remember(0.5);
  await assert.rejects(
    train(data, { ...options, precision: "float32" }, { out, resume: true }),
    failure("CHECKPOINT_MISMATCH", "precision", "bfloat16"),
  );
  assert.ok(whole.equals(await bytesOf(await train(data, options, { out, resume: true }), folder)));
});

test("a checkpoint in tf32 does not go on where there is no CUDA, with auto neither", async () => {
  const options = { ...tinier, precision: "float32" } satisfies TrainerOptions;
  const out = path.join(folder, "tf32");
  await train(data, options, { out });
  const file = checkpointFile(out);
  const { tensors, metadata } = await readTensors(file);
  const fingerprint = { ...(JSON.parse(metadata["fingerprint"]!) as object), precision: "tf32" };
  await writeTensors(file, tensors, { ...metadata, fingerprint: JSON.stringify(fingerprint) });
  await assert.rejects(
    train(data, { ...options, device: "cpu", precision: "auto" }, { out, resume: true }),
    failure("INVALID_OPTION", "precision", "tf32"),
  );
});

test("a measurement that failed is made again", async () => {
  const cache = process.env["SUPERSIMPLENET_CACHE"];
  process.env["SUPERSIMPLENET_CACHE"] = path.join(folder, "other cache");
  const measure = mock.method(engine(), "productSpeed", () => Promise.reject(new Error("stopped")));
  try {
    await assert.rejects(choose({ threads: 3 }), /stopped/);
    measure.mock.mockImplementation(() => Promise.resolve({ float32Ms: 4, bfloat16Ms: 1 }));
    assert.equal((await choose({ threads: 3 })).precision, "bfloat16");
  } finally {
    measure.mock.restore();
    process.env["SUPERSIMPLENET_CACHE"] = cache;
  }
});

test("in bfloat16 the backbone computes in it too: features near float32's, not the same", async () => {
  const weights = [await engine().randomBackbone("resnet18", 0), await engine().randomHeads(384, 0)] as const;
  const pixels = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7919) % 251);
  const spread = async (precision: "float32" | "bfloat16"): Promise<Float32Array> => {
    const trainer = await engine().createTrainer(
      trainerConfig({ imageHeight: 64, imageWidth: 64, precision }),
      ...weights,
    );
    try {
      await trainer.observeFeatures([{ key: 0, pixels }]);
      return await trainer.featureStd();
    } finally {
      trainer.dispose();
    }
  };
  const [full, half] = [await spread("float32"), await spread("bfloat16")];
  const norm = (values: Float32Array): number => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  const difference = norm(full.map((value, i) => value - half[i]!)) / norm(full);
  assert.ok(difference > 0 && difference < 0.02, `${difference}`);
});
