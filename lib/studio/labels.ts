import { randomBytes } from "node:crypto";
import { copyFile, lstat, realpath, rename, rm, stat, symlink } from "node:fs/promises";
import path from "node:path";

import { listFolder, spelling } from "../datasets/listing.js";
import { isMaskFolder, withoutMaskName } from "../datasets/masks.js";
import { fileError, SuperSimpleNetError } from "../errors.js";
import { isFolder, readRegular } from "../files/input.js";
import { isImageFile } from "../images/formats.js";
import { extensionOf, readHeader } from "../images/header.js";
import { folderOptions } from "../schema/datasets.js";
import { HttpError } from "../server/errors.js";
import { makeFolder, writeWholeFile } from "../write.js";
import type { Project, ProjectImage } from "./project.js";
import type { LabelRequest, Moved, StudioLabel, StudioSplit } from "./types.js";

const { normalNames } = folderOptions.parse({});

/** Where an image belongs. Null: nobody has labelled it. */
type Place = { split: StudioSplit; label: StudioLabel; kind: string } | null;

/** Changes to the project's folder, one after another, in the layout that the command line reads. */
export class Labels {
  #turn: Promise<unknown> = Promise.resolve();
  /** Where images of folders that were dropped lie, for the masks that come after them. */
  readonly #dropped = new Map<string, string>();

  /** Masks of images that are no defects any more, by the image's id and version. */
  readonly #aside = new Map<string, string>();

  constructor(private readonly project: Project) {}

  /**
   * Gives images a label, by moving them and their masks. Whatever of it is done when one fails stays done, and the failure is
   * thrown. Errors: NOT_FOUND, CONFLICT (labels are read-only), BAD_REQUEST (a kind that is no name), those of the system.
   */
  set({ ids, label, kind, split }: LabelRequest): Promise<Moved[]> {
    return this.change(async () => {
      const images = ids.map((id) => this.project.image(id));
      if (kind !== undefined) checkKind(kind);
      const moved: Moved[] = [];
      for (const image of images) {
        const { shown } = image;
        const place: Place = label && {
          label,
          split: split ?? shown.split ?? "train",
          kind: label === "good" ? "good" : (kind ?? shown.kind ?? "defect"),
        };
        if (isThere(image, place)) continue;
        moved.push({ from: shown.id, to: await this.#move(image, place) });
      }
      return moved;
    });
  }

  /** Takes images out of the project: they lie in .studio/removed from then on. */
  remove(ids: readonly string[]): Promise<void> {
    return this.change(async () => {
      for (const image of ids.map((id) => this.project.image(id))) {
        if (image.sample) this.#refuseReadOnly();
        await this.putAside(image.file);
        if (image.mask !== undefined) await this.putAside(image.mask);
      }
    });
  }

  /**
   * Keeps an image that was sent. `name`: where it lay. In a folder of train/ or test/ it is labelled by that, else it is not
   * labelled. Resolves to where it lies now; null: the same image was there already. Errors: IMAGE_UNREADABLE, and as `set`.
   */
  add(name: string, bytes: Buffer): Promise<string | null> {
    return this.change(async () => {
      const { root, place, file, mask } = placeIn(name);
      const header = await readHeader(bytes, file); // what is no image is not kept
      const extension = isImageFile(file) ? path.extname(file) : extensionOf(header);
      const wanted = `${path.parse(file).name || "image"}${extension}`;
      if (place ?? mask) this.#refuseReadOnly();
      if (mask) return this.#keepMask(root, mask, wanted, bytes);
      if (place?.label === "defect") checkKind(place.kind);
      const known = await this.#same(bytes);
      if (known !== undefined) {
        if (place) this.#dropped.set(dropKey(root, place.split, place.kind, wanted), known);
        return null;
      }
      const folder = await this.#folderOf(place);
      const id = await this.#keep(folder, wanted, bytes, await this.#taken(folder, place));
      if (place) this.#dropped.set(dropKey(root, place.split, place.kind, wanted), id);
      return id;
    });
  }

  /** An image of the project with these bytes, whatever it is called and labelled: a folder may be dropped again. */
  async #same(bytes: Buffer): Promise<string | undefined> {
    for (const { shown, file } of this.project.images)
      if (shown.version.startsWith(`${bytes.length.toString(36)}.`) && (await holds(file, bytes))) return shown.id;
    return undefined;
  }

  /** A mask goes to the image that came with it, whatever that is called here, and never takes the place of another. */
  async #keepMask(root: string, folders: readonly string[], name: string, bytes: Buffer): Promise<string | null> {
    const [kind = "", split] = [...folders].reverse();
    const stem = name.replace(/_mask(?=\.[^.]*$)/i, "");
    const splits = split === undefined ? (["test", "train"] as const) : [split.toLowerCase()];
    const came = splits.map((one) => this.#dropped.get(dropKey(root, one, kind, stem))).find((id) => id !== undefined);
    await this.project.look();
    const image = this.project.images.find(({ shown }) => shown.id === came);
    const file = image
      ? await maskPlace(
          this.project,
          image.shown.split!,
          image.shown.kind!,
          path.basename(image.file),
          path.extname(name),
        )
      : path.join(await maskRoot(this.project), ...folders, name);
    if (await holds(image?.mask ?? file, bytes)) return null;
    if (image?.mask !== undefined || (await stat(file).catch(() => undefined)))
      throw new HttpError("CONFLICT", "There is another mask already, which stays.");
    await writeWholeFile(file, bytes);
    return this.#idOf(file);
  }

  /** Does `work` when nothing else changes the project, and looks at the folder afterwards. */
  change<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work).finally(() => this.project.look());
    this.#turn = result.catch(() => undefined);
    return result;
  }

  #refuseReadOnly(): void {
    const { readOnly } = this.project;
    if (readOnly !== null) throw new HttpError("CONFLICT", readOnly);
  }

  async #move(image: ProjectImage, place: Place): Promise<string> {
    this.#refuseReadOnly();
    const folder = await this.#folderOf(place);
    const name = freeName(path.basename(image.file), await this.#taken(folder, place, image));
    const to = path.join(folder, name);
    const { version, id } = image.shown;
    // A mask that was put aside comes back when its image is a defect again.
    const mask = image.mask ?? this.#aside.get(`${id} ${version}`);
    const maskTo =
      mask !== undefined && place?.label === "defect" ? await this.#maskPlace(place, name, mask) : undefined;
    await moveFile(image.file, to);
    const now = this.#idOf(to);
    this.#aside.delete(`${id} ${version}`);
    if (mask === undefined) return now;
    try {
      if (maskTo !== undefined) {
        await makeFolder(path.dirname(maskTo));
        await moveFile(mask, maskTo);
      } else this.#aside.set(`${now} ${version}`, image.mask === undefined ? mask : await this.putAside(mask));
    } catch (error) {
      await moveFile(to, image.file); // both or none
      throw error;
    }
    return now;
  }

  async #maskPlace({ split, kind }: NonNullable<Place>, name: string, mask: string): Promise<string> {
    const extension = (await isFolder(mask)) ? "" : path.extname(mask);
    return maskPlace(this.project, split, kind, name, extension);
  }

  /** The folder of a place, made where it is not there. A data set needs one of good parts before any other. */
  async #folderOf(place: Place): Promise<string> {
    const { unlabelled } = this.project.places;
    const folder = place === null ? unlabelled : await this.#kindFolder(place);
    if (place && !this.project.dataset)
      await makeFolder(await this.#kindFolder({ split: "train", label: "good", kind: "good" }));
    await makeFolder(folder);
    return folder;
  }

  /** A kind's folder, with split and kind as they are written where they are there. */
  async #kindFolder({ split, label, kind }: NonNullable<Place>): Promise<string> {
    const folder = await below(this.project.places.data, split);
    if (label === "defect") return below(folder, kind);
    return path.join(folder, (await foldersIn(folder)).find((name) => normalNames.includes(spelling(name))) ?? "good");
  }

  /** Names that an image of the place must not have: a mask belongs to its image by the name. */
  async #taken(folder: string, place: Place, moved?: ProjectImage): Promise<string[]> {
    const here = (await listFolder(folder)).files;
    if (place?.label !== "defect") return here;
    const kind = spelling(place.kind);
    const namesakes = this.project.images
      .filter((image) => image !== moved && spelling(image.shown.kind ?? "") === kind)
      .map(({ file }) => path.basename(file));
    // A mask that is nobody's would be the image's.
    const masks: string[] = [];
    const root = await maskRoot(this.project);
    for (const inside of [root, await below(root, "train"), await below(root, "test")]) {
      const kindFolder = await below(inside, place.kind);
      if (!(await isFolder(kindFolder))) continue;
      const { files, folders } = await listFolder(kindFolder);
      for (const name of [...files, ...folders])
        if (path.join(kindFolder, name) !== moved?.mask) masks.push(name.replace(/_mask(?=\.[^.]*$)/i, ""));
    }
    return [...here, ...namesakes, ...masks];
  }

  /** Writes an image under a name that is free. */
  async #keep(folder: string, wanted: string, bytes: Buffer, taken: readonly string[]): Promise<string> {
    const file = path.join(folder, freeName(wanted, taken));
    await writeWholeFile(file, bytes);
    return this.#idOf(file);
  }

  #idOf(file: string): string {
    const { data, unlabelled } = this.project.places;
    return path.dirname(file) === unlabelled
      ? `unlabelled/${path.basename(file)}`
      : path.relative(data, file).split(path.sep).join("/");
  }

  /** For `change`: takes a file, or a folder of masks, out of the data. Nothing that somebody made is deleted. */
  async putAside(file: string): Promise<string> {
    const stamp = `${new Date().toISOString().replaceAll(":", "-")}-${randomBytes(3).toString("hex")}`;
    const folder = path.join(this.project.places.own, "removed", stamp);
    await makeFolder(folder);
    const to = path.join(folder, path.basename(file));
    await moveFile(file, to);
    return to;
  }
}

const isThere = ({ shown }: ProjectImage, place: Place): boolean =>
  place === null
    ? shown.label === null
    : shown.label === place.label &&
      shown.split === place.split &&
      (place.label === "good" || spelling(shown.kind!) === spelling(place.kind));

/**
 * The mask's file of an image of a kind, where it can be no other image's. Throws CONFLICT where masks of training images lie
 * beside those of tests, and a test image has its name.
 */
export async function maskPlace(
  project: Project,
  split: StudioSplit,
  kind: string,
  image: string,
  extension: string,
): Promise<string> {
  const root = await maskRoot(project);
  const { name } = path.parse(image);
  const file = (folder: string): string => path.join(folder, `${name}${extension === "" ? "" : `_mask${extension}`}`);
  const hasNamesake = project.images.some(
    ({ shown, file: other }) =>
      shown.split !== null &&
      shown.split !== split &&
      spelling(shown.kind ?? "") === spelling(kind) &&
      spelling(path.parse(other).name) === spelling(name),
  );
  const apart = async (): Promise<string> => file(await below(await below(root, split), kind));
  if (split === "test") return hasNamesake ? apart() : file(await below(root, kind));
  // A folder ground_truth/train takes all others away from training images.
  const trainsFlat = project.images.some(
    ({ sample, mask }) => sample?.split === "train" && mask !== undefined && path.dirname(path.dirname(mask)) === root,
  );
  if (!trainsFlat) return apart();
  if (!hasNamesake) return file(await below(root, kind));
  throw new HttpError(
    "CONFLICT",
    `A mask of ${image} would be taken for that of the test image of this name. Move the masks of training images to ground_truth/train, by kind.`,
  );
}

const foldersIn = async (folder: string): Promise<string[]> =>
  (await isFolder(folder)) ? (await listFolder(folder)).folders : [];

/** A folder inside another, by the name that it has there: in any case. */
const below = async (folder: string, name: string): Promise<string> =>
  path.join(folder, (await foldersIn(folder)).find((one) => spelling(one) === spelling(name)) ?? name);

/** Where the masks lie. Throws CONFLICT for a data set whose masks lie elsewhere: beside a ground_truth they are not read. */
async function maskRoot({ places: { data }, images }: Project): Promise<string> {
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

/** Throws BAD_REQUEST for what cannot be the name of a folder of defects. */
function checkKind(kind: string): void {
  const isName = /^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u.test(kind) && !/[. ]$/.test(kind);
  const isOther = normalNames.includes(spelling(kind)) || isMaskFolder(kind) || /^(train|test)$/i.test(kind);
  if (isName && !isOther) return;
  throw new HttpError(
    "BAD_REQUEST",
    isOther
      ? `'${kind}' means something else in a data set. Give the kind of defect another name.`
      : "The name of a kind of defect has letters, digits, spaces, '.', '_' and '-', at most 64, and begins with a letter or a digit.",
  );
}

interface Dropped {
  /** The folders above those that say what it is. */
  root: string;
  place: Place;
  file: string;
  /** Of a mask: its folders in ground_truth. */
  mask?: readonly string[];
}

/** Where an image with this path belongs, by its folders. */
function placeIn(name: string): Dropped {
  const parts = name
    .split(/[/\\]/)
    .map((part) => part.replaceAll(/[\u0000-\u001f]/g, "").trim())
    .filter((part) => part !== "" && !part.startsWith("."));
  const file = parts.at(-1) ?? "image";
  const folders = parts.slice(0, -1);
  const rootOf = (depth: number): string => folders.slice(0, depth).join("/");
  const truth = folders.findIndex((part) => part.toLowerCase() === "ground_truth");
  if (truth >= 0 && folders.length > truth + 1)
    return { root: rootOf(truth), place: null, file, mask: folders.slice(truth + 1) };
  const [split, kind] = folders.slice(-2);
  if (kind === undefined || !/^(train|test)$/i.test(split!)) return { root: "", place: null, file };
  const label = normalNames.includes(spelling(kind)) ? "good" : "defect";
  const place = { split: split!.toLowerCase() as StudioSplit, label, kind } as const;
  return { root: rootOf(folders.length - 2), place, file };
}

const dropKey = (root: string, split: string, kind: string, file: string): string =>
  [root, split, spelling(kind), spelling(path.parse(file).name)].join("\0");

/** The name, or one with a number where an image with its stem is there. */
function freeName(name: string, taken: readonly string[]): string {
  const { name: given, ext } = path.parse(name);
  // One that is called like a mask would be taken for the mask of another image.
  const stem = withoutMaskName(given) === given ? given : `${given}-image`;
  const stems = new Set(taken.map((other) => spelling(path.parse(other).name)));
  for (let i = 1; ; i++) {
    const tried = i === 1 ? stem : `${stem}-${i}`;
    if (!stems.has(spelling(tried))) return `${tried}${ext}`;
  }
}

async function holds(file: string, bytes: Buffer): Promise<boolean> {
  const found = await stat(file).catch(() => undefined);
  if (found?.size !== bytes.length) return false;
  return (await readRegular(file)).equals(bytes);
}

/** Moves a file or a folder, to another disk too. */
async function moveFile(from: string, to: string): Promise<void> {
  try {
    if (await stat(to).catch(() => undefined))
      throw new SuperSimpleNetError("FILE_ERROR", `${to} exists already.`, { path: to });
    // A link is made anew: where it leads may be written from where it lies.
    if ((await lstat(from)).isSymbolicLink()) {
      await symlink(await realpath(from), to);
      return await rm(from);
    }
    await rename(from, to).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== "EXDEV") throw error;
      await copyFile(from, to);
      await rm(from);
    });
  } catch (error) {
    throw fileError(error, "move", from);
  }
}
