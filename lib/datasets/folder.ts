import path from "node:path";

import { IMAGE_EXTENSIONS, isImageFile } from "../images/decode.js";
import { rejectUnknown } from "../options.js";
import { findName, listFolder as list, notThisLayout, some } from "./listing.js";
import type { Dataset, Sample, Split } from "./types.js";

export interface FolderOptions {
  /** Default: the folder's name. */
  name?: string;
  /** Names of the folders of normal images, in any case. Default: good, ok, normal. */
  normalNames?: readonly string[];
}

const NORMAL_NAMES: readonly string[] = ["good", "ok", "normal"];

export const FOLDER_LAYOUT = `  train/good/*.png              normal images
  train/<defect>/*.png          optional: defective images to learn from
  test/good/*.png               optional: images to evaluate on
  test/<defect>/*.png
  ground_truth/<defect>/*.png   optional masks, named as the image or with _mask added
  ground_truth/train/<defect>/  masks of training images, where test images have the same names`;

/** The mask files of one folder, by the stem of the image they belong to. `x_mask.png` goes before `x.png`. */
class MaskFolder {
  private readonly byStem = new Map<string, string>();
  private readonly unused = new Set<string>();

  constructor(readonly folder: string, files: readonly string[]) {
    for (const file of files) {
      const stem = path.parse(file).name.toLowerCase();
      this.byStem.set(stem, file);
      this.unused.add(file);
    }
  }

  find(imageStem: string): string | undefined {
    const stem = imageStem.toLowerCase();
    return this.byStem.get(`${stem}_mask`) ?? this.byStem.get(stem);
  }

  take(file: string): string {
    this.unused.delete(file);
    return path.join(this.folder, file);
  }

  leftover(): string[] {
    return [...this.unused];
  }
}

/** What other data sets put before or after an image's name to call its mask: 000_GT, mask-000, 000.label. */
const OTHER_CONVENTION = /^(?:mask|gt|label|seg)[-_. ]|[-_. ](?:mask|masks|gt|label|labels|seg|segmentation|anno|annotation|ground_?truth)$/i;

/**
 * A data set in folders, by this layout; MVTec AD's is the special case without `train/<defect>`:
 *
 *     train/good, train/<defect>, test/good, test/<defect>, ground_truth/<defect>/<stem>_mask.png
 *
 * Names of folders and extensions match in any case; a mask may have any image extension and be called `<stem>_mask` or
 * `<stem>`. `ground_truth/train/<defect>` and `ground_truth/test/<defect>` hold the masks of one split; masks in
 * `ground_truth/<defect>` belong to the test split, or to the training split where no test image has that name. Masks in
 * `ground_truth/good` must be empty. Nothing is decoded: see validateDataset.
 *
 * Errors: DATASET_INVALID (with the layout) when there is neither train/good nor test/, FILE_NOT_FOUND, NO_PERMISSION.
 */
export async function folder(root: string, options: FolderOptions = {}): Promise<Dataset> {
  rejectUnknown(options, ["name", "normalNames"], "datasets.folder");
  const base = path.resolve(root);
  const normalNames = (options.normalNames ?? NORMAL_NAMES).map((name) => name.toLowerCase());
  const isNormal = (name: string): boolean => normalNames.includes(name.toLowerCase());
  const relative = (file: string): string => path.relative(base, file).split(path.sep).join("/");
  const top = await list(base);
  const problems: string[] = [];
  const samples: Sample[] = [];

  const refuse = (reason: string): never => {
    throw notThisLayout(base, reason, FOLDER_LAYOUT);
  };
  const splits = (["train", "test"] as const).flatMap((split) => {
    const name = findName(top.folders, split);
    return name === undefined ? [] : [{ split, path: path.join(base, name) }];
  });
  if (splits.length === 0) {
    const images = top.files.filter(isImageFile).length;
    refuse(images > 0 ? `it holds ${images} images but no folder train/ or test/, so what is normal is unknown. Move the normal images to train/good.` : "it has neither a folder train/ nor test/.");
  }

  for (const { split, path: splitFolder } of splits) {
    const inside = await list(splitFolder);
    if (split === "train" && !inside.folders.some(isNormal)) {
      const loose = inside.files.filter(isImageFile).length;
      refuse(`train/ has no folder of normal images (${normalNames.join(", ")})${loose > 0 ? `; ${loose} images lie directly in train/` : ""}.`);
    }
    for (const file of inside.files) problems.push(`${relative(path.join(splitFolder, file))} lies directly in ${split}/: move it to ${split}/good or ${split}/<defect>.`);
    for (const kind of inside.folders) {
      const kindFolder = path.join(splitFolder, kind);
      const { files, folders } = await list(kindFolder);
      for (const nested of folders) problems.push(`${relative(path.join(kindFolder, nested))} is a folder: images must lie directly in ${relative(kindFolder)}.`);
      for (const file of files) {
        const image = path.join(kindFolder, file);
        const id = relative(image);
        if (!isImageFile(file)) problems.push(`${id} is not a supported image (${IMAGE_EXTENSIONS.join(" ")}): convert or remove it.`);
        else if (isNormal(kind)) samples.push({ id, image, label: "normal", split });
        else samples.push({ id, image, label: "anomalous", split, defect: kind });
      }
    }
  }

  const truth = findName(top.folders, "ground_truth");
  const normalMasks = truth === undefined ? [] : await attachMasks(path.join(base, truth), samples, problems, isNormal, relative);
  return { kind: "folder", name: options.name ?? path.basename(base), root: base, samples, normalMasks, problems };
}

/** Sets `mask` of every sample that has one, notes what fits nothing, and returns the masks of normal images. */
async function attachMasks(
  truth: string,
  samples: Sample[],
  problems: string[],
  isNormal: (name: string) => boolean,
  relative: (file: string) => string,
): Promise<string[]> {
  const normalMasks: string[] = [];
  const stemOf = (sample: Sample): string => path.parse(sample.image).name;
  const keyOf = (split: Split | "any", defect: string): string => `${split}/${defect.toLowerCase()}`;
  const masks = new Map<string, MaskFolder>();
  const readMasks = async (split: Split | "any", parent: string, kinds: readonly string[]): Promise<void> => {
    for (const kind of kinds) {
      const { files } = await list(path.join(parent, kind));
      if (isNormal(kind)) {
        normalMasks.push(...files.filter(isImageFile).map((file) => path.join(parent, kind, file)));
        continue;
      }
      for (const file of files) if (!isImageFile(file)) problems.push(`${relative(path.join(parent, kind, file))} is not a supported mask image: convert or remove it.`);
      masks.set(keyOf(split, kind), new MaskFolder(path.join(parent, kind), files.filter(isImageFile)));
    }
  };
  const { folders } = await list(truth);
  const splitNames = { train: findName(folders, "train"), test: findName(folders, "test") };
  for (const split of ["train", "test"] as const) {
    const name = splitNames[split];
    if (name !== undefined) await readMasks(split, path.join(truth, name), (await list(path.join(truth, name))).folders);
  }
  await readMasks("any", truth, folders.filter((name) => name !== splitNames.train && name !== splitNames.test));

  const anomalous = samples.filter((sample) => sample.label === "anomalous");
  const claimed = new Set<string>(); // shared mask files that a test image has taken
  for (const split of ["test", "train"] as const) {
    for (const sample of anomalous.filter((candidate) => candidate.split === split)) {
      const own = masks.get(keyOf(split, sample.defect!));
      const ownFile = own?.find(stemOf(sample));
      if (own && ownFile !== undefined) {
        sample.mask = own.take(ownFile);
        continue;
      }
      const shared = masks.get(keyOf("any", sample.defect!));
      const sharedFile = shared?.find(stemOf(sample));
      if (!shared || sharedFile === undefined) continue;
      const file = path.join(shared.folder, sharedFile);
      if (split === "test") {
        sample.mask = shared.take(sharedFile);
        claimed.add(file);
      } else if (!claimed.has(file)) {
        sample.mask = shared.take(sharedFile);
      } else if (splitNames.train === undefined) {
        problems.push(`${relative(file)} could belong to ${sample.id} or to the test image of the same name: move masks of training images to ground_truth/train/${sample.defect!}, or make an empty folder ground_truth/train if they have none.`);
      }
    }
  }
  const unmasked = new Set(anomalous.filter((sample) => sample.mask === undefined).map((sample) => `${sample.defect!.toLowerCase()}/${stemOf(sample).toLowerCase()}`));
  for (const [key, folderOfMasks] of masks) {
    const defect = key.slice(key.indexOf("/") + 1);
    const renamed: string[] = [];
    for (const file of folderOfMasks.leftover()) {
      const stem = path.parse(file).name.replace(OTHER_CONVENTION, "");
      if (unmasked.has(`${defect}/${stem.toLowerCase()}`)) renamed.push(`${file} to ${stem}_mask${path.extname(file)}`);
      else problems.push(`${relative(path.join(folderOfMasks.folder, file))} is a mask without an image.`);
    }
    if (renamed.length > 0) problems.push(`${relative(folderOfMasks.folder)} names ${renamed.length} masks in another way than their images: rename ${some(renamed, 2)}.`);
  }
  return normalMasks;
}
