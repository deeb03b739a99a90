import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import os from "node:os";
import path from "node:path";
import { after } from "node:test";

import {
  type Dataset,
  datasets,
  type FitOptions,
  type Model,
  type Regime,
  type Sample,
  mergeOptions,
  Trainer,
  type TrainerOptions,
} from "../../lib/index.js";
import { fullDepth, paperBackbone } from "../../lib/schema/common.js";
import { checkOptions, type DeepOptions } from "../../lib/training/resolve.js";

/** Checked options with the paper's backbone and the full bit depth where they name none, whatever lies on this machine. */
export function settled(options: TrainerOptions): DeepOptions {
  const checked = checkOptions(options);
  const bitDepth = checked.bitDepth === "auto" ? fullDepth : checked.bitDepth;
  return { ...checked, backbone: checked.backbone ?? paperBackbone, bitDepth };
}

/** A folder that is deleted when the file's tests are done. */
export function scratchFolder(): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-test-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A port of 127.0.0.1 at which nobody listens. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** 10 normal and 3 anomalous training images with masks, 3 normal and 3 anomalous test images, 64 x 64. */
export function smallDataset(folder: string): Promise<Dataset> {
  return datasets.generated(path.join(folder, "data"), {
    imageSize: [64, 64],
    trainNormal: 10,
    trainAnomalous: 3,
    testNormal: 3,
    testAnomalous: 3,
    seed: 3,
  });
}

/** The training split with the labels that lead to `regime`. */
export function labelledFor(dataset: Dataset, regime: Regime): Dataset {
  const samples: Sample[] = [];
  let anomalous = 0;
  for (const sample of dataset.samples) {
    if (sample.split === "test" || sample.label === "normal") samples.push(sample);
    else if (regime !== "unsupervised")
      samples.push(
        regime === "weak" || (regime === "mixed" && anomalous++ === 0) ? { ...sample, mask: undefined } : sample,
      );
  }
  return { ...dataset, samples };
}

export const tiny = {
  backbone: "resnet18",
  backboneWeights: "random",
  imageSize: [64, 64],
  batchSize: 4,
  epochs: 2,
  threads: 1,
  calibration: { fraction: 0 },
} as const satisfies TrainerOptions;

/** A quarter of the work of 64 x 64, where only the wiring is tested. */
export const tinier = { ...tiny, imageSize: [32, 32], epochs: 1 } as const satisfies TrainerOptions;

export function train(dataset: Dataset, options: TrainerOptions = {}, fit: FitOptions = {}): Promise<Model> {
  return new Trainer(mergeOptions<TrainerOptions>(tiny, options)).fit(dataset, fit);
}

let files = 0;

/** The model file's bytes. */
export async function bytesOf(model: Model, folder: string): Promise<Buffer> {
  const file = path.join(folder, `model-${files++}.safetensors`);
  await model.save(file);
  return readFileSync(file);
}

/** The tensors as numbers, by name. */
export function headsOf(model: Model): Record<string, Float32Array> {
  return Object.fromEntries(Object.entries(model.heads).map(([name, tensor]) => [name, tensor.data as Float32Array]));
}

export const filesUnder = (folder: string): string[] => (readdirSync(folder, { recursive: true }) as string[]).sort();

/** Euclidean. */
export function distance(a: Float32Array, b: Float32Array): number {
  return Math.sqrt(a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0));
}
