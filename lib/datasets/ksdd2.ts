import path from "node:path";

import { decodeMask } from "../images/mask.js";
import { prefetch } from "../images/pipeline.js";
import { isFolder } from "../files/input.js";
import { firstOf, isFile, listFolder, missingFolder } from "./listing.js";
import { type Loader, type OpenOptions, readSplit, splitEntries } from "./loader.js";
import { countWarnings } from "./published.js";
import { type Dataset, type DatasetProblem, oneProblem, type Sample, type Split } from "./dataset.js";
import { findUnused, usedFiles } from "./unused.js";

const LAYOUT = `  train/10000.png, train/10000_GT.png, ...
  test/20000.png, test/20000_GT.png, ...
  split_weakly_{0,16,53,126,246}.pyb    optional, comes with the data; or SegDecNet's splits/KSDD2/split_{...}.pyb`;

/** Numbers of segmented images that SegDecNet's split files exist for; 246 is all. */
const PUBLISHED_COUNTS: readonly number[] = [0, 16, 53, 126, 246];

interface Pair {
  split: Split;
  /** The number in the file's name. */
  name: string;
  image: string;
  mask: string;
}

/** Images with their masks. The published archive holds a stray "10301 (copy).png" and its mask, which are left out. */
async function listPairs(root: string, split: Split, problems: DatasetProblem[]): Promise<Pair[]> {
  const folder = path.join(root, split);
  if (!(await isFolder(folder))) throw missingFolder(root, `${split}/`, LAYOUT);
  const pngs = (await listFolder(folder)).files.filter((file) => /\.png$/i.test(file) && !/copy/i.test(file));
  const present = new Set(pngs);
  const names = pngs.filter((file) => !/_GT\.png$/i.test(file)).map((file) => path.parse(file).name);
  const bare = names.filter((name) => !present.has(`${name}_GT.png`));
  if (bare.length > 0)
    problems.push({
      split,
      message: `${bare.length} images in ${split}/ have no mask (${bare[0]}_GT.png), which every image of KSDD2 has, normal ones an empty one: ${firstOf(bare)}. Unpack the data set again.`,
    });
  const alone = pngs.filter((file) => /_GT\.png$/i.test(file) && !present.has(file.replace(/_GT\.png$/i, ".png")));
  if (alone.length > 0)
    problems.push({ split, message: `${alone.length} masks in ${split}/ have no image: ${firstOf(alone)}.` });
  return names
    .filter((name) => present.has(`${name}_GT.png`))
    .map((name) => ({
      split,
      name,
      image: path.join(folder, `${name}.png`),
      mask: path.join(folder, `${name}_GT.png`),
    }));
}

async function findSplitFile(root: string, count: number): Promise<string | undefined> {
  for (const name of [`split_weakly_${count}.pyb`, `split_${count}.pyb`]) {
    for (const folder of ["", "splits", "KSDD2", path.join("splits", "KSDD2")]) {
      const file = path.join(root, folder, name);
      if (await isFile(file)) return file;
    }
  }
  return undefined;
}

/** A split file is the pair (training samples, test samples). Names of both, with whether their masks may be used. */
async function readSplits(file: string): Promise<Record<Split, Map<string, boolean>>> {
  const value = await readSplit(file);
  if (!Array.isArray(value) || value.length !== 2) {
    const problem = `${path.basename(file)} is not a split file of KSDD2: expected a pair of lists, training and test.`;
    throw oneProblem(file, problem, file);
  }
  const names = (list: unknown): Map<string, boolean> =>
    new Map(splitEntries(list, file).map(({ id, segmented }) => [id, segmented]));
  return { train: names(value[0]), test: names(value[1]) };
}

async function load(root: string, { segmentedCount }: OpenOptions): Promise<Dataset> {
  const problems: DatasetProblem[] = [];
  const warnings: string[] = [];
  let pairs = [...(await listPairs(root, "train", problems)), ...(await listPairs(root, "test", problems))];
  const file = segmentedCount === undefined ? undefined : await findSplitFile(root, segmentedCount);
  const listed = file === undefined ? undefined : await readSplits(file);
  if (listed !== undefined) {
    for (const split of ["train", "test"] as const) {
      const present = new Set(pairs.filter((pair) => pair.split === split).map((pair) => pair.name));
      const missing = [...listed[split].keys()].filter((name) => !present.has(name));
      if (missing.length > 0)
        problems.push({
          split,
          message: `${missing.length} images of ${path.basename(file!)} are not in ${split}/: ${firstOf(missing)}. The download is incomplete.`,
        });
    }
    pairs = pairs.filter((pair) => listed[pair.split].has(pair.name));
  } else if (segmentedCount !== undefined && PUBLISHED_COUNTS.includes(segmentedCount)) {
    warnings.push(
      `There is no split_weakly_${segmentedCount}.pyb: the ${segmentedCount} segmented images are not the published ones.`,
    );
  }

  const samples: Sample[] = [];
  const anomalous = async (pair: Pair): Promise<{ pair: Pair; defect: boolean }> => ({
    pair,
    defect: (await decodeMask(pair.mask)).marked > 0,
  });
  for await (const { pair, defect } of prefetch(pairs, anomalous, { ahead: 8 })) {
    const { split, name, image, mask } = pair;
    const sample: Sample = { id: `${split}/${name}.png`, image, label: defect ? "anomalous" : "normal", split };
    if (defect && (split === "test" || (listed?.train.get(name) ?? true))) sample.mask = mask;
    samples.push(sample);
  }
  const dataset: Dataset = { kind: "ksdd2", name: "KSDD2", root, samples, problems };
  if (file !== undefined) dataset.segmented = { file: path.basename(file), count: segmentedCount! };
  const known = [...usedFiles(dataset), ...pairs.map(({ mask }) => mask)];
  const { unused, special } = await findUnused(root, known);
  const others = unused.filter((name) => !/(^|\/)split_\w+\.pyb$/.test(name));
  return { ...dataset, warnings: [...warnings, ...countWarnings(dataset)], unused: others, special };
}

/** Whether train/ or test/ holds masks named as KSDD2 names them. */
async function matches(root: string, isAFile: boolean): Promise<boolean> {
  if (isAFile) return false;
  for (const split of ["train", "test"]) {
    const folder = path.join(root, split);
    if ((await isFolder(folder)) && (await listFolder(folder)).files.some((name) => /^\d+_GT\.png$/i.test(name)))
      return true;
  }
  return false;
}

/**
 * KolektorSDD2 (Božič et al., Computers in Industry 2021): every image has a mask, and one is anomalous when its mask
 * marks anything. With `segmentedCount` 0, 16, 53, 126 or 246 the split file of that number says which masks may be used.
 */
export const ksdd2: Loader = {
  kind: "ksdd2",
  summary: "KolektorSDD2, with SegDecNet's split files",
  takes: ["segmentedCount"],
  layout: LAYOUT,
  matches,
  load,
};
