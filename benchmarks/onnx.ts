// An exported graph in onnxruntime-node beside the engine, on the same images, in turns: seconds of an image, and how far
// scores and maps differ.
//   npm install --prefix DIR --ignore-scripts onnxruntime-node@1; export NODE_PATH=DIR/node_modules
//   node dist/benchmarks/onnx.js [--backbones A,B] [--size 256] [--rounds 20] [--threads N] [--precision float32|float16] [--out FILE]
// Random weights: they change no time. The runtime has a process of its own; sending an image there is in its time.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { untrainedModel } from "../lib/benchmark/benchmark.js";
import { renderScene } from "../lib/datasets/surface.js";
import { OnnxRuntime } from "../lib/export/runtime.js";
import { Detector } from "../lib/index.js";
import type { Architecture } from "../lib/native/binding.js";
import { Random } from "../lib/random.js";
import { architectures } from "../lib/schema/common.js";
import { machine, median } from "./measure.js";

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      backbones: { type: "string", default: "resnet18,wide_resnet50_2" },
      size: { type: "string", default: "256" },
      rounds: { type: "string", default: "20" },
      threads: { type: "string", default: String(os.availableParallelism()) },
      precision: { type: "string", default: "float32" },
      out: { type: "string" },
    },
  });
  const [size, rounds, threads] = [values.size, values.rounds, values.threads].map(Number) as [number, number, number];
  const precision = values.precision as "float32" | "float16";
  const chosen = values.backbones === "all" ? architectures : (values.backbones.split(",") as Architecture[]);
  const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-onnx-"));
  const results: Record<string, unknown>[] = [];
  for (const backbone of chosen) {
    const model = await untrainedModel(backbone, [size, size]);
    const file = path.join(folder, "model.onnx");
    const { parity, bytes } = await model.exportOnnx(file, { threads, precision });
    const runtime = await OnnxRuntime.need();
    await runtime.load(file, threads);
    const detector = await Detector.load(model, { device: "cpu", threads });
    const times: Record<"engine" | "graph", number[]> = { engine: [], graph: [] };
    for (let i = -3; i < rounds; i++) {
      const data = renderScene(new Random(0, "onnx", i + 3), size, size).pixels;
      const timed = async (side: "engine" | "graph", run: () => Promise<unknown>): Promise<void> => {
        const start = performance.now();
        await run();
        if (i >= 0) times[side].push(performance.now() - start);
      };
      await timed("engine", () => detector.detect({ data, width: size, height: size, channels: 3 }));
      await timed("graph", () => runtime.run({ image: { type: "uint8", dims: [1, size, size, 3], data } }));
    }
    runtime.close();
    detector.dispose();
    const [engineMs, graphMs] = [median(times.engine), median(times.graph)];
    const result = { backbone, size, precision, bytes, parity, engineMs, graphMs, ratio: graphMs / engineMs };
    console.error(JSON.stringify(result));
    results.push(result);
  }
  rmSync(folder, { recursive: true });
  const document = JSON.stringify({ machine: machine(threads), results }, null, 2);
  if (values.out === undefined) console.log(document);
  else writeFileSync(values.out, `${document}\n`);
}

void main();
