import path from "node:path";

import { IMAGE_EXTENSIONS, isImageFile } from "../images/formats.js";
import { check, checkPath } from "../schema/check.js";
import { type FolderOptions, folderOptions } from "../schema/datasets.js";
import {
  findName,
  firstOf,
  type Listing,
  listFolder,
  notThisLayout,
  sharedMask,
  skippedSpecial,
  spelling,
} from "./listing.js";
import type { Dataset, DatasetProblem, Sample, Split } from "./dataset.js";

export const FOLDER_LAYOUT = `  train/good/*.png              normal images
  train/<defect>/*.png          optional: defective images to learn from
  test/good/*.png               optional: images to evaluate on
  test/<defect>/*.png
  ground_truth/<defect>/*.png   optional masks, named as the image or with _mask added
  ground_truth/train/<defect>/  masks of training images, where test images have the same names`;

/** The mask files of one folder, by the stem of the image they belong to. `x_mask.png` goes before `x.png`. */
class MaskFolder {
  private readonly byStem: ReadonlyMap<string, string>;

  /** `split`: whose masks they are; without it those of either split. */
  constructor(
    readonly folder: string,
    readonly files: readonly string[],
    readonly split: Split | undefined,
  ) {
    this.byStem = new Map(files.map((file) => [spelling(path.parse(file).name), file]));
  }

  /** Absolute path. */
  find(imageStem: string): string | undefined {
    const stem = spelling(imageStem);
    const file = this.byStem.get(`${stem}_mask`) ?? this.byStem.get(stem);
    return file === undefined ? undefined : path.join(this.folder, file);
  }
}

/** Takes down a problem and the split that it concerns, if that is known. */
type Note = (split: Split | undefined, message: string) => void;

/** listFolder, which also takes down what is skipped. */
type List = (folder: string) => Promise<Listing>;

/** What other data sets put before or after an image's name to call its mask: 000_GT, mask-000, 000.label. */
const OTHER_CONVENTION =
  /^(?:mask|gt|label|seg)[-_. ]|[-_. ](?:mask|masks|gt|label|labels|seg|segmentation|anno|annotation|ground_?truth)$/i;

/**
 * A data set in folders, by this layout; MVTec AD's is the special case without `train/<defect>`:
 *
 *     train/good, train/<defect>, test/good, test/<defect>, ground_truth/<defect>/<stem>_mask.png
 *
 * Names match in any case and in either Unicode form; a mask may have any image extension and be called `<stem>_mask` or
 * `<stem>`. `ground_truth/train/<defect>` and `ground_truth/test/<defect>` hold the masks of one split; masks in
 * `ground_truth/<defect>` belong to the test split, or to the training split where no test image has that name. Masks in
 * `ground_truth/good` must be empty. Nothing is decoded: see validateDataset.
 *
 * Errors: DATASET_INVALID (with the layout) when there is neither train/good nor test/, FILE_NOT_FOUND, NO_PERMISSION.
 */
export async function folder(root: string, options: FolderOptions = {}): Promise<Dataset> {
  checkPath("datasets.folder", "root", root, "a folder");
  const settings = check("datasets.folder", folderOptions, options);
  const base = path.resolve(root);
  const normalNames = settings.normalNames.map(spelling);
  const isNormal = (name: string): boolean => normalNames.includes(spelling(name));
  const relative = (file: string): string => path.relative(base, file).split(path.sep).join("/");
  const special: string[] = [];
  const list: List = async (where) => {
    const listing = await listFolder(where);
    special.push(...listing.special.map((name) => relative(path.join(where, name))));
    return listing;
  };
  const top = await list(base);
  const problems: DatasetProblem[] = [];
  const samples: Sample[] = [];

  const note: Note = (split, message) => void problems.push({ message, ...(split !== undefined && { split }) });
  const refuse = (reason: string): never => {
    throw notThisLayout(base, reason, FOLDER_LAYOUT);
  };
  const splits = (["train", "test"] as const).flatMap((split) => {
    const name = findName(top.folders, split);
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
        `${relative(path.join(splitFolder, file))} lies directly in ${split}/: move it to ${split}/good or ${split}/<defect>.`,
      );
    for (const kind of inside.folders) {
      const kindFolder = path.join(splitFolder, kind);
      const { files, folders } = await list(kindFolder);
      for (const nested of folders)
        note(
          split,
          `${relative(path.join(kindFolder, nested))} is a folder: images must lie directly in ${relative(kindFolder)}.`,
        );
      for (const file of files) {
        const image = path.join(kindFolder, file);
        const id = relative(image);
        if (!isImageFile(file))
          note(split, `${id} is not a supported image (${IMAGE_EXTENSIONS.join(" ")}): convert or remove it.`);
        else if (isNormal(kind)) samples.push({ id, image, label: "normal", split });
        else samples.push({ id, image, label: "anomalous", split, defect: kind });
      }
    }
  }

  const truth = findName(top.folders, "ground_truth");
  const normalMasks =
    truth === undefined ? [] : await attachMasks(path.join(base, truth), samples, list, note, isNormal, relative);
  const name = settings.name ?? path.basename(base);
  const warnings = special.length === 0 ? [] : [skippedSpecial(special)];
  return { kind: "folder", name, root: base, samples, normalMasks, problems, ...(warnings.length > 0 && { warnings }) };
}

/** Sets `mask` of every sample that has one, notes what fits nothing, and returns the masks of normal images. */
async function attachMasks(
  truth: string,
  samples: Sample[],
  list: List,
  note: Note,
  isNormal: (name: string) => boolean,
  relative: (file: string) => string,
): Promise<NonNullable<Dataset["normalMasks"]>> {
  const normalMasks: { mask: string; split?: Split }[] = [];
  const stemOf = (sample: Sample): string => path.parse(sample.image).name;
  const keyOf = (split: Split | undefined, defect: string): string => `${split ?? "any"}/${spelling(defect)}`;
  const masks = new Map<string, MaskFolder>();
  const readMasks = async (split: Split | undefined, parent: string, kinds: readonly string[]): Promise<void> => {
    for (const kind of kinds) {
      const folder = path.join(parent, kind);
      const { files } = await list(folder);
      if (isNormal(kind)) {
        for (const file of files.filter(isImageFile))
          normalMasks.push({ mask: path.join(folder, file), ...(split !== undefined && { split }) });
        continue;
      }
      for (const file of files)
        if (!isImageFile(file))
          note(split, `${relative(path.join(folder, file))} is not a supported mask image: convert or remove it.`);
      const twin = masks.get(keyOf(split, kind));
      if (twin !== undefined)
        note(
          split,
          `${relative(twin.folder)} and ${relative(folder)} are one name in two spellings: move the masks into one folder.`,
        );
      masks.set(keyOf(split, kind), new MaskFolder(folder, files.filter(isImageFile), split));
    }
  };
  const { folders } = await list(truth);
  const splitNames = { train: findName(folders, "train"), test: findName(folders, "test") };
  for (const split of ["train", "test"] as const) {
    const name = splitNames[split];
    if (name !== undefined)
      await readMasks(split, path.join(truth, name), (await list(path.join(truth, name))).folders);
  }
  await readMasks(
    undefined,
    truth,
    folders.filter((name) => name !== splitNames.train && name !== splitNames.test),
  );

  const anomalous = samples.filter((sample) => sample.label === "anomalous");
  const takenBy = new Map<string, Sample>();
  for (const split of ["test", "train"] as const) {
    for (const sample of anomalous.filter((candidate) => candidate.split === split)) {
      const file =
        masks.get(keyOf(split, sample.defect!))?.find(stemOf(sample)) ??
        masks.get(keyOf(undefined, sample.defect!))?.find(stemOf(sample));
      if (file === undefined) continue;
      const other = takenBy.get(file);
      if (other === undefined || other.split === split) {
        sample.mask = file;
        takenBy.set(file, sample);
        if (other !== undefined) note(split, sharedMask(other.id, sample.id, relative(file)));
      } else if (splitNames.train === undefined) {
        note(
          undefined,
          `${relative(file)} could belong to ${sample.id} or to the test image of the same name: move masks of training images to ground_truth/train/${sample.defect!}, or make an empty folder ground_truth/train if they have none.`,
        );
      }
    }
  }
  const unmasked = new Set(
    anomalous
      .filter((sample) => sample.mask === undefined)
      .map((sample) => spelling(`${sample.defect!}/${stemOf(sample)}`)),
  );
  for (const [key, { folder, files, split }] of masks) {
    const defect = key.slice(key.indexOf("/") + 1);
    const renamed: string[] = [];
    for (const file of files.filter((candidate) => !takenBy.has(path.join(folder, candidate)))) {
      const stem = path.parse(file).name.replace(OTHER_CONVENTION, "");
      if (unmasked.has(spelling(`${defect}/${stem}`))) renamed.push(`${file} to ${stem}_mask${path.extname(file)}`);
      else note(split, `${relative(path.join(folder, file))} is a mask without an image.`);
    }
    if (renamed.length > 0)
      note(
        split,
        `${relative(folder)} names ${renamed.length} masks in another way than their images: rename ${firstOf(renamed, 2)}.`,
      );
  }
  return normalMasks;
}
