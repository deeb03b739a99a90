import path from "node:path";

import { IMAGE_EXTENSIONS, isImageFile } from "../images/formats.js";
import { check, checkPath } from "../schema/check.js";
import { type FolderOptions, folderOptions } from "../schema/datasets.js";
import { MaskFinder, type Note } from "./mask_folders.js";
import { isMaskFolder, masksBeside } from "./masks.js";
import { findName, firstOf, listFolder as list, notThisLayout, spelling } from "./listing.js";
import type { Dataset, DatasetProblem, Sample } from "./dataset.js";
import { findUnused, usedFiles } from "./unused.js";

export const FOLDER_LAYOUT = `  train/good/*.png              normal images
  train/<defect>/*.png          optional: defective images to learn from
  test/good/*.png               optional: images to evaluate on
  test/<defect>/*.png
  ground_truth/<defect>/*.png   optional masks, named as the image or with _mask added
  ground_truth/train/<defect>/  masks of training images, where test images have the same names
  ignore/good/, ignore/<defect>/  optional masks of pixels that count for nothing, named in the same way`;

/** What datasets.generated writes into the folder that it makes: how it was made. */
export const RECIPE = "generated.json";

/**
 * A data set in folders, by this layout; MVTec AD's is the special case without `train/<defect>`:
 *
 *     train/good, train/<defect>, test/good, test/<defect>, ground_truth/<defect>/<stem>_mask.png
 *
 * Names match in any case and in either Unicode form; a mask may have any image extension and be called `<stem>_mask` or
 * `<stem>`, or a folder of that name may hold several. `ground_truth/train/<defect>` and `ground_truth/test/<defect>` hold
 * the masks of one split; masks in `ground_truth/<defect>` belong to the test split, or to the training split where no
 * test image has that name. Masks of normal images must be empty. `ignore/` holds masks of ignored pixels by the same rules,
 * for normal images too (`ignore/good`). Masks beside their images and in other folders are
 * found where that is unmistakable (docs/guides/data.md, Masks elsewhere); only there are images decoded: see
 * validateDataset. `warnings` says where masks were found, `unused` what was not used.
 *
 * Errors: DATASET_INVALID (with the layout) when there is neither train/good nor test/, FILE_NOT_FOUND, NO_PERMISSION.
 */
export async function folder(root: string, options: FolderOptions = {}): Promise<Dataset> {
  checkPath("datasets.folder", "root", root, "a folder");
  return readFolder(path.resolve(root), check("datasets.folder", folderOptions, options));
}

interface FolderSettings {
  name?: string | undefined;
  normalNames: readonly string[];
  /** The folder of the test images. Default: test. */
  testFolder?: string;
}

/** The folder layout with the test images in a folder of another name. `base` is absolute. Errors as for `folder`. */
export async function readFolder(
  base: string,
  { name: own, normalNames, testFolder = "test" }: FolderSettings,
): Promise<Dataset> {
  const normal = normalNames.map(spelling);
  const isNormal = (name: string): boolean => normal.includes(spelling(name));
  const relative = (file: string): string => path.relative(base, file).split(path.sep).join("/");
  const top = await list(base);
  const problems: DatasetProblem[] = [];
  const samples: Sample[] = [];
  const named: string[] = [];
  const beside: string[] = [];

  const note: Note = (split, message, file) => {
    problems.push({ message, ...(split !== undefined && { split }) });
    if (file !== undefined) named.push(file);
  };
  const refuse = (reason: string): never => {
    throw notThisLayout(base, reason, FOLDER_LAYOUT);
  };
  const splits = (["train", "test"] as const).flatMap((split) => {
    const name = findName(top.folders, split === "test" ? testFolder : split);
    return name === undefined ? [] : [{ split, path: path.join(base, name) }];
  });
  if (splits.length === 0) {
    const images = top.files.filter(isImageFile).length;
    refuse(
      images > 0
        ? `it holds ${images} images but no folder train/ or test/, so what is normal is unknown. Move the normal images to train/good.`
        : "it has neither a folder train/ nor test/.",
    );
  }

  const masks = new MaskFinder(note, isNormal, relative);
  for (const { split, path: splitFolder } of splits) {
    const inside = await list(splitFolder);
    if (split === "train" && !inside.folders.some(isNormal)) {
      const loose = inside.files.filter(isImageFile).length;
      refuse(
        `train/ has no folder of normal images (${normalNames.join(", ")})${loose > 0 ? `; ${loose} images lie directly in train/` : ""}.`,
      );
    }
    for (const file of inside.files)
      note(
        split,
        `${relative(path.join(splitFolder, file))} lies directly in ${relative(splitFolder)}/: move it to ${split}/good or ${split}/<defect>.`,
        path.join(splitFolder, file),
      );
    for (const kind of inside.folders) {
      const kindFolder = path.join(splitFolder, kind);
      if (!isNormal(kind) && isMaskFolder(kind) && (await masks.holdsMasks(kindFolder, split))) {
        await masks.addTree(kindFolder, split);
        continue;
      }
      const { files, folders } = await list(kindFolder);
      for (const nested of folders) {
        const nestedFolder = path.join(kindFolder, nested);
        if (isMaskFolder(nested) && (await masks.holdsMasks(nestedFolder, split)))
          await masks.addFolder(nestedFolder, split, kind);
        else
          note(
            split,
            `${relative(nestedFolder)} is a folder: images must lie directly in ${relative(kindFolder)}.`,
            nestedFolder,
          );
      }
      const found = await masksBeside(kindFolder, files.filter(isImageFile));
      if (found.problem !== undefined) note(split, `${relative(kindFolder)}: ${found.problem}. ${whereMasksGo(kind)}`);
      const images = new Set(found.images);
      const byFile = new Map<string, Sample>();
      for (const file of files) {
        const image = path.join(kindFolder, file);
        const id = relative(image);
        if (!isImageFile(file))
          note(split, `${id} is not a supported image (${IMAGE_EXTENSIONS.join(" ")}): convert or remove it.`, image);
        else if (images.has(file))
          byFile.set(
            file,
            isNormal(kind)
              ? { id, image, label: "normal", split }
              : { id, image, label: "anomalous", split, defect: kind },
          );
      }
      samples.push(...byFile.values());
      for (const [file, mask] of found.masks) {
        const sample = byFile.get(file);
        masks.attachBeside(sample, path.join(kindFolder, mask), split);
        if (sample !== undefined) beside.push(`${relative(path.join(kindFolder, mask))} of ${sample.id}`);
      }
    }
  }

  await masks.addTop(base, top.folders, samples);
  masks.attach(samples);
  const ignored = new MaskFinder(note, isNormal, relative, "ignore");
  await ignored.addTop(base, top.folders, samples);
  ignored.attach(samples);
  const warnings = [...masks.describeUnusual(), ...ignored.describeUnusual()];
  if (beside.length > 0)
    warnings.unshift(
      `${beside.length === 1 ? "1 file beside its image is used as a mask" : `${beside.length} files beside their images are used as masks`}: ${firstOf(beside, 2)}.`,
    );
  if (testFolder === "test" && findName(top.folders, "test_public") !== undefined)
    warnings.push("test_public/ belongs to MVTec AD 2: open the data set as 'mvtec_ad2' to evaluate on it.");
  const { normalMasks, seen } = masks;
  const known = [...usedFiles({ samples, normalMasks }), ...seen, ...ignored.seen, ...named, path.join(base, RECIPE)];
  return {
    kind: "folder",
    name: own ?? path.basename(base),
    root: base,
    samples,
    normalMasks,
    warnings,
    ...(await findUnused(base, known)),
    problems,
  };
}

const whereMasksGo = (kind: string): string =>
  `Move masks to ground_truth/${kind}, each called like its image, and rename images that are called like masks.`;
