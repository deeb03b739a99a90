import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { mock, test } from "node:test";

import { output } from "../../lib/cli/output.js";
import { showTraining } from "../../lib/cli/progress.js";
import { withWhatIsKept } from "../../lib/cli/run_folder.js";
import { SuperSimpleNetError } from "../../lib/index.js";
import { checkpointFile, notBegun, writeCheckpoint } from "../../lib/training/checkpoint.js";
import type { EpochEvent, StartEvent } from "../../lib/training/events.js";
import { scratchFolder } from "../training/support.js";

const folder = scratchFolder();

const start: StartEvent = {
  regime: "unsupervised",
  counts: {
    trainNormal: 80,
    trainAnomalous: 0,
    trainSegmented: 0,
    calibrationNormal: 0,
    calibrationAnomalous: 0,
  },
  warnings: [],
  backbone: { architecture: "resnet18", source: "random", trained: false, reason: null },
  init: null,
  view: null,
  bitDepth: 16,
  noiseStd: 0.015,
  noiseRelative: 0.1,
  noise: "absolute",
  device: "cpu",
  deviceReason: "asked for",
  precision: "float32",
  precisionReason: null,
  rank: 0,
  ranks: 1,
  epochsDone: 0,
  stepsDone: 0,
  epochs: 3,
  stepsPerEpoch: 8,
  calibration: { method: "none", folds: null, timeFactor: 1, falseRejectRate: 0.01 },
};

const epoch = (number: number, seconds: number): EpochEvent => ({
  epoch: number,
  epochs: 3,
  loss: 1,
  l1Normal: 0,
  l1Anomalous: 0,
  focalMap: 0,
  focalScore: 0,
  gradientNorm: 0,
  adaptorLearningRate: 0,
  headsLearningRate: 0,
  features: { memory: 0, host: 0, file: 0, computed: 0 },
  warnings: [],
  seconds,
  images: 0,
});

/** The lines of epochs of a training that begins so. */
async function lines(more: Partial<StartEvent>, ...epochs: EpochEvent[]): Promise<string[]> {
  const log = mock.method(output, "log", () => undefined);
  const progress = mock.method(output, "progress", () => undefined);
  try {
    const { callbacks } = showTraining(path.join(folder, "log.jsonl"));
    await callbacks.onStart!({ ...start, ...more });
    for (const event of epochs) await callbacks.onEpoch!(event);
    return progress.mock.calls.map(({ arguments: [text] }) => String((text as unknown) ?? ""));
  } finally {
    log.mock.restore();
    progress.mock.restore();
  }
}

test("the pace of a training that goes on within an epoch leaves that epoch out", async () => {
  assert.deepEqual(await lines({ epochsDone: 1, stepsDone: 7 }, epoch(2, 1), epoch(3, 8)), [
    "epoch 2/3  loss 1.0000",
    "epoch 3/3  loss 1.0000  10 images/s  done",
  ]);
  assert.deepEqual(await lines({ epochsDone: 1 }, epoch(2, 8), epoch(3, 8)), [
    "epoch 2/3  loss 1.0000  10 images/s  0:08 left",
    "epoch 3/3  loss 1.0000  10 images/s  done",
  ]);
});

test("a checkpoint is said to be kept where there is one", async () => {
  const out = path.join(folder, "run");
  const kept = (): string => {
    const error = withWhatIsKept(new SuperSimpleNetError("ABORTED", "Stopped."), "COMMAND", out);
    return (error as Error).message;
  };
  const checkpoint = checkpointFile(out);
  mkdirSync(path.dirname(checkpoint), { recursive: true });
  assert.match(kept(), /No checkpoint was written yet/);
  await writeCheckpoint(out, { ...notBegun(), threads: 1, heads: {}, optimizer: {} }, {});
  assert.match(kept(), /A checkpoint is kept; continue with: COMMAND/);
});
