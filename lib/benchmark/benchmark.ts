import { mkdtemp, rm, stat } from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { cachedWeights } from "../backbones/catalogue.js";
import { backboneOf } from "../backbones/choose.js";
import { loadBackbone } from "../backbones/load.js";
import { renderScene } from "../datasets/surface.js";
import { Detector } from "../detection/detector.js";
import { call, fileError, option, SuperSimpleNetError, text, throwIfAborted } from "../errors.js";
import { sharp } from "../images/sharp.js";
import { computeFor, defaultThresholds, type ModelConfig, networkConfigOf, networkSettings } from "../models/config.js";
import { Model } from "../models/model.js";
import type { Architecture, Precision } from "../native/binding.js";
import { applyThreads, checkPrecision, resolveDevice } from "../native/device.js";
import { engine } from "../native/engine.js";
import { Random } from "../random.js";
import { benchmarkOptions } from "../schema/benchmark.js";
import { check } from "../schema/check.js";
import { trainerDefaults } from "../schema/training.js";
import type { Settings } from "../schema/types.js";
import { plainView } from "../schema/view.js";
import { isPlain } from "../view/layout.js";
import { packageVersion } from "../native/locate.js";
import { arithmetic } from "./arithmetic.js";

const where = "benchmark";

/** Options of benchmark. */
export interface BenchmarkOptions extends Settings<typeof benchmarkOptions> {
  onProgress?(done: number, total: number): void;
}

/** Percentiles of the duration of a call (nearest rank: with fewer than 100 calls the 99th is the longest), and images per second. */
export interface Latency {
  p50Ms: number;
  p95Ms: number;
  p99Ms: number;
  imagesPerSecond: number;
}

/** What was measured, and on what. */
export interface Benchmark {
  /** `path` is null without a model file. */
  model: {
    path: string | null;
    backbone: ModelConfig["backbone"];
    imageSize: readonly [number, number];
    variant: ModelConfig["variant"];
  };
  device: string;
  precision: Precision;
  heads: "lowResolution" | "direct";
  threads: number;
  batchSize: number;
  repetitions: number;
  warmup: number;
  /** The file that fileToDecision reads: a PNG at model size, in the system's file cache. */
  file: { width: number; height: number; bytes: number };
  /** Pixels at model size to score and map, in the engine. */
  modelOnly: Latency;
  /** File to decision: reading, decoding, network, regions. Images per second come from a stream, whose decoding runs ahead. */
  fileToDecision: Latency;
  /** Largest resident memory of the process so far; without a model file, making one is in it. Memory of a GPU is not. */
  peakMemoryBytes: number;
  /** Model file to ready detector. */
  loadMs: number;
  parameters: number;
  /** Of one image the direct way, counted in full (arithmetic.ts), whatever runs. */
  flops: number;
  /** Of one image as it was computed here. */
  flopsComputed: number;
}

/**
 * Times detection on this machine. Errors: INVALID_OPTION, UNKNOWN_OPTION, DEVICE_UNAVAILABLE, ABORTED, and those of
 * Detector.load and, without `model`, of reading the backbone's weights.
 */
export async function benchmark(options: BenchmarkOptions = {}): Promise<Benchmark> {
  const { onProgress } = options;
  const { signal, batchSize, repetitions, warmup, heads, precision, ...o } = check(where, benchmarkOptions, options);
  if (o.model !== undefined && (o.backbone !== undefined || o.imageSize !== undefined)) {
    throw new SuperSimpleNetError(
      "INVALID_OPTION",
      text`${call(where)}: a model has its own backbone and image size.`,
      {
        option: "model",
        fix: text`Leave out ${option("backbone")} and ${option("imageSize")}, or ${option("model")}.`,
      },
    );
  }
  const { device } = resolveDevice(where, o.device);
  checkPrecision(where, precision, device);
  const threads = await applyThreads(where, o.threads);

  const prefix = path.join(os.tmpdir(), "supersimplenet-benchmark-");
  const folder = await mkdtemp(prefix).catch((error: unknown) => {
    const failed = fileError(error, "create temporary folder", prefix);
    throw failed instanceof SuperSimpleNetError ? failed.advising("Set TMPDIR to another folder.") : failed;
  });
  try {
    const made =
      o.model === undefined
        ? await untrainedModel(o.backbone, o.imageSize, o.backboneWeights, signal)
        : await withoutView(o.model);
    const modelFile = made ? path.join(folder, "model.safetensors") : o.model!;
    await made?.save(modelFile);
    throwIfAborted(signal);
    const loadStart = performance.now();
    const detector = await Detector.load(modelFile, {
      device,
      batchSize,
      heads,
      precision,
      backboneWeights: o.model && o.backboneWeights,
    });
    const loadMs = performance.now() - loadStart;
    try {
      const { config, networkConfig } = detector.model;
      const [height, width] = config.imageSize;
      const { pixels } = renderScene(new Random(0, where), height, width);
      const file = path.join(folder, "image.png");
      await sharp(pixels, { raw: { width, height, channels: 3 } })
        .png()
        .toFile(file);
      const raw = Array.from({ length: batchSize }, () => ({ data: pixels, width, height, channels: 3 as const }));
      const files = Array.from({ length: batchSize }, () => file);

      const times = { model: [] as number[], file: [] as number[] };
      for (let i = -warmup; i < repetitions; i++) {
        throwIfAborted(signal);
        const [first] = await detector.detect(raw);
        const start = performance.now();
        await detector.detect(files);
        const elapsed = performance.now() - start;
        if (i < 0) continue;
        times.model.push(first!.timings.engineMs * batchSize);
        times.file.push(elapsed);
        onProgress?.(i + 1, 2 * repetitions);
      }
      const stream = Array.from({ length: repetitions * batchSize }, () => file);
      const streamStart = performance.now();
      let done = 0;
      for await (const _ of detector.detectEach(stream, { signal }))
        onProgress?.(repetitions + Math.floor(++done / batchSize), 2 * repetitions);
      const streamSeconds = (performance.now() - streamStart) / 1000;

      const counts = arithmetic(
        networkConfig,
        engine().backboneTensors(config.backbone.architecture),
        engine().headTensors(engine().featureShape(networkConfig).channels, networkConfig),
      );
      const computed = computeFor(where, "heads", config, heads);
      return {
        model: {
          path: o.model ?? null,
          backbone: config.backbone,
          imageSize: config.imageSize,
          variant: config.variant,
        },
        device: detector.device,
        precision,
        heads: computed,
        threads,
        batchSize,
        repetitions,
        warmup,
        file: { width, height, bytes: (await stat(file)).size },
        modelOnly: latency(times.model, (repetitions * batchSize * 1000) / times.model.reduce((a, b) => a + b)),
        fileToDecision: latency(times.file, stream.length / streamSeconds),
        peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
        loadMs,
        parameters: counts.parameters,
        flops: counts.direct,
        flopsComputed: counts[computed],
      };
    } finally {
      detector.dispose();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function latency(times: readonly number[], imagesPerSecond: number): Latency {
  return { p50Ms: percentile(times, 50), p95Ms: percentile(times, 95), p99Ms: percentile(times, 99), imagesPerSecond };
}

/** Nearest rank: the smallest value that at least `percent` of the values do not exceed. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)]!;
}

/** The network of a model that has a view: what is measured is one of its inputs, a tile where there are tiles. */
async function withoutView(file: string): Promise<Model | undefined> {
  const model = await Model.load(file);
  if (isPlain(networkSettings(model.config).view)) return undefined;
  model.config.view = plainView;
  return model;
}

/** Random heads on a backbone with `weights`; without, those of the cache folder if there are any, else random. */
export async function untrainedModel(
  backbone?: Architecture,
  imageSize: readonly [number, number] = trainerDefaults.imageSize,
  weights?: string,
  signal?: AbortSignal,
): Promise<Model> {
  const architecture = backbone ?? backboneOf(weights);
  const { layers, resize, variant, alignCorners } = trainerDefaults.network;
  const settings = networkSettings({ layers, resize, variant, alignCorners, imageSize });
  const loaded = await loadBackbone({
    architecture,
    weights: weights ?? (cachedWeights(architecture) ? "auto" : "random"),
    signal,
  });
  const { channels } = engine().featureShape(networkConfigOf(architecture, settings));
  const { trained, source, sha256 } = loaded;
  const config: ModelConfig = {
    ...settings,
    backbone: { architecture, trained, source, sha256 },
    thresholds: { ...defaultThresholds },
    training: null,
    createdBy: `supersimplenet ${packageVersion}`,
  };
  return new Model(config, await engine().randomHeads(channels, 0), { tensors: loaded.tensors, embedded: true });
}
