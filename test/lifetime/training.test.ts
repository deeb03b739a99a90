// A process or worker may end in the middle of a training. Each case runs in processes of its own: they must end by
// themselves with the right code, never by a signal, and leave a checkpoint from which the run can be finished.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { before, test } from "node:test";

import { readTensors } from "../../lib/files/tensors.js";
import { datasets } from "../../lib/index.js";
import { checkpointFile } from "../../lib/training/checkpoint.js";
import { supersimplenet } from "../cli/run.js";
import { scratchFolder } from "../training/support.js";

const folder = scratchFolder();
const data = path.join(folder, "data");
/** The bytes of an uninterrupted run. */
let whole: Buffer;
before(async () => {
  // 10 images in batches of 4: 3 steps an epoch, 12 in all.
  await datasets.generated(data, { imageSize: [64, 64], trainNormal: 10, testNormal: 0, testAnomalous: 0 });
  const out = newRun();
  assert.deepEqual(await runChild("train", out), { code: 0, signal: null, stdout: "trained\n", stderr: "" });
  whole = readFileSync(path.join(out, "model.safetensors"));
});

let runs = 0;
function newRun(): string {
  const out = path.join(folder, `run-${runs++}`);
  mkdirSync(out);
  return out;
}

interface Ended {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

function runChild(mode: string, out: string, step = 0): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [path.join(__dirname, "training-child.js"), mode, data, out, String(step)], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => (stdout += String(chunk)));
    child.stderr.on("data", (chunk) => (stderr += String(chunk)));
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/** The checkpoint is whole; finished from there the model is that of an uninterrupted run. */
async function assertResumes(out: string): Promise<void> {
  const { metadata } = await readTensors(checkpointFile(out));
  assert.ok(Number(metadata["epochs_done"]) * 3 + Number(metadata["steps_done"]) >= 1);
  assert.deepEqual(await runChild("resume", out), { code: 0, signal: null, stdout: "trained\n", stderr: "" });
  assert.ok(whole.equals(readFileSync(path.join(out, "model.safetensors"))));
}

// Of the 12 steps the first is before any checkpoint, and the 3rd and 9th end an epoch.
const endings: [string, number, RegExp, number[]][] = [
  ["exit", 7, /^$/, [1, 8]],
  ["exitLater", 7, /^$/, [3, 9, 11]],
  ["throw", 1, /on purpose/, [8]],
  ["throwLater", 1, /on purpose/, [3, 8]],
];
for (const [mode, code, stderr, steps] of endings) {
  test(`${mode}: the process ends by itself and leaves a whole checkpoint or none`, async () => {
    for (const step of steps) {
      const out = newRun();
      const ended = await runChild(mode, out, step);
      assert.deepEqual({ code: ended.code, signal: ended.signal }, { code, signal: null }, ended.stderr);
      assert.match(ended.stderr, stderr);
      if (step === 1) assert.ok(!existsSync(checkpointFile(out)));
      else await assertResumes(out);
    }
  });
}

test("worker.terminate() in the middle: the main thread lives on and finishes the run", async () => {
  for (const step of [5, 9]) {
    const out = newRun();
    assert.deepEqual(await runChild("terminate", out, step), {
      code: 0,
      signal: null,
      stdout: "terminated with 1, trained\n",
      stderr: "",
    });
    assert.ok(whole.equals(readFileSync(path.join(out, "model.safetensors"))));
  }
});

test("two workers train at once: both get the model of a run alone", async () => {
  const out = newRun();
  for (const name of ["a", "b"]) mkdirSync(path.join(out, name));
  assert.deepEqual(await runChild("workers", out), {
    code: 0,
    signal: null,
    stdout: "trained\ntrained\n0 0\n",
    stderr: "",
  });
  for (const name of ["a", "b"]) assert.ok(whole.equals(readFileSync(path.join(out, name, "model.safetensors"))), name);
});

test("Ctrl-C and SIGTERM in the middle of 'supersimplenet train': 130, a checkpoint, and --resume ends at the same model", async () => {
  const args = (out: string): string[] => [
    "train",
    "--data",
    data,
    "--out",
    out,
    "--backbone",
    "resnet18",
    "--backbone-weights",
    "random",
    "--image-size",
    "32x32",
    "--batch",
    "4",
    "--epochs",
    "4",
    "--threads",
    "1",
    "--calibration-fraction",
    "0",
  ];
  for (const [signal, when] of [
    ["SIGINT", "epoch 3/4"],
    ["SIGTERM", "epoch 1/4"],
  ] as const) {
    const out = newRun();
    let sent = false;
    const stopped = await supersimplenet(args(out), {
      onStderr(soFar, kill) {
        if (!sent && soFar.includes(when)) ((sent = true), kill(signal));
      },
    });
    assert.equal(stopped.code, 130, stopped.stderr);
    assert.deepEqual(readdirSync(path.join(out, "checkpoint")), ["last.safetensors"]);
    await readTensors(checkpointFile(out));
    const resumed = await supersimplenet([...args(out), "--resume"]);
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.ok(whole.equals(readFileSync(path.join(out, "model.safetensors"))), `${signal} at ${when}`);
  }
});
