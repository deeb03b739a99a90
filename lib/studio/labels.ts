import { randomBytes } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import path from "node:path";

import { fileSha256 } from "../checksum.js";
import { listFolder, spelling } from "../datasets/listing.js";
import { isMaskFolder, withoutMaskName, withoutMaskSuffix } from "../datasets/masks.js";
import { isFolder, readRegular } from "../files/input.js";
import { isImageFile } from "../images/formats.js";
import { extensionOf, readHeader } from "../images/header.js";
import { sha256 } from "../images/identity.js";
import { folderOptions } from "../schema/datasets.js";
import { HttpError } from "../server/errors.js";
import { makeFolder, writeWholeFile } from "../write.js";
import { below, foldersIn, maskPlace, maskRoot, refuseUnclear } from "./mask_place.js";
import { moveFile } from "./move.js";
import { type ImagePlace, type Project, type ProjectImage, versionOf } from "./project.js";
import type { LabelRequest, Moved, StudioSplit } from "./types.js";

const { normalNames } = folderOptions.parse({});

/** Changes to the project's folder, one after another, in the layout that the command line reads. */
export class Labels {
  #turn: Promise<unknown> = Promise.resolve();
  /** Where images of folders that were dropped lie, for the masks that come after them. */
  readonly #dropped = new Map<string, string>();

  /** Masks of images that are no defects any more, by the image's id and version. */
  readonly #aside = new Map<string, string>();

  /** SHA-256 of images, by their files, with the version that it is of. */
  readonly #hashes = new Map<string, { version: string; hash: string }>();

  constructor(private readonly project: Project) {}

  /**
   * Gives images a label, by moving them and their masks. Whatever of it is done when one fails stays done, and the failure is
   * thrown. Errors: NOT_FOUND, CONFLICT (labels are read-only), BAD_REQUEST (a kind that is no name), those of the system.
   */
  set({ ids, label, kind, split }: LabelRequest): Promise<Moved[]> {
    return this.change(async () => {
      const images = this.#images(ids);
      if (kind !== undefined) await this.#checkKind(kind);
      const moved: Moved[] = [];
      for (const image of images) {
        const { shown } = image;
        const place: ImagePlace = label && {
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
      for (const image of this.#images(ids)) {
        if (image.sample) this.#refuseReadOnly();
        await this.putAside(image.file);
        if (image.mask !== undefined) await this.putAside(image.mask);
      }
    });
  }

  /** Each once. Throws NOT_FOUND. */
  #images(ids: readonly string[]): ProjectImage[] {
    return [...new Set(ids)].map((id) => this.project.image(id));
  }

  /**
   * Keeps an image that was sent. `name`: where it lay. In a folder of train/ or test/ it is labelled by that, else it is not
   * labelled. Resolves to where it lies now; null: the same image was there already. Errors: IMAGE_UNREADABLE, and as `set`.
   */
  add(name: string, bytes: Buffer): Promise<string | null> {
    return this.#inTurn(async () => {
      const { root, place, file, mask } = placeIn(name);
      const header = await readHeader(bytes, file); // what is no image is not kept
      const extension = isImageFile(file) ? path.extname(file) : extensionOf(header);
      const wanted = `${path.parse(file).name || "image"}${extension}`;
      if (place ?? mask) this.#refuseReadOnly();
      if (mask) return this.#keepMask(root, mask, wanted, bytes);
      if (place?.label === "defect") await this.#checkKind(place.kind);
      const known = await this.#same(bytes);
      if (known !== undefined) {
        if (place) this.#dropped.set(dropKey(root, place.split, place.kind, wanted), known);
        return null;
      }
      const folder = await this.#folderOf(place);
      const kept = path.join(folder, freeName(wanted, await this.#taken(folder, place)));
      await writeWholeFile(kept, bytes);
      const id = this.#idOf(kept);
      await this.project.added(id, kept, place);
      if (place) this.#dropped.set(dropKey(root, place.split, place.kind, wanted), id);
      return id;
    });
  }

  /** An image of the project with these bytes, whatever it is called and labelled: a folder may be dropped again. */
  async #same(bytes: Buffer): Promise<string | undefined> {
    const alike = this.project.images.filter(({ shown }) => shown.version.startsWith(`${bytes.length.toString(36)}.`));
    if (alike.length === 0) return undefined;
    const wanted = await sha256(bytes);
    for (const image of alike) if ((await this.#hashOf(image)) === wanted) return image.shown.id;
    return undefined;
  }

  /** Each image is read once: the cameras of a line write files of one size. Undefined: it cannot be read. */
  async #hashOf({ file, shown: { version } }: ProjectImage): Promise<string | undefined> {
    const known = this.#hashes.get(file);
    if (known?.version === version) return known.hash;
    const hash = await fileSha256(file).catch(() => undefined);
    if (hash !== undefined) this.#hashes.set(file, { version, hash });
    return hash;
  }

  /** A mask goes to the image that came with it, whatever that is called here, and never takes the place of another. */
  async #keepMask(root: string, folders: readonly string[], name: string, bytes: Buffer): Promise<string | null> {
    const [kind = "", split] = [...folders].reverse();
    const image = withoutMaskSuffix(name);
    const splits = split === undefined ? (["test", "train"] as const) : [split.toLowerCase()];
    const came = splits.map((one) => this.#dropped.get(dropKey(root, one, kind, image))).find((id) => id !== undefined);
    await this.project.settle();
    const its = this.project.images.find(({ shown }) => shown.id === came);
    const file = its
      ? await maskPlace(this.project, its, path.extname(name))
      : path.join(await this.#strayFolder(folders), name);
    if (await holds(its?.mask ?? file, bytes)) return null;
    if (its?.mask !== undefined || (await stat(file).catch(() => undefined)))
      throw new HttpError("CONFLICT", "There is another mask already, which stays.");
    await writeWholeFile(file, bytes);
    await this.project.masked(its, file);
    return this.#idOf(file);
  }

  /** The folder of a mask whose image has not come with it. */
  async #strayFolder(folders: readonly string[]): Promise<string> {
    let folder = await maskRoot(this.project);
    if (/^train$/i.test(folders[0] ?? "")) await refuseUnclear(this.project, folder);
    for (const name of folders) folder = await below(folder, name);
    return folder;
  }

  /** Does `work` when nothing else changes the project, and looks at the folder afterwards. */
  change<T>(work: () => Promise<T>): Promise<T> {
    return this.#inTurn(async () => {
      await this.project.settle();
      return work().finally(() => this.project.look());
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  #refuseReadOnly(): void {
    const { readOnly } = this.project;
    if (readOnly !== null) throw new HttpError("CONFLICT", readOnly);
  }

  async #move(image: ProjectImage, place: ImagePlace): Promise<string> {
    this.#refuseReadOnly();
    const folder = await this.#folderOf(place);
    const name = freeName(path.basename(image.file), await this.#taken(folder, place, image));
    const to = path.join(folder, name);
    const { version, id } = image.shown;
    // A mask that was put aside comes back when its image is a defect again.
    const mask = image.mask ?? this.#aside.get(`${id} ${version}`);
    const maskTo =
      mask !== undefined && place?.label === "defect"
        ? await maskPlace(this.project, image, (await isFolder(mask)) ? "" : path.extname(mask), { ...place, name })
        : undefined;
    await moveFile(image.file, to);
    const now = this.#idOf(to);
    this.#aside.delete(`${id} ${version}`);
    if (mask === undefined) return now;
    try {
      if (maskTo === mask) return now; // masks of both splits may lie in one folder
      if (maskTo !== undefined) {
        await makeFolder(path.dirname(maskTo));
        await moveFile(mask, maskTo);
      } else {
        const aside = image.mask === undefined ? mask : await this.putAside(mask);
        this.#aside.set(`${now} ${await versionOf(to)}`, aside);
      }
    } catch (error) {
      await moveFile(to, image.file); // both or none
      throw error;
    }
    return now;
  }

  /** The folder of a place, made where it is not there. A data set needs one of good parts before any other. */
  async #folderOf(place: ImagePlace): Promise<string> {
    const { unlabelled } = this.project.places;
    const folder = place === null ? unlabelled : await this.#kindFolder(place);
    if (place && !this.project.dataset)
      await makeFolder(await this.#kindFolder({ split: "train", label: "good", kind: "good" }));
    await makeFolder(folder);
    return folder;
  }

  /** A kind's folder, with split and kind as they are written where they are there. */
  async #kindFolder({ split, label, kind }: NonNullable<ImagePlace>): Promise<string> {
    const folder = await below(this.project.places.data, split);
    if (label === "defect") return below(folder, kind);
    return path.join(folder, (await foldersIn(folder)).find((name) => normalNames.includes(spelling(name))) ?? "good");
  }

  /** Names that an image of the place must not have: a mask belongs to its image by the name. */
  async #taken(folder: string, place: ImagePlace, moved?: ProjectImage): Promise<string[]> {
    const here = await readdir(folder);
    if (place?.label !== "defect") return here;
    const kind = spelling(place.kind);
    const namesakes = this.project.images
      .filter(({ shown }) => shown.id !== moved?.shown.id && spelling(shown.kind ?? "") === kind)
      .map(({ file }) => path.basename(file));
    // A mask that is nobody's would be the image's.
    const masks: string[] = [];
    const root = await maskRoot(this.project);
    for (const inside of [root, await below(root, "train"), await below(root, "test")]) {
      const kindFolder = await below(inside, place.kind);
      if (!(await isFolder(kindFolder))) continue;
      const { files, folders } = await listFolder(kindFolder);
      for (const name of [...files, ...folders])
        if (path.join(kindFolder, name) !== moved?.mask) masks.push(withoutMaskSuffix(name));
    }
    return [...here, ...namesakes, ...masks];
  }

  /** Throws BAD_REQUEST for what cannot be the name of a folder of defects. One that the data set has can. */
  async #checkKind(kind: string): Promise<void> {
    if (!normalNames.includes(spelling(kind))) {
      if (this.project.images.some(({ shown }) => shown.kind === kind)) return;
      // Its last image may have left it: the folder is empty then.
      for (const split of ["train", "test"]) {
        const folder = await below(this.project.places.data, split);
        const name = (await foldersIn(folder)).find((one) => spelling(one) === spelling(kind));
        if (name !== undefined && (await readdir(path.join(folder, name))).length === 0) return;
      }
    }
    checkKind(kind);
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

const isThere = ({ shown }: ProjectImage, place: ImagePlace): boolean =>
  place === null
    ? shown.label === null
    : shown.label === place.label &&
      shown.split === place.split &&
      (place.label === "good" || spelling(shown.kind!) === spelling(place.kind));

/** Throws BAD_REQUEST for what cannot be the name of a new folder of defects. */
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
  place: ImagePlace;
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
