import path from "node:path";

import { folder } from "./folder.js";
import { isFolder } from "../files/input.js";
import { firstOf, listFolder, missingFolder } from "./listing.js";
import { chooseCategory, type Loader } from "./loader.js";
import { countWarnings, mvtecCategories } from "./published.js";
import type { Dataset } from "./dataset.js";

const LAYOUT = `  bottle/train/good/000.png
  bottle/test/good/000.png, bottle/test/broken_large/000.png, ...
  bottle/ground_truth/broken_large/000_mask.png, ...
  cable/..., and the other categories; or one of these folders`;

const isCategory = (folderName: string): Promise<boolean> => isFolder(path.join(folderName, "train", "good"));

/** Folders that are categories, or are called like one and are incomplete. */
export async function categoryFolders(root: string, names: readonly string[]): Promise<string[]> {
  const { folders } = await listFolder(root);
  const found: string[] = [];
  for (const name of folders) if (names.includes(name) || (await isCategory(path.join(root, name)))) found.push(name);
  return found;
}

/** One category in MVTec AD's layout. Every anomalous image is for testing and has a mask. */
export async function categoryDataset(root: string, kind: string, category: string, layout: string): Promise<Dataset> {
  for (const part of ["train/good", "test/good", "ground_truth"]) {
    if (!(await isFolder(path.join(root, part)))) throw missingFolder(root, part, layout);
  }
  return checkCategory({ ...(await folder(root)), kind, name: category, category });
}

/** The data set with what is wrong in a category that is trained on normal images and tested with masks. */
export function checkCategory(dataset: Dataset): Dataset {
  const problems = [...(dataset.problems ?? [])];
  const learnt = dataset.samples.filter((sample) => sample.split === "train" && sample.label === "anomalous");
  if (learnt.length > 0)
    problems.push({
      split: "train",
      message: `${learnt.length} anomalous images in train/ (${learnt[0]!.id}): '${dataset.kind}' trains on normal images alone. Open the folder as 'folder' to learn from them.`,
    });
  const bare = dataset.samples.filter(
    (sample) => sample.split === "test" && sample.label === "anomalous" && sample.mask === undefined,
  );
  if (bare.length > 0)
    problems.push({
      split: "test",
      message: `${bare.length} anomalous test images have no mask in ground_truth/: ${firstOf(bare.map((sample) => sample.id))}. Unpack the data set again.`,
    });
  return { ...dataset, problems, warnings: [...(dataset.warnings ?? []), ...countWarnings(dataset)] };
}

/** MVTec AD (Bergmann et al., CVPR 2019): 15 categories, unsupervised. */
export const mvtec: Loader = {
  kind: "mvtec",
  summary: "MVTec AD: a folder per category",
  layout: LAYOUT,
  takes: ["category"],
  // A single category looks like any other folder of images, so that is only taken when asked for by name.
  matches: async (root, isFile) =>
    !isFile && !(await isFolder(path.join(root, "train"))) && (await categoryFolders(root, [])).length > 0,
  accepts: async (root, isFile) =>
    !isFile && ((await isCategory(root)) || (await categoryFolders(root, mvtecCategories)).length > 0),
  async load(root, options) {
    const single = await isFolder(path.join(root, "train"));
    const category = chooseCategory(
      "mvtec",
      options.category,
      single ? [path.basename(root)] : await categoryFolders(root, mvtecCategories),
    );
    return categoryDataset(single ? root : path.join(root, category), "mvtec", category, LAYOUT);
  },
};
