import { stat } from "node:fs/promises";
import path from "node:path";

import { fileError } from "../../errors.js";
import { openRegular, readRegular } from "../../files/input.js";
import { oneProblem } from "../dataset.js";
import { findName, listFolder } from "../listing.js";

/** The largest annotation file that is read. */
const MOST_BYTES = 2 ** 28;

/** Bytes from the beginning and the end of a file that tell what it is. */
const HEAD = 2 ** 16;

/** Where annotation files lie: in the folder itself, or in annotations/ there, as COCO has it. A file stands for itself. */
export async function annotationFiles(root: string, isAFile: boolean, extension: string): Promise<string[]> {
  const has = (name: string): boolean => path.extname(name).toLowerCase() === extension;
  if (isAFile) return has(root) ? [root] : [];
  const top = await listFolder(root);
  const inner = findName(top.folders, "annotations");
  const inside = inner === undefined ? [] : (await listFolder(path.join(root, inner))).files;
  return [...top.files, ...inside.map((name) => path.join(inner!, name))]
    .filter(has)
    .map((name) => path.join(root, name));
}

/** The folder below which images are looked for: of a file that its folder, or what annotations/ lies in. */
export function imageRoot(root: string, isAFile: boolean): string {
  if (!isAFile) return root;
  const folder = path.dirname(root);
  return path.basename(folder).toLowerCase() === "annotations" ? path.dirname(folder) : folder;
}

/** The beginning and the end of a file, as text; empty when it cannot be read, which reading it explains. */
async function glance(file: string): Promise<string> {
  try {
    const handle = await openRegular(file);
    try {
      const { size } = await handle.stat();
      const read = async (from: number, bytes: number): Promise<string> => {
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(bytes), 0, bytes, from);
        return buffer.toString("utf8", 0, bytesRead);
      };
      const head = await read(0, Math.min(HEAD, size));
      return size <= HEAD ? head : `${head}\n${await read(Math.max(HEAD, size - HEAD), Math.min(HEAD, size - HEAD))}`;
    } finally {
      await handle.close();
    }
  } catch {
    return "";
  }
}

/** The files that a glance tells to be of a kind. */
export async function filesLike(files: readonly string[], looks: (text: string) => boolean): Promise<string[]> {
  const found: string[] = [];
  for (const file of files) if (looks(await glance(file))) found.push(file);
  return found;
}

/** Throws DATASET_INVALID for a file that is too large, or no UTF-8 text; file errors. */
export async function readAnnotationFile(file: string): Promise<Buffer> {
  try {
    const { size } = await stat(file);
    if (size > MOST_BYTES)
      throw oneProblem(file, `it has ${size} bytes; at most ${MOST_BYTES} are read. Export it in parts.`, file);
    const bytes = await readRegular(file);
    if (["fffe", "feff"].includes(bytes.toString("hex", 0, 2)))
      throw oneProblem(file, "it is UTF-16 text. Save it as UTF-8.", file);
    return bytes;
  } catch (error) {
    throw fileError(error, "read annotations", file);
  }
}

/** The value in a JSON file. Throws DATASET_INVALID where it is none, and as readAnnotationFile. */
export async function readJson(file: string): Promise<unknown> {
  const bytes = await readAnnotationFile(file);
  try {
    return JSON.parse(bytes.toString("utf8").replace(/^\uFEFF/, "")) as unknown;
  } catch (error) {
    throw oneProblem(file, `it is not valid JSON: ${(error as Error).message}`, file);
  }
}

export type Json = Record<string, unknown>;

/** The value as an object; one without keys for anything else. */
export const objectOf = (value: unknown): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};

/** The value as a list; an empty one for anything else. */
export const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? (value as unknown[]) : []);

/** A text that is not empty. */
export const textOf = (value: unknown): string | undefined =>
  typeof value === "string" && value.trim() !== "" ? value.trim() : undefined;
