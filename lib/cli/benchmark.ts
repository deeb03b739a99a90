import path from "node:path";

import type { Benchmark, Latency } from "../benchmark/benchmark.js";
import { benchmarkOptions } from "../schema/benchmark.js";
import { command, interruptible } from "./command.js";
import { warnIfUntrained } from "./models.js";
import { output, table } from "./output.js";

export const benchmark = command({
  name: "benchmark",
  description:
    "Measures the latency of the network alone and from file to decision, the throughput, the memory, and the time to load. Without a model file it makes one with random weights: time does not depend on them.",
  options: benchmarkOptions.omit({ signal: true, onProgress: true }),
  examples: [
    "supersimplenet benchmark",
    "supersimplenet benchmark --model runs/bottle/model.safetensors --batch 8 --json",
    "supersimplenet benchmark --backbone resnet18 --image-size 320x192 --threads 1",
  ],
  async run(flags) {
    const { benchmark: measure } = await import("../benchmark/benchmark.js");
    const model = flags.model === undefined ? {} : { model: path.resolve(flags.model) };
    const onProgress = (done: number, total: number): void => output.progress(`measuring ${done}/${total}`);
    const result = await interruptible((signal) => measure({ ...flags, ...model, signal, onProgress }));
    warn(result);
    output.result(report(result));
    output.document(result);
    return 0;
  },
});

function warn({ model: { path: file, backbone } }: Benchmark): void {
  if (file !== null) return warnIfUntrained(backbone);
  const on = backbone.trained ? `the weights ${backbone.source}` : "a random backbone";
  output.warn(`random heads on ${on}: time does not depend on the weights, and the decisions mean nothing.`);
}

function report(result: Benchmark): string {
  const { backbone, imageSize } = result.model;
  const { batchSize, precision, device, threads, repetitions, warmup } = result;
  const giga = (count: number): string => (count / 1e9).toFixed(1);
  return [
    `${backbone.architecture}, ${imageSize.join("x")}, batch ${batchSize}, ${precision}, ${device}, threads ${threads}, ${repetitions} calls after ${warmup}`,
    "",
    table([
      ["", "p50 ms", "p95 ms", "p99 ms", "images/s"],
      latencyRow("model only", result.modelOnly),
      latencyRow("file to decision", result.fileToDecision),
    ]),
    "",
    table([
      ["load", `${result.loadMs.toFixed(1)} ms`],
      ["peak memory", `${(result.peakMemoryBytes / 2 ** 20).toFixed(0)} MiB (whole process)`],
      ["parameters", `${(result.parameters / 1e6).toFixed(1)} million`],
      ["arithmetic", `${giga(result.flopsComputed)} GFLOP per image; the direct way ${giga(result.flops)}`],
    ]),
  ].join("\n");
}

const latencyRow = (name: string, { p50Ms, p95Ms, p99Ms, imagesPerSecond }: Latency): string[] => [
  name,
  ...[p50Ms, p95Ms, p99Ms, imagesPerSecond].map((value) => value.toFixed(1)),
];
