import { stat } from "node:fs/promises";
import path from "node:path";

import { fileError } from "../errors.js";
import { checkChoice } from "../options.js";
import { folder } from "./folder.js";
import { findManifest, manifest } from "./manifest.js";
import type { Dataset } from "./types.js";

/** One way of reading a data set. A new kind is one file with one of these, added to `loaders`. */
export interface Loader {
  kind: string;
  /** One line for --help and messages. */
  summary: string;
  /** Whether `root` looks like this kind; loaders are asked in order. Only cheap look-ups. */
  matches(root: string, isFile: boolean): Promise<boolean>;
  load(root: string, isFile: boolean): Promise<Dataset>;
}

const manifestLoader: Loader = {
  kind: "manifest",
  summary: "samples.csv or samples.jsonl with the columns image,label,mask,split",
  matches: async (root, isFile) => isFile || (await findManifest(root)) !== undefined,
  // Without a manifest in the folder, the name that it should have makes the error message.
  load: async (root, isFile) => manifest(isFile ? root : ((await findManifest(root)) ?? path.join(root, "samples.csv"))),
};

const folderLoader: Loader = {
  kind: "folder",
  summary: "train/good, train/<defect>, test/..., ground_truth/... (MVTec AD's layout)",
  matches: async (_root, isFile) => !isFile, // the last resort, whose errors explain the layout
  load: async (root) => folder(root),
};

const loaders: readonly Loader[] = [manifestLoader, folderLoader];

/** Names for `kind`, and what they stand for. */
export const datasetKinds: readonly { kind: string; summary: string }[] = loaders.map(({ kind, summary }) => ({ kind, summary }));

/**
 * Opens a data set. `root` is a folder, or a manifest file; without `kind`, a folder with a manifest in it is read by that,
 * and any other by its folders. Errors: INVALID_OPTION for an unknown kind, and those of the loader.
 */
export async function open(root: string, kind?: string): Promise<Dataset> {
  if (kind !== undefined) checkChoice("datasets.open", "kind", kind, loaders.map((loader) => loader.kind));
  const full = path.resolve(root);
  let isFile: boolean;
  try {
    isFile = !(await stat(full)).isDirectory();
  } catch (error) {
    throw fileError(error, "open data set", full);
  }
  for (const loader of loaders) {
    if (kind === undefined ? await loader.matches(full, isFile) : loader.kind === kind) return loader.load(full, isFile);
  }
  return folderLoader.load(full, isFile);
}
