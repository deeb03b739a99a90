import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import path from "node:path";

import { type Dataset, countSamples, type Sample } from "../datasets/dataset.js";
import { datasets } from "../datasets/index.js";
import { listFolder, naturalOrder } from "../datasets/listing.js";
import { inferRegime } from "../datasets/regime.js";
import { hasCode } from "../errors.js";
import { isFolder } from "../files/input.js";
import { isImageFile } from "../images/formats.js";
import { HttpError } from "../server/errors.js";
import { adviceFor } from "./advice.js";
import type { StudioCounts, StudioImage, StudioLabel, StudioProject, StudioSplit } from "./types.js";

/** An image of the project with its files. */
export interface ProjectImage {
  shown: StudioImage;
  /** Absolute. */
  file: string;
  /** Of a file or of a folder of masks. */
  mask: string | undefined;
  /** Undefined: nobody has labelled it. */
  sample: Sample | undefined;
}

/** Where an image belongs. Null: nobody has labelled it. */
export type ImagePlace = { split: StudioSplit; label: StudioLabel; kind: string } | null;

/** Where a project keeps what. */
export interface Places {
  /** Absolute, as all. */
  folder: string;
  data: string;
  unlabelled: string;
  runs: string;
  results: string;
  /** What the studio can make anew, its queue of trainings, and what was removed. */
  own: string;
}

export const placesOf = (folder: string, data: string | undefined): Places => ({
  folder,
  data: data === undefined ? path.join(folder, "data") : path.resolve(data),
  unlabelled: path.join(folder, "unlabelled"),
  runs: path.join(folder, "runs"),
  results: path.join(folder, "results"),
  own: path.join(folder, ".studio"),
});

/** What lies in the project's folder. The folder is the truth: this is what was found there when it was last looked at. */
export class Project {
  #images = new Map<string, ProjectImage>();
  #dataset: Dataset | undefined;
  #problems: string[] = [];
  #looking: Promise<void> | undefined;
  #lookAgain: Promise<void> | undefined;
  /** Whether an image has come since the last look. */
  #isBehind = false;
  /** Those that have come since the last look began, which may not have seen them. */
  readonly #added = new Map<string, ProjectImage>();

  private constructor(readonly places: Places) {}

  static async open(places: Places): Promise<Project> {
    const project = new Project(places);
    await project.look();
    return project;
  }

  get images(): readonly ProjectImage[] {
    return [...this.#images.values()];
  }

  /** Undefined: nothing is labelled yet, or what lies there is no data set. */
  get dataset(): Dataset | undefined {
    return this.#dataset;
  }

  /** Throws NOT_FOUND. A path is never made of what a request names. */
  image(id: string): ProjectImage {
    const image = this.#images.get(id);
    if (!image)
      throw new HttpError("NOT_FOUND", `There is no image '${id.slice(0, 200)}' any more. Load the page again.`);
    return image;
  }

  /** Why labels cannot be changed; null: they can. */
  get readOnly(): string | null {
    const kind = this.#dataset?.kind ?? "folder";
    if (["folder", "generated"].includes(kind))
      return this.#problems.length > 0 && !this.#dataset ? this.#problems[0]! : null;
    return `The data set is of the kind '${kind}': its labels are changed in its own files. Here it can be looked at and trained on.`;
  }

  /**
   * Takes an image that has just been written into what is known. Of a folder that is dropped each one would otherwise cost a
   * look at all that came before. What follows from all images, the data set, is as it was at the last look.
   */
  async added(id: string, file: string, place: ImagePlace): Promise<void> {
    const kind = place?.label === "defect" ? place.kind : null;
    const sample: Sample | undefined = place
      ? {
          ...{ id, image: file, split: place.split, label: place.label === "good" ? "normal" : "anomalous" },
          ...(kind !== null && { defect: kind }),
        }
      : undefined;
    const { label, split } = place ?? { label: null, split: null };
    const shown = { id, label, split, kind, version: await versionOf(file), mask: null };
    this.#add({ shown, file, mask: undefined, sample });
  }

  /** The same for a mask; `image`: whose it is, if that is known. */
  async masked(image: ProjectImage | undefined, mask: string): Promise<void> {
    this.#isBehind = true;
    if (image?.sample)
      this.#add({
        ...image,
        shown: { ...image.shown, mask: await versionOf(mask) },
        mask,
        sample: { ...image.sample, mask },
      });
  }

  #add(image: ProjectImage): void {
    this.#isBehind = true;
    this.#added.set(image.shown.id, image);
    this.#images.set(image.shown.id, image);
  }

  /** Looks at the folder where images have come since the last look. */
  async settle(): Promise<void> {
    if (this.#isBehind) await this.look();
  }

  /** Looks at the folder again; a look that begins after this call has seen what was there by then. */
  look(): Promise<void> {
    if (!this.#looking) {
      this.#looking = this.#look()
        .catch((error: unknown) => {
          this.#isBehind = true;
          throw error;
        })
        .finally(() => (this.#looking = undefined));
      return this.#looking;
    }
    this.#lookAgain ??= this.#looking
      .catch(() => undefined)
      .then(() => {
        this.#lookAgain = undefined;
        return this.look();
      });
    return this.#lookAgain;
  }

  async #look(): Promise<void> {
    const { data, unlabelled } = this.places;
    this.#added.clear();
    this.#isBehind = false;
    const problems: string[] = [];
    const dataset = await openIfThere(data).catch((error: unknown) => {
      if (!hasCode(error, "DATASET_INVALID")) throw error;
      problems.push(error.message);
      return undefined;
    });
    const labelled = await inGroups(dataset?.samples ?? [], async (sample) => ({
      shown: {
        id: sample.id,
        label: sample.label === "normal" ? ("good" as const) : ("defect" as const),
        split: sample.split,
        kind: sample.label === "normal" ? null : (sample.defect ?? "defect"),
        version: await versionOf(sample.image),
        mask: sample.mask === undefined ? null : await versionOf(sample.mask),
      },
      file: sample.image,
      mask: sample.mask,
      sample,
    }));
    const names = (await isFolder(unlabelled)) ? (await listFolder(unlabelled)).files.filter(isImageFile) : [];
    const others = await inGroups(names, async (name) => {
      const file = path.join(unlabelled, name);
      const version = await versionOf(file);
      return {
        shown: { id: `unlabelled/${name}`, label: null, split: null, kind: null, version, mask: null },
        file,
        mask: undefined,
        sample: undefined,
      };
    });
    this.#images = new Map([...others, ...labelled, ...this.#added.values()].map((image) => [image.shown.id, image]));
    this.#dataset = dataset;
    this.#problems = [...problems, ...(dataset?.problems ?? []).map(({ message }) => message)];
  }

  shown(): StudioProject {
    const images = this.images.map(({ shown }) => shown);
    const counts = this.#counts();
    return {
      name: path.basename(this.places.folder),
      folder: this.places.folder,
      readOnly: this.readOnly,
      images,
      kinds: [...new Set(images.flatMap(({ kind }) => kind ?? []))].sort(naturalOrder),
      counts,
      regime: this.regime,
      advice: adviceFor(counts),
      problems: this.#problems,
      data: this.fingerprint(),
    };
  }

  /** What a training of the labels that there are learns from. */
  get regime(): StudioProject["regime"] {
    return this.#dataset ? inferRegime(this.#dataset) : "unsupervised";
  }

  #counts(): StudioCounts {
    const unlabelled = this.images.filter(({ sample }) => !sample).length;
    const { trainNormal, trainAnomalous, trainSegmented, testNormal, testAnomalous } = countSamples(
      this.#dataset ?? { kind: "folder", name: "", root: "", samples: [] },
    );
    return {
      unlabelled,
      trainGood: trainNormal,
      trainDefect: trainAnomalous,
      trainMasks: trainSegmented,
      testGood: testNormal,
      testDefect: testAnomalous,
    };
  }

  /** Tells the labelled data of one time from those of another: 12 characters. */
  fingerprint(split?: "train" | "test"): string {
    const rows = this.images.flatMap(({ shown }) =>
      shown.split !== null && (split === undefined || shown.split === split)
        ? JSON.stringify([shown.id, shown.label, shown.version, shown.mask])
        : [],
    );
    return shortHash(rows.sort().join("\n"));
  }
}

/** 12 characters. */
export const shortHash = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 12);

/** Undefined where there is no data set yet. */
async function openIfThere(data: string): Promise<Dataset | undefined> {
  if (!(await stat(data).catch(() => undefined))) return undefined;
  if (await isFolder(data)) {
    const { files, folders } = await listFolder(data);
    if (files.length === 0 && folders.length === 0) return undefined;
  }
  return datasets.open(data);
}

/** Size and time of a file, as one word. */
export async function versionOf(file: string): Promise<string> {
  const found = await stat(file).catch(() => undefined);
  return found ? `${found.size.toString(36)}.${Math.round(found.mtimeMs * 1000).toString(36)}` : "";
}

/** When a file of this version was changed, in milliseconds since 1970; 0 where there was none. */
export const changedMs = (version: string): number => parseInt(version.split(".")[1] ?? "0", 36) / 1000;

/** Some at a time, in their order. */
async function inGroups<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let i = 0; i < items.length; i += 64) results.push(...(await Promise.all(items.slice(i, i + 64).map(work))));
  return results;
}
