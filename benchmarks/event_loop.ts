/**
 * The longest time that one call holds JavaScript's event loop, in milliseconds, beside the time of the whole call: the
 * longest of `repetitions`. A timer beats every millisecond; what it is late by, the loop was held for. On a busy machine the
 * timer also waits for a core: the processor time of the main thread between two beats, which Linux gives to 4 ms, does not.
 *
 *   node dist/benchmarks/event_loop.js [--megapixels 20] [--repetitions 5] [--only raw,mask,fit,load] > benchmarks/results/event-loop.json
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import sharp from "sharp";

import { type Architecture, Detector, Trainer, type TrainerOptions } from "../lib/index.js";
import type { Dataset } from "../lib/datasets/dataset.js";
import { writeTensors } from "../lib/files/tensors.js";
import { decodeMask } from "../lib/images/mask.js";
import { engine, openEngine } from "../lib/native/engine.js";
import { Random } from "../lib/random.js";
import { machine } from "./measure.js";

interface Hold {
  what: string;
  /** Longest hold of the event loop, of all repetitions, without those before the first call ended. */
  heldMs: number;
  /** Most processor time of the main thread between two beats. */
  heldProcessorMs: number | null;
  callMs: number;
}
type Times = Omit<Hold, "what">;

/** What this thread has computed so far, in ms; null where the system does not say. */
function processorMs(): number | null {
  try {
    return Number(readFileSync("/proc/thread-self/schedstat", "latin1").split(" ")[0]) / 1e6;
  } catch {
    return null;
  }
}

/** The longest gap between two beats of a timer while `body` runs. */
async function longestHold(body: () => Promise<unknown>): Promise<Times> {
  let heldMs = 0;
  let lastProcessor = processorMs();
  let heldProcessorMs = lastProcessor === null ? null : 0;
  const start = performance.now();
  let last = start;
  let stopped = false;
  const beat = (): void => {
    const now = performance.now();
    const processor = processorMs();
    heldMs = Math.max(heldMs, now - last);
    if (heldProcessorMs !== null) heldProcessorMs = Math.max(heldProcessorMs, processor! - lastProcessor!);
    [last, lastProcessor] = [now, processor];
    if (!stopped) setTimeout(beat, 1);
  };
  beat();
  await body();
  stopped = true;
  beat();
  return { heldMs, heldProcessorMs, callMs: performance.now() - start };
}

const round = (ms: number): number => Math.round(ms * 10) / 10;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      megapixels: { type: "string", default: "20" },
      repetitions: { type: "string", default: "5" },
      only: { type: "string", default: "raw,mask,fit,load" },
    },
  });
  const parts = values.only.split(",");
  const height = Math.round(Math.sqrt(Number(values.megapixels) * 1e6 * 0.75));
  const width = Math.round(height / 0.75);
  const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-benchmark-"));
  const random = new Random(0, "event loop");
  const results: Hold[] = [];
  const measure = async (what: string, body: () => Promise<unknown>): Promise<void> => {
    await body();
    const holds: Times[] = [];
    for (let i = 0; i < Number(values.repetitions); i++) holds.push(await longestHold(body));
    const most = (of: keyof Times): number | null =>
      holds[0]![of] === null ? null : round(Math.max(...holds.map((hold) => hold[of]!)));
    const longest = { heldMs: most("heldMs")!, heldProcessorMs: most("heldProcessorMs"), callMs: most("callMs")! };
    results.push({ what, ...longest });
    console.error(`${what}: held ${longest.heldMs} ms (processor ${longest.heldProcessorMs}) of ${longest.callMs}`);
  };
  const noise = (length: number): Uint8Array => Uint8Array.from({ length }, () => random.uint32());
  const files = async (count: number, side: number): Promise<string[]> =>
    Promise.all(
      Array.from({ length: count }, async (_, i) => {
        const file = path.join(folder, `${side}-${i}.png`);
        await sharp(noise(side * side * 3), { raw: { width: side, height: side, channels: 3 } }).toFile(file);
        return file;
      }),
    );

  try {
    await measure("nothing (the timer alone)", () => new Promise((resolve) => setTimeout(resolve, 500)));
    const training = await files(8, 256);
    const data: Dataset = {
      name: "noise",
      root: folder,
      samples: training.map((image) => ({
        id: image,
        image,
        mask: undefined,
        label: "normal",
        defect: undefined,
        split: "train",
      })),
    } as Dataset;
    // From a file, as trained ones are.
    await openEngine("cpu");
    const weights = async (backbone: Architecture): Promise<string> => {
      const file = path.join(folder, `${backbone}.safetensors`);
      await writeTensors(file, await engine().randomBackbone(backbone, 0), {});
      return file;
    };
    const optionsFor = async (backbone: Architecture): Promise<TrainerOptions> => ({
      backbone,
      backboneWeights: await weights(backbone),
      epochs: 1,
      calibration: { method: "none" },
    });
    const options = await optionsFor("wide_resnet50_2");
    let model = await new Trainer(options).fit(data);
    if (parts.includes("fit"))
      await measure("Trainer.fit, wide_resnet50_2, 8 images", async () => {
        model = await new Trainer(options).fit(data);
      });
    const file = path.join(folder, "model.safetensors");
    await model.save(file, { embedBackbone: true });
    if (parts.includes("load")) {
      await measure("model.save, wide_resnet50_2", () => model.save(file, { embedBackbone: true }));
      await measure("Detector.load, wide_resnet50_2", async () => (await Detector.load(file)).dispose());
    }
    const detector = await Detector.load(model);
    if (parts.includes("raw"))
      for (const channels of [1, 3, 4] as const) {
        const data = new Uint8Array(height * width * channels).fill(100);
        await measure(`detect, raw, ${channels} channels`, () => detector.detect({ data, width, height, channels }));
      }
    const full = await Detector.load(model, { mapSize: "image" });
    const large = path.join(folder, "large.jpg");
    const grey = noise(1 << 20);
    const pixels = new Uint8Array(height * width);
    for (let at = 0; at < pixels.length; at += grey.length)
      pixels.set(grey.subarray(0, Math.min(grey.length, pixels.length - at)), at);
    await sharp(pixels, { raw: { width, height, channels: 1 } }).toFile(large);
    if (parts.includes("raw")) {
      await measure("detect, JPEG file", () => detector.detect(large));
      await measure("detect, JPEG file, map at the image's size", () => full.detect(large));
    }
    if (parts.includes("mask")) {
      const small = await optionsFor("resnet18");
      const mask = path.join(folder, "mask.png");
      for (const depth of ["uchar", "ushort"] as const) {
        const bytes = new Uint8Array(height * width).fill(255, 1000, 2000);
        const image = sharp(bytes, { raw: { width, height, channels: 1 } });
        await (depth === "uchar" ? image : image.toColourspace("grey16")).png({ compressionLevel: 1 }).toFile(mask);
        await measure(`decodeMask, ${depth === "uchar" ? 8 : 16} bits`, () => decodeMask(mask));
        const masked: Dataset = {
          ...data,
          samples: [...data.samples, { ...data.samples[0]!, id: "defect", image: large, label: "anomalous", mask }],
        };
        if (parts.includes("fit"))
          await measure(`Trainer.fit, resnet18, one mask of ${depth === "uchar" ? 8 : 16} bits`, () =>
            new Trainer(small).fit(masked),
          );
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  console.log(`${JSON.stringify({ machine: machine(os.availableParallelism()), height, width, results }, null, 2)}\n`);
}

void main();
