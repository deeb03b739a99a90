import { constants } from "node:fs";
import { copyFile, writeFile } from "node:fs/promises";
import path from "node:path";

import { invalid, SuperSimpleNetError } from "../errors.js";
import { decodeMask, maskPng } from "../images/mask.js";
import { prefetch } from "../images/pipeline.js";
import { rectangleText } from "../images/rectangle.js";
import { check, checkPath } from "../schema/check.js";
import { convertOptions } from "../schema/datasets.js";
import type { Settings } from "../schema/types.js";
import { makeFolder } from "../write.js";
import { checkStructure, type Dataset, manyProblems, oneProblem, type Sample } from "./dataset.js";
import { manifest } from "./manifest.js";
import { namesThere, notOurs, writeWholeFolder } from "./whole_folder.js";

/** Options of datasets.convert. */
export interface ConvertOptions extends Settings<typeof convertOptions> {
  onProgress?: (progress: { written: number; total: number }) => void;
}

const WHERE = "datasets.convert";
const COLUMNS = ["image", "label", "mask", "split", "defect", "ignore", "roi"] as const;
type Row = Partial<Record<(typeof COLUMNS)[number], string>>;

/**
 * Writes a data set of any kind as a manifest, samples.csv, with PNG masks beside it (masks/, ignore/, roi/). Images are
 * named where they are, relative to the manifest; with `copy` they are copied to images/. Labels, splits, kinds of defects
 * and the pixels of masks stay as they are.
 *
 * All of it is written to a temporary folder beside `out`, then renamed. Errors: FILE_ERROR when `out` is not empty;
 * INVALID_OPTION when it lies in the data set; DATASET_INVALID for a data set with problems; IMAGE_UNREADABLE for a mask;
 * NO_PERMISSION, NO_SPACE, ABORTED.
 *
 *     const data = await datasets.convert(await datasets.open("cvat-export"), "converted");
 */
export async function convertDataset(dataset: Dataset, out: string, options: ConvertOptions = {}): Promise<Dataset> {
  checkPath(WHERE, "out", out, "a folder");
  const { copy, signal } = check(WHERE, convertOptions, options);
  const { onProgress } = options;
  checkStructure(WHERE, dataset);
  const base = path.resolve(out);
  if (!path.relative(dataset.root, base).startsWith(".."))
    throw invalid(WHERE, "out", `a folder outside the data set ${dataset.root}`, out);
  if ((await namesThere(base)).length > 0) throw notOurs(base, "it is not empty");
  const { problems = [], samples } = dataset;
  if (samples.length === 0) throw oneProblem(dataset.root, "it has no images.");
  const found = [...problems.map(({ message }) => message), ...(await markedNormals(dataset, signal))];
  if (found.length > 0) throw manyProblems(`Data set ${dataset.root}`, dataset.root, found);

  await writeWholeFolder(base, async (folder) => {
    const name = uniqueNames();
    const writes = new Set<Promise<Row>>(); // under way; they outlive a cancelled prefetch
    const written = async (sample: Sample): Promise<Row> => {
      const put = async (kind: string, content: Buffer | { copyOf: string }, file: string): Promise<string> => {
        const at = path.join(folder, kind, file);
        await makeFolder(path.dirname(at));
        if ("copyOf" in content) await copyFile(content.copyOf, at, constants.COPYFILE_FICLONE);
        else await writeFile(at, content);
        return `${kind}/${file}`;
      };
      const masked = async (kind: string, mask: string | undefined): Promise<string | undefined> =>
        mask === undefined
          ? undefined
          : put(kind, await maskPng(await decodeMask(mask)), name(kind, sample.id, ".png"));
      const { id, image, label, split, defect, roi } = sample;
      const row: Row = { label, split };
      row.image = copy
        ? await put("images", { copyOf: image }, name("images", id, path.extname(image)))
        : path.relative(base, image).split(path.sep).join("/");
      const [mask, ignore] = [await masked("masks", sample.mask), await masked("ignore", sample.ignore)];
      const region = typeof roi === "object" ? rectangleText(roi) : await masked("roi", roi);
      for (const [column, value] of Object.entries({ mask, ignore, roi: region, defect }))
        if (value !== undefined) row[column as keyof Row] = value;
      return row;
    };
    const tracked = (sample: Sample): Promise<Row> => {
      const done = written(sample).finally(() => writes.delete(done));
      writes.add(done);
      return done;
    };
    const rows: Row[] = [];
    try {
      for await (const row of prefetch(samples, tracked, { signal, ahead: 3 })) {
        rows.push(row);
        onProgress?.({ written: rows.length, total: samples.length });
      }
    } finally {
      await Promise.allSettled(writes); // one of them could write into the folder after it was removed
    }
    const file = path.join(folder, "samples.csv");
    await writeFile(
      file,
      [COLUMNS, ...rows.map((row) => COLUMNS.map((column) => row[column] ?? ""))].map(line).join(""),
    );
    await compare(file, dataset);
  });
  return manifest(path.join(base, "samples.csv"), { name: dataset.name });
}

/** Masks of normal images that mark something: without a word they would be lost. */
async function markedNormals({ normalMasks = [] }: Dataset, signal: AbortSignal | undefined): Promise<string[]> {
  const found: string[] = [];
  const marks = async ({ mask }: { mask: string }): Promise<string | undefined> =>
    (await decodeMask(mask)).marked > 0 ? `${mask} marks a defect on a normal image.` : undefined;
  for await (const problem of prefetch(normalMasks, marks, { signal })) if (problem !== undefined) found.push(problem);
  return found;
}

/** Names of files in a folder each: like the image's id, without what leads out of it, and never the same twice. */
function uniqueNames(): (kind: string, id: string, extension: string) => string {
  const taken = new Set<string>();
  return (kind, id, extension) => {
    const inside = id.split("/").filter((part) => part !== "" && part !== "." && part !== "..").join("/"); // prettier-ignore
    const stem = inside.slice(0, inside.length - path.extname(inside).length);
    for (let i = 1; ; i++) {
      const file = `${i === 1 ? stem : `${stem}_${i}`}${extension}`;
      const key = `${kind}/${file}`.toLowerCase();
      if (taken.has(key)) continue;
      taken.add(key);
      return file;
    }
  };
}

const line = (values: readonly string[]): string =>
  `${values.map((value) => (/[",\r\n]|^\s|\s$/.test(value) ? `"${value.replaceAll('"', '""')}"` : value)).join(",")}\n`;

/** Reads what was written: a manifest cannot hold every name. */
async function compare(file: string, { samples, root }: Dataset): Promise<void> {
  const facts = ({ label, split, defect, mask, ignore, roi }: Sample): string =>
    JSON.stringify([label, split, defect ?? "", [mask, ignore, roi].map((value) => typeof value)]);
  let read: readonly Sample[];
  try {
    read = (await manifest(file)).samples;
  } catch (error) {
    if (!(error instanceof SuperSimpleNetError)) throw error;
    throw manyProblems(`Data set ${root}, written as a manifest,`, root, error.problems);
  }
  const changed = samples.filter((sample, i) => read[i] === undefined || facts(read[i]) !== facts(sample));
  if (changed.length > 0)
    throw manyProblems(
      `Data set ${root}`,
      root,
      changed.map(({ id }) => `${id}: a name of it cannot be written in a manifest. Rename the file or its folder.`),
    );
}
