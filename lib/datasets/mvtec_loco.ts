import path from "node:path";

import { isFolder } from "../files/input.js";
import { listFolder } from "./listing.js";
import { chooseCategory, type Loader } from "./loader.js";
import { categoryDataset, categoryFolders } from "./mvtec.js";
import { mvtecLocoCategories } from "./published.js";

const LAYOUT = `  juice_bottle/train/good/000.png, juice_bottle/validation/good/000.png, ...
  juice_bottle/test/good/000.png, juice_bottle/test/logical_anomalies/000.png, ...
  juice_bottle/ground_truth/logical_anomalies/000/000.png, 001.png, ...
  pushpins/..., and the other categories; or one of these folders`;

const KINDS = ["logical_anomalies", "structural_anomalies"];

async function isCategory(root: string): Promise<boolean> {
  for (const kind of KINDS) if (await isFolder(path.join(root, "test", kind))) return true;
  return false;
}

async function holdsCategory(root: string): Promise<boolean> {
  for (const name of (await listFolder(root)).folders) if (await isCategory(path.join(root, name))) return true;
  return false;
}

/**
 * MVTec LOCO AD (Bergmann et al., IJCV 2022): 5 categories, unsupervised. An image has a folder of masks, one for each
 * defect; they count together. The good images in validation/ are not used.
 */
export const mvtecLoco: Loader = {
  kind: "mvtec_loco",
  summary: "MVTec LOCO AD: a folder per category, logical and structural anomalies",
  layout: LAYOUT,
  takes: ["category"],
  // As for MVTec AD, a single category is a folder like any other, unless it is asked for by name.
  matches: async (root, isFile) => !isFile && !(await isFolder(path.join(root, "train"))) && holdsCategory(root),
  accepts: async (root, isFile) => !isFile && ((await isCategory(root)) || (await holdsCategory(root))),
  async load(root, options) {
    const single = await isFolder(path.join(root, "train"));
    const available = single ? [path.basename(root)] : await categoryFolders(root, mvtecLocoCategories);
    const category = chooseCategory("mvtec_loco", options.category, available);
    return categoryDataset(single ? root : path.join(root, category), "mvtec_loco", category, LAYOUT);
  },
};
