/**
 * From a model file to the first result, in a process of its own each time: this checkout, and others that are built beside
 * it, take turns. Processor times are those of all threads, and tell more where others use the machine.
 *
 *   node dist/benchmarks/loading.js [--beside DIR] [--architecture wide_resnet50_2] [--size 256] [--threads 2]
 *     [--repetitions 10] > benchmarks/results/loading.json
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import sharp from "sharp";

import { untrainedModel } from "../lib/benchmark/benchmark.js";
import { renderScene } from "../lib/datasets/surface.js";
import type { Architecture } from "../lib/native/binding.js";
import { Random } from "../lib/random.js";
import { machine } from "./measure.js";

/** Milliseconds on the clock, and of the processor. */
type Time = [ms: number, processorMs: number];

interface Run {
  /** Loading the package's modules; Detector.load; decoding and detection of the first image. */
  modules: Time;
  load: Time;
  first: Time;
  /** Which must be equal. */
  logit: number;
}
const parts = ["modules", "load", "first"] as const;

const program = `const [, root, model, image, threads] = process.argv;
(async () => {
  const now = () => [performance.now(), (process.cpuUsage().user + process.cpuUsage().system) / 1000];
  const times = [now()];
  const { Detector } = require(root + "/dist/lib/index.js");
  times.push(now());
  const detector = await Detector.load(model, { threads: Number(threads), device: "cpu" });
  times.push(now());
  const { logit } = await detector.detect(image);
  times.push(now());
  const [modules, load, first] = [1, 2, 3].map((i) => times[i].map((value, j) => value - times[i - 1][j]));
  process.stdout.write(JSON.stringify({ modules, load, first, logit }));
})();`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      beside: { type: "string" },
      architecture: { type: "string", default: "wide_resnet50_2" },
      size: { type: "string", default: "256" },
      threads: { type: "string", default: "2" },
      repetitions: { type: "string", default: "10" },
    },
  });
  const size = Number(values.size);
  const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-benchmark-"));
  const [file, image] = [path.join(folder, "model.safetensors"), path.join(folder, "image.png")];
  try {
    const model = await untrainedModel(values.architecture as Architecture, [size, size], "random");
    await model.save(file, { embedBackbone: true });
    const { pixels } = renderScene(new Random(0, "loading"), size, size);
    await sharp(pixels, { raw: { width: size, height: size, channels: 3 } })
      .png()
      .toFile(image);
    const roots = {
      here: path.join(__dirname, "../.."),
      ...(values.beside !== undefined && { beside: values.beside }),
    };
    const runs: Record<string, Run[]> = {};
    for (let i = 0; i < Number(values.repetitions); i++)
      for (const [name, root] of Object.entries(roots)) {
        const args = ["-e", program, path.resolve(root), file, image, values.threads];
        const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
        if (status !== 0) throw new Error(stderr);
        const run = JSON.parse(stdout) as Run;
        (runs[name] ??= []).push(run);
        console.error(name, ...parts.map((part) => `${part} ${run[part].map(Math.round).join("/")} ms`));
      }
    const logits = new Set(Object.values(runs).flatMap((each) => each.map(({ logit }) => logit)));
    if (logits.size > 1) throw new Error(`The results differ: ${[...logits].join(", ")}.`);
    const least = (each: Run[], part: (typeof parts)[number], of: 0 | 1): number =>
      Math.round(Math.min(...each.map((run) => run[part][of])));
    const results = Object.entries(runs).map(([name, each]) => [
      name,
      Object.fromEntries(
        parts.map((part) => [part, { minMs: least(each, part, 0), minProcessorMs: least(each, part, 1) }]),
      ),
    ]);
    const { architecture, repetitions } = values;
    const what = { what: "loading", architecture, size, repetitions: Number(repetitions) };
    console.log(
      JSON.stringify({ ...what, machine: machine(Number(values.threads)), ...Object.fromEntries(results) }, null, 2),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

void main();
