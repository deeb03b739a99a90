import path from "node:path";

import { byHash } from "../random.js";
import { isFolder } from "../files/input.js";
import { firstOf, isFile, listFolder, missingFolder, notThisLayout } from "./listing.js";
import {
  chooseCategory,
  chooseFold,
  type Loader,
  type OpenOptions,
  readSplit,
  splitEntries,
  type SplitEntry,
} from "./loader.js";
import { countWarnings } from "./published.js";
import { type Dataset, type DatasetProblem, oneProblem, type Sample, type Split } from "./dataset.js";
import { findUnused, usedFiles } from "./unused.js";

const LAYOUT = `  softgel/negative/data/000.png, ...
  softgel/positive/data/000.png, ...
  softgel/positive/annotation/000.png, ...      its mask
  capsule/..., the same
  sensum_splits/softgel/{0,1,2}/train/neg.pckl, pos_{0,10,...,100}.pckl
  sensum_splits/softgel/{0,1,2}/test/neg.pckl, pos.pckl
  sensum_splits/capsule/..., the same`;

const CATEGORIES = ["capsule", "softgel"];
const FOLDS = 3;

/** "7" and 7 are 007.png. */
const fileOf = (id: string): string => `${path.parse(id).name.padStart(3, "0")}.png`;

/** Image file names of one class in one split. `masks`: of those whose mask may be used. */
interface Part {
  images: string[];
  masks: Set<string>;
}

async function fromSplitFile(file: string): Promise<Part> {
  const entries: SplitEntry[] = splitEntries(await readSplit(file), file);
  return {
    images: entries.map(({ id }) => fileOf(id)),
    masks: new Set(entries.filter(({ segmented }) => segmented).map(({ id }) => fileOf(id))),
  };
}

/** Every third image in the order of a hash: an even division that depends on the names alone. */
function fromHash(files: readonly string[], category: string, label: string, fold: number, split: Split): Part {
  const ranked = byHash(files, (file) => `${category}/${label}/${file}`);
  const images = ranked.filter((_, i) => (i % FOLDS === fold) === (split === "test")).sort();
  return { images, masks: new Set(images) };
}

async function load(root: string, options: OpenOptions): Promise<Dataset> {
  const available: string[] = [];
  for (const name of CATEGORIES) if (await isFolder(path.join(root, name))) available.push(name);
  const category = chooseCategory("sensum", options.category, available);
  const fold = chooseFold("sensum", options.fold, FOLDS);
  const folders = {
    negative: `${category}/negative/data`,
    positive: `${category}/positive/data`,
    annotation: `${category}/positive/annotation`,
  };
  for (const folder of Object.values(folders)) {
    if (!(await isFolder(path.join(root, folder)))) throw missingFolder(root, folder, LAYOUT);
  }
  const present = async (folder: string): Promise<Set<string>> =>
    new Set((await listFolder(path.join(root, folder))).files.filter((file) => /\.png$/i.test(file)));
  const files = {
    negative: await present(folders.negative),
    positive: await present(folders.positive),
    annotation: await present(folders.annotation),
  };

  const warnings: string[] = [];
  const problems: DatasetProblem[] = [];
  const ratio = options.segmentedRatio;
  const percent = ratio === undefined ? 100 : Math.round(ratio * 100);
  const splits = path.join(root, "sensum_splits", category, String(fold));
  const published = await isFolder(path.join(root, "sensum_splits"));
  if (!published)
    warnings.push(
      "There is no folder sensum_splits/: these folds are drawn by a hash of the names and are not the published ones.",
    );
  const chosen =
    ratio !== undefined &&
    published &&
    Math.abs(ratio * 100 - percent) < 1e-9 &&
    (await isFile(path.join(splits, "train", `pos_${percent}.pckl`)));
  if (ratio !== undefined && published && !chosen)
    warnings.push(
      `There is no sensum_splits/${category}/${fold}/train/pos_${percent}.pckl: the segmented images are not the published ones.`,
    );

  const part = async (label: "negative" | "positive", split: Split): Promise<Part> => {
    if (!published) return fromHash([...files[label]], category, label, fold, split);
    const name =
      label === "negative" ? "neg.pckl" : split === "test" ? "pos.pckl" : `pos_${chosen ? percent : 100}.pckl`;
    const file = path.join(splits, split, name);
    if (!(await isFile(file)))
      throw notThisLayout(root, `${path.relative(root, file)} is missing: sensum_splits/ is incomplete.`, LAYOUT);
    const listed = await fromSplitFile(file);
    const missing = listed.images.filter((image) => !files[label].has(image));
    if (missing.length > 0)
      problems.push({
        split,
        message: `${missing.length} images of ${path.relative(root, file)} are not in ${folders[label]}: ${firstOf(missing)}. The download is incomplete.`,
      });
    return { ...listed, images: listed.images.filter((image) => files[label].has(image)) };
  };

  const samples: Sample[] = [];
  const bare: string[] = [];
  for (const split of ["train", "test"] as const) {
    for (const image of (await part("negative", split)).images)
      samples.push({
        id: `${folders.negative}/${image}`,
        image: path.join(root, folders.negative, image),
        label: "normal",
        split,
      });
    const positive = await part("positive", split);
    for (const image of positive.images) {
      const sample: Sample = {
        id: `${folders.positive}/${image}`,
        image: path.join(root, folders.positive, image),
        label: "anomalous",
        split,
      };
      if (!files.annotation.has(image)) bare.push(image);
      else if (split === "test" || positive.masks.has(image)) sample.mask = path.join(root, folders.annotation, image);
      samples.push(sample);
    }
  }
  if (bare.length > 0)
    problems.push({
      message: `${bare.length} images of ${folders.positive} have no mask of the same name in ${folders.annotation}: ${firstOf(bare)}.`,
    });
  const twice = samples.map(({ id }) => id).filter((id, i, ids) => ids.indexOf(id) !== i);
  if (published && twice.length > 0) {
    throw oneProblem(
      root,
      `The split files of fold ${fold} list images for training and for testing: ${firstOf(twice)}.`,
    );
  }
  const dataset: Dataset = {
    kind: "sensum",
    name: `SensumSODF ${category}, fold ${fold}`,
    root,
    category,
    fold,
    samples,
    problems,
  };
  if (chosen) dataset.segmented = { file: `sensum_splits/${category}/${fold}/train/pos_${percent}.pckl`, ratio };
  const known = [...files.annotation].map((name) => path.join(root, folders.annotation, name));
  const left = await findUnused(root, [...usedFiles(dataset), ...known], category);
  return { ...dataset, warnings: [...warnings, ...countWarnings(dataset)], ...left };
}

async function matches(root: string, isAFile: boolean): Promise<boolean> {
  if (isAFile) return false;
  for (const name of CATEGORIES) if (await isFolder(path.join(root, name, "positive"))) return true;
  return false;
}

/** SensumSODF (Rački et al., 2021): two kinds of capsules, evaluated in three folds with the split files of the paper's authors. */
export const sensum: Loader = {
  kind: "sensum",
  summary: "SensumSODF in three folds",
  layout: LAYOUT,
  takes: ["category", "fold", "segmentedRatio"],
  matches,
  accepts: async (root, isAFile) =>
    (await matches(root, isAFile)) || (!isAFile && (await isFolder(path.join(root, "sensum_splits")))),
  load,
};
