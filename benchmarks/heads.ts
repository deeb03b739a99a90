/**
 * The low-resolution heads beside the direct ones, which compute the same function at full resolution, in one run and in
 * alternation: detection of one image (whole network), and a training step on cached features.
 *
 *   node dist/benchmarks/heads.js [--threads 2] [--repetitions 5] > benchmarks/results/heads-NAME.json
 *
 * Random weights: they change no time.
 */
import { parseArgs } from "node:util";

import type { Architecture, DetectorConfig, TrainerConfig } from "../lib/native/binding.js";
import { engine } from "../lib/native/engine.js";
import { machine, type Spread, spread, timed } from "./measure.js";

interface Case {
  architecture: Architecture;
  size: number;
  batch: number;
}

const detectionCases: Case[] = [
  { architecture: "wide_resnet50_2", size: 256, batch: 1 },
  { architecture: "resnet18", size: 256, batch: 1 },
];
const trainingCases: Case[] = [
  { architecture: "wide_resnet50_2", size: 256, batch: 8 },
  { architecture: "resnet18", size: 128, batch: 32 },
];

type Compute = "lowResolution" | "direct";
type Result = Case & { what: string; lowResolution: Spread; direct: Spread; ratio: number };

function engineConfig({ architecture, size }: Case, compute: Compute): DetectorConfig {
  return { architecture, layers: ["layer2", "layer3"], imageHeight: size, imageWidth: size, variant: "jims", alignCorners: true, device: "cpu", compute, precision: "float32" };
}

function noiseImage(size: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: size * size * 3 }, (_, i) => (i * 7919 + seed * 104729) % 256);
}

async function detection(c: Case, compute: Compute): Promise<() => Promise<unknown>> {
  const native = engine();
  const config = engineConfig(c, compute);
  const detector = await native.createDetector(config, await native.randomBackbone(c.architecture, 0), await native.randomHeads(native.featureShape(config).channels, 0));
  const image = noiseImage(c.size, 0);
  return () => detector.detect(image, 1);
}

/** A step whose features are cached; Perlin masks as in unsupervised training. */
async function trainingStep(c: Case, compute: Compute): Promise<() => Promise<unknown>> {
  const native = engine();
  const config: TrainerConfig = {
    ...engineConfig(c, compute),
    precision: "float32",
    seed: 0,
    noiseStd: Float32Array.of(0.015),
    perlinThreshold: 0.2,
    featureCacheBytes: 2 ** 33,
    stopGradient: true,
    gradientClip: 0,
    adaptorWeightDecay: 0.01,
    headsWeightDecay: 1e-5,
  };
  const trainer = await native.createTrainer(config, await native.randomBackbone(c.architecture, 0), await native.randomHeads(native.featureShape(config).channels, 0));
  const items = Array.from({ length: c.batch }, (_, key) => ({ key, pixels: noiseImage(c.size, key) }));
  await trainer.setTargets(items.map(({ key }) => ({ key, label: 0, segmented: true })));
  await trainer.observeFeatures(items);
  // Every step draws other masks: both implementations get the same ones in the same order.
  let index = 0;
  return () => trainer.step({ index: index++, items: items.map(({ key }) => ({ key })), adaptorLearningRate: 1e-4, headsLearningRate: 2e-4 });
}

async function compare(what: string, c: Case, make: (c: Case, compute: Compute) => Promise<() => Promise<unknown>>, repetitions: number): Promise<Result> {
  const fast = await make(c, "lowResolution");
  const slow = await make(c, "direct");
  const times = { fast: [] as number[], slow: [] as number[] };
  for (let i = 0; i < repetitions; i++) {
    times.fast.push(...(await timed(1, fast)));
    times.slow.push(...(await timed(1, slow)));
  }
  const lowResolution = spread(times.fast);
  const direct = spread(times.slow);
  return { what, ...c, lowResolution, direct, ratio: Math.round((direct.medianMs / lowResolution.medianMs) * 100) / 100 };
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { threads: { type: "string", default: "2" }, repetitions: { type: "string", default: "5" } } });
  const threads = Number(values.threads);
  await engine().setThreads(threads);
  const results: Result[] = [];
  for (const c of detectionCases) results.push(await compare("detection", c, detection, Number(values.repetitions)));
  for (const c of trainingCases) results.push(await compare("training step", c, trainingStep, Number(values.repetitions)));
  console.log(JSON.stringify({ machine: machine(threads), repetitions: Number(values.repetitions), results }, null, 2));
}

void main();
