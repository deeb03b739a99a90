import path from "node:path";

import { architectures } from "../schema/common.js";
import { interruptible } from "./interrupt.js";
import { choice, command, integer, size, text } from "./options.js";
import { output, table } from "./output.js";
import { given, shared, warnIfUntrained } from "./shared.js";

export const benchmark = command({
  name: "benchmark",
  summary: "time detection on this machine",
  description:
    "Measures the latency of the network alone and from file to decision, throughput, memory, and the time to load. Without a model file it makes one with random weights: they change no time.",
  options: {
    model: text("FILE", "model file that train or convert wrote", { default: "random heads on --backbone" }),
    backbone: choice(architectures, "without --model", { default: "wide_resnet50_2" }),
    "backbone-weights": text("FILE", "backbone weights, or random", {
      default: "the cache folder, else random without --model",
    }),
    "image-size": size("without --model", { default: [256, 256] }),
    device: shared.device,
    precision: shared.precision,
    heads: shared.heads,
    threads: shared.threads,
    batch: integer("N", "images per call", { min: 1, default: 1 }),
    repetitions: integer("N", "timed calls", { min: 1, default: 50 }),
    warmup: integer("N", "calls before them", { min: 0, default: 5 }),
  },
  examples: [
    "supersimplenet benchmark",
    "supersimplenet benchmark --model runs/bottle/model.safetensors --batch 8 --json",
    "supersimplenet benchmark --backbone resnet18 --image-size 320x192 --threads 1",
  ],
  async run(values) {
    const { benchmark: measure } = await import("../benchmark/benchmark.js");
    const { model, backbone: architecture, device, precision, heads, threads, repetitions, warmup } = values;
    const result = await interruptible((signal) =>
      measure({
        ...given({
          model: model === undefined ? undefined : path.resolve(model),
          backbone: architecture,
          backboneWeights: values["backbone-weights"],
          imageSize: values["image-size"],
          batchSize: values.batch,
        }),
        ...given({ device, precision, heads, threads, repetitions, warmup }),
        signal,
        onProgress: (done, total) => output.progress(`measuring ${done}/${total}`),
      }),
    );
    if (model !== undefined) warnIfUntrained(result.model.backbone);
    else
      output.warn(
        `random heads on ${result.model.backbone.trained ? `the weights ${result.model.backbone.source}` : "a random backbone"}: time does not depend on the weights, and the decisions mean nothing.`,
      );
    const ms = (value: number): string => value.toFixed(1);
    const row = (name: string, { p50Ms, p95Ms, p99Ms, imagesPerSecond }: typeof result.modelOnly): string[] => [
      name,
      ms(p50Ms),
      ms(p95Ms),
      ms(p99Ms),
      imagesPerSecond.toFixed(1),
    ];
    const { backbone, imageSize: size } = result.model;
    output.result(
      [
        `${backbone.architecture}, ${size.join("x")}, batch ${result.batchSize}, ${result.precision}, ${result.device}, threads ${result.threads}, ${result.repetitions} calls after ${result.warmup}`,
        "",
        table([
          ["", "p50 ms", "p95 ms", "p99 ms", "images/s"],
          row("model only", result.modelOnly),
          row("file to decision", result.fileToDecision),
        ]),
        "",
        table([
          ["load", `${ms(result.loadMs)} ms`],
          ["peak memory", `${(result.peakMemoryBytes / 2 ** 20).toFixed(0)} MiB (whole process)`],
          ["parameters", `${(result.parameters / 1e6).toFixed(1)} million`],
          [
            "arithmetic",
            `${(result.flopsComputed / 1e9).toFixed(1)} GFLOP per image; the direct way ${(result.flops / 1e9).toFixed(1)}`,
          ],
        ]),
      ].join("\n"),
    );
    output.document(result);
    return 0;
  },
});
