/**
 * A whole unsupervised training through the Trainer, from image files on: seconds, and memory of the process and of the GPU.
 *
 *   node dist/benchmarks/epochs.js [--images 200] [--epochs 300] [--size 256] [--batch 32] [--backbone wide_resnet50_2]
 *     [--device auto] [--precision float32] [--feature-cache-mib 2048] > benchmarks/results/NAME.json
 *
 * Drawn images and random weights: they change no time.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import sharp from "sharp";

import { renderScene } from "../lib/datasets/surface.js";
import { datasets, Trainer, type TrainerOptions } from "../lib/index.js";
import { engine } from "../lib/native/engine.js";
import { Random } from "../lib/random.js";
import { machine } from "./measure.js";

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      images: { type: "string", default: "200" },
      epochs: { type: "string", default: "300" },
      size: { type: "string", default: "256" },
      batch: { type: "string", default: "32" },
      backbone: { type: "string", default: "wide_resnet50_2" },
      device: { type: "string", default: "auto" },
      precision: { type: "string", default: "float32" },
      "feature-cache-mib": { type: "string", default: "2048" },
    },
  });
  const [images, epochs, size] = [Number(values.images), Number(values.epochs), Number(values.size)];
  const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-epochs-"));
  try {
    const good = path.join(folder, "train", "good");
    mkdirSync(good, { recursive: true });
    for (let i = 0; i < images; i++) {
      const { pixels } = renderScene(new Random(0, "benchmark", i), size, size);
      await sharp(pixels, { raw: { width: size, height: size, channels: 3 } })
        .png()
        .toFile(path.join(good, `${i}.png`));
    }
    const data = await datasets.folder(folder);
    const options: TrainerOptions = {
      backbone: values.backbone as TrainerOptions["backbone"] & string,
      backboneWeights: "random",
      imageSize: [size, size],
      regime: "unsupervised",
      epochs,
      batchSize: Number(values.batch),
      device: values.device,
      precision: values.precision as TrainerOptions["precision"] & string,
      cache: { memoryMiB: Number(values["feature-cache-mib"]) },
      anomalies: { noiseStd: 0.015 },
      calibration: { fraction: 0 },
    };
    const start = performance.now();
    const seconds: number[] = [];
    let device = "";
    let loss = Number.NaN;
    await new Trainer(options).fit(data, {
      onStart: (event) => void (device = event.device),
      onEpoch: (event) => {
        seconds.push(event.seconds);
        loss = event.loss;
        if (event.epoch % 10 === 0 || event.epoch === epochs)
          console.error(`${event.epoch}/${epochs}: ${event.seconds.toFixed(2)} s, loss ${event.loss.toFixed(4)}`);
      },
    });
    const sorted = seconds.slice(1).sort((a, b) => a - b);
    const gpu = device.startsWith("cuda") ? engine().cudaMemory(Number(device.split(":")[1] ?? 0)) : null;
    const result = {
      ...{
        images,
        epochs,
        size,
        batch: options.batchSize,
        backbone: values.backbone,
        device,
        precision: values.precision,
        machine: machine(os.availableParallelism()),
      },
      ...{
        totalSeconds: (performance.now() - start) / 1000,
        firstEpochSeconds: seconds[0],
        medianEpochSeconds: sorted[Math.floor(sorted.length / 2)] ?? null,
        lastLoss: loss,
      },
      ...{ peakProcessBytes: process.resourceUsage().maxRSS * 1024, peakGpuBytes: gpu?.peakReserved ?? null },
    };
    console.log(JSON.stringify(result, null, 2));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
