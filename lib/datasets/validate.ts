import { createHash } from "node:crypto";
import path from "node:path";

import { hasCode, SuperSimpleNetError } from "../errors.js";
import { decodeImage, imageOrientation, imageSize as readSize, type PixelFacts } from "../images/decode.js";
import { depthOf } from "../images/depth.js";
import { sha256, shortId } from "../images/identity.js";
import { decodeMask, leftOutOfMask, type Mask, maskFiles } from "../images/mask.js";
import { prefetch } from "../images/pipeline.js";
import { readImageFile } from "../images/source.js";
import { pixelWarnings } from "../images/warnings.js";
import { check } from "../schema/check.js";
import { fullDepth } from "../schema/common.js";
import { validateOptions } from "../schema/datasets.js";
import type { Settings } from "../schema/types.js";
import {
  checkStructure,
  countSamples,
  type Dataset,
  type DatasetCounts,
  manyProblems,
  type Regime,
  type Sample,
  type Split,
} from "./dataset.js";
import { alikeWarnings } from "./duplicates.js";
import { firstOf } from "./listing.js";
import { type LookedAt, readLookedAt } from "./looked_at.js";
import { type Appearance, appearanceOf, lookLikeMasks, type Seen } from "./masks.js";
import { turnedMask } from "./orientation.js";
import { hasPublishedMasks } from "./published.js";
import { applyRegime, inferRegime } from "./regime.js";
import { describeUnused } from "./unused.js";

/** Options of datasets.validate. */
export interface ValidateOptions extends Settings<typeof validateOptions> {
  onProgress?: (progress: { checked: number; total: number }) => void;
}

/** Share of an image above which a mask looks inverted, or filled. */
const MOST_MARKED = 0.5;

export interface ValidationResult {
  regime: Regime;
  counts: DatasetCounts;
  /** What looks wrong but can be trained on. */
  warnings: string[];
  /** SHA-256 over the training images' files, the pixels of the masks that the regime uses, and what is looked at, in the data set's order. */
  trainingContent: string;
  /** What imageId says of every training image, in the data set's order. */
  trainingImages: string[];
  /** Bits of the samples of 16-bit images: as asked for, or what those of the training images need; with `headersOnly` 16. */
  bitDepth: number;
}

interface Checked {
  sample: Sample;
  problems: string[];
  /** Of the file's bytes; absent when unreadable. */
  hash?: string;
  /** Of the mask's pixels, when it has one that can be read. */
  maskHash?: string;
  /** Of what is looked at, where that is not the whole image. */
  lookedAt?: LookedAt;
  /** Share of the pixels that the mask marks. */
  marked: number;
  width: number;
  height: number;
  /** Absent where only headers are read. */
  facts?: PixelFacts;
  /** Of images of defects, where more than headers are read. */
  looks?: Appearance;
  /** Where the mask has another EXIF orientation than the image, and the sizes do not tell whether that is right. */
  turned?: string;
}

/** Reads a sample. Only errors about the data become problems; a bug stays an exception. */
async function readSample(sample: Sample, headersOnly: boolean): Promise<Checked> {
  const result: Checked = { sample, problems: [], marked: 0, width: 0, height: 0 };
  const attempt = async (action: () => Promise<void>): Promise<void> => {
    try {
      await action();
    } catch (error) {
      if (!(error instanceof SuperSimpleNetError)) throw error;
      result.problems.push(`${sample.id}: ${error.message}`);
    }
  };
  const { mask } = sample;
  let orientation = 1;
  await attempt(async () => {
    const bytes = await readImageFile(sample.image);
    if (mask !== undefined) orientation = await imageOrientation(bytes, sample.image);
    const hash = await sha256(bytes);
    if (headersOnly) return void Object.assign(result, { ...(await readSize(bytes, sample.image)), hash });
    const { pixels, width, height, uniform, highest } = await decodeImage(bytes, { name: sample.image });
    if (sample.label === "anomalous") result.looks = await appearanceOf(pixels, sample.image);
    Object.assign(result, { width, height, hash, facts: { uniform, highest } });
  });
  if (mask !== undefined && sample.label === "normal")
    result.problems.push(
      `${sample.id}: a normal image has a mask (${mask}). Remove the mask or label the image anomalous.`,
    );
  let defect: Mask | undefined;
  if (mask !== undefined && sample.label === "anomalous")
    await attempt(async () => {
      const { pixels, marked, width, height } = await decodeMask(mask);
      if (marked > 0 && width === result.width && height === result.height) defect = { pixels, width, height };
      result.maskHash = await sha256(pixels);
      result.marked = marked / pixels.length;
      if (result.hash !== undefined) {
        const turned = turnedMask(
          { ...result, orientation },
          { width, height, orientation: await maskOrientation(mask, orientation) },
        );
        if (width !== result.width || height !== result.height)
          result.problems.push(
            `${sample.id}: its mask ${mask} is ${width} x ${height} but the image is ${result.width} x ${result.height}. ${turned ?? "They must be of one size."}`,
          );
        else if (turned !== undefined) result.turned = `${sample.id} (${turned})`;
      }
      if (result.marked > 0) return;
      const leftOut = await leftOutOfMask(mask);
      result.problems.push(
        `${sample.id}: its mask ${mask} marks nothing${leftOut === undefined ? ". Remove the mask, or label the image normal" : `: ${leftOut}`}.`,
      );
    });
  await attempt(async () => {
    const found = await readLookedAt(sample, result.hash === undefined ? undefined : result, defect);
    if (found === undefined) return;
    result.lookedAt = found;
    result.problems.push(...found.problems);
  });
  return result;
}

/** The EXIF orientation of a mask; of several that count together, one that is not the image's. */
async function maskOrientation(mask: string, image: number): Promise<number> {
  for (const file of await maskFiles(mask)) {
    const orientation = await imageOrientation(file);
    if (orientation !== image) return orientation;
  }
  return image;
}

/**
 * Reads and (but for `headersOnly`) decodes every image and mask, in parallel, and throws one DATASET_INVALID whose `problems` lists everything
 * that is wrong: unreadable or truncated files, masks that are missing, empty, of another size than the image, on a normal
 * image, without an image or of two images, ids that occur twice, files that are no images, too few normal training images
 * (2 at least), labels that do not allow `regime`. What can be lived with comes back as warnings. ABORTED when the signal
 * fires.
 */
export async function validateDataset(dataset: Dataset, options: ValidateOptions = {}): Promise<ValidationResult> {
  const { regime, split, headersOnly, imageSize, bitDepth, signal } = check(
    "datasets.validate",
    validateOptions,
    options,
  );
  const { onProgress } = options;
  checkStructure("datasets.validate", dataset);
  const concerns = (part: Split | undefined): boolean => split === undefined || part === undefined || part === split;
  const problems: string[] = (dataset.problems ?? [])
    .filter((problem) => concerns(problem.split))
    .map(({ message }) => message);
  const warnings: string[] = [...(dataset.warnings ?? []), ...describeUnused(dataset)];

  let used: Dataset = dataset;
  if (split !== undefined) used = { ...dataset, samples: dataset.samples.filter((sample) => sample.split === split) };
  else {
    try {
      used = applyRegime(dataset, regime);
      const left = dataset.samples.length - used.samples.length;
      if (left > 0)
        warnings.push(
          `Regime '${regime}' leaves out the ${left === 1 ? "one anomalous training image" : `${left} anomalous training images`}.`,
        );
    } catch (error) {
      if (!hasCode(error, "DATASET_INVALID")) throw error;
      problems.push(...error.problems);
    }
  }
  const counts = countSamples(used);
  if (split === undefined && counts.trainNormal < 2) {
    problems.push(
      `The training split has ${counts.trainNormal === 0 ? "no normal image" : "only 1 normal image"}; at least 2 are needed, and some dozens for a useful model.`,
    );
  }
  // Of one class in the split that it is given, evaluation says itself which metrics that leaves undefined.
  if (split !== undefined) {
    if (used.samples.length === 0) problems.push(`There are no ${split} images to evaluate on.`);
  } else if (counts.testNormal + counts.testAnomalous === 0)
    warnings.push("There is no test split: the model cannot be evaluated.");
  else if (counts.testNormal === 0 || counts.testAnomalous === 0) {
    warnings.push(
      `The test split has only ${counts.testNormal === 0 ? "anomalous" : "normal"} images: AUROC and average precision are undefined.`,
    );
  }

  const ids = new Set<string>();
  for (const { id } of used.samples) {
    if (ids.has(id)) problems.push(`${id} occurs more than once.`);
    ids.add(id);
  }

  const read: { sample: Sample; hash: string }[] = [];
  const turned: string[] = [];
  const defects: Seen[] = [];
  const small: Checked[] = [];
  const full: Checked[] = [];
  const hidden: string[] = [];
  const decoded: { id: string; split: Split; facts: PixelFacts }[] = [];
  const least = imageSize ? ([imageSize[0] / 2, imageSize[1] / 2] as const) : ([32, 32] as const);
  const content = createHash("sha256");
  const trainingImages: string[] = [];
  let checked = 0;
  for await (const result of prefetch(used.samples, (sample) => readSample(sample, headersOnly), { signal })) {
    problems.push(...result.problems);
    onProgress?.({ checked: ++checked, total: used.samples.length });
    const { facts, hash, sample } = result;
    if (hash === undefined) continue;
    read.push({ sample, hash });
    if (result.looks !== undefined)
      defects.push({ id: sample.id, image: sample.image, split: sample.split, looks: result.looks });
    if (facts) decoded.push({ id: sample.id, split: sample.split, facts });
    if (result.turned !== undefined) turned.push(result.turned);
    if (sample.split === "train") {
      trainingImages.push(shortId(hash));
      const looked = result.lookedAt === undefined ? "" : ` ${result.lookedAt.identity}`;
      content.update(`${hash} ${result.maskHash ?? "-"}${looked}\n`);
    }
    if (result.lookedAt?.hidesDefect) hidden.push(sample.id);
    if (result.height < least[0] || result.width < least[1]) small.push(result);
    if (result.marked > MOST_MARKED && !hasPublishedMasks(dataset)) full.push(result);
  }
  const marks = async ({ mask }: { mask: string }): Promise<string | undefined> => {
    const name = path.relative(dataset.root, mask).split(path.sep).join("/");
    try {
      return (await decodeMask(mask)).marked > 0
        ? `${name} marks a defect on a normal image. Move the image to a folder of defects, or remove the mask.`
        : undefined;
    } catch (error) {
      if (!(error instanceof SuperSimpleNetError)) throw error;
      return `${name}: ${error.message}`;
    }
  };
  const normalMasks = (dataset.normalMasks ?? []).filter((found) => concerns(found.split));
  for await (const problem of prefetch(normalMasks, marks, { signal }))
    if (problem !== undefined) problems.push(problem);

  warnings.push(...alikeWarnings(read));
  if (small.length > 0) {
    const wanted = imageSize
      ? `less than half of the model's ${imageSize[1]} x ${imageSize[0]}`
      : "smaller than 32 pixels";
    warnings.push(
      `${small.length === 1 ? "1 image is" : `${small.length} images are`} ${wanted}: ${firstOf(small.map(({ sample, width, height }) => `${sample.id} (${width} x ${height})`))}.`,
    );
  }
  if (full.length > 0) {
    warnings.push(
      `${full.length === 1 ? "1 mask marks" : `${full.length} masks mark`} more than half of the image: ${firstOf(full.map(({ sample, marked }) => `${sample.id} (${Math.floor(100 * marked)} %)`))}. What is not black is defect, transparent or not: are they inverted?`,
    );
  }

  if (hidden.length > 0)
    warnings.push(
      `${hidden.length === 1 ? "The mask of 1 image lies" : `The masks of ${hidden.length} images lie`} wholly in pixels that are not looked at, ignored or outside the roi: ${firstOf(hidden)}. ${hidden.length === 1 ? "It counts" : "They count"} as anomalous, and nothing of the defect is seen.`,
    );
  if (turned.length > 0)
    warnings.push(
      `${turned.length === 1 ? "1 mask has" : `${turned.length} masks have`} another EXIF orientation than the image, and the sizes do not tell whether that is right: ${firstOf(turned)}. Image and mask are each turned by their own. If a mask was drawn on the image as it is stored, turn the mask too, or remove the orientation from the image.`,
    );
  const masksOfOthers = lookLikeMasks(defects);
  if (masksOfOthers.length > 0)
    warnings.push(
      `${masksOfOthers.length === 1 ? "1 image of a defect looks like the mask of another" : `${masksOfOthers.length} images of defects look like the masks of others`}: ${firstOf(masksOfOthers)}. They count as images. Move masks to ground_truth/<defect>, called like their images.`,
    );
  const settledDepth = bitDepth === "auto" ? trainingDepth(decoded) : bitDepth;
  warnings.push(...pixelWarnings(decoded, settledDepth, firstOf, trainingDepth(decoded) !== settledDepth));

  if (problems.length > 0) throw manyProblems(`Data set ${dataset.root}`, dataset.root, problems);
  return {
    regime: regime === "auto" ? inferRegime(dataset) : regime,
    counts,
    warnings,
    trainingContent: content.digest("hex"),
    trainingImages,
    bitDepth: settledDepth,
  };
}

/** The bits that the highest 16-bit sample of the training images needs. */
function trainingDepth(decoded: readonly { split: Split; facts: PixelFacts }[]): number {
  const highest = decoded.flatMap(({ split, facts }) => (split === "train" ? (facts.highest ?? []) : []));
  return highest.length === 0 ? fullDepth : depthOf(highest.reduce((a, b) => Math.max(a, b)));
}
