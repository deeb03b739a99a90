import { depthOf, isAbove, isFarBelow } from "./depth.js";
import type { PixelFacts } from "./decode.js";

export const uniformWarning =
  "every pixel has the same value. Is the lens covered, the light off, or the file not what it should be?";

/** What is doubtful about one image for a model of this bit depth. The texts name no image, so that equal ones can be counted. */
export function imageWarnings({ uniform, highest }: PixelFacts, bitDepth: number): string[] {
  const warnings = uniform ? [uniformWarning] : [];
  if (highest === undefined) return warnings;
  if (isFarBelow(highest, bitDepth))
    warnings.push(
      `16-bit samples lie below ${2 ** depthOf(highest)}, but the model reads ${bitDepth} bits: they come out nearly black. Train with the camera's bits as the option bitDepth (--bit-depth), or with auto.`,
    );
  if (isAbove(highest, bitDepth))
    warnings.push(
      `16-bit samples reach ${2 ** bitDepth} and more, but the model reads ${bitDepth} bits: what lies above is white.`,
    );
  return warnings;
}

/** Collects the warnings of several images, and says each of them once, with the images that it is about. */
export class ImageWarnings {
  readonly #images = new Map<string, string[]>();

  add(image: string, warnings: readonly string[]): void {
    for (const warning of warnings) {
      const images = this.#images.get(warning);
      if (images) images.push(image);
      else this.#images.set(warning, [image]);
    }
  }

  /** `list` shortens a list of images. */
  texts(list: (images: readonly string[]) => string): string[] {
    return [...this.#images].map(([warning, images]) => `${list(images)}: ${warning}`);
  }
}

/**
 * What is doubtful in the images of a data set that is read with this bit depth. `list` shortens a list of images; `auto`:
 * whether that value of the option would help.
 */
export function pixelWarnings(
  images: readonly { id: string; facts: PixelFacts }[],
  bitDepth: number,
  list: (images: readonly string[]) => string,
  auto = true,
): string[] {
  const warnings = new ImageWarnings();
  for (const { id, facts } of images) if (facts.uniform) warnings.add(id, [uniformWarning]);
  return [...warnings.texts(list), ...depthWarnings(images, bitDepth, list, auto)];
}

/** One dark image among others is no doubt, but all of them are. */
function depthWarnings(
  images: readonly { id: string; facts: PixelFacts }[],
  bitDepth: number,
  list: (images: readonly string[]) => string,
  auto: boolean,
): string[] {
  const deep = images.flatMap(({ id, facts: { highest } }) => (highest === undefined ? [] : [{ id, highest }]));
  if (deep.length === 0) return [];
  const highest = deep.reduce((most, image) => Math.max(most, image.highest), 0);
  const needed = depthOf(highest);
  const set = `Set the option bitDepth (--bit-depth) to ${needed}`;
  if (isFarBelow(highest, bitDepth))
    return [
      `All 16-bit images (${deep.length}) have samples below ${2 ** needed}: they seem to hold ${needed} bits, and come out nearly black with ${bitDepth}. ${set}${auto ? ", or to auto" : ""}.`,
    ];
  const above = deep.filter((image) => isAbove(image.highest, bitDepth)).map(({ id }) => id);
  if (above.length === 0) return [];
  const are = above.length === 1 ? "1 image has" : `${above.length} images have`;
  return [`${are} samples of more than ${bitDepth} bits, which become white: ${list(above)}. ${set}.`];
}
