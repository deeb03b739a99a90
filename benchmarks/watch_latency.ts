// From the end of a file to its result in a watched folder, beside the time of the detection alone.
//   node dist/benchmarks/watch_latency.js [--images N] [--size S] [--threads N] [--out FILE]
// A process of its own writes PNG files, one at a time, into a folder that 'watchFolder' watches: ResNet-18 with random
// weights, 256x256, one CSV. In turns with it, the same file goes through detector.detect.
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";

import sharp from "sharp";

import { percentile, untrainedModel } from "../lib/benchmark/benchmark.js";
import { renderScene } from "../lib/datasets/surface.js";
import { Detector, openOutputs, watchFolder } from "../lib/index.js";
import { Random } from "../lib/random.js";
import { machine } from "./measure.js";

/** Writes a file when it is told to, and says when that was done: by the clock that both threads have. */
const writer = `
  const { parentPort } = require("node:worker_threads");
  const { writeFileSync } = require("node:fs");
  parentPort.on("message", ({ file, bytes }) => {
    writeFileSync(file, bytes);
    parentPort.postMessage(performance.timeOrigin + performance.now());
  });`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      images: { type: "string", default: "200" },
      size: { type: "string", default: "256" },
      threads: { type: "string", default: "0" },
      out: { type: "string" },
    },
  });
  const [images, size, threads] = [values.images, values.size, values.threads].map(Number) as [number, number, number];
  const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-latency-"));
  const camera = path.join(folder, "camera");
  mkdirSync(camera);
  const model = await untrainedModel("resnet18", [size, size]);
  const detector = await Detector.load(model, { device: "cpu", ...(threads > 0 && { threads }) });
  const outputs = await openOutputs([`csv:${path.join(folder, "csv")}`]);
  const thread = new Worker(writer, { eval: true });
  const end = new AbortController();
  const watch: number[] = [];
  const detect: number[] = [];
  let seen = (): void => undefined;
  const { signal } = end;
  const watching = watchFolder(detector, camera, { outputs, signal, onResult: () => seen() });
  for (let i = -10; i < images; i++) {
    const pixels = renderScene(new Random(0, "latency", i + 10), size, size).pixels;
    const bytes = await sharp(pixels, { raw: { width: size, height: size, channels: 3 } })
      .png()
      .toBuffer();
    const file = path.join(camera, `${i + 10}.png`);
    const result = new Promise<number>((resolve) => {
      seen = () => resolve(performance.timeOrigin + performance.now());
    });
    thread.postMessage({ file, bytes });
    const [[written], shown] = await Promise.all([once(thread, "message") as Promise<[number]>, result]);
    const start = performance.now();
    await detector.detect(file);
    if (i < 0) continue; // the first ones warm up
    detect.push(performance.now() - start);
    watch.push(shown - written);
  }
  end.abort();
  await watching;
  await outputs.close();
  await thread.terminate();
  rmSync(folder, { recursive: true });
  const ms = (all: number[]) => ({ p50: percentile(all, 50), p99: percentile(all, 99) });
  const document = { machine: machine(threads), images, size, watchMs: ms(watch), detectMs: ms(detect) };
  const ratio = document.watchMs.p50 / document.detectMs.p50;
  console.error(JSON.stringify({ ...document, ratio }, null, 2));
  if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify({ ...document, ratio }, null, 2)}\n`);
}

void main();
