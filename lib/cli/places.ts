import { existsSync, readdirSync, realpathSync, rmdirSync } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import path from "node:path";

import { fileError, SuperSimpleNetError } from "../errors.js";
import { printable } from "./output.js";

/** Where a path leads, links followed; of what does not exist yet, the part that does. */
function realPlace(file: string): string {
  const full = path.resolve(file);
  try {
    return realpathSync(full);
  } catch {
    const parent = path.dirname(full);
    return parent === full ? full : path.join(realPlace(parent), path.basename(full));
  }
}

/** Throws INVALID_OPTION when one of the files that `option` writes is a file that the command reads. */
export function refuseInputs(command: string, option: string, outputs: Iterable<string>, inputs: Iterable<string | undefined>): void {
  const read = new Set<string>();
  for (const input of inputs) if (input !== undefined) read.add(realPlace(input));
  for (const output of outputs) {
    if (!read.has(realPlace(output))) continue;
    throw new SuperSimpleNetError("INVALID_OPTION", `${command}: ${option} would write over ${output}, which is an input. Choose another place.`, { path: output });
  }
}

/** Throws INVALID_OPTION when --out exists and may not be replaced. */
export function refuseExisting(command: string, out: string, overwrite: boolean): void {
  if (existsSync(out) && !overwrite) throw new SuperSimpleNetError("INVALID_OPTION", `${command}: ${out} exists already. Give another --out, or --overwrite to replace it.`, { path: out });
}

const splitFolders = ["train", "test", "ground_truth"];
const normalFolders = ["good", "ok", "normal"];

/** Folders of the data set whose files count as its images or masks. */
function isSplitFolder(folder: string): boolean {
  if (!splitFolders.includes(path.basename(folder).toLowerCase())) return false;
  const root = path.dirname(folder);
  return ["train", "test"].some((split) => normalFolders.some((normal) => existsSync(path.join(root, split, normal))));
}

/**
 * Throws INVALID_OPTION when `out` lies below train/, test/ or ground_truth/ of a data set: of `data`, and of any other that
 * shows as one by its folder of normal images. What is written there would be read as images.
 */
export function refuseInDataset(command: string, option: string, out: string, data?: string): void {
  const place = realPlace(out);
  const inData = data === undefined ? [] : path.relative(realPlace(data), place).split(path.sep);
  let inside = splitFolders.includes(inData[0]?.toLowerCase() ?? "");
  for (let folder = place; !inside && path.dirname(folder) !== folder; folder = path.dirname(folder)) inside = isSplitFolder(folder);
  if (inside) throw new SuperSimpleNetError("INVALID_OPTION", `${command}: ${option} ${out} lies among the images of a data set. Choose a folder outside of it.`, { path: out });
}

/** Removes the empty folders that `work` left of those it created on the way to `folder`, when it fails. */
export async function withoutEmptyFolders<T>(folder: string, work: () => Promise<T>): Promise<T> {
  const created: string[] = [];
  for (let at = path.resolve(folder); !existsSync(at); at = path.dirname(at)) created.push(at);
  try {
    return await work();
  } catch (error) {
    for (const made of created) {
      try {
        if (existsSync(made) && readdirSync(made).length === 0) rmdirSync(made);
      } catch {
        break; // the error that led here tells more
      }
    }
    throw error;
  }
}

/** The files below a folder that `wanted` accepts, in the order of their names. Links are followed, each folder is read once. */
export async function filesBelow(root: string, wanted: (file: string) => boolean): Promise<string[]> {
  const files: string[] = [];
  const seen = new Set<string>();
  const walk = async (folder: string): Promise<void> => {
    try {
      const real = await realpath(folder);
      if (seen.has(real)) return;
      seen.add(real);
      const folders: string[] = [];
      for (const entry of await readdir(folder, { withFileTypes: true })) {
        const full = path.join(folder, entry.name);
        // A link that leads nowhere, or in a circle, is a file that cannot be read.
        const isFolder = entry.isDirectory() || (entry.isSymbolicLink() && (await stat(full).then((found) => found.isDirectory(), () => false)));
        if (isFolder) folders.push(full);
        else if (wanted(entry.name)) files.push(full);
      }
      for (const inner of folders.sort()) await walk(inner);
    } catch (error) {
      throw fileError(error, "list", printable(folder));
    }
  };
  await walk(root);
  return files.sort();
}
