import { createHash } from "node:crypto";
import path from "node:path";

import { decodingBudget } from "../../images/budget.js";
import { maskPng } from "../../images/mask.js";
import { inCache } from "../../native/cache.js";
import { cacheFolder } from "../../native/locate.js";
import { inTurns, type Steps } from "../../turns.js";
import { writeWholeFile } from "../../write.js";
import { isFile } from "../listing.js";
import { pixelsOf, type Shape } from "./shapes.js";

/** What decides the pixels besides the shapes. A change of how they are filled gets another number. */
const FILLING = 1;

/** The folder of the masks that were made of annotations. */
export const maskCache = (): string => path.join(cacheFolder(), "masks");

/**
 * The path of a PNG mask of the shapes in the cache folder, made where it is not there yet. Several processes may make the
 * same one: each writes it whole. Undefined when the shapes cover no pixel.
 */
export async function maskOf(
  shapes: readonly Shape[],
  { width, height }: { width: number; height: number },
  image: string,
): Promise<string | undefined> {
  const digest = await inTurns(digestOf(shapes, width, height));
  const name = `${path.parse(image).name.slice(0, 60)}_mask.png`;
  const file = path.join(maskCache(), digest.slice(0, 16), name);
  if (await isFile(file)) return file;
  const giveBack = await decodingBudget().take(3 * width * height, image);
  try {
    const pixels = await pixelsOf(shapes, width, height);
    if (!pixels.includes(1)) return undefined;
    const png = await maskPng({ pixels, width, height });
    await inCache(() => writeWholeFile(file, png));
    return file;
  } finally {
    giveBack();
  }
}

function* digestOf(shapes: readonly Shape[], width: number, height: number): Steps<string> {
  const hash = createHash("sha256").update(JSON.stringify([FILLING, width, height]));
  for (const { polygons = [], runs } of shapes)
    for (const part of [...polygons, runs]) {
      const text = JSON.stringify(part) ?? "";
      hash.update(`${text}\n`);
      yield text.length;
    }
  return hash.digest("hex");
}
