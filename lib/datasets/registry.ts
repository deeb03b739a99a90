import { stat } from "node:fs/promises";
import path from "node:path";

import { call, fileError, option, SuperSimpleNetError, text } from "../errors.js";
import { isImageFile } from "../images/formats.js";
import { check, checkPath } from "../schema/check.js";
import { type DatasetKind, datasetKinds, type OpenOptions, openOptions } from "../schema/datasets.js";
import { coco } from "./annotations/coco.js";
import { cvat } from "./annotations/cvat.js";
import { labelme } from "./annotations/labelme.js";
import { labelstudio } from "./annotations/labelstudio.js";
import { bmad } from "./bmad.js";
import { folder, FOLDER_LAYOUT } from "./folder.js";
import { ksdd2 } from "./ksdd2.js";
import { listFolder, notThisLayout } from "./listing.js";
import type { Loader } from "./loader.js";
import { findManifest, manifest } from "./manifest.js";
import { mtd } from "./mtd.js";
import { mvtec } from "./mvtec.js";
import { mvtecAd2 } from "./mvtec_ad2.js";
import { mvtecLoco } from "./mvtec_loco.js";
import { checkSegmented, limitSegmented } from "./regime.js";
import { sensum } from "./sensum.js";
import { type Dataset, oneProblem } from "./dataset.js";
import { visa } from "./visa.js";

const manifestLoader: Loader = {
  kind: "manifest",
  summary: "samples.csv or samples.jsonl with the columns image,label,mask,split",
  layout: "  samples.csv or samples.jsonl",
  matches: async (root, isFile) => (isFile ? !/\.(xml|json)$/i.test(root) : (await findManifest(root)) !== undefined),
  accepts: async () => true, // the loader's own errors name the file
  // Without a manifest in the folder, the name that it should have makes the error message.
  load: async (root) =>
    manifest((await stat(root)).isDirectory() ? ((await findManifest(root)) ?? path.join(root, "samples.csv")) : root),
};

const folderLoader: Loader = {
  kind: "folder",
  summary: "train/good, train/<defect>, test/..., ground_truth/...",
  layout: FOLDER_LAYOUT,
  matches: async (_root, isFile) => !isFile, // the last resort, whose errors explain the layout
  load: async (root) => folder(root),
};

const byKind: Record<DatasetKind, Loader> = {
  manifest: manifestLoader,
  visa,
  ksdd2,
  sensum,
  mtd,
  bmad,
  mvtec_loco: mvtecLoco,
  mvtec_ad2: mvtecAd2,
  mvtec,
  cvat,
  coco,
  labelstudio,
  labelme,
  folder: folderLoader,
};
const loaders = datasetKinds.map((kind) => byKind[kind]);

/** Names for `kind`, what they stand for, and the options of `open` that they take. */
export const kinds: readonly Required<Pick<Loader, "kind" | "summary" | "takes">>[] = loaders.map(
  ({ kind, summary, takes = [] }) => ({ kind, summary, takes }),
);

/** The kind that a data set shows by its files: what `open` would take. Errors: FILE_NOT_FOUND and other file errors. */
export async function kindOf(root: string): Promise<DatasetKind> {
  const full = path.resolve(root);
  return (await choose(full, await isFileAt(full), undefined)).kind;
}

/** Whether a data set is a file, which must exist, and no folder. */
const isFileAt = (root: string): Promise<boolean> =>
  stat(root).then(
    (found) => !found.isDirectory(),
    (error: unknown) => Promise.reject(fileError(error, "open data set", root)),
  );

async function choose(root: string, isFile: boolean, kind: DatasetKind | undefined): Promise<Loader> {
  if (kind === undefined) {
    for (const loader of loaders) if (await loader.matches(root, isFile)) return loader;
    throw oneProblem(
      root,
      "it is neither a manifest nor an annotation file of CVAT (for images 1.1), COCO, Label Studio or LabelMe.",
      root,
    );
  }
  const loader = byKind[kind];
  const accepts = (where: string, file: boolean): Promise<boolean> => (loader.accepts ?? loader.matches)(where, file);
  if (await accepts(root, isFile)) return loader;
  // Archives often unpack into a folder of their own.
  const inside = isFile ? [] : (await listFolder(root)).folders.map((name) => path.join(root, name));
  for (const where of inside) {
    if (await accepts(where, false))
      throw notThisLayout(
        root,
        `it is not '${kind}', but the folder ${path.basename(where)} in it is: give ${where}.`,
        loader.layout,
      );
  }
  throw notThisLayout(root, `nothing in it looks like '${kind}'.`, loader.layout);
}

/**
 * Opens a data set. `root` is a folder, a manifest or an annotation file. Without `kind`, a folder with a manifest in it is
 * read by that, a published data set by its layout, one with annotations by these, and any other by its folders.
 *
 * Shapes of annotations become masks in the cache folder.
 *
 * Errors: INVALID_OPTION for an unknown kind, category or fold, or an option that the kind has no use for; DATASET_INVALID
 * with the layout that was expected; those of the loader and of limitSegmented.
 */
export async function open(root: string, options: OpenOptions = {}): Promise<Dataset> {
  const where = "datasets.open";
  checkPath(where, "root", root, "a folder, a manifest or an annotation file");
  check(where, openOptions, options);
  checkSegmented(where, options);
  const full = path.resolve(root);
  const isFile = await isFileAt(full);
  if (isFile && isImageFile(full))
    throw new SuperSimpleNetError(
      "DATASET_INVALID",
      `${full} is an image, not a data set: give the folder, a manifest or an annotation file.`,
      { path: full },
    );
  const loader = await choose(full, isFile, options.kind);
  for (const name of ["category", "fold", "ignoreClass"] as const) {
    if (options[name] === undefined || loader.takes?.includes(name)) continue;
    const others = loaders.filter((other) => other.takes?.includes(name)).map((other) => other.kind);
    throw new SuperSimpleNetError(
      "INVALID_OPTION",
      text`${call(where)}: a data set of kind '${loader.kind}' has no ${option(name)}; these have: ${others.join(", ")}.`,
      { option: name, value: options[name] },
    );
  }
  return limitSegmented(await loader.load(full, options), options);
}
