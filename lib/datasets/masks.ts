import path from "node:path";

import { SuperSimpleNetError } from "../errors.js";
import { decodeImage } from "../images/decode.js";
import { isImageFile } from "../images/formats.js";
import { prefetch } from "../images/pipeline.js";
import { engine } from "../native/engine.js";
import { spelling } from "./listing.js";

/** What other data sets put before or after an image's name to call its mask: 000_GT, mask-000, 000.label, 000_mask2. */
const MASK_NAME =
  /^(?:mask|gt|label|seg)[-_. ]|[-_. ](?:mask|masks|gt|label|labels|seg|segmentation|anno|annotation|ground_?truth)[-_. ]?\d*$|(?<=\d)(?:mask|gt)\d*$/i;

/** What other data sets call their folder of masks: masks, gt, crack_mask, mask_images. */
const MASK_FOLDER =
  /^(?:.*[-_. ])?(?:masks?|gt|ground[-_ ]?truth|labels?|segs?|segmentations?|anno|annotations?)$|^masks?[-_. ]/i;

export const isMaskFolder = (name: string): boolean => MASK_FOLDER.test(name);

/** A mask's stem without what calls it a mask; the stem itself where nothing does. */
export const withoutMaskName = (stem: string): string => stem.replace(MASK_NAME, "");

/** The name that the image of a mask in ground_truth has, but for the extension: a.png of a_mask.png. */
export const withoutMaskSuffix = (name: string): string => name.replace(/_mask(?=\.[^.]*$)/i, "");

const stemOf = (file: string): string => path.parse(file).name;

/** The names that the mask of an image may have, before its extension, the best first: for a.jpg a_mask, a, a.jpg_mask, a.jpg. */
export const maskStems = (image: string): string[] => {
  const { name, base } = path.parse(image);
  return [`${name}_mask`, name, `${base}_mask`, base].map(spelling);
};

/** The files of a folder of images by what they are. */
export interface BesideImages {
  images: readonly string[];
  /** Masks, by the image that they lie beside. */
  masks: ReadonlyMap<string, string>;
  /** Why it is not clear which are masks. */
  problem?: string;
}

/**
 * Tells the masks in a folder of images: 000_GT.png, or 000.png.png, beside 000.png. They are masks when each has its image
 * in the folder and they look like masks, which the images do not; they are images when none of them looks like a mask.
 * Anything else is a problem, and so is a mask that has its image's stem (000.jpg, 000.png).
 */
export async function masksBeside(folder: string, files: readonly string[]): Promise<BesideImages> {
  const byName = new Map<string, string>();
  for (const file of files.toReversed()) byName.set(spelling(stemOf(file)), file);
  for (const file of files) byName.set(spelling(file), file);
  const look = await lookAt(folder);
  const partnerOf = (file: string): string | undefined => {
    const partner = byName.get(spelling(withoutMaskName(stemOf(file))));
    return partner === file ? undefined : partner;
  };
  const named = files.filter((file) => withoutMaskName(stemOf(file)) !== stemOf(file) || isImageFile(stemOf(file)));
  return named.some(partnerOf) ? masksByName(files, named, partnerOf, look) : masksByStem(files, byName, look);
}

type Look = (files: readonly string[]) => Promise<Appearance[]>;

async function masksByName(
  files: readonly string[],
  named: readonly string[],
  partnerOf: (file: string) => string | undefined,
  look: Look,
): Promise<BesideImages> {
  const photos = (await look(named)).flatMap((seen, i) => (seen === "photo" ? [named[i]!] : []));
  if (photos.length === named.length) return { images: files, masks: new Map() };
  const images = files.filter((file) => !named.includes(file));
  const alone = named.filter((file) => partnerOf(file) === undefined);
  const masks = new Map(named.map((file) => [partnerOf(file) ?? file, file]));
  const second = named.find((file) => masks.get(partnerOf(file) ?? file) !== file);
  const partners = images.filter((file) => masks.has(file));
  const alike = (await look(partners)).flatMap((seen, i) => (seen === "mask" ? [partners[i]!] : []));
  const why =
    photos.length > 0
      ? `${photos.length} of them do not look like masks (${photos[0]!})`
      : alone.length > 0
        ? `${alone.length} of them have no image beside them (${alone[0]!})`
        : second !== undefined
          ? `${partnerOf(second)!} has two (${second}, ${masks.get(partnerOf(second)!)!})`
          : alike.length > 0
            ? `${alike.length} of the images look like masks too (${alike[0]!})`
            : undefined;
  if (why === undefined) return { images, masks };
  const count = named.length === 1 ? "1 file is called like the mask" : `${named.length} files are called like masks`;
  return { images, masks, problem: `${count} of images beside them (${named[0]!}), but ${why}` };
}

async function masksByStem(
  files: readonly string[],
  byName: ReadonlyMap<string, string>,
  look: Look,
): Promise<BesideImages> {
  const twins = files.filter((file) => byName.get(spelling(stemOf(file))) !== file);
  const firsts = twins.map((file) => byName.get(spelling(stemOf(file)))!);
  const [seen, seenFirst] = [await look(twins), await look(firsts)];
  const masks = new Map<string, string>();
  twins.forEach((file, i) => {
    if (seen[i] === "mask" && seenFirst[i] === "photo") masks.set(firsts[i]!, file);
    if (seen[i] === "photo" && seenFirst[i] === "mask") masks.set(file, firsts[i]!);
  });
  const [pair] = masks;
  if (pair === undefined) return { images: files, masks };
  const taken = new Set(masks.values());
  const count = taken.size === 1 ? "1 file looks like the mask" : `${taken.size} files look like masks`;
  return {
    images: files.filter((file) => !taken.has(file)),
    masks,
    problem: `${count} of images of the same name (${pair[1]} beside ${pair[0]})`,
  };
}

/**
 * What an image looks like. "mask": black with marks of a few values. "black": nothing else, which an empty mask is too.
 * "even": all of one value but black, such as the mask of a defect that fills the image.
 * "unknown": it cannot be read; validation says why.
 */
export type Appearance = "mask" | "black" | "even" | "photo" | "unknown";

/** Looks at files in a folder. */
const lookAt =
  (folder: string): Look =>
  async (files) => {
    const seen: Appearance[] = [];
    for await (const one of prefetch(files, (file) => appearance(path.join(folder, file)))) seen.push(one);
    return seen;
  };

/** Compression blurs the edges of a mask: there, what counts as black and as white. */
const LOSSY = /\.(jpe?g|webp|avif)$/i;
const [BLACK, DARK, BRIGHT] = [8, 48, 207];
/** A mask has few values, but for pixels on edges that were drawn smoothly. */
const [FEW_VALUES, SHARE_OF_FEW] = [8, 0.97];

export async function appearance(file: string): Promise<Appearance> {
  try {
    return await appearanceOf((await decodeImage(file)).pixels, file);
  } catch (error) {
    if (!(error instanceof SuperSimpleNetError)) throw error;
    return "unknown";
  }
}

/** What pixels look like; the name says whether compression has changed them. */
export async function appearanceOf(rgb: Uint8Array, file: string): Promise<Appearance> {
  const counts = await engine().brightnessCounts(rgb);
  const sum = (values: Uint32Array): number => values.reduce((all, count) => all + count, 0);
  const total = sum(counts);
  const lossy = LOSSY.test(file);
  if (sum(counts.subarray(0, (lossy ? BLACK : 0) + 1)) === total) return "black";
  if (Math.max(...counts) === total) return "even";
  const dark = sum(counts.subarray(0, (lossy ? DARK : 0) + 1));
  const bright = sum(counts.subarray(BRIGHT));
  const few = lossy ? dark + bright : sum(counts.slice().sort().subarray(-FEW_VALUES));
  return dark > 0 && (bright > 0 || !lossy) && few >= SHARE_OF_FEW * total ? "mask" : "photo";
}

/** An image of a defect, and what it looks like. */
export interface Seen {
  id: string;
  image: string;
  split: string;
  looks: Appearance;
}

/**
 * Images of defects that look like the masks of others, "a_x.png of a.png": in one folder by their names, or a whole folder
 * of them beside another. Whatever masks are called, they should not become samples without a word.
 */
export function lookLikeMasks(images: readonly Seen[]): string[] {
  const folderOf = ({ image }: Seen): string => path.dirname(image);
  const mixed = new Set(images.filter(({ looks }) => looks === "photo").map(folderOf));
  const photos = images.filter(({ looks }) => looks === "photo");
  const partners = new Map<string, Seen[]>();
  for (const photo of photos) {
    const key = `${photo.split}/${spelling(stemOf(photo.image))}`;
    partners.set(key, [...(partners.get(key) ?? []), photo]);
  }
  return images.flatMap((seen) => {
    if (seen.looks !== "mask") return [];
    const stem = stemOf(seen.image);
    // The names before a sign or a word: 000 of 000_bw, of 000-x and of 000mask.
    const starts = [...stem.matchAll(/(?<=.)(?=[-_. ])|(?<=\d)(?=[a-z])/gi)].map(({ index }) => stem.slice(0, index));
    const find = (name: string): Seen[] => partners.get(`${seen.split}/${spelling(name)}`) ?? [];
    const beside = starts.flatMap(find).find((photo) => folderOf(photo) === folderOf(seen));
    const elsewhere = mixed.has(folderOf(seen))
      ? undefined
      : [stem, ...starts].flatMap(find).find((photo) => folderOf(photo) !== folderOf(seen));
    const partner = beside ?? elsewhere;
    return partner === undefined ? [] : [`${seen.id} of ${partner.id}`];
  });
}
