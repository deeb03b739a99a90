/**
 * A training step with the allocator of native/memory.cc and without it: two child processes that take turns, step by
 * step, so that other work on the machine meets both. Processor time and page faults come from the system.
 *
 *   node dist/benchmarks/allocator.js [--backbone resnet18] [--size 128] [--batch 32] [--repetitions 20]
 *     > benchmarks/results/allocator-NAME.json
 *
 * Drawn images and random weights: they change no time. Linux only (peak memory).
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { parseArgs } from "node:util";

import { renderScene } from "../lib/datasets/surface.js";
import type { Architecture } from "../lib/native/binding.js";
import { engine } from "../lib/native/engine.js";
import { Random } from "../lib/random.js";
import { trainerConfig } from "../test/support/trainer_config.js";
import { machine, memory, resetPeakMemory, spread } from "./measure.js";

interface Case {
  backbone: Architecture;
  size: number;
  batch: number;
  repetitions: number;
}

interface Step {
  clockMs: number;
  userMs: number;
  systemMs: number;
  pageFaults: number;
  peakMiB: number;
  loss: number;
}

/** In a child: two steps to warm up, then one for each message. */
async function answer(c: Case): Promise<void> {
  const native = engine("cpu");
  const config = trainerConfig({
    architecture: c.backbone,
    imageHeight: c.size,
    imageWidth: c.size,
    noiseStd: Float32Array.of(0.015),
    featureCacheBytes: 2 ** 33,
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
  const keys = items.map(({ key }) => key);
  await trainer.plan(Array.from({ length: 2 + c.repetitions }, (_, index) => ({ index, keys })));
  const step = async (index: number): Promise<number> => {
    const known = await trainer.step({
      index,
      items: keys.map((key) => ({ key })),
      adaptorLearningRate: 1e-4,
      headsLearningRate: 2e-4,
    });
    return [...known, ...(await trainer.finishSteps())].at(-1)!.total;
  };
  for (let i = 0; i < 2; i++) await step(i);
  resetPeakMemory();
  process.send!("ready");
  for (let i = 0; i < c.repetitions; i++) {
    await once(process, "message");
    const before = process.resourceUsage();
    const start = performance.now();
    const loss = await step(2 + i);
    const clockMs = performance.now() - start;
    const after = process.resourceUsage();
    process.send!({
      clockMs,
      userMs: (after.userCPUTime - before.userCPUTime) / 1000,
      systemMs: (after.systemCPUTime - before.systemCPUTime) / 1000,
      pageFaults: after.minorPageFault - before.minorPageFault,
      peakMiB: memory().peak / 2 ** 20,
      loss,
    } satisfies Step);
  }
  process.disconnect();
}

async function start(c: Case, environment: NodeJS.ProcessEnv): Promise<ChildProcess> {
  const child = fork(__filename, ["--child", JSON.stringify(c)], {
    env: { ...process.env, OMP_NUM_THREADS: "1", ...environment },
  });
  await answerOf(child);
  return child;
}

async function answerOf(child: ChildProcess): Promise<unknown> {
  const stop = new AbortController();
  const ended = once(child, "exit", { signal: stop.signal }).then(([code]) => {
    throw new Error(`the child ended with ${code}`);
  });
  try {
    return (await Promise.race([once(child, "message", { signal: stop.signal }), ended]))[0];
  } finally {
    stop.abort();
    ended.catch(() => undefined);
  }
}

async function compare(c: Case): Promise<void> {
  const children = {
    recycling: await start(c, {}),
    plain: await start(c, { SUPERSIMPLENET_PLAIN_ALLOCATOR: "1" }),
  };
  const steps: Record<keyof typeof children, Step[]> = { recycling: [], plain: [] };
  for (let i = 0; i < c.repetitions; i++) {
    for (const name of i % 2 === 0 ? (["recycling", "plain"] as const) : (["plain", "recycling"] as const)) {
      children[name].send("step");
      steps[name].push((await answerOf(children[name])) as Step);
    }
    if (steps.recycling[i]!.loss !== steps.plain[i]!.loss) throw new Error(`the losses of step ${i} differ`);
  }
  const cpu = (step: Step): number => step.userMs + step.systemMs;
  const median = (values: number[]): number => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
  const ratio = (of: (step: Step) => number): number =>
    Number(median(steps.plain.map((step, i) => of(step) / of(steps.recycling[i]!))).toPrecision(3));
  const summary = (list: readonly Step[]): object => ({
    processor: spread(list.map(cpu)),
    clock: spread(list.map((step) => step.clockMs)),
    systemMs: Math.round(median(list.map((step) => step.systemMs))),
    pageFaults: Math.round(median(list.map((step) => step.pageFaults))),
    peakMiB: Math.round(list.at(-1)!.peakMiB),
  });
  const result = {
    ...c,
    machine: machine(1),
    plainTimesRecycling: { processor: ratio(cpu), clock: ratio((step) => step.clockMs) },
    recycling: summary(steps.recycling),
    plain: summary(steps.plain),
  };
  console.log(JSON.stringify(result, null, 2));
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      child: { type: "string" },
      backbone: { type: "string", default: "resnet18" },
      size: { type: "string", default: "128" },
      batch: { type: "string", default: "32" },
      repetitions: { type: "string", default: "20" },
    },
  });
  if (values.child !== undefined) return answer(JSON.parse(values.child) as Case);
  await compare({
    backbone: values.backbone as Architecture,
    size: Number(values.size),
    batch: Number(values.batch),
    repetitions: Number(values.repetitions),
  });
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
