import path from "node:path";

import { readFolder } from "./folder.js";
import { isFolder } from "../files/input.js";
import { listFolder, missingFolder } from "./listing.js";
import { chooseCategory, type Loader } from "./loader.js";
import { categoryFolders, checkCategory } from "./mvtec.js";
import { mvtecAd2Categories } from "./published.js";

const LAYOUT = `  can/train/good/000_regular.png, can/validation/good/000_regular.png, ...
  can/test_public/good/000_regular.png, can/test_public/bad/000_regular.png, ...
  can/test_public/ground_truth/bad/000_regular_mask.png, ...
  fabric/..., and the other categories; or one of these folders`;

const PARTS = ["train/good", "test_public/good", "test_public/ground_truth"];

async function isCategory(root: string): Promise<boolean> {
  for (const part of PARTS) if (!(await isFolder(path.join(root, part)))) return false;
  return true;
}

async function matches(root: string, isFile: boolean): Promise<boolean> {
  if (isFile) return false;
  if (await isFolder(path.join(root, "train"))) return isCategory(root);
  for (const name of (await listFolder(root)).folders) if (await isCategory(path.join(root, name))) return true;
  return false;
}

/**
 * MVTec AD 2 (Heckler-Kram et al., 2025): 8 categories, unsupervised, evaluated on test_public. The good images in
 * validation/, and test_private/ and test_private_mixed/, which have no labels, are not used.
 */
export const mvtecAd2: Loader = {
  kind: "mvtec_ad2",
  summary: "MVTec AD 2: a folder per category, evaluated on test_public",
  layout: LAYOUT,
  takes: ["category"],
  matches,
  accepts: async (root, isFile) =>
    !isFile && ((await isFolder(path.join(root, "test_public"))) || matches(root, isFile)),
  async load(root, options) {
    const single = await isFolder(path.join(root, "train"));
    const available = single ? [path.basename(root)] : await categoryFolders(root, mvtecAd2Categories);
    const category = chooseCategory("mvtec_ad2", options.category, available);
    const base = single ? root : path.join(root, category);
    for (const part of PARTS) if (!(await isFolder(path.join(base, part)))) throw missingFolder(base, part, LAYOUT);
    const dataset = await readFolder(base, { normalNames: ["good"], testFolder: "test_public" });
    return checkCategory({ ...dataset, kind: "mvtec_ad2", name: category, category });
  },
};
