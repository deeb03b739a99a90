// A long run in one process: detections of images of many sizes, formats and sources, some of them damaged; models loaded
// again, trainings, workers made and ended. Memory, descriptors and threads must be at the end what they were at the
// beginning.
//   npx tsc && node dist/benchmarks/soak.js [--detections N] [--rounds N] [--trainings N] [--minutes N] [--out FILE]
// Prints the table of docs/reliability.md and writes FILE (default: benchmarks/results/soak.json); exit code 1 if anything
// grew.
//   node dist/benchmarks/soak.js --kills N [--seed S]
// Something else: trainings that are killed N times (test/lifetime/kill.ts). Another seed, other moments; default: the time.
// A run that fails keeps its folder, which the last line names.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

import sharp from "sharp";

import { renderScene } from "../lib/datasets/surface.js";
import {
  type Dataset,
  datasets,
  Detector,
  type ErrorCode,
  type ImageSource,
  SuperSimpleNetError,
  Trainer,
  type TrainerOptions,
} from "../lib/index.js";
import { collectGarbage } from "../lib/machine.js";
import { engine } from "../lib/native/engine.js";
import { packageFolder } from "../lib/native/locate.js";
import { Random } from "../lib/random.js";
import { killTrainings } from "../test/lifetime/kill.js";
import { testing } from "../test/support/native.js";
import { machine, mixedSizes } from "./measure.js";

const options: TrainerOptions = {
  device: "cpu",
  backbone: "resnet18",
  backboneWeights: "random",
  imageSize: [64, 64],
  batchSize: 4,
  epochs: 2,
  threads: 1,
  calibration: { fraction: 0 },
};

/**
 * What may not grow, and by how much the last tenth of the rounds may lie above the first. malloc keeps free memory, more
 * or less of it each round; sharp's library keeps idle threads.
 */
const limits = { residentMiB: 64, allocatedMiB: 8, javascriptMiB: 4, descriptors: 0, threads: 4 } as const;
type Counts = Record<keyof typeof limits, number>;

/** A damaged source, and the code that it must be refused with. */
interface Damaged {
  source: ImageSource;
  code: ErrorCode;
}

interface Sources {
  good: ImageSource[];
  damaged: Damaged[];
}

/** 30 images from 16 x 16 to 640 x 480 as paths, encoded bytes and raw pixels; and damaged ones of each kind. */
async function makeSources(folder: string): Promise<Sources> {
  const formats = ["png", "jpeg", "webp", "tiff", "gif", "avif"] as const;
  const good: ImageSource[] = [];
  for (const [i, [width, height]] of mixedSizes.entries()) {
    for (const [k, format] of formats.entries()) {
      const { pixels } = renderScene(new Random(0, "soak", i, k), height, width);
      const raw = { width, height, channels: 3 as const };
      let picture = sharp(pixels, { raw });
      if ((i + k) % 4 === 1) picture = picture.greyscale();
      if ((i + k) % 4 === 2 && format !== "jpeg") picture = picture.ensureAlpha(0.5);
      const bytes = await picture.toFormat(format).toBuffer();
      const file = path.join(folder, `${i}-${k}.${format}`);
      writeFileSync(file, bytes);
      good.push([file, bytes, { data: pixels, ...raw }][(i + k) % 3]!);
    }
  }
  const size = { width: 200, height: 200 };
  const { pixels } = renderScene(new Random(0, "soak"), size.height, size.width);
  const whole = await sharp(pixels, { raw: { ...size, channels: 3 } })
    .png()
    .toBuffer();
  const broken = path.join(folder, "broken.png");
  writeFileSync(broken, whole.subarray(0, 5000));
  const changed = Buffer.from(whole);
  changed.fill(0, 3000, 3100);
  const damaged: Damaged[] = [
    { source: broken, code: "IMAGE_UNREADABLE" },
    { source: whole.subarray(0, 40), code: "IMAGE_UNREADABLE" },
    { source: changed, code: "IMAGE_UNREADABLE" },
    { source: new Uint8Array(0), code: "IMAGE_UNREADABLE" },
    { source: Buffer.from("<html>404</html>"), code: "IMAGE_UNREADABLE" },
    { source: path.join(folder, "none.png"), code: "FILE_NOT_FOUND" },
  ];
  return { good, damaged };
}

/** Detects in every way that there is, and checks each answer against the first one of that image. */
class Line {
  readonly #random = new Random(0, "line");
  readonly #logits = new Map<ImageSource, number>();
  detections = 0;
  refused = 0;

  constructor(private readonly sources: Sources) {}

  async run(detector: Detector, count: number): Promise<void> {
    const end = this.detections + count;
    while (this.detections < end) {
      // A call has 7.5 images on average: 1 % of all.
      if (this.#random.uniform() < 0.07) await this.#damaged(detector);
      else await this.#good(detector, Math.min(end - this.detections, [1, 1, 8, 20][this.#random.integer(4)]!));
    }
  }

  async #good(detector: Detector, count: number): Promise<void> {
    const chosen = Array.from(
      { length: count },
      () => this.sources.good[this.#random.integer(this.sources.good.length)]!,
    );
    const logits: number[] = [];
    if (count === 20) for await (const { logit } of detector.detectEach(chosen)) logits.push(logit);
    else logits.push(...(await detector.detect(chosen)).map(({ logit }) => logit));
    chosen.forEach((source, i) => this.#check(source, logits[i]!));
    this.detections += count;
  }

  async #damaged(detector: Detector): Promise<void> {
    const { source, code } = this.sources.damaged[this.#random.integer(this.sources.damaged.length)]!;
    const error: unknown = await detector.detect(source).catch((e: unknown) => e);
    if (!(error instanceof SuperSimpleNetError) || error.code !== code)
      throw new Error(`A damaged image should be refused with ${code}`, { cause: error });
    this.refused++;
    this.detections++;
  }

  #check(source: ImageSource, logit: number): void {
    const before = this.#logits.get(source) ?? logit;
    if (!Number.isFinite(logit) || Math.abs(logit - before) > 1e-4)
      throw new Error(`The logit of an image was ${before} and is now ${logit}`);
    this.#logits.set(source, before);
  }
}

/**
 * A worker that loads the model and detects; even ones end by themselves, odd ones are terminated in the middle. Those get
 * no paths: Node leaves a descriptor open when a worker is terminated while it opens a file (docs/reliability.md).
 */
async function useWorker(round: number, model: string, sources: readonly ImageSource[]): Promise<void> {
  const worker = new Worker(__filename, { workerData: { model, sources, end: round % 2 === 0 } });
  await new Promise<void>((resolve, reject) => {
    worker.once("error", reject);
    worker.once("exit", () => resolve());
    if (round % 2 === 1) worker.once("message", () => void worker.terminate());
  });
}

interface WorkerJob {
  model: string;
  sources: ImageSource[];
  end: boolean;
}

async function work({ model, sources, end }: WorkerJob): Promise<void> {
  const detector = await Detector.load(model, { device: "cpu" });
  await detector.detect(sources);
  parentPort!.postMessage("works");
  for (let i = 0; i < 20 || !end; i++) await detector.detect(sources);
  if (end) detector.dispose();
}

/**
 * After a full garbage collection, after what has been collected is finalised, between turns of the event loop, and without
 * the free blocks that malloc keeps.
 */
async function measured(): Promise<Counts> {
  // What a terminated worker left is given back when the engine's thread comes to it.
  await engine().setThreads(1);
  await sleep(200);
  for (let i = 0; i < 9; i++) (collectGarbage(), await new Promise(setImmediate));
  testing().trimMemory();
  const { rss, heapUsed, external } = process.memoryUsage();
  const MiB = (bytes: number): number => Number((bytes / 2 ** 20).toFixed(2));
  const count = (folder: string): number => readdirSync(`/proc/self/${folder}`).length;
  return {
    residentMiB: MiB(rss),
    allocatedMiB: MiB(testing().allocatedBytes() ?? NaN),
    javascriptMiB: MiB(heapUsed + external),
    descriptors: count("fd"),
    threads: count("task"),
  };
}

/**
 * Of these rounds the least: what comes and goes within a round is no growth, and what stays shows in every round. Of threads
 * the most: the image library ends idle ones.
 */
const summary = (rounds: readonly Counts[]): Counts =>
  Object.fromEntries(
    (Object.keys(limits) as (keyof Counts)[]).map((name) => {
      const counts = rounds.map((round) => round[name]);
      return [name, name === "threads" ? Math.max(...counts) : Math.min(...counts)];
    }),
  ) as unknown as Counts;

interface Plan {
  /** Rounds that would begin later are left out. */
  minutes: number;
  detections: number;
  rounds: number;
  trainings: number;
  out: string;
}

async function soak({ detections, rounds, trainings, minutes, out }: Plan, folder: string): Promise<boolean> {
  const started = performance.now();
  const data: Dataset = await datasets.generated(path.join(folder, "data"), {
    imageSize: [64, 64],
    trainNormal: 8,
    trainAnomalous: 2,
    testNormal: 1,
    testAnomalous: 1,
  });
  const file = path.join(folder, "model.safetensors");
  await (await new Trainer(options).fit(data)).save(file, { embedBackbone: true });
  const sources = await makeSources(folder);
  const inMemory = sources.good.filter((source) => typeof source !== "string").slice(0, 4);
  const line = new Line(sources);
  const warmUp = Math.ceil(rounds / 10);
  const all: Counts[] = [];
  let trained = 0;
  for (let round = 0; round < warmUp + rounds && performance.now() - started < minutes * 60_000; round++) {
    const detector = await Detector.load(file, { device: "cpu" });
    await line.run(detector, Math.ceil(detections / rounds));
    detector.dispose();
    await useWorker(round, file, inMemory);
    // The warm-up trains once.
    if (round === 0 || (round >= warmUp && trained < ((round - warmUp + 1) * trainings) / rounds)) {
      await new Trainer(options).fit(data, { out: path.join(folder, "run"), overwrite: true });
      if (round >= warmUp) trained++;
    }
    const now = await measured();
    all.push(now);
    console.error(`${round < warmUp ? "warm-up" : `round ${round - warmUp + 1} of ${rounds}`}: ${JSON.stringify(now)}`);
  }
  const counted = all.slice(warmUp);
  const tenth = Math.ceil(counted.length / 10);
  const [first, last] = [summary(counted.slice(0, tenth)), summary(counted.slice(-tenth))];
  const seconds = Math.round((performance.now() - started) / 1000);
  const grown = (Object.keys(limits) as (keyof Counts)[]).filter((name) => last[name] - first[name] > limits[name]);

  console.log(
    `| of ${counted.length} rounds | first tenth | last tenth | change | may grow by |\n|---|---|---|---|---|`,
  );
  for (const name of Object.keys(limits) as (keyof Counts)[]) {
    const change = Number((last[name] - first[name]).toFixed(2));
    console.log(`| ${name} | ${first[name]} | ${last[name]} | ${change} | ${limits[name]} |`);
  }
  const done = { detections: line.detections, refused: line.refused, reloads: all.length, trainings: trained + 1 };
  console.log(JSON.stringify({ ...done, workers: all.length, seconds, grown }));
  const result = {
    what: "a long run in one process; docs/reliability.md",
    ...machine(1),
    ...done,
    workers: all.length,
  };
  const figures = { seconds, warmUpRounds: warmUp, limits, first, last, grown, rounds: all };
  writeFileSync(out, `${JSON.stringify({ ...result, ...figures }, null, 2)}\n`);
  return grown.length === 0;
}

const whole = (name: string, text: string, least: number): number => {
  if (!/^\d+$/.test(text) || Number(text) < least || !Number.isSafeInteger(Number(text)))
    throw new Error(`--${name} is '${text}'. Give a whole number from ${least} on.`);
  return Number(text);
};

/** Keeps the folder where something failed. */
async function kill(kills: number, seed: number): Promise<void> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-kill-"));
  console.log(`Seed ${seed}, in ${folder}`);
  try {
    console.log(JSON.stringify(await killTrainings(folder, kills, seed)));
  } catch (error) {
    console.error(error);
    console.error(`Failed with seed ${seed}; kept: ${folder}`);
    process.exitCode = 1;
    return;
  }
  rmSync(folder, { recursive: true, force: true });
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      detections: { type: "string", default: "100000" },
      rounds: { type: "string", default: "50" },
      trainings: { type: "string", default: "20" },
      minutes: { type: "string", default: "120" },
      kills: { type: "string" },
      seed: { type: "string" },
      out: { type: "string", default: path.join(packageFolder, "benchmarks", "results", "soak.json") },
    },
  });
  if (values.kills !== undefined)
    return kill(whole("kills", values.kills, 1), whole("seed", values.seed ?? String(Date.now()), 0));
  const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-soak-"));
  try {
    const plan: Plan = {
      detections: Number(values.detections),
      rounds: Number(values.rounds),
      trainings: Number(values.trainings),
      minutes: Number(values.minutes),
      out: values.out,
    };
    if (!(await soak(plan, folder))) process.exitCode = 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

void (isMainThread ? main() : work(workerData as WorkerJob));
