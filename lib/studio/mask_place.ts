import path from "node:path";

import { listFolder, spelling } from "../datasets/listing.js";
import { isFolder } from "../files/input.js";
import { HttpError } from "../server/errors.js";
import type { Project, ProjectImage } from "./project.js";
import type { StudioSplit } from "./types.js";

/** Where a defect lies, or will lie: its split, its kind and its file's name. */
export interface Spot {
  split: StudioSplit;
  kind: string;
  name: string;
}

export const foldersIn = async (folder: string): Promise<string[]> =>
  (await isFolder(folder)) ? (await listFolder(folder)).folders : [];

/** A folder inside another, by the name that it has there: in any case. */
export const below = async (folder: string, name: string): Promise<string> =>
  path.join(folder, (await foldersIn(folder)).find((one) => spelling(one) === spelling(name)) ?? name);

/** Where the masks lie. Throws CONFLICT for a data set whose masks lie elsewhere: beside a ground_truth they are not read. */
export async function maskRoot({ places: { data }, images }: Project): Promise<string> {
  const own = await below(data, "ground_truth");
  if (await isFolder(own)) return own;
  for (const { mask } of images) {
    const [top = ""] = mask === undefined ? [] : path.relative(data, mask).split(path.sep);
    if (top !== "" && !/^(train|test)$/i.test(top))
      throw new HttpError(
        "CONFLICT",
        `The masks of this data set lie in ${top}. Call that folder ground_truth, so that more can be added.`,
      );
  }
  return own;
}

/**
 * The file of an image's mask where the image lies, or where it will lie (`spot`), and can be no other image's. Throws
 * CONFLICT where masks of training images lie beside those of tests, and nobody could tell whose this one is.
 */
export async function maskPlace(
  project: Project,
  image: ProjectImage,
  extension: string,
  spot: Spot = { split: image.shown.split!, kind: image.shown.kind!, name: path.basename(image.file) },
): Promise<string> {
  const { split, kind } = spot;
  const root = await maskRoot(project);
  const { name } = path.parse(spot.name);
  const file = (folder: string): string => path.join(folder, `${name}${extension === "" ? "" : `_mask${extension}`}`);
  const hasNamesake = project.images.some(
    (other) =>
      other.shown.id !== image.shown.id &&
      other.shown.split !== null &&
      other.shown.split !== split &&
      isCalled(other, kind, name),
  );
  const apart = async (): Promise<string> => file(await below(await below(root, split), kind));
  if (split === "test") return hasNamesake ? apart() : file(await below(root, kind));
  const trainsFlat = project.images.some(
    ({ sample, mask }) => sample?.split === "train" && mask !== undefined && isFlat(mask, root),
  );
  if (!trainsFlat) {
    await refuseUnclear(project, root);
    return apart();
  }
  if (!hasNamesake) return file(await below(root, kind));
  throw new HttpError(
    "CONFLICT",
    `A mask of ${spot.name} would be taken for that of the test image of this name. Move the masks of training images to ground_truth/train, by kind.`,
  );
}

/**
 * Throws CONFLICT where a first folder ground_truth/train would settle whose the masks beside it are: from then on they are
 * those of test images.
 */
export async function refuseUnclear(project: Project, root: string): Promise<void> {
  if (await isFolder(await below(root, "train"))) return;
  for (const { shown, file, mask } of project.images) {
    if (shown.split !== "test" || mask === undefined || !isFlat(mask, root)) continue;
    const { name } = path.parse(file);
    const train = project.images.find(
      (other) => other.shown.split === "train" && other.mask === undefined && isCalled(other, shown.kind ?? "", name),
    );
    if (train)
      throw new HttpError(
        "CONFLICT",
        `${path.basename(mask)} may be the mask of ${train.shown.id} or of ${shown.id}. Say first which: move masks of training images to ground_truth/train/${shown.kind}, or make an empty folder ground_truth/train if they have none.`,
      );
  }
}

/** In ground_truth/KIND, where masks of both splits may lie. */
const isFlat = (mask: string, root: string): boolean => path.dirname(path.dirname(mask)) === root;

const isCalled = ({ shown, file }: ProjectImage, kind: string, name: string): boolean =>
  spelling(shown.kind ?? "") === spelling(kind) && spelling(path.parse(file).name) === spelling(name);
