/** Trainings that are killed at random moments and resumed: for kill.test.ts and benchmarks/soak.ts. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";

import { readMetadata } from "../../lib/files/tensors.js";
import { datasets } from "../../lib/index.js";
import { Random } from "../../lib/random.js";
import { checkpointFile } from "../../lib/training/checkpoint.js";

const child = path.join(__dirname, "training-child.js");

/** Steps of a whole training: 10 images in batches of 4, 4 epochs. */
const STEPS = 12;
const STEPS_PER_EPOCH = 3;

interface Ended {
  code: number | null;
  signal: string | null;
  stderr: string;
  /** Milliseconds from the first step to the end. */
  ms: number;
}

/** Runs a training, or what is left of one; `kill`: milliseconds after a step when it is sent SIGKILL. */
function run(
  mode: "showSteps" | "resumeShown",
  data: string,
  out: string,
  kill?: { step: number; delay: number },
): Promise<Ended> {
  return new Promise((resolve) => {
    const trainer = spawn(process.execPath, [child, mode, data, out, "0"], { stdio: ["ignore", "pipe", "pipe"] });
    let steps = 0;
    let first: number | undefined;
    let stderr = "";
    trainer.stdout.on("data", (chunk: Buffer) => {
      first ??= performance.now();
      const before = steps;
      steps += String(chunk).split("step\n").length - 1;
      if (kill && before < kill.step && steps >= kill.step) setTimeout(() => trainer.kill("SIGKILL"), kill.delay);
    });
    trainer.stderr.on("data", (chunk: Buffer) => (stderr += String(chunk)));
    trainer.on("close", (code, signal) => resolve({ code, signal, stderr, ms: performance.now() - (first ?? 0) }));
  });
}

export interface Killed {
  kills: number;
  /** Trainings that were brought to their end. */
  trainings: number;
  /** Kills that left a checkpoint behind; the others came before the first one. */
  resumed: number;
  /** Most kills of one training. */
  most: number;
}

/**
 * Kills trainings with SIGKILL `kills` times in all, each at a random moment, and goes on from what they left: one after
 * the other until a training comes to its end. Every one must end in the bytes of an uninterrupted one.
 */
export async function killTrainings(folder: string, kills: number, seed: number): Promise<Killed> {
  const random = new Random(seed, "kill");
  const data = path.join(folder, "kill-data");
  await datasets.generated(data, { imageSize: [64, 64], trainNormal: 10, testNormal: 0, testAnomalous: 0 });
  let runs = 0;
  const newRun = (): string => {
    const out = path.join(folder, `kill-${runs++}`);
    mkdirSync(out);
    return out;
  };
  const modelOf = (out: string): Buffer => readFileSync(path.join(out, "model.safetensors"));
  const whole = newRun();
  const { code, stderr, ms } = await run("showSteps", data, whole);
  assert.equal(code, 0, stderr);

  const done: Killed = { kills: 0, trainings: 0, resumed: 0, most: 0 };
  while (done.kills < kills) {
    const out = newRun();
    for (let own = 0; ;) {
      const left = existsSync(checkpointFile(out));
      const { epochs_done: epochs = "0", steps_done: within = "0" } = left
        ? await readMetadata(checkpointFile(out))
        : {};
      const steps = STEPS - STEPS_PER_EPOCH * Number(epochs) - Number(within);
      // Within a step, a checkpoint or what follows the last one; some training ends before.
      const kill = { step: 1 + random.integer(Math.max(1, steps)), delay: random.uniform(0, (1.5 * ms) / STEPS) };
      const ended = await run(left ? "resumeShown" : "showSteps", data, out, done.kills < kills ? kill : undefined);
      if (ended.signal === "SIGKILL") {
        done.most = Math.max(done.most, ++own);
        done.kills++;
        if (existsSync(checkpointFile(out))) done.resumed++;
        continue;
      }
      assert.equal(ended.code, 0, ended.stderr);
      break;
    }
    assert.ok(modelOf(whole).equals(modelOf(out)), `the model of ${out} differs from that of an uninterrupted run`);
    assert.deepEqual(readdirSync(path.join(out, "checkpoint")), ["last.safetensors"], "what was left half-written");
    assert.deepEqual(readdirSync(out).sort(), ["checkpoint", "model.safetensors"], "what was left half-written");
    done.trainings++;
  }
  return done;
}
