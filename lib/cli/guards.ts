import { existsSync, realpathSync } from "node:fs";
import { realpath } from "node:fs/promises";
import path from "node:path";

import { listFolder } from "../datasets/listing.js";
import { fileError, option, SuperSimpleNetError, type Text, text } from "../errors.js";
import { folderOptions } from "../schema/datasets.js";
import { emptyFolders } from "../write.js";
import { wrongUsage } from "./command.js";

/** Where a path leads, links followed; of what does not exist yet, the part that does. */
function realPath(file: string): string {
  const full = path.resolve(file);
  try {
    return realpathSync(full);
  } catch {
    const parent = path.dirname(full);
    return parent === full ? full : path.join(realPath(parent), path.basename(full));
  }
}

/** INVALID_OPTION about the file or folder that an option names. */
export const badPath = (name: string, file: string, why: Text, fix: Text): SuperSimpleNetError =>
  wrongUsage(why, { option: name, value: file, path: file, fix });

/** Throws INVALID_OPTION when one of the files that the option writes is a file that the command reads. */
export function refuseInputs(name: string, outputs: Iterable<string>, inputs: Iterable<string | undefined>): void {
  const read = new Set<string>();
  for (const input of inputs) if (input !== undefined) read.add(realPath(input));
  const overwritten = [...outputs].find((file) => read.has(realPath(file)));
  if (overwritten === undefined) return;
  const why = text`${option(name)} would write over ${overwritten}, which is an input.`;
  throw badPath(name, overwritten, why, "Choose another place.");
}

/** Throws INVALID_OPTION when the file that the option writes exists and may not be replaced. */
export function refuseExisting(name: string, file: string, overwrite: boolean | undefined): void {
  if (overwrite || !existsSync(file)) return;
  const fix = text`Give another ${option(name)}, or ${option("overwrite")} to replace it.`;
  throw badPath(name, file, `${file} exists already.`, fix);
}

/** Throws INVALID_OPTION when the place that the option names is one of these files or folders, or lies in one. */
export function refuseWithin(name: string, place: string, taken: Iterable<string>): void {
  const real = realPath(place);
  const found = [...taken].find((file) => !path.relative(realPath(file), real).startsWith(".."));
  if (found === undefined) return;
  throw badPath(name, place, `${found} is for the training's own files.`, "Choose another place.");
}

const splitFolders = ["train", "test", "ground_truth", "ignore"];
const { normalNames } = folderOptions.parse({});

/** Folders of the data set whose files count as its images or masks. */
function isSplitFolder(folder: string): boolean {
  if (!splitFolders.includes(path.basename(folder).toLowerCase())) return false;
  const root = path.dirname(folder);
  return ["train", "test"].some((split) => normalNames.some((normal) => existsSync(path.join(root, split, normal))));
}

/**
 * Throws INVALID_OPTION when the folder that the option names lies below train/, test/, ground_truth/ or ignore/ of a data set:
 * of `data`, or of any other that shows as one by its folder of normal images. What is written there would be read as
 * images.
 */
export function refuseInDataset(name: string, folder: string, data?: string): void {
  const real = realPath(folder);
  const inData = data === undefined ? [] : path.relative(realPath(data), real).split(path.sep);
  let inside = splitFolders.includes(inData[0]?.toLowerCase() ?? "");
  for (let above = real; !inside && path.dirname(above) !== above; above = path.dirname(above))
    inside = isSplitFolder(above);
  if (!inside) return;
  const why = text`${option(name)} ${folder} lies among the images of a data set.`;
  throw badPath(name, folder, why, "Choose a folder outside of it.");
}

/** Throws INVALID_OPTION for a whole data set where a folder of images of one kind is wanted: its masks would count as parts. */
export function refuseDataset(name: string, folder: string): void {
  if (!splitFolders.some((split) => isSplitFolder(path.join(path.resolve(folder), split)))) return;
  const why = text`${option(name)} ${folder} is a data set, whose images are of every kind.`;
  throw badPath(name, folder, why, "Give the folder of one kind, such as its test/good.");
}

/** Removes the empty folders that `work` left of those it created on the way to these folders, when it fails. */
export async function withoutEmptyFolders<T>(folders: string | readonly string[], work: () => Promise<T>): Promise<T> {
  const removals = [folders].flat().map(emptyFolders);
  try {
    return await work();
  } catch (error) {
    for (const removeEmpty of removals) removeEmpty();
    throw error;
  }
}

/**
 * The files below a folder, in the order of data sets, without hidden files and folders, and the pipes, sockets and devices
 * there. Links are followed; each folder is read once.
 */
export async function filesBelow(root: string): Promise<{ files: string[]; special: string[] }> {
  const files: string[] = [];
  const special: string[] = [];
  const seen = new Set<string>();
  const walk = async (folder: string): Promise<void> => {
    const real = await realpath(folder).catch((error: unknown) =>
      Promise.reject(fileError(error, "list folder", folder)),
    );
    if (seen.has(real)) return;
    seen.add(real);
    const inside = await listFolder(folder);
    for (const name of inside.files) files.push(path.join(folder, name));
    for (const name of inside.special) special.push(path.join(folder, name));
    for (const name of inside.folders) await walk(path.join(folder, name));
  };
  await walk(root);
  return { files, special };
}
