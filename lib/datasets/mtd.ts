import path from "node:path";

import { byHash } from "../random.js";
import { isFolder } from "../files/input.js";
import { firstOf, listFolder, missingFolder, sharedMask } from "./listing.js";
import { chooseFold, type Loader, type OpenOptions } from "./loader.js";
import { countWarnings } from "./published.js";
import type { Dataset, DatasetProblem, Sample, Split } from "./dataset.js";
import { findUnused, usedFiles } from "./unused.js";

const LAYOUT = `  MT_Free/Imgs/exp1_num_10334.jpg, ...            without defects; its .png masks are empty
  MT_Blowhole/Imgs/exp1_num_108719.jpg, ...       each with a mask of the same name, .png
  MT_Break/Imgs, MT_Crack/Imgs, MT_Fray/Imgs, MT_Uneven/Imgs`;

const NORMAL = "MT_Free";
const KINDS = [NORMAL, "MT_Blowhole", "MT_Break", "MT_Crack", "MT_Fray", "MT_Uneven"];
const FOLDS = 3;
/** Without folds, one normal image in so many is for testing. */
const TEST_NORMALS = 5;

async function load(root: string, options: OpenOptions): Promise<Dataset> {
  const fold = options.fold === undefined ? undefined : chooseFold("mtd", options.fold, FOLDS);
  const missing: string[] = [];
  for (const kind of KINDS) if (!(await isFolder(path.join(root, kind, "Imgs")))) missing.push(`${kind}/Imgs`);
  if (missing.length > 0) throw missingFolder(root, missing.join(", "), LAYOUT);

  const problems: DatasetProblem[] = [];
  const samples: Sample[] = [];
  const known: string[] = [];
  for (const kind of KINDS) {
    const normal = kind === NORMAL;
    const { files } = await listFolder(path.join(root, kind, "Imgs"));
    const masks = new Map(files.filter((file) => /\.png$/i.test(file)).map((file) => [path.parse(file).name, file]));
    known.push(...[...masks.values()].map((file) => path.join(root, kind, "Imgs", file)));
    const images = files.filter((file) => /\.jpe?g$/i.test(file));
    const position = new Map(byHash(images, (file) => `${kind}/${file}`).map((file, i) => [file, i]));
    const splitOf = (file: string): Split => {
      const i = position.get(file)!;
      if (fold !== undefined) return i % FOLDS === fold ? "test" : "train";
      return !normal || i % TEST_NORMALS === 0 ? "test" : "train";
    };
    const bare: string[] = [];
    const takenBy = new Map<string, string>();
    for (const file of images) {
      const id = `${kind}/Imgs/${file}`;
      const sample: Sample = {
        id,
        image: path.join(root, id),
        label: normal ? "normal" : "anomalous",
        split: splitOf(file),
      };
      if (!normal) {
        sample.defect = kind.slice("MT_".length).toLowerCase();
        const mask = masks.get(path.parse(file).name);
        if (mask === undefined) bare.push(file);
        else {
          const other = takenBy.get(mask);
          if (other !== undefined) problems.push({ message: sharedMask(other, id, `${kind}/Imgs/${mask}`) });
          takenBy.set(mask, id);
          sample.mask = path.join(root, kind, "Imgs", mask);
        }
      }
      samples.push(sample);
    }
    if (bare.length > 0)
      problems.push({
        message: `${bare.length} images in ${kind}/Imgs have no mask of the same name, .png: ${firstOf(bare)}.`,
      });
  }
  const dataset: Dataset = {
    kind: "mtd",
    name: fold === undefined ? "MTD" : `MTD, fold ${fold}`,
    root,
    ...(fold !== undefined && { fold }),
    samples,
    problems,
  };
  const left = await findUnused(root, [...usedFiles(dataset), ...known]);
  return { ...dataset, warnings: countWarnings(dataset), ...left };
}

async function matches(root: string, isAFile: boolean): Promise<boolean> {
  if (isAFile) return false;
  for (const kind of KINDS) if (await isFolder(path.join(root, kind))) return true;
  return false;
}

/**
 * Magnetic tile defects (Huang et al., The Visual Computer 2020), which were published without a split. Without a fold:
 * unsupervised, four fifths of the normal images for training, everything else for testing, as anomaly detection papers do
 * since DifferNet. With a fold, 0 to 2: supervised, a third of every kind for testing. Images are assigned by a hash of
 * their names.
 */
export const mtd: Loader = {
  kind: "mtd",
  summary: "magnetic tile defects: MT_* folders, in folds for supervised training",
  layout: LAYOUT,
  takes: ["fold"],
  matches,
  load,
};
