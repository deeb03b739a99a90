import { copyFile, rename, rm, stat, statfs } from "node:fs/promises";
import path from "node:path";

import { makeFolder, putInPlace } from "../write.js";
import { type Arrival, type Entry, isSame, type Journal, placeOf } from "./journal.js";

/**
 * Moves a recorded image into a folder, under a name that no file there has, and notes where it is. False: the file is
 * another one by now.
 */
export async function moveImage(journal: Journal, source: string, arrival: Arrival, folder: string): Promise<boolean> {
  await makeFolder(folder);
  const to = await freeName(folder, arrival.name);
  if (!(await isSame(source, arrival))) return false;
  await rename(source, to).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== "EXDEV") throw error;
    // Another disk: whole or not at all, and the original last.
    const temporary = path.join(folder, `.${path.basename(to)}.tmp`);
    await copyFile(source, temporary);
    await putInPlace(temporary, to);
    await rm(source);
  });
  const { size, mtimeMs } = await stat(to);
  const place = await placeOf(folder);
  await journal.note("moved", arrival, { to, size, mtimeMs, ...(place !== undefined && { place }) });
  return true;
}

async function freeName(folder: string, name: string): Promise<string> {
  const { name: stem, ext } = path.parse(name);
  for (let i = 1; ; i++) {
    const to = path.join(folder, i === 1 ? name : `${stem}-${i}${ext}`);
    if (
      await stat(to).then(
        () => false,
        () => true,
      )
    )
      return to;
  }
}

export interface RemovalOptions {
  removeAfterDays?: number | undefined;
  minFreeMiB?: number | undefined;
}

/**
 * Removes images that are recorded, the oldest first: those past their age, and others while their disk is nearly full.
 * Resolves to their number. One that cannot be removed stays, and the first error is told.
 */
export async function removeImages(
  journal: Journal,
  { removeAfterDays, minFreeMiB }: RemovalOptions,
  onFailure: (error: unknown) => void,
): Promise<number> {
  if (removeAfterDays === undefined && minFreeMiB === undefined) return 0;
  const recorded = [...journal.entries].filter(({ event }) => event === "done" || event === "moved");
  recorded.sort((a, b) => (a.time < b.time ? -1 : 1));
  const oldest = Date.now() - (removeAfterDays ?? Infinity) * 86_400_000;
  const roomy = new Set<string>();
  let removed = 0;
  let failed = false;
  for (const entry of recorded) {
    const folder = path.dirname(journal.fileOf(entry));
    if (Date.parse(entry.time) >= oldest) {
      if (minFreeMiB === undefined || roomy.has(folder)) continue;
      if (!(await isFull(folder, minFreeMiB))) {
        roomy.add(folder);
        continue;
      }
    }
    try {
      if (await removeImage(journal, entry)) removed++;
    } catch (error) {
      if (!failed) onFailure(error);
      failed = true;
    }
  }
  return removed;
}

/** Another image that has the name by now is not this one. */
async function removeImage(journal: Journal, entry: Entry): Promise<boolean> {
  const fate = await journal.fateOf(entry);
  if (fate === "unknown") return false;
  if (fate === "there") await rm(journal.fileOf(entry));
  await journal.forget(entry);
  return fate === "there";
}

const isFull = (folder: string, minFreeMiB: number): Promise<boolean> =>
  statfs(folder).then(
    ({ bavail, bsize }) => bavail * bsize < minFreeMiB * 2 ** 20,
    () => false,
  );
