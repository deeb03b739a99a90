import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { readTensors, writeTensors } from "../../lib/files/tensors.js";
import {
  type Dataset,
  type FitOptions,
  type StartEvent,
  SuperSimpleNetError,
  Trainer,
  type TrainerOptions,
} from "../../lib/index.js";
import { engine } from "../../lib/native/engine.js";
import { checkpointFile, notBegun } from "../../lib/training/checkpoint.js";
import { checkpointPace, CheckpointWriter } from "../../lib/training/checkpoint_writer.js";
import { failure } from "../datasets/files.js";
import { bytesOf, filesUnder, labelledFor, scratchFolder, smallDataset, tinier, train } from "./support.js";

const folder = scratchFolder();
let data: Dataset;
before(async () => void (data = labelledFor(await smallDataset(folder), "unsupervised")));

const options = { ...tinier, epochs: 3 } satisfies TrainerOptions;
let runs = 0;
const newRun = (): string => path.join(folder, `run-${runs++}`);

/** The engine still works, and a training gives what it always gives. */
async function assertUsable(): Promise<void> {
  await engine().setThreads(1);
  assert.ok(
    (await bytesOf(await train(data, tinier), folder)).equals(await bytesOf(await train(data, tinier), folder)),
  );
}

/** A run that was stopped after its first epoch. */
async function stopped(more: TrainerOptions = {}): Promise<string> {
  const out = newRun();
  const controller = new AbortController();
  await assert.rejects(
    train(data, { ...options, ...more }, { out, signal: controller.signal, onEpoch: () => controller.abort() }),
    { code: "ABORTED" },
  );
  return out;
}

test("what a killed process left half-written goes with the next training, and nothing else does", async () => {
  const out = newRun();
  const left = [".0123456789abcdef.tmp", "checkpoint/.fedcba9876543210.tmp"];
  const kept = [".mine.tmp", "notes.txt"];
  mkdirSync(path.join(out, "checkpoint"), { recursive: true });
  for (const name of [...left, ...kept]) writeFileSync(path.join(out, name), "");
  await train(data, tinier, { out });
  assert.deepEqual(filesUnder(out).sort(), [...kept, "checkpoint", "checkpoint/last.safetensors"].sort());
});

test("abort: ABORTED with the signal's reason; the last epoch's checkpoint is whole and alone", async () => {
  const out = newRun();
  const controller = new AbortController();
  const reason = new Error("enough");
  const error: unknown = await train(data, options, {
    out,
    signal: controller.signal,
    onStep: ({ epoch }) => epoch === 2 && controller.abort(reason),
  }).catch((e: unknown) => e);
  assert.ok(error instanceof SuperSimpleNetError && error.code === "ABORTED" && error.cause === reason);
  assert.deepEqual(filesUnder(out), ["checkpoint", "checkpoint/last.safetensors"]);
  const { metadata, tensors } = await readTensors(checkpointFile(out));
  assert.equal(metadata["epochs_done"], "1");
  assert.ok("heads.feature_adaptor.projection.weight" in tensors && "optimizer.updates" in tensors);
});

test("a signal that has fired before: nothing is begun", async () => {
  const out = newRun();
  const never = (): void => assert.fail("nothing should have been begun");
  await assert.rejects(
    train(data, options, { out, signal: AbortSignal.abort(), onStage: never, onStart: never, onStep: never }),
    { code: "ABORTED" },
  );
  assert.ok(!existsSync(out));
});

test("abort within an epoch keeps its steps; resumed, every step and epoch is told once and the bytes are those of one run", async () => {
  const whole = newRun();
  const log: string[] = [];
  const told = (list: string[]): FitOptions => ({
    onStep: ({ epoch, step, total }) => void list.push(`${epoch}.${step} ${total}`),
    onEpoch: ({ epoch, loss }) => void list.push(`${epoch} ${loss}`),
  });
  const expected = await bytesOf(await train(data, options, { out: whole, ...told(log) }), folder);
  for (const [epoch, step] of [
    [1, 1],
    [1, 3],
    [2, 2],
    [3, 3],
  ]) {
    const out = newRun();
    const first: string[] = [];
    const second: string[] = [];
    const controller = new AbortController();
    const { onStep, onEpoch } = told(first);
    const stop: FitOptions["onStep"] = (event) => {
      onStep!(event);
      if (event.epoch === epoch && event.step === step) controller.abort();
    };
    await assert.rejects(train(data, options, { out, signal: controller.signal, onStep: stop, onEpoch }), {
      code: "ABORTED",
    });
    const { metadata } = await readTensors(checkpointFile(out));
    const made = Number(metadata["epochs_done"]) * 3 + Number(metadata["steps_done"]);
    assert.ok(made >= (epoch! - 1) * 3 + step!, `${made} steps`);
    let start: StartEvent | undefined;
    const model = await train(data, options, {
      out,
      resume: true,
      onStart: (event) => void (start = event),
      ...told(second),
    });
    assert.equal(start!.epochsDone * 3 + start!.stepsDone, made);
    assert.ok(expected.equals(await bytesOf(model, folder)));
    const before = start!.epochsDone * 4 + start!.stepsDone; // three steps and their epoch
    assert.deepEqual(second, log.slice(before));
    // A step that was under way when the signal fired may not have been told.
    assert.ok(first.length === before || first.length === before - 1, first.join("\n"));
    assert.deepEqual(first, log.slice(0, first.length));
  }
});

test("a callback that fails, an image that cannot be read any more: what was trained is kept", async () => {
  const out = newRun();
  const failing = { out, onStep: ({ epoch }: { epoch: number }) => epoch === 2 && Promise.reject(new Error("mine")) };
  await assert.rejects(train(data, options, failing as FitOptions), /mine/);
  const { metadata } = await readTensors(checkpointFile(out));
  assert.ok(Number(metadata["epochs_done"]) >= 1);
  const expected = await bytesOf(await train(data, options), folder);
  assert.ok(expected.equals(await bytesOf(await train(data, options, { out, resume: true }), folder)));
});

test("while a training runs, checkpoints follow the clock, also within an epoch; none is written more often", async () => {
  const seen = new Set<string>();
  const pace = { ...checkpointPace };
  const look = async (): Promise<void> => {
    const file = checkpointFile(out);
    if (!existsSync(file)) return sleep(pause);
    const { metadata } = await readTensors(file);
    seen.add(`${metadata["epochs_done"]}, ${metadata["steps_done"]}`);
    await sleep(pause);
  };
  let pause = 0;
  let out = newRun();
  try {
    Object.assign(checkpointPace, { leastSeconds: Infinity });
    await train(data, options, { out, onStep: look });
    assert.deepEqual([...seen], [], "it is never time");
    Object.assign(checkpointPace, { leastSeconds: 0, timesItsCost: 0 });
    pause = 200; // so that a checkpoint is on the disk two steps later, also where the disk is slow
    out = newRun();
    await train(data, options, { out, onStep: look });
    assert.ok(seen.size > 1, [...seen].join());
    Object.assign(checkpointPace, { timesItsCost: 1e9 });
    seen.clear();
    out = newRun();
    await train(data, options, { out, onStep: look });
    assert.equal(seen.size, 1, "the first one tells what they cost");
  } finally {
    Object.assign(checkpointPace, pace);
  }
});

test("after a failed write the last checkpoint is tried once more, and only then told of", async () => {
  const out = newRun();
  mkdirSync(out);
  const blocked = path.join(out, "checkpoint");
  writeFileSync(blocked, "");
  const writer = new CheckpointWriter(out, 1, {}, notBegun());
  const state = { heads: {}, optimizer: {} };
  const progress = { ...notBegun(), epochsDone: 1 };
  writer.write(progress, state);
  await writer.settled();
  assert.throws(() => writer.check(), failure("FILE_ERROR", "checkpoint"));
  await assert.rejects(
    writer.finish(progress, () => Promise.resolve(state)),
    failure("FILE_ERROR", "checkpoint"),
  );
  rmSync(blocked);
  await writer.finish(progress, () => Promise.resolve(state));
  assert.equal((await readTensors(checkpointFile(out))).metadata["epochs_done"], "1");
});

for (const stage of ["validate", "measure", "calibrate"] as const) {
  test(`abort while the trainer is at '${stage}'`, async () => {
    const controller = new AbortController();
    const fit: FitOptions = {
      signal: controller.signal,
      onStage: (event) => event.stage === stage && event.done === 2 && controller.abort(),
    };
    await assert.rejects(train(data, { ...tinier, calibration: { fraction: 0.4 } }, fit), { code: "ABORTED" });
  });
}

for (const name of ["onStage", "onStart", "onStep", "onEpoch"] as const) {
  test(`${name} that throws: fit fails with that very error, and everything works afterwards`, async () => {
    const thrown = new Error(`from ${name}`);
    const out = newRun();
    const throws = (): never => {
      throw thrown;
    };
    const error: unknown = await train(data, options, { out, [name]: throws }).catch((e: unknown) => e);
    assert.equal(error, thrown);
    if (existsSync(out)) assert.deepEqual(filesUnder(out), ["checkpoint", "checkpoint/last.safetensors"]);
    if (name === "onStep") await assertUsable();
  });
}

test("noise beyond float32's range: DIVERGED in the first step, and no model", async () => {
  for (const heads of ["lowResolution", "direct"] as const) {
    for (const noiseStd of [1e25, 1e38]) {
      const out = newRun();
      await assert.rejects(
        train(data, { ...tinier, anomalies: { noiseStd }, network: { heads } }, { out }),
        failure("DIVERGED", "learning rate"),
        `${heads} ${noiseStd}`,
      );
      assert.ok(!existsSync(out));
    }
  }
  await assertUsable();
});

test("resume without a folder, or without a checkpoint in it", async () => {
  await assert.rejects(train(data, options, { resume: true }), failure("INVALID_OPTION", "out"));
  await assert.rejects(
    train(data, options, { resume: true, out: newRun() }),
    failure("FILE_NOT_FOUND", "last.safetensors"),
  );
});

test("resume with other options, data or weights: CHECKPOINT_MISMATCH names what differs, and the checkpoint stays", async () => {
  const out = await stopped();
  const kept = readFileSync(checkpointFile(out));
  const others: [TrainerOptions, ...string[]][] = [
    [{ epochs: 4 }, "epochs 3, which is now 4"],
    [{ batchSize: 5 }, "batchSize 4, which is now 5"],
    [{ seed: 1 }, "seed 0, which is now 1"],
    [{ anomalies: { noiseStd: 0.1 } }, "noiseStd"],
    [
      { imageSize: [32, 64], optimizer: { stopGradient: false } },
      "imageSize [32,32], which is now [32,64]",
      "stopGradient true, which is now false",
    ],
  ];
  for (const [other, ...shown] of others)
    await assert.rejects(
      train(data, { ...options, ...other }, { out, resume: true }),
      failure("CHECKPOINT_MISMATCH", ...shown),
    );
  const fewer = { ...data, samples: data.samples.slice(1) };
  await assert.rejects(
    train(fewer, options, { out, resume: true }),
    failure("CHECKPOINT_MISMATCH", "trainingData", "10 images", "9 images"),
  );
  assert.ok(kept.equals(readFileSync(checkpointFile(out))));
});

test("resume when an image has other pixels under the same name: CHECKPOINT_MISMATCH", async () => {
  const out = await stopped();
  const [first, second] = data.samples.filter(({ split }) => split === "train");
  const swapped = {
    ...data,
    samples: data.samples.map((sample) => (sample === first ? { ...sample, image: second!.image } : sample)),
  };
  await assert.rejects(train(swapped, options, { out, resume: true }), failure("CHECKPOINT_MISMATCH", "trainingData"));
});

test("nothing to resume is found out before the data is read", async () => {
  const onStage = (): never => assert.fail("nothing should have been begun");
  await assert.rejects(
    train(data, options, { resume: true, out: newRun(), onStage }),
    failure("FILE_NOT_FOUND", "last.safetensors"),
  );
});

test("another checkpoint is refused before weights are looked for and images are read, one for other data before anything is measured", async () => {
  const out = await stopped();
  const stages = new Set<string>();
  const onStage = ({ stage }: { stage: string }): void => void stages.add(stage);
  await assert.rejects(
    train(data, { ...options, seed: 1, backboneWeights: "none.pth" }, { out, resume: true, onStage }),
    failure("CHECKPOINT_MISMATCH", "seed"),
  );
  assert.deepEqual([...stages], []);
  await assert.rejects(
    train({ ...data, samples: data.samples.slice(1) }, options, { out, resume: true, onStage }),
    failure("CHECKPOINT_MISMATCH", "trainingData"),
  );
  assert.deepEqual([...stages], ["validate", "load"]);
});

test("the checkpoint of another training is replaced when that is asked for only, and by a training that has begun only", async () => {
  const out = await stopped();
  const kept = readFileSync(checkpointFile(out));
  await assert.rejects(train(data, options, { out }), failure("INVALID_OPTION", "resume", "overwrite", out));
  await assert.rejects(
    train(data, { ...options, backboneWeights: "none.pth" }, { out, overwrite: true }),
    failure("FILE_NOT_FOUND"),
  );
  assert.ok(kept.equals(readFileSync(checkpointFile(out))));
  let left: boolean | undefined;
  await train(
    data,
    { ...options, seed: 5 },
    { out, overwrite: true, onStart: () => void (left = existsSync(checkpointFile(out))) },
  );
  assert.equal(left, false, "an interruption in the first epoch leaves nothing of the other training");
  assert.ok(!kept.equals(readFileSync(checkpointFile(out))));
});

test("a folder that cannot be used is found out before anything is read", async () => {
  const file = path.join(folder, "a file");
  writeFileSync(file, "");
  const onStage = (): never => assert.fail("nothing should have been begun");
  for (const out of [file, path.join(file, "run"), "/proc/none"])
    await assert.rejects(train(data, options, { out, onStage }), failure("FILE_ERROR", out));
});

test("an asynchronous callback is waited for, and what it fails with ends the training", async () => {
  for (const name of ["onStage", "onStart", "onStep", "onEpoch"] as const)
    await assert.rejects(
      train(data, options, {
        [name]: async () => {
          await sleep(name === "onStage" ? 1500 : 1);
          throw new Error(`of ${name}`);
        },
      }),
      new Error(`of ${name}`),
    );
  let ended = false;
  await train(
    data,
    { ...options, epochs: 1 },
    {
      onEpoch: async () => {
        await sleep(50);
        ended = true;
      },
    },
  );
  assert.equal(ended, true);
});

test("samples that are taken away from the list meanwhile are still trained on", async () => {
  const samples = [...data.samples];
  const model = await train({ ...data, samples }, options, { onStage: () => void (samples.length = 0) });
  assert.deepEqual(model.heads, (await train(data, options)).heads);
});

test("one training at a time writes into a folder; what failed leaves no folder behind", async () => {
  const out = newRun();
  let second: Promise<unknown> | undefined;
  const onEpoch = (): void => {
    second ??= assert.rejects(
      train(data, options, { out }),
      failure("FILE_ERROR", "Another training is writing into", out),
    );
  };
  await train(data, options, { out, onEpoch });
  await second!;
  await train(data, options, { out, resume: true });
  const none = path.join(newRun(), "a", "b");
  await assert.rejects(
    train(data, { ...options, backboneWeights: "none.pth" }, { out: none }),
    failure("FILE_NOT_FOUND", "none.pth"),
  );
  assert.ok(!existsSync(path.dirname(path.dirname(none))), "nor one on the way to it");
});

test("resumed with another number of threads: a warning", async () => {
  const out = await stopped();
  const warned = async (threads: number): Promise<string[]> => {
    let warnings: string[] = [];
    const onStart = (event: StartEvent): never => {
      warnings = event.warnings;
      throw new Error("enough");
    };
    await assert.rejects(train(data, { ...options, threads }, { out, resume: true, onStart }), /enough/);
    return warnings.filter((warning) => warning.includes("threads"));
  };
  assert.deepEqual(await warned(1), []);
  assert.match((await warned(2))[0]!, /with 1 threads and goes on with 2/);
  await engine().setThreads(1);
});

test("a damaged checkpoint: FILE_CORRUPT naming the file", async () => {
  const out = await stopped();
  const file = checkpointFile(out);
  const whole = readFileSync(file);
  const resumed = (): Promise<unknown> => train(data, options, { out, resume: true });
  for (const length of [0, 5, 500, whole.length - 1]) {
    writeFileSync(file, whole);
    truncateSync(file, length);
    await assert.rejects(resumed(), failure("FILE_CORRUPT", file), `cut to ${length} bytes`);
  }

  writeFileSync(file, whole);
  const { tensors, metadata } = await readTensors(file);
  const damage: [string, typeof tensors, Record<string, string>][] = [
    ["no heads", Object.fromEntries(Object.entries(tensors).filter(([name]) => !name.startsWith("heads."))), metadata],
    [
      "no optimiser",
      Object.fromEntries(Object.entries(tensors).filter(([name]) => !name.startsWith("optimizer.mean"))),
      metadata,
    ],
    [
      "misshapen",
      {
        ...tensors,
        "heads.feature_adaptor.projection.bias": { dtype: "float32", shape: [3], data: new Float32Array(3) },
      },
      metadata,
    ],
    [
      "NaN",
      {
        ...tensors,
        "heads.feature_adaptor.projection.bias": {
          dtype: "float32",
          shape: [384],
          data: new Float32Array(384).fill(NaN),
        },
      },
      metadata,
    ],
    [
      "a negative variance",
      {
        ...tensors,
        "heads.discriminator.seg.1.running_var": {
          dtype: "float32",
          shape: [1024],
          data: new Float32Array(1024).fill(-1),
        },
      },
      metadata,
    ],
    ["fingerprint cut off", tensors, { ...metadata, fingerprint: metadata["fingerprint"]!.slice(0, 20) }],
    ["fingerprint of null", tensors, { ...metadata, fingerprint: "null" }],
    ["no number of epochs", tensors, { ...metadata, epochs_done: "" }],
    ["too many epochs", tensors, { ...metadata, epochs_done: "4" }],
    ["no number of steps", tensors, { ...metadata, steps_done: "" }],
    ["too many steps", tensors, { ...metadata, steps_done: "4", losses: JSON.stringify(notBegun().losses) }],
    ["steps after the last epoch", tensors, { ...metadata, epochs_done: "3", steps_done: "1" }],
    ["steps without losses", tensors, { ...metadata, steps_done: "1", losses: "{}" }],
    ["another version", tensors, { ...metadata, format_version: "1" }],
    ["a model instead", tensors, { ...metadata, format: "supersimplenet" }],
  ];
  for (const [what, badTensors, badMetadata] of damage) {
    await writeTensors(file, badTensors, badMetadata);
    await assert.rejects(resumed(), failure("FILE_CORRUPT", file), what);
  }
  writeFileSync(file, whole);
  await resumed();
});

test("a folder for the checkpoint that cannot be: the error says so", async () => {
  const file = path.join(folder, "a file");
  writeFileSync(file, "");
  await assert.rejects(train(data, options, { out: file }), failure("FILE_ERROR", "a file"));
});

test(
  "a folder that may not be written",
  { skip: process.getuid?.() === 0 && "root may write everywhere" },
  async () => {
    const out = await stopped();
    const kept = readFileSync(checkpointFile(out));
    const onEpoch = (): never => assert.fail("an epoch was done");
    try {
      chmodSync(path.dirname(checkpointFile(out)), 0o500);
      await assert.rejects(train(data, options, { out, resume: true }), failure("NO_PERMISSION", "checkpoint"));
      await assert.rejects(
        train(data, options, { out, overwrite: true, onEpoch }),
        failure("NO_PERMISSION", "checkpoint"),
      );
      chmodSync(out, 0o500);
      await assert.rejects(
        train(data, options, { out, overwrite: true, onStage: onEpoch }),
        failure("NO_PERMISSION", out),
      );
    } finally {
      chmodSync(out, 0o700);
      chmodSync(path.dirname(checkpointFile(out)), 0o700);
    }
    assert.ok(kept.equals(readFileSync(checkpointFile(out))));
  },
);

test(
  "CUDA asked for where there is none: DEVICE_UNAVAILABLE",
  { skip: hasCuda() && "this machine has CUDA" },
  async () => {
    for (const device of ["cuda", "cuda:7"])
      await assert.rejects(new Trainer({ ...options, device }).fit(data), failure("DEVICE_UNAVAILABLE", device, "cpu"));
  },
);

function hasCuda(): boolean {
  return engine().devices().length > 1;
}
