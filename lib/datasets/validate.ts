import { createHash } from "node:crypto";
import path from "node:path";

import { SuperSimpleNetError } from "../errors.js";
import { decodeImage, decodeMask, readImageFile } from "../images/decode.js";
import { prefetch } from "../images/pipeline.js";
import { rejectUnknown } from "../options.js";
import { some } from "./listing.js";
import { applyRegime, inferRegime } from "./regime.js";
import type { Dataset, Regime, Sample } from "./types.js";

export interface ValidateOptions {
  /** Model size [height, width] in pixels; warns of images that are less than half of it. */
  imageSize?: readonly [number, number];
  /** Check what this regime uses. Default "auto": what the labels allow. */
  regime?: Regime | "auto";
  /** "train" (default) needs normal training images; "test" checks the test split alone and needs one. */
  purpose?: "train" | "test";
  signal?: AbortSignal | undefined;
  onProgress?: (progress: { checked: number; total: number }) => void;
}

export interface DatasetCounts {
  trainNormal: number;
  trainAnomalous: number;
  /** Anomalous training images with a mask. */
  trainSegmented: number;
  testNormal: number;
  testAnomalous: number;
  testSegmented: number;
}

export interface ValidationResult {
  regime: Regime;
  counts: DatasetCounts;
  /** What looks wrong but can be trained on. */
  warnings: string[];
  /** SHA-256 over the training images' files and the masks' pixels that the regime uses, in the data set's order. */
  trainingContent: string;
}

/** How many samples each split has, without reading a file. */
export function countSamples(dataset: Dataset): DatasetCounts {
  const count = (split: Sample["split"], label: Sample["label"], masked = false): number =>
    dataset.samples.filter((sample) => sample.split === split && sample.label === label && (!masked || sample.mask !== undefined)).length;
  return {
    trainNormal: count("train", "normal"),
    trainAnomalous: count("train", "anomalous"),
    trainSegmented: count("train", "anomalous", true),
    testNormal: count("test", "normal"),
    testAnomalous: count("test", "anomalous"),
    testSegmented: count("test", "anomalous", true),
  };
}

interface Checked {
  sample: Sample;
  problems: string[];
  /** Of the file's bytes; absent when unreadable. */
  hash?: string;
  /** Of the mask's pixels, when it has one that can be read. */
  maskHash?: string;
  width: number;
  height: number;
}

/** Decodes a sample in full. Only errors about the data become problems; a bug stays an exception. */
async function check(sample: Sample): Promise<Checked> {
  const result: Checked = { sample, problems: [], width: 0, height: 0 };
  const attempt = async (action: () => Promise<void>): Promise<void> => {
    try {
      await action();
    } catch (error) {
      if (!(error instanceof SuperSimpleNetError)) throw error;
      result.problems.push(`${sample.id}: ${error.message}`);
    }
  };
  await attempt(async () => {
    const bytes = await readImageFile(sample.image);
    const { width, height } = await decodeImage(bytes, sample.image);
    Object.assign(result, { width, height, hash: createHash("sha256").update(bytes).digest("hex") });
  });
  const { mask } = sample;
  if (mask === undefined) return result;
  if (sample.label === "normal") {
    result.problems.push(`${sample.id}: a normal image has a mask (${mask}). Remove the mask or label the image anomalous.`);
    return result;
  }
  await attempt(async () => {
    const { pixels, width, height } = await decodeMask(mask);
    result.maskHash = createHash("sha256").update(pixels).digest("hex");
    if (result.hash !== undefined && (width !== result.width || height !== result.height)) {
      result.problems.push(`${sample.id}: its mask ${mask} is ${width} x ${height} but the image is ${result.width} x ${result.height}. They must be of one size.`);
    }
    if (!pixels.includes(1)) result.problems.push(`${sample.id}: its mask ${mask} marks nothing. Remove the mask, or label the image normal.`);
  });
  return result;
}

/**
 * Reads and decodes every image and mask, in parallel, and throws one DATASET_INVALID whose `problems` lists everything
 * that is wrong: unreadable or truncated files, masks that are missing, empty, of another size than the image, on a normal
 * image or without an image, ids that occur twice, files that are no images, too few normal training images (2 at least),
 * labels that do not allow `regime`. What can be lived with comes back as warnings. ABORTED when the signal fires.
 */
export async function validateDataset(dataset: Dataset, options: ValidateOptions = {}): Promise<ValidationResult> {
  rejectUnknown(options, ["imageSize", "regime", "purpose", "signal", "onProgress"], "validateDataset");
  const { regime = "auto", purpose = "train", imageSize, signal, onProgress } = options;
  const problems: string[] = [...(dataset.problems ?? [])];
  const warnings: string[] = [...(dataset.warnings ?? [])];

  let used: Dataset = dataset;
  if (purpose === "test") used = { ...dataset, samples: dataset.samples.filter((sample) => sample.split === "test") };
  else {
    try {
      used = applyRegime(dataset, regime);
      const left = dataset.samples.length - used.samples.length;
      if (left > 0) warnings.push(`Regime '${regime}' leaves out the ${left === 1 ? "one anomalous training image" : `${left} anomalous training images`}.`);
    } catch (error) {
      if (!(error instanceof SuperSimpleNetError) || error.code !== "DATASET_INVALID") throw error;
      problems.push(...error.problems);
    }
  }
  const counts = countSamples(used);
  if (purpose === "train" && counts.trainNormal < 2) {
    problems.push(`The training split has ${counts.trainNormal === 0 ? "no normal image" : "only 1 normal image"}; at least 2 are needed, and some dozens for a useful model.`);
  }
  const tested = counts.testNormal + counts.testAnomalous;
  if (tested === 0 && purpose === "test") problems.push("There is no test split to evaluate on.");
  else if (tested === 0) warnings.push("There is no test split: the model cannot be evaluated.");
  else if (counts.testNormal === 0 || counts.testAnomalous === 0) {
    warnings.push(`The test split has only ${counts.testNormal === 0 ? "anomalous" : "normal"} images: AUROC and average precision are undefined.`);
  }

  const ids = new Set<string>();
  for (const { id } of used.samples) {
    if (ids.has(id)) problems.push(`${id} occurs more than once.`);
    ids.add(id);
  }

  const trained = new Map<string, string>();
  const tests: Checked[] = [];
  const small: Checked[] = [];
  const least = imageSize ? [imageSize[0] / 2, imageSize[1] / 2] as const : [32, 32] as const;
  const content = createHash("sha256");
  let checked = 0;
  for await (const result of prefetch(used.samples, check, { signal })) {
    problems.push(...result.problems);
    onProgress?.({ checked: ++checked, total: used.samples.length });
    if (result.hash === undefined) continue;
    if (result.sample.split === "train") {
      trained.set(result.hash, result.sample.id);
      content.update(`${result.hash} ${result.maskHash ?? "-"}\n`);
    } else tests.push(result);
    if (result.height < least[0] || result.width < least[1]) small.push(result);
  }
  const marks = async (mask: string): Promise<string | undefined> => {
    const name = path.relative(dataset.root, mask).split(path.sep).join("/");
    try {
      return (await decodeMask(mask)).pixels.includes(1) ? `${name} marks a defect on a normal image. Move the image to a folder of defects, or remove the mask.` : undefined;
    } catch (error) {
      if (!(error instanceof SuperSimpleNetError)) throw error;
      return `${name}: ${error.message}`;
    }
  };
  for await (const problem of prefetch(dataset.normalMasks ?? [], marks, { signal })) if (problem !== undefined) problems.push(problem);

  const leaked = tests.filter(({ hash }) => trained.has(hash!)).map(({ sample, hash }) => `${sample.id} = ${trained.get(hash!)!}`);
  if (leaked.length > 0) warnings.push(`${leaked.length === 1 ? "1 test image is also a training image" : `${leaked.length} test images are also training images`}, which flatters every metric: ${some(leaked)}.`);
  if (small.length > 0) {
    const wanted = imageSize ? `less than half of the model's ${imageSize[1]} x ${imageSize[0]}` : "smaller than 32 pixels";
    warnings.push(`${small.length === 1 ? "1 image is" : `${small.length} images are`} ${wanted}: ${some(small.map(({ sample, width, height }) => `${sample.id} (${width} x ${height})`))}.`);
  }

  if (problems.length > 0) {
    const shown = problems.slice(0, 20);
    if (problems.length > shown.length) shown.push(`... and ${problems.length - shown.length} more (all of them are in the error's 'problems')`);
    throw new SuperSimpleNetError(
      "DATASET_INVALID",
      `Data set ${dataset.root} has ${problems.length} problem${problems.length === 1 ? "" : "s"}:\n${shown.map((problem) => `  ${problem}`).join("\n")}`,
      { path: dataset.root, problems },
    );
  }
  return { regime: regime === "auto" ? inferRegime(dataset) : regime, counts, warnings, trainingContent: content.digest("hex") };
}
