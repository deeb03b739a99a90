import path from "node:path";

import { isFolder } from "../../files/input.js";
import { imageSize } from "../../images/decode.js";
import { isImageFile } from "../../images/formats.js";
import { prefetch } from "../../images/pipeline.js";
import { SuperSimpleNetError } from "../../errors.js";
import type { DatasetKind } from "../../schema/datasets.js";
import { type Dataset, type DatasetProblem, manyProblems, type Sample, type Split } from "../dataset.js";
import { firstOf, listFolder, naturalOrder, spelling } from "../listing.js";
import type { Loader, OpenOptions } from "../loader.js";
import { findUnused, usedFiles } from "../unused.js";
import { imageRoot } from "./files.js";
import { maskOf } from "./mask_files.js";
import { Damaged, effortOf, type Shape, sizeOf } from "./shapes.js";

/** One image as an annotation file describes it. */
export interface AnnotatedImage {
  /** The annotation file, absolute. */
  file: string;
  /** What the file calls the image: a path or a name. */
  name: string;
  /** What else it may be called, where there is none of that name. */
  otherName?: string;
  /** The size that the file gives. */
  width?: number;
  height?: number;
  shapes: Shape[];
  /** Where the file itself says so. */
  split?: Split;
  /** What is damaged in its annotations. */
  damaged: string[];
}

/** What a reader found in the annotation files. */
export interface Annotations {
  images: AnnotatedImage[];
  /** Every annotation file that was read. */
  files: readonly string[];
  /** What concerns no single image. */
  problems: string[];
  warnings: string[];
}

/** More on one image is no annotation of a part. */
const MOST_SHAPES = 10_000;

/** What fills some thousand large shapes on 50 megapixels; see effortOf. */
const MOST_EFFORT = 2 ** 36;

/** Runs a reader of a part of an image's annotations, and takes down what is damaged in it. */
export function note(image: AnnotatedImage, what: string, read: () => void): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof Damaged)) throw error;
    image.damaged.push(`${what}: ${error.message}`);
  }
}

/** Adds a shape. Throws Damaged where there are too many. */
export function addShape(image: AnnotatedImage, shape: Shape): void {
  if (image.shapes.length >= MOST_SHAPES) throw new Damaged(`there are more than ${MOST_SHAPES} shapes`);
  image.shapes.push(shape);
}

const PARTS: Record<Split, RegExp> = {
  train: /^(train|training)\d*$/i,
  test: /^(test|testing|val|valid|validation)\d*$/i,
};

/** The split that a subset's name or a folder's says; without one the whole is for training. */
export const splitOf = (name: string): Split | undefined =>
  (Object.keys(PARTS) as Split[]).find((split) => PARTS[split].test(name));

/** The images below a folder, and how they are found by what annotations call them. */
class ImageIndex {
  readonly #byPath = new Map<string, string>();
  readonly #byName = new Map<string, string[]>();

  constructor(
    private readonly root: string,
    files: readonly string[],
  ) {
    for (const file of files) {
      this.#byPath.set(spelling(this.#relative(file)), file);
      const name = spelling(path.basename(file));
      this.#byName.set(name, [...(this.#byName.get(name) ?? []), file]);
    }
  }

  static async of(root: string): Promise<ImageIndex> {
    return new ImageIndex(root, await imagesBelow(root));
  }

  #relative(file: string): string {
    return path.relative(this.root, file).split(path.sep).join("/");
  }

  /** Beside the annotation file, in images/ there or in the root, or by its name where one image alone has it. Or why not. */
  find({ file, name, otherName }: AnnotatedImage): { image: string } | { problem: string } {
    const found = this.#find(file, name);
    if (found !== undefined) return found;
    const other = otherName === undefined ? undefined : this.#find(file, otherName);
    return other ?? { problem: `there is no such image in ${this.root}` };
  }

  #find(file: string, name: string): { image: string } | { problem: string } | undefined {
    const written = name.replaceAll("\\", "/");
    for (const folder of [path.dirname(file), this.root])
      for (const inside of [written, `images/${written}`]) {
        const image = this.#byPath.get(spelling(this.#relative(path.resolve(folder, inside))));
        if (image !== undefined) return { image };
      }
    const [first, ...others] = this.#byName.get(spelling(written.split("/").at(-1)!)) ?? [];
    if (first === undefined) return undefined;
    if (others.length === 0) return { image: first };
    const found = [first, ...others].map((one) => this.#relative(one));
    return {
      problem: `${found.length} images are called so (${firstOf(found, 3)}), and none lies where the file says`,
    };
  }
}

async function imagesBelow(folder: string, depth = 8): Promise<string[]> {
  const { files, folders } = await listFolder(folder);
  const found = files.filter(isImageFile).map((file) => path.join(folder, file));
  if (depth > 0) for (const name of folders) found.push(...(await imagesBelow(path.join(folder, name), depth - 1)));
  return found;
}

/**
 * Makes a data set of what was read: finds the images below `root`, writes the shapes as masks into the cache folder, and
 * names the classes. Images without shapes are normal. Errors: DATASET_INVALID when there is no image at all; those of the
 * cache folder (NO_PERMISSION, NO_SPACE, FILE_ERROR, FILE_NOT_FOUND).
 */
export async function annotatedDataset(
  kind: Dataset["kind"],
  root: string,
  { images, files, problems: found, warnings }: Annotations,
  { ignoreClass = [] }: Pick<OpenOptions, "ignoreClass">,
): Promise<Dataset> {
  const problems: DatasetProblem[] = found.map((message) => ({ message }));
  const index = await ImageIndex.of(root);
  const relative = (file: string): string => path.relative(root, file).split(path.sep).join("/");
  const ignored = ignoreClass.map(spelling);
  const named: string[] = [];
  const takenBy = new Map<string, AnnotatedImage>();
  const placed: { annotated: AnnotatedImage; image: string }[] = [];
  for (const annotated of images) {
    const where = `${relative(annotated.file)}: image '${annotated.name}'`;
    const at = index.find(annotated);
    if ("problem" in at) {
      problems.push({ message: `${where}: ${at.problem}.` });
      continue;
    }
    named.push(at.image);
    const before = takenBy.get(at.image);
    if (before !== undefined)
      problems.push({ message: `${where}: ${relative(at.image)} is already named in ${relative(before.file)}.` });
    for (const damage of annotated.damaged) problems.push({ message: `${where}: ${damage}.` });
    if (before !== undefined || annotated.damaged.length > 0) continue;
    takenBy.set(at.image, annotated);
    placed.push({ annotated, image: at.image });
  }

  const samples: Sample[] = [];
  const place = async ({ annotated, image }: (typeof placed)[number]): Promise<Sample | string> => {
    const where = `${relative(annotated.file)}: image '${annotated.name}'`;
    const shapes = annotated.shapes.filter(({ label }) => !ignored.includes(spelling(label)));
    const without = annotated.shapes.filter((shape) => !shapes.includes(shape));
    const split =
      annotated.split ??
      relative(path.dirname(image))
        .split("/")
        .map(splitOf)
        .findLast((part) => part !== undefined);
    const sample: Sample = {
      id: relative(image),
      image,
      label: shapes.length > 0 ? "anomalous" : "normal",
      split: split ?? "train",
    };
    if (annotated.shapes.length === 0) return sample;
    let size: { width: number; height: number };
    try {
      size = await imageSize(image);
    } catch (error) {
      if (!(error instanceof SuperSimpleNetError)) throw error;
      return `${where}: ${error.message}`;
    }
    const { width = size.width, height = size.height } = annotated;
    if (width !== size.width || height !== size.height)
      return `${where}: it was annotated at ${width} x ${height} pixels, but it is ${size.width} x ${size.height}. Annotate the image as it is, and turned as its EXIF orientation says.`;
    const effort = annotated.shapes.reduce((sum, shape) => sum + effortOf(shape, width, height), 0);
    if (effort > MOST_EFFORT)
      return `${where}: its ${annotated.shapes.length} shapes cover too much of it, again and again, to be filled.`;
    if (shapes.length > 0) {
      sample.defect = largestClass(shapes);
      const mask = await maskOf(shapes, size, image);
      if (mask === undefined) return `${where}: its shapes cover no pixel: they lie outside it or are too thin.`;
      sample.mask = mask;
    }
    const mask = without.length > 0 ? await maskOf(without, size, image) : undefined;
    if (mask !== undefined) sample.ignore = mask;
    return sample;
  };
  for await (const result of prefetch(placed, place))
    if (typeof result === "string") problems.push({ message: result });
    else samples.push(result);
  if (samples.length === 0) {
    const messages = problems.map(({ message }) => message);
    throw manyProblems(`Data set ${root}`, root, messages.length > 0 ? messages : ["No image is annotated."]);
  }

  samples.sort((a, b) => naturalOrder(a.id, b.id));
  const classes = new Set(images.flatMap(({ shapes }) => shapes.map(({ label }) => label)));
  const spelled = new Set([...classes].map(spelling));
  const unknown = ignoreClass.filter((name) => !spelled.has(spelling(name)));
  return {
    kind,
    name: path.basename(root),
    root,
    samples,
    warnings: [
      ...warnings,
      ...unknown.map(
        (name) =>
          `No annotation has the class '${name}', which is to be ignored. Classes: ${firstOf([...classes], 20)}.`,
      ),
    ],
    ...(await findUnused(root, [...usedFiles({ samples }), ...files, ...named])),
    problems,
  };
}

/** The class that covers most; of equal ones the first. */
function largestClass(shapes: readonly Shape[]): string {
  const sizes = new Map<string, number>();
  for (const shape of shapes) sizes.set(shape.label, (sizes.get(shape.label) ?? 0) + sizeOf(shape));
  return [...sizes].reduce((largest, next) => (next[1] > largest[1] ? next : largest))[0];
}

/** A loader of annotation files of which each has several images. */
export function annotationLoader({
  kind,
  summary,
  layout,
  filesOf,
  read,
}: Pick<Loader, "summary" | "layout"> & {
  kind: DatasetKind;
  /** The annotation files of a folder, or the file itself. */
  filesOf: (root: string, isAFile: boolean) => Promise<string[]>;
  read: (file: string) => Promise<Pick<Annotations, "images"> & Partial<Pick<Annotations, "problems" | "warnings">>>;
}): Loader {
  return {
    kind,
    summary,
    layout,
    takes: ["ignoreClass"],
    matches: async (root, isAFile) => (await filesOf(root, isAFile)).length > 0,
    async load(root, options) {
      const isAFile = !(await isFolder(root));
      const files = await filesOf(root, isAFile);
      const all: Annotations = { images: [], files, problems: [], warnings: [] };
      for (const file of files) {
        const { images, problems = [], warnings = [] } = await read(file);
        all.images.push(...images);
        all.problems.push(...problems);
        all.warnings.push(...warnings);
      }
      return annotatedDataset(kind, imageRoot(root, isAFile), all, options);
    },
  };
}
