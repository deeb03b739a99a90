/** A process that ends while it trains. Run by training.test.ts: node training-child.js MODE DATA OUT STEP; not a test itself. */
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";

import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { datasets, type FitOptions, type StepEvent, Trainer, type TrainerOptions } from "../../lib/index.js";

import { checkpointFile } from "../../lib/training/checkpoint.js";
import { checkpointPace } from "../../lib/training/checkpoint_writer.js";

interface Job {
  mode: string;
  data: string;
  out: string;
  /** Steps over the whole training after which it ends. */
  step: number;
}

const trainerOptions: TrainerOptions = {
  backbone: "resnet18",
  backboneWeights: "random",
  imageSize: [32, 32],
  batchSize: 4,
  epochs: 4,
  threads: 1,
  calibration: { fraction: 0 },
};

async function fit({ data, out }: Job, options: FitOptions = {}): Promise<void> {
  const model = await new Trainer(trainerOptions).fit(await datasets.folder(data), { out, ...options });
  await model.save(`${out}/model.safetensors`);
}

/**
 * Calls `body` after that many steps, from within the event or, with the next steps under way, from the event loop. From
 * the third step on a checkpoint is waited for first.
 */
function after({ step, out }: Job, body: () => void, later = false): (event: StepEvent) => Promise<void> {
  let steps = 0;
  return async () => {
    if (++steps !== step) return;
    while (step >= 3 && !existsSync(checkpointFile(out))) await sleep(1);
    later ? setTimeout(body, 5) : body();
  };
}

/** A checkpoint after every step, if the one before is written. */
const often = (): void => void Object.assign(checkpointPace, { leastSeconds: 0, timesItsCost: 0 });

const startWorker = (job: Job): Worker => new Worker(__filename, { workerData: job });

const modes: Record<string, (job: Job) => void> = {
  train: (job) => void fit(job).then(() => console.log("trained")),
  resume: (job) => void fit(job, { resume: true }).then(() => console.log("trained")),
  /** Print a line after each step. */
  showSteps: (job) => void fit(job, { onStep: () => void process.stdout.write("step\n") }),
  resumeShown: (job) => void fit(job, { resume: true, onStep: () => void process.stdout.write("step\n") }),
  exit: (job) => void fit(job, { onStep: after(job, () => process.exit(7)) }),
  exitLater: (job) => void fit(job, { onStep: after(job, () => process.exit(7), true) }),
  throwLater: (job) =>
    void fit(job, {
      onStep: after(
        job,
        () => {
          throw new Error("on purpose");
        },
        true,
      ),
    }),
  /** An exception in a callback, which nobody catches. */
  throw: (job) =>
    void fit(job, {
      onStep: after(job, () => {
        throw new Error("on purpose");
      }),
    }),
  /** A worker that is terminated from outside while it trains; then the main thread finishes its work from the checkpoint. */
  terminate: (job) => {
    const worker = startWorker({ ...job, mode: "report" });
    let steps = 0;
    worker.on("message", () => {
      if (++steps === job.step)
        void worker
          .terminate()
          .then((code) => fit(job, { resume: true }).then(() => console.log(`terminated with ${code}, trained`)));
    });
  },
  report: (job) => void fit(job, { onStep: () => parentPort!.postMessage("step") }),
  /** Two workers that train at once, each in its own folder. */
  workers: (job) => {
    const ended = ["a", "b"].map(
      (name) =>
        new Promise<number>((resolve) =>
          startWorker({ ...job, mode: "train", out: `${job.out}/${name}` }).once("exit", resolve),
        ),
    );
    void Promise.all(ended).then((codes) => console.log(codes.join(" ")));
  },
};

const [, , mode, data, out, step] = process.argv as [string, string, string, string, string, string];
const job: Job = isMainThread ? { mode, data, out, step: Number(step) } : (workerData as Job);
if (job.step === 0 || job.step >= 3) often();
modes[job.mode]!(job);
