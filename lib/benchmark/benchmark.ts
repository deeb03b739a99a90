import { mkdtemp, rm, stat } from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { architectures } from "../backbones/catalogue.js";
import { cachedWeights, loadBackbone } from "../backbones/load.js";
import { renderScene } from "../datasets/surface.js";
import { Detector } from "../detection/detector.js";
import { defaultThresholds } from "../detection/thresholds.js";
import { SuperSimpleNetError } from "../errors.js";
import { sharp } from "../images/sharp.js";
import { checkNetworkSettings, computeFor, type ModelConfig, networkConfigOf } from "../models/config.js";
import { Model } from "../models/model.js";
import type { Architecture, Precision } from "../native/binding.js";
import { applyThreads, checkPrecision, detectorPrecisions, resolveDevice } from "../native/device.js";
import { engine } from "../native/engine.js";
import { checkChoice, checkNumber, rejectUnknown } from "../options.js";
import { Random } from "../random.js";
import { trainerDefaults } from "../schema/training.js";
import { packageVersion } from "../version.js";
import { arithmetic } from "./arithmetic.js";

const where = "benchmark";

export interface BenchmarkOptions {
  /** Model file. Default: a model with random heads on `backbone`; time does not depend on the weights. */
  model?: string;
  /** Without `model`. Default "wide_resnet50_2". */
  backbone?: Architecture;
  /** A path or "random". Default with `model`: as Detector.load; without: the cache folder, else random. */
  backboneWeights?: string;
  /** Without `model`: height, width. Default [256, 256]. */
  imageSize?: readonly [number, number];
  /** "auto" (default), "cpu", "cuda" or "cuda:1". */
  device?: string;
  /** As of DetectorOptions. Default "float32". */
  precision?: Precision;
  /** CPU threads. Default: as DetectorOptions. */
  threads?: number;
  /** Images per call. Default 1. */
  batchSize?: number;
  /** Default: "lowResolution" where the model has it, else "direct". */
  heads?: "lowResolution" | "direct";
  /** Timed calls of each kind. Default 50. */
  repetitions?: number;
  /** Calls before them. Default 5. */
  warmup?: number;
  signal?: AbortSignal | undefined;
  onProgress?(done: number, total: number): void;
}

/** Every default of BenchmarkOptions that is not the detector's. */
export const benchmarkDefaults = {
  backbone: trainerDefaults.backbone,
  imageSize: trainerDefaults.imageSize,
  device: "auto",
  precision: "float32",
  batchSize: 1,
  repetitions: 50,
  warmup: 5,
} as const satisfies BenchmarkOptions;

const optionNames: (keyof BenchmarkOptions)[] = [
  ...(Object.keys(benchmarkDefaults) as (keyof typeof benchmarkDefaults)[]),
  "model",
  "backboneWeights",
  "threads",
  "heads",
  "signal",
  "onProgress",
];

/** Percentiles of the duration of a call (nearest rank: with fewer than 100 calls the 99th is the longest), and images per second. */
export interface Latency {
  p50Ms: number;
  p95Ms: number;
  p99Ms: number;
  imagesPerSecond: number;
}

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
  rejectUnknown(options, optionNames, where);
  const { signal, onProgress } = options;
  const given = Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as BenchmarkOptions;
  const { batchSize, repetitions, warmup, heads, precision, ...o } = { ...benchmarkDefaults, ...given };
  checkNumber(where, "batchSize", batchSize, { min: 1, max: 4096, integer: true });
  checkNumber(where, "repetitions", repetitions, { min: 1, max: 1e6, integer: true });
  checkNumber(where, "warmup", warmup, { min: 0, max: 1e6, integer: true });
  if (heads !== undefined) checkChoice(where, "heads", heads, ["lowResolution", "direct"]);
  if (o.model !== undefined && (options.backbone !== undefined || options.imageSize !== undefined)) {
    throw new SuperSimpleNetError(
      "INVALID_OPTION",
      `${where}: a model has its own backbone and image size. Leave 'backbone' and 'imageSize' away, or 'model'.`,
    );
  }
  const { device } = resolveDevice(where, o.device);
  checkPrecision(where, precision, device, detectorPrecisions);
  const threads = await applyThreads(where, o.threads);
  const stopped = (): void => {
    if (signal?.aborted)
      throw new SuperSimpleNetError("ABORTED", "The benchmark was cancelled.", { cause: signal.reason });
  };

  const folder = await mkdtemp(path.join(os.tmpdir(), "supersimplenet-benchmark-"));
  try {
    const modelFile = o.model ?? path.join(folder, "model.safetensors");
    if (o.model === undefined)
      await (await untrainedModel(o.backbone, o.imageSize, o.backboneWeights, signal)).save(modelFile);
    stopped();
    const loadStart = performance.now();
    const detector = await Detector.load(modelFile, {
      device,
      batchSize,
      heads,
      precision,
      ...(o.model !== undefined && o.backboneWeights !== undefined && { backboneWeights: o.backboneWeights }),
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
        stopped();
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

/** Random heads on a backbone whose weights are those of the cache folder if there are any, else random. */
export async function untrainedModel(
  backbone: string,
  imageSize: readonly [number, number],
  weights: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Model> {
  const architecture = checkChoice(where, "backbone", backbone, architectures);
  const { layers, resize, variant, alignCorners } = trainerDefaults.network;
  const settings = checkNetworkSettings(where, {
    layers: [...layers],
    imageSize: [...imageSize],
    resize,
    variant,
    alignCorners,
  });
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
