import type { Dirent } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import path from "node:path";

import { specialFile } from "../files/input.js";
import { isImageFile, isUnsupportedImage } from "../images/formats.js";
import type { Dataset } from "./dataset.js";
import { firstOf, isSystemName, listFolder, naturalOrder, skippedSpecial } from "./listing.js";

/** Enough to say what they are. A folder with more holds something else than a data set. */
const MOST_LISTED = 10_000;

/**
 * The files below `root`, or below the folder `part` of it, that are not among `used` (absolute paths; a folder stands for
 * the images in it), relative to `root`, in natural order and at most 10000. Left out: what operating systems and version
 * control put there. Links to folders are followed no further; one that leads to nothing used is listed itself.
 */
export async function findUnused(
  root: string,
  used: Iterable<string>,
  part = "",
): Promise<Required<Pick<Dataset, "unused" | "special">>> {
  const taken = await realNames(used);
  const folders = new Set<string>();
  for (const file of taken) for (const folder of foldersAbove(file)) folders.add(folder);
  const found: string[] = [];
  const special: string[] = [];
  const linked = new Set<string>();

  const inspect = async (entry: Dirent, folder: string): Promise<void> => {
    const full = path.join(folder, entry.name);
    const target = entry.isSymbolicLink() ? await stat(full).catch(() => entry) : entry;
    if (target.isDirectory() && target === entry) return walk(full);
    if (specialFile(target) !== undefined) return void special.push(full);
    const isUsed = taken.has(full) || (taken.has(folder) && isImageFile(entry.name));
    if (target === entry && !isUsed) return void found.push(full);
    const real = target === entry ? full : await realpath(full).catch(() => full);
    if (isUsed) return void linked.add(real);
    if (!target.isDirectory() || !(folders.has(real) || taken.has(real))) found.push(full);
  };
  const walk = async (folder: string): Promise<void> => {
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => undefined);
    if (entries === undefined) return void found.push(folder); // not ours to read
    for (const entry of entries) {
      if (found.length >= MOST_LISTED) return;
      if (!isSystemName(entry.name)) await inspect(entry, folder);
    }
  };
  const base = await realpath(root).catch(() => root);
  await walk(path.join(base, part));
  const named = (files: readonly string[]): string[] =>
    files.map((file) => path.relative(base, file).split(path.sep).join("/")).sort(naturalOrder);
  return { unused: named(found.filter((file) => !linked.has(file))), special: named(special) };
}

/** The images that lie in the same folders as those in `used` and are not among them, as findUnused gives them. */
export async function findUnusedBeside(root: string, used: readonly string[]): Promise<string[]> {
  const taken = new Set(used);
  const found: string[] = [];
  for (const folder of new Set(used.map((file) => path.dirname(file)))) {
    const { files } = await listFolder(folder).catch(() => ({ files: [] }));
    for (const file of files.filter(isImageFile).map((name) => path.join(folder, name)))
      if (!taken.has(file) && found.length < MOST_LISTED)
        found.push(path.relative(root, file).split(path.sep).join("/"));
  }
  return found;
}

/** Every image and mask of a data set, for findUnused. */
export const usedFiles = ({ samples, normalMasks = [] }: Pick<Dataset, "samples" | "normalMasks">): string[] => [
  ...samples.flatMap(({ image, mask, ignore, roi }) =>
    [image, mask, ignore, roi].filter((file) => typeof file === "string"),
  ),
  ...normalMasks.map(({ mask }) => mask),
];

/** The files with the links in their folders' names resolved; a file that is itself a link keeps its name. */
async function realNames(files: Iterable<string>): Promise<Set<string>> {
  const folders = new Map<string, string>();
  const names = new Set<string>();
  for (const file of files) {
    const folder = path.dirname(file);
    if (!folders.has(folder)) folders.set(folder, await realpath(folder).catch(() => folder));
    names.add(path.join(folders.get(folder)!, path.basename(file)));
  }
  return names;
}

function foldersAbove(file: string): string[] {
  const above: string[] = [];
  for (let folder = path.dirname(file); folder !== above.at(-1); folder = path.dirname(folder)) above.push(folder);
  return above;
}

/** One sentence for each kind of file that is not used, with some names. */
export function describeUnused(dataset: Dataset): string[] {
  const { root, unused = [], special = [] } = dataset;
  const skipped = special.length === 0 ? [] : [skippedSpecial(special)];
  if (unused.length === 0) return skipped;
  const inUse = new Set<string>();
  for (const file of usedFiles(dataset))
    for (const folder of foldersAbove(path.relative(root, file).split(path.sep).join("/"))) inUse.add(folder);
  const kinds = {
    image: {
      one: "1 image is not used",
      more: "images are not used",
    },
    hidden: { one: "1 hidden file is not used", more: "hidden files are not used" },
    other: { one: "1 file that is no image is not used", more: "files that are no images are not used" },
  };
  const notUsed = (Object.keys(kinds) as (keyof typeof kinds)[]).flatMap((kind) => {
    const files = unused.filter((file) => kindOfFile(file) === kind);
    if (files.length === 0) return [];
    const { one, more } = kinds[kind];
    const count = files.length === 1 ? one : `${files.length}${unused.length < MOST_LISTED ? "" : " or more"} ${more}`;
    return [`${count}: ${firstOf(byFolder(files, inUse))}.`];
  });
  return [...notUsed, ...skipped];
}

function kindOfFile(file: string): "image" | "hidden" | "other" {
  if (file.split("/").some((part) => part.startsWith(".") && part !== "..")) return "hidden";
  return isImageFile(file) || isUnsupportedImage(file) ? "image" : "other";
}

/** Folders in which nothing is used stand for their files: "validation/ (60)". */
function byFolder(files: readonly string[], inUse: ReadonlySet<string>): string[] {
  const counts = new Map<string, number>();
  for (const file of files) {
    const outer = foldersAbove(file)
      .filter((folder) => folder !== "." && !inUse.has(folder))
      .at(-1);
    const name = outer === undefined ? file : `${outer}/`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts].map(([name, count]) => (name.endsWith("/") ? `${name} (${count})` : name));
}
