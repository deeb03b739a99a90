/** One rank. Run by distributed.test.ts, which gives it its place in the environment and a list of trainings; not a test itself. */
import { createHash } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import {
  datasets,
  type EpochEvent,
  type StepEvent,
  SuperSimpleNetError,
  Trainer,
  type TrainerOptions,
} from "../../lib/index.js";
import type { Regime } from "../../lib/index.js";
import { checkpointFile } from "../../lib/training/checkpoint.js";
import { checkpointPace } from "../../lib/training/checkpoint_writer.js";
import { labelledFor } from "./support.js";
import { testing } from "../support/native.js";

/** One call of fit. What is `of` a rank is for that rank alone. */
export interface Training {
  name: string;
  regime: Regime;
  options: TrainerOptions;
  /** Only so many training images. */
  images?: number;
  /** `goesOnAfter`: begins the next training when these ranks have ended this one too. */
  of?: Record<
    number,
    {
      options?: TrainerOptions;
      images?: number;
      goesOnAfter?: number[];
      abortAfter?: number;
      abortAtOnce?: boolean;
      killAfter?: number;
      exitAfter?: number;
      stopAfter?: number;
    }
  >;
  resume?: boolean;
  out?: string;
}

/** What a rank says of one training, as a line of JSON. */
export interface Told {
  name: string;
  rank: number;
  error?: { code: string; message: string };
  /** SHA-256 of all tensors of the model. */
  digest?: string;
  losses: number[];
  /** Images whose features this rank had. */
  features: number;
}

interface Job {
  data: string;
  /** Where rank 0 of each training leaves its model, as NAME.safetensors. */
  models: string;
  trainings: Training[];
}

async function perform(job: Job, training: Training): Promise<Told> {
  const rank = Number(process.env["RANK"]);
  const { regime, out, resume = false } = training;
  const of = training.of?.[rank] ?? {};
  const images = of.images ?? training.images ?? Infinity;
  const labelled = labelledFor(await datasets.folder(job.data), regime);
  let taken = 0;
  const data = { ...labelled, samples: labelled.samples.filter(({ split }) => split === "train" && taken++ < images) };
  const controller = new AbortController();
  const told: Told = { name: training.name, rank, losses: [], features: 0 };
  const onStep = async ({ total }: StepEvent): Promise<void> => {
    told.losses.push(total);
    if (told.losses.length === of.abortAfter) controller.abort();
    if (told.losses.length === of.exitAfter) setTimeout(() => process.exit(7), 3); // while the engine works or waits
    if (told.losses.length === of.killAfter) {
      while (!existsSync(checkpointFile(`${out}-0`))) await sleep(1);
      process.kill(process.pid, "SIGKILL");
    }
    if (told.losses.length === of.stopAfter) process.kill(process.pid, "SIGSTOP");
  };
  const onEpoch = ({ features }: EpochEvent): void =>
    void (told.features += features.memory + features.host + features.file + features.computed);
  if (of.abortAtOnce) setTimeout(() => controller.abort(), 100);
  try {
    // Every rank is given a folder of its own; only rank 0 may write to it.
    const kept = out === undefined ? {} : { out: `${out}-${rank}`, resume };
    const model = await new Trainer({ ...training.options, ...of.options }).fit(data, {
      signal: controller.signal,
      onStep,
      onEpoch,
      ...kept,
    });
    const digest = createHash("sha256");
    for (const name of Object.keys(model.heads).sort())
      digest.update(Buffer.from((model.heads[name]!.data as Float32Array).buffer));
    told.digest = digest.update(JSON.stringify(model.config)).digest("hex");
    if (rank === 0) await model.save(path.join(job.models, `${training.name}.safetensors`));
  } catch (error) {
    told.error =
      error instanceof SuperSimpleNetError
        ? { code: error.code, message: error.message }
        : { code: "?", message: String(error) };
  }
  const ended = (of: number): string => path.join(job.models, `${training.name}.${of}.ended`);
  writeFileSync(ended(rank), "");
  for (let waits = 0; waits < 500 && of.goesOnAfter?.some((other) => !existsSync(ended(other))); waits++)
    await sleep(20);
  return told;
}

async function main(job: Job): Promise<void> {
  Object.assign(checkpointPace, { leastSeconds: 0, timesItsCost: 0 });
  if (process.env["PORTABLE"]) await testing().setPortable(true);
  for (const training of job.trainings) console.log(JSON.stringify(await perform(job, training)));
}

if (require.main === module) void main(JSON.parse(process.argv[2]!) as Job);
