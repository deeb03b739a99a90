import path from "node:path";

import { isFolder } from "../files/input.js";
import { imageSize } from "../images/decode.js";
import { readHeader } from "../images/header.js";
import { decodeMask } from "../images/mask.js";
import { pngOf } from "../images/png.js";
import { HttpError } from "../server/errors.js";
import { writeWholeFile } from "../write.js";
import type { Labels } from "./labels.js";
import { maskPlace } from "./mask_place.js";
import { moveFile } from "./move.js";
import type { Project } from "./project.js";

/** The image's mask as a PNG of 0 and 255; undefined where it has none. */
export async function maskPng(project: Project, id: string): Promise<Buffer | undefined> {
  const { mask } = project.image(id);
  if (mask === undefined) return undefined;
  const { pixels, width, height } = await decodeMask(mask);
  return pngOf({ data: pixels.map((value) => (value ? 255 : 0)), width, height, channels: 1 });
}

/**
 * Stores the mask of a defect where the command line looks for it, or takes it away (`png` undefined, or nothing is marked).
 * `seen`: the mask's version that was drawn on, "" for none; undefined: whichever is there.
 * Errors: NOT_FOUND, CONFLICT (not a defect, or read-only), BAD_REQUEST (another size), IMAGE_UNREADABLE.
 */
export function storeMask(
  project: Project,
  labels: Labels,
  { id, seen, png }: { id: string; seen: string | undefined; png: Buffer | undefined },
): Promise<void> {
  return labels.change(async () => {
    const image = project.image(id);
    const { shown, file, mask } = image;
    if (project.readOnly !== null) throw new HttpError("CONFLICT", project.readOnly);
    if (seen !== undefined && seen !== (shown.mask ?? ""))
      throw new HttpError("CONFLICT", "The mask was changed elsewhere meanwhile. Load the page again to see it.");
    if (shown.label !== "defect")
      throw new HttpError("CONFLICT", "Only defects have masks. Label the image as a defect first.");
    const drawn = png && (await decodeMask(png, "the mask"));
    if (drawn) {
      const { width, height } = await imageSize(file);
      if (drawn.width !== width || drawn.height !== height)
        throw new HttpError(
          "BAD_REQUEST",
          `The mask has ${drawn.width} x ${drawn.height} pixels, the image ${width} x ${height}.`,
        );
    }
    if (png && (await readHeader(png, "the mask")).format !== "png")
      throw new HttpError("BAD_REQUEST", "A mask is stored as PNG. Send one.");
    if (!drawn || drawn.marked === 0) return void (mask !== undefined && (await labels.putAside(mask)));
    // A mask of another kind, such as several files in a folder, is not drawn over.
    const isOwn = mask !== undefined && path.extname(mask).toLowerCase() === ".png" && !(await isFolder(mask));
    const place = isOwn ? mask : await maskPlace(project, image, ".png");
    const aside = mask !== undefined && !isOwn ? await labels.putAside(mask) : undefined;
    try {
      await writeWholeFile(place, png!);
    } catch (error) {
      if (aside !== undefined) await moveFile(aside, mask!);
      throw error;
    }
  });
}
