/**
 * The whole course from image files to a calibrated model in a file, through the Trainer: seconds of each part and in all,
 * beside what eager PyTorch would take (--python).
 *
 *   node dist/benchmarks/time_to_model.js [--images 200] [--epochs 60] [--size 256] [--batch 32] [--backbone wide_resnet50_2]
 *     [--precision float32] [--threads N] [--device auto] [--calibration auto] [--feature-cache-mib 2048] [--estimate-steps N]
 *     [--python PYTHON] [--name NAME]
 *
 * A table goes to stderr. The result goes to stdout, or with --name to benchmarks/results/time-to-model-NAME.json.
 * --estimate-steps: makes only so many steps (more than an epoch has) and extrapolates to --epochs; the result says so.
 * PyTorch's time is always an estimate: its backbone on one batch, and 3 steps, in float32, times what the course has of them.
 *
 * Drawn images and random weights: they change no time. The pace is the short one, the default; PyTorch makes as many steps.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import sharp from "sharp";

import { renderScene } from "../lib/datasets/surface.js";
import { writeTensors } from "../lib/files/tensors.js";
import { datasets, type StartEvent, Trainer, type TrainerOptions } from "../lib/index.js";
import type { Architecture, TensorMap } from "../lib/native/binding.js";
import { engine } from "../lib/native/engine.js";
import { Random } from "../lib/random.js";
import { paces, publishedNoiseStd, regimePresets } from "../lib/schema/presets.js";
import { testing } from "../test/support/native.js";
import { detectorConfig } from "../test/support/trainer_config.js";
import { machine, median } from "./measure.js";
import { Child } from "./pytorch/child.js";

interface Case {
  images: number;
  epochs: number;
  size: number;
  batch: number;
  backbone: Architecture;
  /** Steps that are made; undefined: all. */
  steps: number | undefined;
}

/** Seconds of each part, as they were measured. */
interface Course {
  start: StartEvent;
  /** Reading, decoding and checking all files. */
  check: number;
  load: number;
  /** The features' spread, where the noise is relative to it. */
  measure: number;
  /** By epoch. */
  epochs: { seconds: number; steps: number }[];
  /** Of a cross-fitting. */
  foldSteps: number;
  scoring: number;
  saving: number;
  lastLoss: number;
  /** Of everything, by the clock. */
  clock: number;
}

const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-course-"));
const seconds = (since: number): number => (performance.now() - since) / 1000;
const pixelsOf = (image: number, size: number): Uint8Array =>
  renderScene(new Random(0, "benchmark", image), size, size).pixels;

async function drawImages({ images, size }: Case): Promise<string> {
  const good = path.join(folder, "data", "train", "good");
  mkdirSync(good, { recursive: true });
  for (let i = 0; i < images; i++)
    await sharp(pixelsOf(i, size), { raw: { width: size, height: size, channels: 3 } })
      .png()
      .toFile(path.join(good, `${i}.png`));
  return path.join(folder, "data");
}

/** Trains and saves, and takes the time of each part by the events of the training. */
async function course(data: string, options: TrainerOptions): Promise<Course> {
  const spent = { validate: 0, load: 0, measure: 0, crossFit: 0, calibrate: 0 };
  const out: Pick<Course, "epochs"> & { start?: StartEvent; lastLoss: number } = { epochs: [], lastLoss: NaN };
  const dataset = await datasets.folder(data);
  const began = performance.now();
  let since = began;
  let steps = 0;
  const model = await new Trainer(options).fit(dataset, {
    out: path.join(folder, "run"),
    onStage({ stage }) {
      spent[stage] += seconds(since);
      since = performance.now();
    },
    onStart(event) {
      out.start = event;
      spent.load += seconds(since);
    },
    onStep: ({ step }) => void (steps = step),
    onEpoch(event) {
      out.epochs.push({ seconds: event.seconds, steps });
      out.lastLoss = event.loss;
      since = performance.now();
      if (event.epoch % 10 === 1) console.error(`epoch ${event.epoch}/${event.epochs}: ${event.seconds.toFixed(2)} s`);
    },
  });
  since = performance.now();
  await model.save(path.join(folder, "model.safetensors"));
  const { start, ...rest } = out;
  const { validate: check, load, measure, crossFit: foldSteps, calibrate: scoring } = spent;
  const whole = { saving: seconds(since), clock: seconds(began) };
  return { ...rest, start: start!, check, load, measure, foldSteps, scoring, ...whole };
}

/** The table: what was measured, or with fewer steps what the whole course would take. */
function parts(c: Case, { start, check, load, measure, epochs, foldSteps, scoring, saving }: Course) {
  const [first, ...others] = epochs;
  if (others.length === 0) throw new Error("Give more steps than an epoch has: the first epoch computes the features.");
  const step = median(others.map((epoch) => epoch.seconds / epoch.steps));
  const made = epochs.reduce((sum, epoch) => sum + epoch.steps, 0);
  const inAll = c.steps === undefined ? made : c.epochs * start.stepsPerEpoch;
  const features = Math.max(0, first!.seconds - first!.steps * step);
  const steps = c.steps === undefined ? epochs.reduce((sum, epoch) => sum + epoch.seconds, 0) - features : inAll * step;
  const folds = (foldSteps * inAll) / made;
  const list = {
    "check and decode": check,
    "load the backbone": load,
    "measure the features": measure,
    "decode, and compute features (first epoch)": features,
    steps,
    "steps of the folds": folds,
    "score for the thresholds": scoring,
    save: saving,
  };
  const total = Object.values(list).reduce((sum, value) => sum + value, 0);
  return { list, total, step, steps: inAll, stepsWithFolds: Math.round(inAll * start.calibration.timeFactor) };
}

/** Eager PyTorch's time for the same backbone and the same number of steps, from a few of them. */
async function pytorch(c: Case, python: string, threads: number, device: string, steps: number) {
  const native = engine();
  const config = detectorConfig({ architecture: c.backbone, imageHeight: c.size, imageWidth: c.size });
  const shape = native.featureShape(config);
  const weights: TensorMap = await native.randomHeads(shape.channels, 0);
  for (const [name, tensor] of Object.entries(await native.randomBackbone(c.backbone, 0)))
    weights[`backbone.${name}`] = tensor;
  const at = (name: string): string => path.join(folder, name);
  await writeTensors(at("weights.safetensors"), weights, {});
  writeFileSync(at("images"), Buffer.concat(Array.from({ length: c.batch }, (_, i) => pixelsOf(i, c.size))));
  const { perlinThreshold } = regimePresets.unsupervised.anomalies;
  const mask = testing().perlinMasks(0, 0, 2 * c.batch, shape.height, shape.width, perlinThreshold);
  writeFileSync(at("mask"), new Uint8Array(mask.buffer, mask.byteOffset, mask.byteLength));
  const child = new Child(python, threads);
  try {
    const { torch } = await child.send<{ torch: string }>({
      command: "load",
      architecture: c.backbone,
      variant: config.variant,
      alignCorners: config.alignCorners,
      weights: at("weights.safetensors"),
      threads,
      device,
      precision: "float32",
    });
    await child.send({ command: "pixels", path: at("images"), count: c.batch, height: c.size, width: c.size });
    const prepare = { command: "prepare", noiseStd: publishedNoiseStd };
    await child.send(prepare); // warms up
    const began = performance.now();
    await child.send(prepare);
    const backboneSeconds = (seconds(began) / c.batch) * c.images;
    const step = { command: "step", mask: at("mask"), height: shape.height, width: shape.width };
    await child.send({ ...step, calls: 1 }); // warms up
    const times: number[] = [];
    for (let i = 0; i < 3; i++) times.push((await child.send<{ ms: number }>({ ...step, calls: 1 })).ms / 1000);
    const stepSeconds = median(times);
    return {
      estimated: true,
      torch,
      precision: "float32",
      backboneSeconds,
      stepSeconds,
      measuredSteps: times,
      totalSeconds: backboneSeconds + steps * stepSeconds,
    };
  } finally {
    child.end();
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      images: { type: "string", default: "200" },
      epochs: { type: "string", default: String(paces.short.epochs) },
      size: { type: "string", default: "256" },
      batch: { type: "string", default: "32" },
      backbone: { type: "string", default: "wide_resnet50_2" },
      precision: { type: "string", default: "float32" },
      threads: { type: "string", default: String(os.availableParallelism()) },
      device: { type: "string", default: "auto" },
      calibration: { type: "string", default: "auto" },
      "feature-cache-mib": { type: "string", default: "2048" },
      "estimate-steps": { type: "string" },
      python: { type: "string" },
      name: { type: "string" },
    },
  });
  const c: Case = {
    images: Number(values.images),
    epochs: Number(values.epochs),
    size: Number(values.size),
    batch: Number(values.batch),
    backbone: values.backbone as Architecture,
    steps: values["estimate-steps"] === undefined ? undefined : Number(values["estimate-steps"]),
  };
  const threads = Number(values.threads);
  const measured = await course(await drawImages(c), {
    backbone: c.backbone,
    backboneWeights: "random",
    imageSize: [c.size, c.size],
    regime: "unsupervised",
    pace: "short",
    ...(c.steps === undefined ? { epochs: c.epochs } : { steps: c.steps }),
    batchSize: c.batch,
    device: values.device,
    threads,
    precision: values.precision as TrainerOptions["precision"] & string,
    cache: { memoryMiB: Number(values["feature-cache-mib"]) },
    calibration: { method: values.calibration as "auto" },
  });
  const { start, epochs, lastLoss, clock } = measured;
  const { list, total, step, steps, stepsWithFolds } = parts(c, measured);
  const { device } = start;
  // Before PyTorch runs: it is a process of its own, but on a GPU it takes memory.
  const gpu = device.startsWith("cuda") ? engine().cudaMemory(Number(device.split(":")[1] ?? 0)) : null;
  const peakProcessBytes = process.resourceUsage().maxRSS * 1024;
  const theirs = values.python === undefined ? null : await pytorch(c, values.python, threads, device, stepsWithFolds);

  const result = {
    ...{ ...c, device, precision: start.precision, precisionReason: start.precisionReason },
    ...{ calibration: start.calibration, steps, stepsWithFolds, machine: machine(threads) },
    estimatedFromSteps: c.steps ?? null,
    seconds: list,
    totalSeconds: total,
    clockSeconds: c.steps === undefined ? clock : null,
    stepSeconds: step,
    firstEpochSeconds: epochs[0]!.seconds,
    medianEpochSeconds: median(epochs.slice(1).map((epoch) => epoch.seconds)),
    lastLoss,
    ...{ peakProcessBytes, peakGpuBytes: gpu?.peakReserved ?? null },
    pytorch: theirs,
  };
  const line = (name: string, value: number): string => `${name.padEnd(46)}${value.toFixed(1).padStart(10)} s`;
  console.error(
    [
      `${c.backbone}, ${c.images} images of ${c.size}x${c.size}, ${c.epochs} epochs, ${start.precision}, ${device}, threads ${threads}`,
      ...(c.steps === undefined ? [] : [`ESTIMATED from ${c.steps} steps`]),
      ...Object.entries(list).map(([name, value]) => line(name, value)),
      line("in all", total),
      ...(c.steps === undefined ? [line("in all, by the clock", clock)] : []),
      ...(theirs === null
        ? []
        : [
            line("eager PyTorch, float32, ESTIMATED from 3 steps", theirs.totalSeconds),
            `${(theirs.totalSeconds / total).toFixed(1)} times as long`,
          ]),
    ].join("\n"),
  );
  const text = `${JSON.stringify(result, null, 2)}\n`;
  if (values.name === undefined) process.stdout.write(text);
  else writeFileSync(path.join("benchmarks", "results", `time-to-model-${values.name}.json`), text);
}

main()
  .catch((error: unknown) => {
    console.error(error);
    process.exitCode = 1;
  })
  .finally(() => rmSync(folder, { recursive: true, force: true }));
