import { readdir, stat } from "node:fs/promises";
import path from "node:path";

import { fileError, type SuperSimpleNetError } from "../errors.js";
import { specialFile } from "../files/input.js";
import { oneProblem } from "./dataset.js";

const collator = new Intl.Collator("en", { numeric: true });

/** 2 before 10. */
export const naturalOrder = (a: string, b: string): number => collator.compare(a, b) || (a < b ? -1 : a > b ? 1 : 0);

/** What operating systems, network drives and version control put into folders. */
const SYSTEM_NAME =
  /^(\.ds_store|\._.*|\.appledouble|\.spotlight-v100|\.fseventsd|\.trash.*|\.directory|\.(git|dvc).*|@eadir|__macosx|(eh)?thumbs\.db|desktop\.ini)$/i;

/** Whether a file or folder is no part of any data set, so that nobody has to be told of it. */
export const isSystemName = (name: string): boolean => SYSTEM_NAME.test(name);

export interface Listing {
  files: string[];
  folders: string[];
  /** Pipes, sockets and devices, which are never read. */
  special: string[];
}

/** Names in a folder in natural order; hidden files and those of the system left out, links followed. */
export async function listFolder(folder: string): Promise<Listing> {
  const listing: Listing = { files: [], folders: [], special: [] };
  try {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      if (entry.name.startsWith(".") || isSystemName(entry.name)) continue;
      const target = entry.isSymbolicLink() ? await stat(path.join(folder, entry.name)).catch(() => entry) : entry;
      const list = target.isDirectory() ? "folders" : specialFile(target) === undefined ? "files" : "special";
      listing[list].push(entry.name);
    }
  } catch (error) {
    throw fileError(error, "list folder", folder);
  }
  for (const names of [listing.files, listing.folders, listing.special]) names.sort(naturalOrder);
  return listing;
}

/** `wanted` (lower case) among names in any case. */
export function findName(names: readonly string[], wanted: string): string | undefined {
  return names.find((name) => name === wanted) ?? names.find((name) => name.toLowerCase() === wanted);
}

/** One spelling of names that are compared: in any case, and composed, for macOS writes "ö" as "o" and dots. */
export const spelling = (name: string): string => name.normalize("NFC").toLowerCase();

export async function isFile(name: string): Promise<boolean> {
  return stat(name).then(
    (entry) => entry.isFile(),
    () => false,
  );
}

/** "a, b, c, ... (12 in all)". */
export function firstOf(names: readonly string[], shown = 5): string {
  return names.slice(0, shown).join(", ") + (names.length > shown ? `, ... (${names.length} in all)` : "");
}

/** The warning about pipes, sockets and devices that were found among the files. */
export const skippedSpecial = (names: readonly string[]): string =>
  `${names.length === 1 ? "1 pipe, socket or device is" : `${names.length} pipes, sockets and devices are`} skipped: ${firstOf(names)}.`;

/** The problem of two images that one mask fits by its name. */
export const sharedMask = (image: string, other: string, mask: string): string =>
  `${image} and ${other} both match ${mask}: rename one of the images, and its mask if it has one.`;

/** A data set that cannot be read as what it was taken for: one problem, which says what is expected where. */
export const notThisLayout = (root: string, reason: string, layout: string): SuperSimpleNetError =>
  oneProblem(root, `${reason} Expected layout:\n${layout}`);

/** A part of a published data set that is not there. */
export const missingFolder = (root: string, folder: string, layout: string): SuperSimpleNetError =>
  notThisLayout(root, `there is no folder ${folder}: the download or its unpacking is incomplete.`, layout);
