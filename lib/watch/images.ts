import { copyFile, rename, rm, stat, statfs } from "node:fs/promises";
import path from "node:path";

import { makeFolder } from "../write.js";
import type { Arrival, Entry, Journal } from "./journal.js";

/** Moves a recorded image into a folder, under a name that no file there has, and notes where it is. */
export async function moveImage(journal: Journal, source: string, arrival: Arrival, folder: string): Promise<void> {
  await makeFolder(folder);
  const to = await freeName(folder, arrival.name);
  await rename(source, to).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== "EXDEV") throw error;
    // Another disk: whole or not at all, and the original last.
    const temporary = path.join(folder, `.${path.basename(to)}.tmp`);
    await copyFile(source, temporary);
    await rename(temporary, to);
    await rm(source);
  });
  const { size, mtimeMs } = await stat(to);
  await journal.note("moved", arrival, { to, size, mtimeMs });
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

/** Removes images that are recorded, the oldest first: those past their age, and others while their disk is nearly full. */
export async function removeImages(journal: Journal, { removeAfterDays, minFreeMiB }: RemovalOptions): Promise<number> {
  if (removeAfterDays === undefined && minFreeMiB === undefined) return 0;
  const recorded = [...journal.entries].filter(({ event }) => event === "done" || event === "moved");
  recorded.sort((a, b) => (a.time < b.time ? -1 : 1));
  const oldest = Date.now() - (removeAfterDays ?? Infinity) * 86_400_000;
  let removed = 0;
  for (const entry of recorded) {
    const file = journal.fileOf(entry);
    const due =
      Date.parse(entry.time) < oldest || (minFreeMiB !== undefined && (await isFull(path.dirname(file), minFreeMiB)));
    if (!due) break;
    if (await removeImage(journal, entry, file)) removed++;
  }
  return removed;
}

/** Another image that has the name by now is not this one. */
async function removeImage(journal: Journal, entry: Entry, file: string): Promise<boolean> {
  const there = await journal.isThere(entry);
  if (there) await rm(file);
  await journal.forget(entry);
  return there;
}

const isFull = (folder: string, minFreeMiB: number): Promise<boolean> =>
  statfs(folder).then(
    ({ bavail, bsize }) => bavail * bsize < minFreeMiB * 2 ** 20,
    () => false,
  );
