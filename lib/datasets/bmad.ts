import path from "node:path";

import { isImageFile } from "../images/formats.js";
import { isFolder } from "../files/input.js";
import { findName, firstOf, listFolder, missingFolder } from "./listing.js";
import { chooseCategory, type Loader } from "./loader.js";
import { countWarnings } from "./published.js";
import type { Dataset, DatasetProblem, Sample } from "./dataset.js";
import { findUnused, usedFiles } from "./unused.js";

const LAYOUT = `  Brain/train/good/img/*.png                (also called Brain_AD/BraTS2021_slice)
  Brain/test/good/img/*.png
  Brain/test/Ungood/img/*.png, Brain/test/Ungood/label/*.png
  camelyon16/train/good/*.png               (also called Histopathology_AD/camelyon16_256)
  camelyon16/test/good/*.png, camelyon16/test/Ungood/*.png
  valid/ beside train/ and test/ is not used; or one of these folders`;

/** What the folders of a category are called, in lower case, in the benchmark's archives and pages. */
const NAMES: Record<string, readonly string[]> = {
  brain: ["brain", "brain_ad", "brats2021_slice"],
  histopathology: ["histopathology", "histopathology_ad", "camelyon16", "camelyon16_256"],
};

const categoryOf = (name: string): string | undefined =>
  Object.keys(NAMES).find((category) => NAMES[category]!.includes(name.toLowerCase()));

/** The folder of each category: one with train/, directly or one level down. */
async function findCategories(root: string): Promise<Map<string, string>> {
  if (await isFolder(path.join(root, "train")))
    return new Map([[categoryOf(path.basename(root)) ?? path.basename(root), root]]);
  const found = new Map<string, string>();
  for (const name of (await listFolder(root)).folders) {
    const category = categoryOf(name);
    if (category === undefined) continue;
    const outer = path.join(root, name);
    const inner = (await listFolder(outer)).folders
      .filter((child) => categoryOf(child) === category)
      .map((child) => path.join(outer, child));
    for (const candidate of [outer, ...inner])
      if (!found.has(category) && (await isFolder(path.join(candidate, "train")))) found.set(category, candidate);
  }
  return found;
}

async function load(base: string, category: string): Promise<Dataset> {
  const problems: DatasetProblem[] = [];
  const samples: Sample[] = [];
  for (const [split, kind] of [
    ["train", "good"],
    ["test", "good"],
    ["test", "ungood"],
  ] as const) {
    const splitFolder = path.join(base, split);
    const name = (await isFolder(splitFolder)) ? findName((await listFolder(splitFolder)).folders, kind) : undefined;
    if (name === undefined) throw missingFolder(base, `${split}/${kind === "good" ? "good" : "Ungood"}`, LAYOUT);
    const kindFolder = path.join(splitFolder, name);
    const inside = await listFolder(kindFolder);
    // Sets with masks keep images in img/ and masks in label/, the others have the images directly.
    const imageFolder = inside.folders.includes("img") ? `${split}/${name}/img` : `${split}/${name}`;
    const files = imageFolder.endsWith("/img") ? (await listFolder(path.join(base, imageFolder))).files : inside.files;
    const maskFolder =
      kind === "ungood" ? inside.folders.find((folder) => folder === "label" || folder === "anomaly_mask") : undefined;
    const masks = new Set(maskFolder === undefined ? [] : (await listFolder(path.join(kindFolder, maskFolder))).files);
    const bare: string[] = [];
    for (const file of files.filter(isImageFile)) {
      const id = `${imageFolder}/${file}`;
      const sample: Sample = { id, image: path.join(base, id), label: kind === "good" ? "normal" : "anomalous", split };
      if (masks.has(file)) sample.mask = path.join(kindFolder, maskFolder!, file);
      else if (maskFolder !== undefined) bare.push(id);
      samples.push(sample);
    }
    if (bare.length > 0)
      problems.push({
        split,
        message: `${bare.length} images have no mask of the same name in ${split}/${name}/${maskFolder}: ${firstOf(bare)}.`,
      });
  }
  const dataset: Dataset = { kind: "bmad", name: `BMAD ${category}`, root: base, category, samples, problems };
  return { ...dataset, warnings: countWarnings(dataset), ...(await findUnused(base, usedFiles(dataset))) };
}

/** BMAD (Bao et al., CVPR Workshops 2024): brain MRI with masks, histopathology with image labels; unsupervised. */
export const bmad: Loader = {
  kind: "bmad",
  summary: "BMAD's brain MRI and histopathology",
  layout: LAYOUT,
  takes: ["category"],
  async matches(root, isAFile) {
    if (isAFile) return false;
    if (await isFolder(path.join(root, "valid")))
      return (await isFolder(path.join(root, "test", "Ungood"))) || (await isFolder(path.join(root, "test", "ungood")));
    return !(await isFolder(path.join(root, "train"))) && (await findCategories(root)).size > 0;
  },
  accepts: async (root, isAFile) => !isAFile && (await findCategories(root)).size > 0,
  async load(root, { category: wanted }) {
    const found = await findCategories(root);
    const category = chooseCategory("bmad", wanted, [...found.keys()]);
    return load(found.get(category)!, category);
  },
};
