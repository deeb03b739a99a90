import { createHash } from "node:crypto";

/** How the files end that are written for an image. */
export const overlaySuffix = ".overlay.png";
export const mapSuffixes = { png: ".map.png", npy: ".map.npy" } as const;

/** Whether a file is called like a picture that was written for an image. */
export function isPictureName(file: string): boolean {
  return [overlaySuffix, mapSuffixes.png].some((suffix) => file.toLowerCase().endsWith(suffix));
}

/** Bytes of a file name. File systems end at 255; the rest is for a number and the extension. */
const longest = 180;

/**
 * One file name per image, for pictures of images whose own names may repeat between folders: the path in one word, then
 * `suffix`. Where two images differ in the extension only, it is kept: a.tif.overlay.png. Names that
 * are too long lose their beginning and get a hash of the whole.
 */
export function pictureNames(ids: readonly string[], suffix: string): string[] {
  const sources = new Map<string, Set<string>>();
  for (const id of ids) sources.set(key(stem(id)), (sources.get(key(stem(id))) ?? new Set()).add(id));
  const taken = new Set<string>();
  return ids.map((id) => {
    const base = shortened(sources.get(key(stem(id)))!.size > 1 ? word(id) : stem(id), id);
    let name = `${base}${suffix}`;
    for (let copy = 2; taken.has(key(name)); copy++) name = `${base}-${copy}${suffix}`;
    taken.add(key(name));
    return name;
  });
}

/** Equal where a file system that ignores case would take two names for one. */
const key = (name: string): string => name.normalize("NFC").toLowerCase();

const word = (id: string): string =>
  id.replace(/^([a-z]:)?[/\\.]+/i, "").replace(/[^\p{L}\p{M}\p{N}_.-]+/gu, "_") || "image";
const stem = (id: string): string => word(id.replace(/\.[^./\\]+$/, ""));

function shortened(name: string, id: string): string {
  if (Buffer.byteLength(name) <= longest) return name;
  const characters = [...name];
  while (Buffer.byteLength(characters.join("")) > longest - 9)
    characters.splice(0, Math.max(1, Math.floor((Buffer.byteLength(characters.join("")) - longest) / 4)));
  return `${createHash("sha256").update(id).digest("hex").slice(0, 8)}-${characters.join("")}`;
}
