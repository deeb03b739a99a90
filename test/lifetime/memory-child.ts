/**
 * A process that does the same work over and over and prints its memory as it goes: one line of JSON per third. Run by
 * memory.test.ts: node --expose-gc memory-child.js train|detect|strips|release|objects DATA DEVICE [LEAK]; not a test itself. LEAK: bytes kept per round, to
 * see that the test notices.
 */
import { type Dataset, datasets, Detector, Trainer, type TrainerOptions } from "../../lib/index.js";
import type { NativeDetector, NativeTrainer } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { Random } from "../../lib/random.js";
import { testing } from "../support/native.js";
import { detectorConfig, trainerConfig } from "../support/trainer_config.js";

const [, , mode, folder, device, leak] = process.argv as [string, string, string, string, string, string | undefined];
const kept: Buffer[] = [];

/**
 * MiB, after a full garbage collection: what the process holds of the machine's memory, what of it malloc has handed out (null if it does not
 * say), what JavaScript holds, and what libtorch holds of the GPU's memory.
 */
function measured(): { rss: number; allocated: number | null; javascript: number; gpu: number | null } {
  for (let i = 0; i < 3; i++) (globalThis as unknown as { gc: () => void }).gc();
  const { rss, heapUsed, external } = process.memoryUsage();
  const allocated = testing().allocatedBytes();
  const gpu = device === "cpu" ? null : engine().cudaMemory(Number(device.split(":")[1]));
  return {
    rss: rss / 2 ** 20,
    allocated: allocated === null ? null : allocated / 2 ** 20,
    javascript: (heapUsed + external) / 2 ** 20,
    gpu: gpu && gpu.reserved / 2 ** 20,
  };
}

/** A step may be under way while the one before it is reported, and has memory of its own: the least of ten readings is without it. */
async function measuredIdle(): Promise<ReturnType<typeof measured>> {
  let least = measured();
  for (let i = 1; i < 10; i++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const now = measured();
    if ((now.allocated ?? now.rss) < (least.allocated ?? least.rss)) least = now;
  }
  return least;
}

/** To be called once a round, and waited for. */
function rounds(count: number): () => Promise<void> {
  let done = 0;
  return async () => {
    if (leak !== undefined) kept.push(Buffer.alloc(Number(leak), 1));
    if (++done % Math.floor(count / 3) === 0) console.log(JSON.stringify({ round: done, ...(await measuredIdle()) }));
  };
}

/** The smallest network there is; the two images make one batch, so that every step is an epoch. */
const options: TrainerOptions = {
  device,
  backbone: "resnet18",
  backboneWeights: "random",
  network: { layers: ["layer2"] },
  imageSize: [32, 32],
  batchSize: 2,
  threads: 1,
  calibration: { fraction: 0 },
};
const images = (): Promise<Dataset> =>
  datasets.generated(folder, {
    imageSize: [64, 64],
    trainNormal: 2,
    trainAnomalous: 0,
    testNormal: 1,
    testAnomalous: 1,
  });

async function trainingSteps(count: number): Promise<void> {
  await new Trainer({ ...options, epochs: count }).fit(await images(), { onStep: rounds(count) });
}

async function release(): Promise<void> {
  const data = await datasets.generated(folder, {
    imageSize: [128, 128],
    trainNormal: 16,
    trainAnomalous: 0,
    testNormal: 1,
    testAnomalous: 1,
  });
  const print = () => console.log(JSON.stringify({ round: 0, ...measured() }));
  await new Trainer({
    ...options,
    network: { layers: ["layer2", "layer3"] },
    imageSize: [128, 128],
    batchSize: 16,
    epochs: 2,
  }).fit(data, { onEpoch: ({ epoch }) => void (epoch === 2 && print()) });
  print();
}

async function detections(count: number): Promise<void> {
  const model = await new Trainer({ ...options, epochs: 1 }).fit(await images());
  const detector = await Detector.load(model, { device });
  const round = rounds(count);
  const sources = Array.from({ length: 8 }, (_, i) => ({
    data: new Uint8Array(32 * 32 * 3).fill(30 * i),
    width: 32,
    height: 32,
    channels: 3 as const,
  }));
  // One image, then eight, so that single calls and batches take turns.
  for (let done = 0; done < count;) {
    const call = done % 9 === 0 ? sources.slice(0, 1) : sources;
    await detector.detect(call);
    for (const _ of call) await round();
    done += call.length;
  }
}

/** One region finder takes all strips, and regions are too small to be found; pixel statistics are made anew. */
async function strips(count: number): Promise<void> {
  const round = rounds(count);
  const [width, rows] = [256, 32];
  const random = new Random(0, "strips");
  const map = Float32Array.from({ length: width * rows }, () => random.uint32() / 2 ** 32);
  const mask = Uint8Array.from(map, (value) => Number(value > 0.9));
  const finder = engine().createRegionFinder({ width, thresholds: [0.5, 0.9], minArea: width * rows * count });
  for (let done = 0; done < count; done++) {
    await finder.addRows(map, rows);
    const statistics = engine().createPixelStatistics();
    await statistics.addRows(map, width, rows, mask);
    await statistics.endImage();
    await statistics.metrics(0.3);
    statistics.dispose();
    await round();
  }
}

/** What V8 knows of the memory of detectors, trainers and pixel statistics: one line before anything, then one after each event. */
async function objects(): Promise<void> {
  const native = engine();
  const backbone = await native.randomBackbone("resnet18", 0);
  const heads = await native.randomHeads(384, 0);
  const common = { imageHeight: 256, imageWidth: 256, device };
  const detector = (): Promise<NativeDetector> => native.createDetector(detectorConfig(common), backbone, heads);
  const trainer = (): Promise<NativeTrainer> =>
    native.createTrainer(trainerConfig({ ...common, featureCacheBytes: 2 ** 30 }), backbone, heads);
  // What has been collected is finalised between two turns of the event loop.
  const print = async (event: string): Promise<void> => {
    for (let i = 0; i < 3; i++) (measured(), await new Promise(setImmediate));
    console.log(JSON.stringify({ event, external: testing().externalBytes() / 2 ** 20 }));
  };
  await print("before");
  for (const make of [detector, trainer]) {
    const made = await make();
    await print("made");
    if (make === trainer) {
      const pixels = new Uint8Array(256 * 256 * 3);
      await (made as NativeTrainer).observeFeatures(Array.from({ length: 8 }, (_, key) => ({ key, pixels })));
      await (made as NativeTrainer).cacheReport();
      await print("cached");
    }
    made.dispose();
    made.dispose();
    await print("disposed");
    // In a function of its own, which holds nothing once it has returned.
    await (async () => void (await make()))();
    await print("dropped");
  }
  const statistics = native.createPixelStatistics();
  await statistics.addRows(new Float32Array(2 ** 20), 1024, 1024, new Uint8Array(2 ** 20).fill(1));
  await statistics.endImage();
  await statistics.addRows(new Float32Array(1), 1, 1);
  await print("counted");
  statistics.dispose();
  await print("disposed");
  (() => void native.createPixelStatistics())();
  await print("dropped");
}

const modes: Record<string, () => Promise<void>> = {
  train: () => trainingSteps(1000),
  detect: () => detections(10000),
  strips: () => strips(2000),
  release,
  objects,
};
void modes[mode]!();
