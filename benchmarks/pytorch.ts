/**
 * This package beside plain PyTorch (benchmarks/pytorch/), which runs as a child process: the same weights, inputs, masks
 * and threads, outputs compared first, then timed in alternation. One case per run, so that memory is its own:
 *
 *   node --expose-gc dist/benchmarks/pytorch.js inference|training ARCHITECTURE [--size 256] [--batch 1] [--threads 1]
 *     [--repetitions 5] [--calls 1] [--device cpu] [--precision float32] [--python python3] [--compile] [--onnxruntime FOLDER]
 *     > benchmarks/results/NAME.json
 *
 * --calls: calls per repetition, timed together. On --device cuda copies and waiting are inside the clock, and memory is the GPU's;
 * PyTorch's network runs as a whole in --precision, in training under autocast.
 *
 * Python needs `torch` of the engine's version and `numpy`. Random weights: they change no time. --compile measures torch.compile
 * too (inference); --onnxruntime the installed package onnxruntime-node in that folder, on PyTorch's export of the same network and
 * on ours (inference; Python then needs `onnx`).
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { arithmetic } from "../lib/benchmark/arithmetic.js";
import { untrainedModel } from "../lib/benchmark/benchmark.js";
import { renderScene } from "../lib/datasets/surface.js";
import { writeTensors } from "../lib/files/tensors.js";
import type {
  Architecture,
  DetectorConfig,
  Precision,
  StepLosses,
  TensorMap,
  TrainerConfig,
} from "../lib/native/binding.js";
import { engine } from "../lib/native/engine.js";
import { Random } from "../lib/random.js";
import { machine, memory, resetPeakMemory, spread } from "./measure.js";
import { OnnxNetwork } from "./onnxruntime.js";
import { Child } from "./pytorch/child.js";
import { testing } from "../test/support/native.js";
import { detectorConfig, trainerConfig } from "../test/support/trainer_config.js";

interface Case {
  architecture: Architecture;
  size: number;
  batch: number;
  threads: number;
  repetitions: number;
  calls: number;
  device: string;
  precision: Precision;
}

/** One repetition: milliseconds on the clock, and of the processor: what the clock would show if nothing else ran, for one thread. */
interface Time {
  ms: number;
  cpuMs: number;
}
type Runner = () => Promise<Time>;

/** Of the largest magnitude: rounding, and what reduced precision makes of it in both networks. */
const tolerances: Record<Precision, number> = { float32: 1e-3, tf32: 0.03, bfloat16: 0.2, float16: 0.03 };
const gemmSide = 2048;
const noiseStd = 0.015;
const perlinThreshold = 0.2;

const native = engine(process.argv.includes("--device") ? process.argv[process.argv.indexOf("--device") + 1] : "cpu");
const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-pytorch-"));
const at = (name: string): string => path.join(folder, name);
const bytesOf = (data: Float32Array | Uint8Array): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
const collect = (globalThis as { gc?: () => void }).gc;

async function timed(body: () => Promise<unknown>, calls = 1): Promise<Time> {
  const start = performance.now();
  const before = process.cpuUsage();
  for (let i = 0; i < calls; i++) await body();
  const { user, system } = process.cpuUsage(before);
  return { ms: (performance.now() - start) / calls, cpuMs: (user + system) / 1000 / calls };
}

/** Every runner once per repetition; the machine's matrix product beside them. */
async function alternate(
  child: Child,
  runners: Record<string, Runner>,
  { repetitions, device }: Case,
): Promise<{ times: Record<string, Time[]>; gemmFlopsPerSecond: number }> {
  const times: Record<string, Time[]> = Object.fromEntries(Object.keys(runners).map((name) => [name, []]));
  const cpu = device === "cpu";
  let gemmFlopsPerSecond = 0;
  for (let i = 0; i < repetitions; i++) {
    for (const [name, run] of Object.entries(runners)) {
      const time = await run();
      times[name]!.push(time);
      console.error(`${i + 1}/${repetitions} ${name}: ${time.ms.toFixed(0)} ms, processor ${time.cpuMs.toFixed(0)} ms`);
    }
    if (cpu)
      gemmFlopsPerSecond = Math.max(
        gemmFlopsPerSecond,
        (await child.send<{ flopsPerSecond: number }>({ command: "gemm", side: gemmSide })).flopsPerSecond,
      );
  }
  return { times, gemmFlopsPerSecond };
}

/** Spread of each, and of its ratio to ours in the same repetition. */
function summary(times: Record<string, Time[]>): Record<string, unknown> {
  const ours = times["ours"]!;
  const of = (list: readonly Time[], key: keyof Time, withRatio: boolean): object => {
    const ratios = list.map((time, i) => time[key] / ours[i]![key]).sort((a, b) => a - b);
    const [median, min, max] = [ratios[Math.floor(ratios.length / 2)]!, ratios[0]!, ratios.at(-1)!].map(
      (ratio) => Math.round(ratio * 100) / 100,
    );
    return { ...spread(list.map((time) => time[key])), ...(withRatio && { timesOurs: { median, min, max } }) };
  };
  return Object.fromEntries(
    Object.entries(times).map(([name, list]) => [
      name,
      { clock: of(list, "ms", name !== "ours"), processor: of(list, "cpuMs", name !== "ours") },
    ]),
  );
}

/** Largest difference, relative to the largest magnitude. Throws when it is not within the tolerance. */
function agreement(what: string, ours: ArrayLike<number>, theirs: ArrayLike<number>, tolerance: number): number {
  let difference = 0;
  let magnitude = 0;
  for (let i = 0; i < ours.length; i++) {
    difference = Math.max(difference, Math.abs(ours[i]! - theirs[i]!));
    magnitude = Math.max(magnitude, Math.abs(theirs[i]!));
  }
  const relative = difference / magnitude;
  if (ours.length !== theirs.length || !(relative <= tolerance))
    throw new Error(`${what}: ours and theirs differ by ${relative}, which is no rounding`);
  return relative;
}

function networkOf({ architecture, size, device }: Case): DetectorConfig {
  return detectorConfig({ architecture, imageHeight: size, imageWidth: size, device });
}

/** The weights, also as the file that PyTorch reads; the images likewise. */
async function prepare(
  c: Case,
  child: Child,
): Promise<{ config: DetectorConfig; backbone: TensorMap; heads: TensorMap; images: Uint8Array[]; torch: string }> {
  const config = networkOf(c);
  const backbone = await native.randomBackbone(c.architecture, 0);
  const heads = await native.randomHeads(native.featureShape(config).channels, 0);
  await writeTensors(
    at("weights.safetensors"),
    { ...heads, ...Object.fromEntries(Object.entries(backbone).map(([name, tensor]) => [`backbone.${name}`, tensor])) },
    {},
  );
  const images = Array.from(
    { length: c.batch },
    (_, i) => renderScene(new Random(0, "benchmark", i), c.size, c.size).pixels,
  );
  writeFileSync(at("images"), Buffer.concat(images));
  const { torch } = await child.send<{ torch: string }>({
    command: "load",
    architecture: c.architecture,
    variant: config.variant,
    alignCorners: config.alignCorners,
    weights: at("weights.safetensors"),
    threads: c.threads,
    device: c.device,
    precision: c.precision,
  });
  await child.send({ command: "pixels", path: at("images"), count: c.batch, height: c.size, width: c.size });
  return { config, backbone, heads, images, torch };
}

async function inference(
  c: Case,
  child: Child,
  others: { compile: boolean; onnxruntime?: string | undefined },
): Promise<Record<string, unknown>> {
  const { config, backbone, heads, images, torch } = await prepare(c, child);
  await child.send({ command: "reduce" });
  const tolerance = tolerances[c.precision];
  const detector = await native.createDetector({ ...config, precision: c.precision, cudaGraphs: 4 }, backbone, heads);
  const alone = c.device === "cpu" && c.precision === "float32";
  const bfloat16 = alone
    ? await native.createDetector({ ...config, precision: "bfloat16" }, backbone, heads)
    : undefined;
  const pixels = new Uint8Array(Buffer.concat(images));
  // The third: on a GPU the first warms up and the second is recorded.
  for (let i = 0; i < 2; i++) await detector.detect(pixels, c.batch);
  const ours = await detector.detect(pixels, c.batch);
  const infer = async (compiled: boolean): Promise<Runner> => {
    // Compares, warms up, and with `compiled` compiles.
    const { scores } = await child.send<{ scores: number[] }>({ command: "infer", compiled, output: at("map") });
    const bytes = readFileSync(at("map"));
    compared[compiled ? "compiled" : "eager"] = {
      score: agreement("score", ours.scores, scores, tolerance),
      map: agreement(
        "map",
        ours.maps,
        new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4),
        tolerance,
      ),
    };
    return () => child.send<Time>({ command: "infer", compiled, calls: c.calls });
  };
  const compared: Record<string, { score: number; map: number }> = {};
  const runners: Record<string, Runner> = {
    ours: () => timed(() => detector.detect(pixels, c.batch), c.calls),
    ...(bfloat16 && { oursBfloat16: () => timed(() => bfloat16.detect(pixels, c.batch), c.calls) }),
    eager: await infer(false),
  };
  await bfloat16?.detect(pixels, c.batch); // warms up; how far its results are off is in docs/measurements/performance.md
  if (others.compile) {
    await child.send({ command: "compile" });
    runners["compiled"] = await infer(true);
  }
  if (others.onnxruntime !== undefined) {
    await child.send({ command: "export", path: at("direct.onnx") });
    const model = await untrainedModel(c.architecture, [c.size, c.size], "random");
    await model.exportOnnx(at("exported.onnx"), { input: "normalised", batch: c.batch, threads: c.threads });
    for (const [name, file] of Object.entries({ onnxruntime: "direct.onnx", exported: "exported.onnx" })) {
      const network = await OnnxNetwork.load(others.onnxruntime, at(file), c.threads);
      const run = () => network.detect(pixels, c.batch, c.size, c.size);
      const theirs = await run();
      compared[name] = {
        score: agreement("score", ours.scores, theirs.scores, tolerance),
        map: agreement("map", ours.maps, theirs.maps, tolerance),
      };
      runners[name] = () => timed(run, c.calls);
    }
  }
  gpuMemory(c, true);
  await child.send({ command: "memory", reset: true });
  const { times, gemmFlopsPerSecond } = await alternate(child, runners, c);
  const memoryBytes = gpuMemory(c);
  const theirMemory = await child.send<{ peakBytes: number | null }>({ command: "memory" });
  detector.dispose();
  bfloat16?.dispose();
  const counts = arithmetic(
    config,
    native.backboneTensors(c.architecture),
    native.headTensors(native.featureShape(config).channels),
  );
  const medianSeconds = spread(times["ours"]!.map(({ cpuMs }) => cpuMs)).medianMs / 1000;
  const lowResolution = c.batch * counts.lowResolution;
  return {
    torch,
    relativeDifference: compared,
    results: summary(times),
    flops: { direct: c.batch * counts.direct, lowResolution },
    ...(c.device === "cpu"
      ? { gemmFlopsPerSecond, timesRoofline: medianSeconds / (lowResolution / gemmFlopsPerSecond) }
      : { memory: { ours: memoryBytes, pytorch: theirMemory.peakBytes } }),
  };
}

async function training(c: Case, child: Child): Promise<Record<string, unknown>> {
  const { config, backbone, heads, images, torch } = await prepare(c, child);
  const shape = native.featureShape(config);
  const settings = trainerConfig({
    ...config,
    precision: c.precision as TrainerConfig["precision"],
    noiseStd: Float32Array.of(noiseStd),
    perlinThreshold,
    featureCacheBytes: 2 ** 33,
    cudaGraphs: 32,
  });
  const trainer = await native.createTrainer(settings, backbone, heads);
  const items = images.map((pixels, key) => ({ key, pixels }));
  await trainer.setTargets(items.map(({ key }) => ({ key, label: 0, segmented: true })));
  await trainer.observeFeatures(items);
  collect?.();
  const ourResting = gpuMemory(c)?.reserved ?? memory().resident;
  const { restingBytes: theirResting } = await child.send<{ restingBytes: number | null }>({
    command: "prepare",
    noiseStd,
  });

  const keys = items.map(({ key }) => key);
  await trainer.plan(Array.from({ length: 2 + c.repetitions * c.calls }, (_, step) => ({ index: step, keys })));
  let index = 0;
  /** As a training does: the losses of several steps are waited for together. */
  const ours = async (steps: number): Promise<number> => {
    const known: StepLosses[] = [];
    for (let i = 0; i < steps; i++)
      known.push(
        ...(await trainer.step({
          index: index++,
          items: keys.map((key) => ({ key })),
          adaptorLearningRate: 1e-4,
          headsLearningRate: 2e-4,
        })),
      );
    return [...known, ...(await trainer.finishSteps())].at(-1)!.total;
  };
  const masks = (step: number): Float32Array => {
    const data = testing().perlinMasks(0, step, 2 * c.batch, shape.height, shape.width, perlinThreshold);
    writeFileSync(at("mask"), bytesOf(data));
    return data;
  };
  const theirs = (calls: number, noise?: string) =>
    child.send<Time & { loss: number }>({
      command: "step",
      mask: at("mask"),
      height: shape.height,
      width: shape.width,
      calls,
      ...(noise !== undefined && { noise }),
    });

  // Two steps with the same masks and noise: the second loss also compares gradients and optimiser. They warm up too.
  const relativeDifference: number[] = [];
  for (let step = 0; step < 2; step++) {
    const mask = masks(step);
    writeFileSync(at("noise"), noiseAt(mask, step, 2 * c.batch, shape));
    const total = await ours(1);
    relativeDifference.push(
      agreement(`loss of step ${step}`, [total], [(await theirs(1, at("noise"))).loss], tolerances[c.precision]),
    );
  }
  collect?.();
  resetPeakMemory();
  gpuMemory(c, true);
  await child.send({ command: "memory", reset: true });
  let step = index;
  const { times, gemmFlopsPerSecond } = await alternate(
    child,
    {
      ours: async () => {
        const { ms, cpuMs } = await timed(() => ours(c.calls));
        return { ms: ms / c.calls, cpuMs: cpuMs / c.calls };
      },
      eager: () => {
        masks(step++);
        return theirs(c.calls);
      },
    },
    c,
  );
  const ourPeak = gpuMemory(c)?.peakReserved ?? memory().peak;
  const { peakBytes: theirPeak } = await child.send<{ peakBytes: number | null }>({ command: "memory" });
  trainer.dispose();
  const bytes = (peak: number | null, resting: number | null) => ({
    restingBytes: resting,
    peakBytes: peak,
    stepBytes: peak === null || resting === null ? null : peak - resting,
  });
  const [a, b] = [bytes(ourPeak, ourResting), bytes(theirPeak, theirResting)];
  return {
    torch,
    relativeDifference: { losses: relativeDifference },
    results: summary(times),
    ...(c.device === "cpu" && { gemmFlopsPerSecond }),
    memory: { ours: a, eager: b, timesOurs: a.stepBytes && b.stepBytes ? b.stepBytes / a.stepBytes : null },
  };
}

/** What libtorch's allocator has taken of the GPU's memory, now and at most, since the last call that resets it; undefined on the CPU. */
const gpuMemory = ({ device }: Case, reset = false) =>
  device === "cpu" ? undefined : (native.cudaMemory(Number(device.split(":")[1] ?? 0), reset) ?? undefined);

/** The latent noise of a step at the masked positions, sample by sample. */
function noiseAt(
  mask: Float32Array,
  step: number,
  samples: number,
  shape: { channels: number; height: number; width: number },
): Buffer {
  const plane = shape.height * shape.width;
  return Buffer.concat(
    Array.from({ length: samples }, (_, sample) => {
      const positions = Int32Array.from(
        Array.from({ length: plane }, (_, i) => i).filter((i) => mask[sample * plane + i] !== 0),
      );
      return bytesOf(
        testing()
          .latentNoise(0, step, sample, positions, shape.channels)
          .map((value) => value * noiseStd),
      );
    }),
  );
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      size: { type: "string", default: "256" },
      batch: { type: "string", default: "1" },
      threads: { type: "string", default: "1" },
      repetitions: { type: "string", default: "5" },
      calls: { type: "string", default: "1" },
      device: { type: "string", default: "cpu" },
      precision: { type: "string", default: "float32" },
      python: { type: "string", default: "python3" },
      compile: { type: "boolean", default: false },
      onnxruntime: { type: "string" },
    },
  });
  const [what, architecture] = positionals;
  if ((what !== "inference" && what !== "training") || architecture === undefined)
    throw new Error("Usage: pytorch.js inference|training ARCHITECTURE [options]");
  const c: Case = {
    architecture: architecture as Architecture,
    size: Number(values.size),
    batch: Number(values.batch),
    threads: Number(values.threads),
    repetitions: Number(values.repetitions),
    calls: Number(values.calls),
    device: values.device,
    precision: values.precision as Precision,
  };
  if (!(c.precision in tolerances) || (what === "training" && c.precision === "float16"))
    throw new Error(`--precision ${c.precision} is not for ${what}`);
  await native.setThreads(c.threads);
  const child = new Child(values.python, c.threads);
  try {
    const result = what === "inference" ? await inference(c, child, values) : await training(c, child);
    console.log(JSON.stringify({ what, ...c, machine: machine(c.threads), ...result }, null, 2));
  } finally {
    child.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
