import path from "node:path";

import { isImageFile } from "../images/formats.js";
import { prefetch } from "../images/pipeline.js";
import type { Dataset, Sample, Split } from "./dataset.js";
import { findName, firstOf, listFolder as list, sharedMask, spelling } from "./listing.js";
import { appearance, isMaskFolder, maskStems, withoutMaskName } from "./masks.js";

/** Takes down a problem, the split that it concerns, if that is known, and the file or folder that it names. */
export type Note = (split: Split | undefined, message: string, named?: string) => void;

/** Where masks of defects belong, and where those of ignored pixels do. What is in such a folder needs not look like masks. */
const STANDARD = { mask: "ground_truth", ignore: "ignore" } as const;

/** The name of the folder that an image lies in: its kind of defect, or what normal images are called. */
const kindOf = ({ image }: Sample): string => path.basename(path.dirname(image));

/** The masks of one folder: files, and folders with several masks of one image. */
class MaskFolder {
  private readonly byStem: ReadonlyMap<string, string>;
  /** The kind of defect in one spelling; empty for any. */
  readonly kind: string;

  constructor(
    readonly folder: string,
    readonly names: readonly string[],
    /** Whose masks they are; without it those of either split. */
    readonly split: Split | undefined,
    /** The kind of defect; without it that of any. */
    readonly defect: string | undefined,
    /** The outermost folder with it, where that may hold something else than masks: it counts if one of them has its image. */
    readonly doubtful: string | undefined,
  ) {
    this.kind = spelling(defect ?? "");
    this.byStem = new Map(names.map((name) => [spelling(isImageFile(name) ? path.parse(name).name : name), name]));
  }

  /** Absolute path. `x_mask.png` goes before `x.png`. */
  find(image: string): string | undefined {
    const name = maskStems(image)
      .map((stem) => this.byStem.get(stem))
      .find((found) => found !== undefined);
    return name === undefined ? undefined : path.join(this.folder, name);
  }

  fits(sample: Sample): boolean {
    return (
      (this.split === undefined || this.split === sample.split) &&
      (this.defect === undefined || this.kind === spelling(kindOf(sample)))
    );
  }
}

/**
 * Finds the masks of a data set in folders: those in ground_truth/, and those in other folders that can be nothing else.
 * For "ignore" the masks of ignored pixels, which normal images have too: those in ignore/ alone.
 */
export class MaskFinder {
  readonly normalMasks: NonNullable<Dataset["normalMasks"]>[number][] = [];
  /** Every mask that was found, used or named in a problem. */
  readonly seen: string[] = [];
  readonly #folders: MaskFolder[] = [];
  /** Folders of a kind of defect, by their path in one spelling. */
  readonly #kindFolders = new Map<string, string>();
  /** Masks by their folder, where that is not the usual one. */
  readonly #unusual = new Map<string, number>();
  /** Kinds of defects, whose folders are not those of an image. */
  #kinds: ReadonlySet<string> | undefined;
  /** Whether masks of training images have a folder of their own, so that no other mask is one. */
  #trainApart = false;

  constructor(
    private readonly note: Note,
    private readonly isNormal: (name: string) => boolean,
    private readonly relative: (file: string) => string,
    private readonly what: keyof typeof STANDARD = "mask",
  ) {}

  get #standard(): string {
    return STANDARD[this.what];
  }

  /** Whether an image may have one of these masks. */
  #mayHave({ label }: Sample): boolean {
    return label === "anomalous" || this.what === "ignore";
  }

  /** Whether a folder that is called like one of masks holds some, and no other images. A mixture is a problem. */
  async holdsMasks(folder: string, split: Split | undefined): Promise<boolean> {
    if (spelling(path.basename(folder)) === this.#standard) return true;
    const images = await imagesBelow(folder, 3);
    const photos: string[] = [];
    let masks = 0;
    for await (const [file, seen] of prefetch(images, async (name) => [name, await appearance(name)] as const)) {
      if (seen === "photo") photos.push(this.relative(file));
      if (seen === "mask" || seen === "black") masks++;
    }
    if (masks > 0 && photos.length > 0)
      this.note(
        split,
        `${this.relative(folder)}/ is called like a folder of masks, but ${photos.length} of its ${images.length} images do not look like masks: ${firstOf(photos, 2)}. Move masks to ${this.#standard}/<defect>, and rename the folder where it holds images.`,
        folder,
      );
    return masks > 0 && photos.length === 0;
  }

  /**
   * The masks in the data set's own folder: those in ground_truth/, or else in the one folder called like one. `samples`:
   * all images, whose kinds of defects tell folders of kinds from folders of images.
   */
  async addTop(base: string, folders: readonly string[], samples: readonly Sample[]): Promise<void> {
    this.#kinds = new Set(samples.flatMap(({ defect }) => (defect === undefined ? [] : [spelling(defect)])));
    const standard = findName(folders, this.#standard);
    if (standard !== undefined) return this.addTree(path.join(base, standard), undefined);
    if (this.what === "ignore") return;
    const others: string[] = [];
    for (const name of folders.filter(isMaskFolder))
      if (await this.holdsMasks(path.join(base, name), undefined)) others.push(name);
    if (others.length > 1)
      this.note(
        undefined,
        `${others.map((name) => `${name}/`).join(", ")}: several folders of masks. Move the masks that count to ${this.#standard}/<defect>, and the others out of the data set.`,
      );
    else if (others.length === 1) {
      const folder = path.join(base, others[0]!);
      await this.addTree(folder, undefined, folder);
    }
  }

  /** A folder with masks by split, by defect, or directly in it. `doubtful`: see MaskFolder. */
  async addTree(folder: string, split: Split | undefined, doubtful?: string): Promise<void> {
    const { folders, files } = await list(folder);
    const splits = split === undefined ? (["train", "test"] as const) : [];
    const bySplit = splits.flatMap((part) => {
      const name = findName(folders, part);
      return name === undefined ? [] : [{ part, name }];
    });
    if (split === "train") this.#trainApart = true;
    for (const { part, name } of bySplit) await this.addTree(path.join(folder, name), part, doubtful);
    for (const kind of folders)
      if (!bySplit.some(({ name }) => name === kind))
        await this.addFolder(path.join(folder, kind), split, kind, doubtful);
    const direct = doubtful ?? (this.#isUsual(folder) ? folder : undefined);
    const several = this.#kinds === undefined ? [] : folders.filter((name) => this.#isNoKind(name));
    const names = [...files.filter(isImageFile), ...several];
    this.#folders.push(new MaskFolder(folder, names, split, undefined, direct));
  }

  /** A folder with the masks of one kind of defect, or with those of normal images. */
  async addFolder(folder: string, split: Split | undefined, kind: string, doubtful?: string): Promise<void> {
    const { files, folders } = await list(folder);
    const masks = files.filter(isImageFile);
    if (split === "train") this.#trainApart = true;
    if (this.isNormal(kind) && this.what === "mask") {
      for (const file of masks) this.#addNormal(path.join(folder, file), split);
      this.#countUnusual(folder, masks.length);
      return;
    }
    for (const file of files.filter((name) => !isImageFile(name))) {
      const full = path.join(folder, file);
      this.note(split, `${this.relative(full)} is not a supported mask image: convert or remove it.`, full);
    }
    const key = path.join(path.dirname(folder), spelling(kind));
    const twin = this.#kindFolders.get(key);
    this.#kindFolders.set(key, folder);
    if (twin !== undefined)
      this.note(
        split,
        `${this.relative(twin)} and ${this.relative(folder)} are one name in two spellings: move the masks into one folder.`,
      );
    const several: string[] = [];
    for (const name of folders) if ((await list(path.join(folder, name))).files.some(isImageFile)) several.push(name);
    this.#folders.push(new MaskFolder(folder, [...masks, ...several], split, kind, doubtful));
  }

  /** A mask that lies beside its image. */
  attachBeside(sample: Sample | undefined, mask: string, split: Split): void {
    this.seen.push(mask);
    if (sample?.label === "normal") this.normalMasks.push({ mask, split });
    else if (sample !== undefined) sample.mask = mask;
  }

  /** Sets `mask`, or `ignore`, of every sample that has one, and notes what fits nothing. */
  attach(samples: readonly Sample[]): void {
    const takenBy = new Map<string, Sample>();
    const byKind = new Map<string, MaskFolder[]>();
    for (const folder of this.#folders) byKind.set(folder.kind, [...(byKind.get(folder.kind) ?? []), folder]);
    for (const split of ["test", "train"] as const)
      for (const sample of samples)
        if (sample.split === split && this.#mayHave(sample)) {
          const folders = ["", spelling(kindOf(sample))].flatMap((kind) => byKind.get(kind) ?? []);
          this.#attachOne(sample, folders, takenBy);
        }
    const used = new Set(
      this.#folders.flatMap(({ folder, names, doubtful }) =>
        doubtful !== undefined && names.some((name) => takenBy.has(path.join(folder, name))) ? [doubtful] : [],
      ),
    );
    // Folders of any kind first: what is in a folder that belongs to one image is settled with it.
    const anyFirst = [...this.#folders].sort((a, b) => Number(a.kind !== "") - Number(b.kind !== ""));
    for (const folder of anyFirst)
      this.#noteLeft(folder, samples, takenBy, folder.doubtful !== undefined && !used.has(folder.doubtful));
  }

  /** A sentence on masks that were found elsewhere than in ground_truth/<defect>. */
  describeUnusual(): string[] {
    const places = [...this.#unusual].map(([folder, count]) => `${this.relative(folder)}/ (${count})`);
    return places.length === 0
      ? []
      : [`Masks are taken from ${firstOf(places)}; their usual place is ${this.#standard}/<defect>/.`];
  }

  #addNormal(mask: string, split: Split | undefined): void {
    this.seen.push(mask);
    this.normalMasks.push({ mask, ...(split !== undefined && { split }) });
  }

  #countUnusual(folder: string, count: number, always = false): void {
    if (count > 0 && (always || !this.#isUsual(folder))) this.#unusual.set(folder, count);
  }

  #isNoKind(name: string): boolean {
    return !this.isNormal(name) && !this.#kinds!.has(spelling(name)) && !/^(train|test)$/i.test(name);
  }

  #isUsual(folder: string): boolean {
    return this.relative(folder).split("/").map(spelling).includes(this.#standard);
  }

  #attachOne(sample: Sample, folders: readonly MaskFolder[], takenBy: Map<string, Sample>): void {
    const { note, relative } = this;
    const exact = ({ split, defect }: MaskFolder): number =>
      (defect === undefined ? 2 : 0) + (split === undefined ? 1 : 0);
    const hits = folders
      .filter((folder) => folder.fits(sample))
      .flatMap((folder) => {
        const mask = folder.find(sample.image);
        return mask === undefined ? [] : [{ mask, rank: exact(folder) }];
      })
      .sort((a, b) => a.rank - b.rank);
    const [first, second] = hits;
    if (first === undefined) return;
    const rival = sample[this.what] ?? (second?.rank === first.rank ? second.mask : undefined);
    if (rival !== undefined) {
      takenBy.set(first.mask, sample);
      return note(
        sample.split,
        `${sample.id} has two masks, ${relative(rival)} and ${relative(first.mask)}: remove one of them.`,
      );
    }
    const { mask } = first;
    const other = takenBy.get(mask);
    if (other === undefined || other.split === sample.split) {
      sample[this.what] = mask;
      takenBy.set(mask, sample);
      if (other === undefined) return;
      note(
        sample.split,
        first.rank < 2
          ? sharedMask(other.id, sample.id, relative(mask))
          : `${other.id} and ${sample.id} both match ${relative(mask)}: move the mask to ${this.#standard}/<defect>.`,
      );
    } else if (!this.#trainApart) {
      note(
        undefined,
        `${relative(mask)} could belong to ${sample.id} or to the test image of the same name: move masks of training images to ${this.#standard}/train/${kindOf(sample)}, or make an empty folder ${this.#standard}/train if they have none.`,
      );
    }
  }

  /**
   * Masks of normal images, and masks without an image. `doubtful`: what fits no image is something else than a mask, as is
   * a folder in a folder where no other is one of an image's masks. It stays out of `seen`, so that it is listed as unused.
   */
  #noteLeft(
    folder: MaskFolder,
    samples: readonly Sample[],
    takenBy: ReadonlyMap<string, Sample>,
    doubtful: boolean,
  ): void {
    const { note, relative } = this;
    if (takenBy.has(folder.folder) || this.normalMasks.some(({ mask }) => mask === folder.folder)) return; // of one image
    const full = (name: string): string => path.join(folder.folder, name);
    const isTaken = (name: string): boolean => takenBy.has(full(name));
    const fitting = samples.filter((sample) =>
      this.#mayHave(sample)
        ? folder.fits(sample)
        : folder.defect === undefined && (folder.split ?? sample.split) === sample.split,
    );
    const normals = new Map<string, Split | undefined>();
    for (const { image, split } of fitting.filter((sample) => !this.#mayHave(sample))) {
      const mask = folder.find(image);
      if (mask !== undefined) normals.set(mask, normals.has(mask) && normals.get(mask) !== split ? undefined : split);
    }
    const unmasked = new Set(
      fitting
        .filter((sample) => this.#mayHave(sample) && sample[this.what] === undefined)
        .map(({ image }) => spelling(path.parse(image).name)),
    );
    const isNormal = (name: string): boolean => normals.has(full(name));
    const severalOfOne = folder.names.some((name) => !isImageFile(name) && isTaken(name));
    let used = 0;
    const renamed: string[] = [];
    for (const name of folder.names) {
      const { name: stem, ext } = path.parse(name);
      const image = withoutMaskName(stem);
      if (isTaken(name) || isNormal(name)) used++;
      if (isTaken(name)) this.seen.push(full(name));
      else if (isNormal(name)) this.#addNormal(full(name), normals.get(full(name)));
      else if (isImageFile(name) && unmasked.has(spelling(image))) {
        this.seen.push(full(name));
        renamed.push(`${name} to ${image}_mask${ext}`);
      } else if (!doubtful && (isImageFile(name) || severalOfOne)) {
        const what = isImageFile(name) ? "is a mask" : "is a folder of masks";
        note(folder.split, `${relative(full(name))} ${what} without an image.`, full(name));
      }
    }
    this.#countUnusual(folder.folder, used, folder.defect === undefined);
    if (renamed.length > 0)
      note(
        folder.split,
        `${relative(folder.folder)} names ${renamed.length} masks in another way than their images: rename ${firstOf(renamed, 2)}.`,
      );
  }
}

/** The images in a folder and in the folders below it, so many deep. */
async function imagesBelow(folder: string, depth: number): Promise<string[]> {
  const { files, folders } = await list(folder);
  const found = files.filter(isImageFile).map((file) => path.join(folder, file));
  if (depth > 0) for (const name of folders) found.push(...(await imagesBelow(path.join(folder, name), depth - 1)));
  return found;
}
