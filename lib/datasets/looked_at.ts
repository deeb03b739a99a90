import { sha256 } from "../images/identity.js";
import { decodeMask, type Mask } from "../images/mask.js";
import { liesWithin, type Rectangle, rectangleText } from "../images/rectangle.js";
import { inTurns, type Steps } from "../turns.js";
import type { Sample } from "./dataset.js";

type Size = Pick<Mask, "width" | "height">;

/** What of an image is looked at: its region of interest, without the pixels that are ignored. */
export interface LookedAt {
  /** Tells it from another in a fingerprint. */
  identity: string;
  problems: string[];
  /** Whether the whole defect lies where nobody looks. */
  hidesDefect: boolean;
}

/**
 * Reads the masks `ignore` and `roi` of a sample, and says what is wrong with them. Undefined when it has neither. `image`
 * is undefined when it cannot be read, and then nothing is compared with it. Errors of decodeMask.
 */
export async function readLookedAt(
  { id, ignore, roi }: Sample,
  image: Size | undefined,
  defect: Mask | undefined,
): Promise<LookedAt | undefined> {
  if (ignore === undefined && roi === undefined) return undefined;
  const result: LookedAt = { identity: "", problems: [], hidesDefect: false };
  const problem = (text: string): void => void result.problems.push(`${id}: ${text}`);
  const size = image && `${image.width} x ${image.height}`;
  const identities: string[] = [];
  const read = async (what: string, file: string): Promise<Mask & { marked: number }> => {
    const mask = await decodeMask(file);
    identities.push(`${what} ${await sha256(mask.pixels)}`);
    if (image !== undefined && (mask.width !== image.width || mask.height !== image.height))
      problem(
        `its ${what} ${file} is ${mask.width} x ${mask.height} but the image is ${size}. They must be of one size.`,
      );
    return mask;
  };

  const ignored = ignore === undefined ? undefined : await read("ignore mask", ignore);
  let region: Rectangle | Mask | undefined;
  if (typeof roi === "string") {
    const mask = await read("roi mask", roi);
    if (mask.marked === 0) problem(`its roi mask ${roi} marks nothing, so no pixel would be looked at.`);
    region = mask;
  } else if (roi !== undefined) {
    identities.push(rectangleText(roi));
    if (image !== undefined && !liesWithin(roi, image))
      problem(`its roi ${rectangleText(roi)} (X Y W H) reaches outside the image of ${size}.`);
    region = roi;
  }
  result.identity = identities.join(" ");
  if (image === undefined || result.problems.length > 0) return result;

  if (ignored?.marked === ignored?.pixels.length && ignored !== undefined)
    problem(`its ignore mask ${ignore} marks the whole image, so no pixel would be looked at.`);
  else {
    const { looked, defective } = await inTurns(countPixels(image, region, ignored, defect));
    if (looked === 0) problem("its ignore mask marks the whole roi, so no pixel would be looked at.");
    result.hidesDefect = defect !== undefined && looked > 0 && defective === 0;
  }
  return result;
}

/** How many pixels are looked at, and how many of these are defect. */
function* countPixels(
  { width, height }: Size,
  region: Rectangle | Mask | undefined,
  ignored: Mask | undefined,
  defect: Mask | undefined,
): Steps<{ looked: number; defective: number }> {
  let [looked, defective] = [0, 0];
  const inside = region !== undefined && "pixels" in region ? region.pixels : undefined;
  const { x, y, ...size } = region === undefined || "pixels" in region ? { x: 0, y: 0, width, height } : region;
  for (let row = y; row < y + size.height; row++) {
    for (let i = row * width + x, end = i + size.width; i < end; i++) {
      if (inside?.[i] === 0 || ignored?.pixels[i] === 1) continue;
      looked++;
      if (defect?.pixels[i] === 1) defective++;
    }
    yield size.width;
  }
  return { looked, defective };
}
