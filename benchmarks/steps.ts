/**
 * A training step of this build beside one of another checkout, which is built too: child processes that take turns, step by
 * step, so that other work on the machine meets all of them.
 *
 *   node dist/benchmarks/steps.js [--before FOLDER] [--backbone wide_resnet50_2] [--size 256] [--batch 32] [--threads 2]
 *     [--precision float32,bfloat16] [--noise-vectors 512] [--repetitions 5] [--profile] [--plain-allocator]
 *     > benchmarks/results/steps-NAME.json
 *
 * "before" is the other checkout in float32. Features are cached; drawn images and random weights change no time. Linux only
 * (memory). --plain-allocator adds this build without the allocator of native/memory.cc. --profile also says what the processor's time goes to, by the functions that Linux's `perf` finds at work.
 */
import { type ChildProcess, execFileSync, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { renderScene } from "../lib/datasets/surface.js";
import type { Architecture, NativeBinding, TrainerConfig } from "../lib/native/binding.js";
import { Random } from "../lib/random.js";
import type { TrainerChanges } from "../test/support/trainer_config.js";
import { machine, median, memory, resetPeakMemory, spread } from "./measure.js";

interface Side {
  name: string;
  /** Of the checkout. */
  root: string;
  changes: TrainerChanges;
  env?: Record<string, string>;
}

interface Case {
  backbone: Architecture;
  size: number;
  batch: number;
  threads: number;
}

interface Step {
  clockMs: number;
  cpuMs: number;
  peakMiB: number;
  loss: number;
}

/** In a child: two steps to warm up, then one for each message. */
async function answer(c: Case, { root, changes }: Side): Promise<void> {
  const load = async <T>(file: string): Promise<T> => (await import(path.join(root, "dist", file))) as T;
  const { engine } = await load<{ engine(device: string): NativeBinding }>("lib/native/engine.js");
  const { trainerConfig } = await load<{ trainerConfig(changes: TrainerChanges): TrainerConfig }>(
    "test/support/trainer_config.js",
  );
  const native = engine("cpu");
  await native.setThreads(c.threads);
  const config = trainerConfig({
    architecture: c.backbone,
    imageHeight: c.size,
    imageWidth: c.size,
    noiseStd: Float32Array.of(0.015),
    featureCacheBytes: 2 ** 33,
    ...changes,
  });
  const trainer = await native.createTrainer(
    config,
    await native.randomBackbone(c.backbone, 0),
    await native.randomHeads(native.featureShape(config).channels, 0),
  );
  const items = Array.from({ length: c.batch }, (_, key) => ({
    key,
    pixels: renderScene(new Random(0, "benchmark", key), c.size, c.size).pixels,
  }));
  await trainer.setTargets(items.map(({ key }) => ({ key, label: 0, segmented: true })));
  await trainer.observeFeatures(items);
  const step = async (index: number): Promise<number> => {
    const [losses] = await trainer.step({
      index,
      items: items.map(({ key }) => ({ key })),
      adaptorLearningRate: 1e-4,
      headsLearningRate: 2e-4,
    });
    return losses!.total;
  };
  const resting = memory().resident;
  let index = 0;
  for (let i = 0; i < 2; i++) await step(index++);
  process.on("message", () => {
    void (async () => {
      resetPeakMemory();
      const start = performance.now();
      const before = process.cpuUsage();
      const loss = await step(index++);
      const clockMs = performance.now() - start;
      const { user, system } = process.cpuUsage(before);
      const result: Step = {
        clockMs,
        cpuMs: (user + system) / 1000,
        peakMiB: (memory().peak - resting) / 2 ** 20,
        loss,
      };
      process.send!(result);
    })();
  });
  process.send!("ready");
}

/** What the functions of a step belong to; the first that fits. */
const parts = {
  products: /gemm|mkl_|dnnl|jit_|brgemm/,
  "the system": /^\[k\]/,
  noise:
    /noise|Noise|philox|normals|perlin|Perlin|addRun|scaledSum|addWeighted|ActivePositions|namespace\)::add\(|addNoise|forEachTap/,
  upscaling: /Combine|RowUpscale/,
  "rows and pooling":
    /addScaled|addSquaredDeviation|leakyDot|addGradients|inputGradient|poolRow|statisticsOnCpu|rowsBackward|classificationPool/,
  "waiting for threads": /gomp|omp_|do_wait|sched_yield/,
} as const;

/** Milliseconds of the processor per step, by part. */
async function profile(child: ChildProcess, repetitions: number): Promise<Record<string, number>> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-profile-"));
  try {
    const file = path.join(folder, "data");
    const perf = spawn("perf", ["record", "-F", "499", "-o", file, "-p", String(child.pid)], { stdio: "ignore" });
    await once(perf, "spawn"); // or its error: there is no perf
    await sleep(2000); // until it has attached
    let cpuMs = 0;
    for (let i = 0; i < repetitions; i++) {
      child.send("step");
      cpuMs += (await next<Step>(child)).cpuMs / repetitions;
    }
    perf.kill("SIGINT");
    await once(perf, "exit");
    const report = execFileSync("perf", ["report", "-i", file, "--no-children", "--sort", "symbol", "--stdio"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      maxBuffer: 2 ** 27,
    });
    const out: Record<string, number> = {};
    for (const [, percent, symbol] of report.matchAll(/^ +([\d.]+)% +(\[.\].*)$/gm)) {
      const name = symbol!.startsWith("[k]") ? "[k]" : symbol!;
      const part = Object.entries(parts).find(([, pattern]) => pattern.test(name))?.[0] ?? "everything else";
      out[part] = (out[part] ?? 0) + (Number(percent) / 100) * cpuMs;
    }
    return Object.fromEntries(Object.entries(out).map(([part, ms]) => [part, Math.round(ms)]));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function next<T>(child: ChildProcess): Promise<T> {
  const gone = new AbortController();
  const ended = once(child, "exit", { signal: gone.signal }).then(([code]) => {
    throw new Error(`a child process ended with ${code}`);
  });
  ended.catch(() => undefined);
  try {
    const [message] = (await Promise.race([once(child, "message", { signal: gone.signal }), ended])) as [T];
    return message;
  } finally {
    gone.abort();
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      before: { type: "string" },
      backbone: { type: "string", default: "wide_resnet50_2" },
      size: { type: "string", default: "256" },
      batch: { type: "string", default: "32" },
      threads: { type: "string", default: "2" },
      precision: { type: "string", default: "float32" },
      "noise-vectors": { type: "string", default: "512" },
      repetitions: { type: "string", default: "5" },
      profile: { type: "boolean", default: false },
      "plain-allocator": { type: "boolean", default: false },
      child: { type: "string" },
    },
  });
  if (values.child !== undefined) {
    const { c, side } = JSON.parse(values.child) as { c: Case; side: Side };
    return answer(c, side);
  }
  const c: Case = {
    backbone: values.backbone as Architecture,
    size: Number(values.size),
    batch: Number(values.batch),
    threads: Number(values.threads),
  };
  const own = path.resolve(__dirname, "../..");
  const noiseVectors = values["noise-vectors"] === "independent" ? 0 : Number(values["noise-vectors"]);
  const sides: Side[] = (values.precision.split(",") as TrainerConfig["precision"][]).map((precision) => ({
    name: precision,
    root: own,
    changes: { precision, noiseVectors },
  }));
  if (values["plain-allocator"])
    sides.push({ ...sides[0]!, name: "plain allocator", env: { SUPERSIMPLENET_PLAIN_ALLOCATOR: "1" } });
  if (values.before !== undefined) sides.unshift({ name: "before", root: path.resolve(values.before), changes: {} });
  const children: ChildProcess[] = [];
  for (const side of sides) {
    const child = fork(__filename, ["--child", JSON.stringify({ c, side })], { env: { ...process.env, ...side.env } });
    children.push(child);
    await next(child);
  }
  const steps = sides.map((): Step[] => []);
  for (let i = 0; i < Number(values.repetitions); i++)
    for (const [k, child] of children.entries()) {
      child.send("step");
      const step = await next<Step>(child);
      steps[k]!.push(step);
      console.error(
        `${i + 1} ${sides[k]!.name}: ${step.clockMs.toFixed(0)} ms, processor ${step.cpuMs.toFixed(0)} ms, ${step.peakMiB.toFixed(0)} MiB, loss ${step.loss}`,
      );
    }
  const profiles: Record<string, number>[] = [];
  if (values.profile) for (const child of children) profiles.push(await profile(child, Number(values.repetitions)));
  for (const child of children) child.kill();
  const middle = (list: readonly number[]): number => Number(median(list).toPrecision(4));
  const results = sides.map(({ name }, k) => ({
    name,
    clock: spread(steps[k]!.map(({ clockMs }) => clockMs)),
    processor: spread(steps[k]!.map(({ cpuMs }) => cpuMs)),
    peakMiB: middle(steps[k]!.map(({ peakMiB }) => peakMiB)),
    ...(profiles[k] && { processorMsByPart: profiles[k] }),
    /** Of the first side, in the same repetition. */
    timesFaster: {
      clock: middle(steps[k]!.map(({ clockMs }, i) => steps[0]![i]!.clockMs / clockMs)),
      processor: middle(steps[k]!.map(({ cpuMs }, i) => steps[0]![i]!.cpuMs / cpuMs)),
    },
  }));
  console.log(
    JSON.stringify({ what: "training step", ...c, noiseVectors, machine: machine(c.threads), results }, null, 2),
  );
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
