import { api } from "../api.js";

export interface Dropped {
  /** With the folders that it lay in. */
  path: string;
  file: File;
}

/** The files of a drop, folders followed. */
export async function droppedFiles(items: DataTransferItemList): Promise<Dropped[]> {
  const entries = [...items].flatMap((item) => item.webkitGetAsEntry() ?? []);
  const found: Dropped[] = [];
  const walk = async (entry: FileSystemEntry, folder: string): Promise<void> => {
    const path = `${folder}${entry.name}`;
    if (entry.isFile) {
      const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
      found.push({ path, file });
      return;
    }
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    // It gives some at a time, and none at the end.
    for (;;) {
      const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) return;
      for (const inside of some) await walk(inside, `${path}/`);
    }
  };
  for (const entry of entries) await walk(entry, "");
  return found;
}

/** The files of an input, with their folders where a folder was chosen. */
export const chosenFiles = (files: FileList): Dropped[] =>
  [...files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));

const isImage = /\.(png|jpe?g|jfif|tiff?|bmp|webp|gif|avif)$/i;
/** Uploads at a time. */
const atOnce = 4;

export interface Imported {
  added: number;
  masks: number;
  /** The same image lay there already. */
  known: number;
  failed: { path: string; reason: string }[];
}

/** Sends the images among the files to the project, masks after the images that they belong to. */
export async function importFiles(
  files: readonly Dropped[],
  onProgress: (done: number, total: number) => void,
): Promise<Imported> {
  const isMask = ({ path }: Dropped): boolean => /(^|\/)ground_truth\//i.test(path);
  const images = files.filter(({ path }) => isImage.test(path) && !/(^|\/)\./.test(path));
  const ordered = [...images.filter((file) => !isMask(file)), ...images.filter(isMask)];
  const result: Imported = { added: 0, masks: 0, known: 0, failed: [] };
  let [next, done] = [0, 0];
  const work = async (): Promise<void> => {
    for (let file = ordered[next++]; file; file = ordered[next++]) {
      try {
        const { id } = await api.add(file.path, file.file);
        if (id === null) result.known++;
        else if (isMask(file)) result.masks++;
        else result.added++;
      } catch (error) {
        result.failed.push({ path: file.path, reason: (error as Error).message });
      }
      onProgress(++done, ordered.length);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return result;
}
