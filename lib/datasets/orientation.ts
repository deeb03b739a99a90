/** An image or a mask: its size after EXIF orientation, and that orientation (1 without one). */
export interface Oriented {
  width: number;
  height: number;
  orientation: number;
}

/** What an EXIF orientation does to the stored picture. */
const TURNS: Readonly<Record<number, string>> = {
  1: "not turned",
  2: "mirrored left to right",
  3: "turned by 180 degrees",
  4: "mirrored top to bottom",
  5: "mirrored at the diagonal from the top left",
  6: "turned by 90 degrees clockwise",
  7: "mirrored at the diagonal from the top right",
  8: "turned by 90 degrees counter-clockwise",
};

const swapsSides = ({ orientation }: Oriented): boolean => orientation > 4;

/**
 * What EXIF orientation may have done to a mask. Where the sizes differ: which orientation explains that and what to do.
 * Where they are equal: both orientations, unless they are the same or the sizes say that all is well. Undefined: nothing.
 */
export function turnedMask(image: Oriented, mask: Oriented): string | undefined {
  if (image.orientation === mask.orientation) return undefined;
  const swapped = swapsSides(image) !== swapsSides(mask);
  if (image.width === mask.width && image.height === mask.height) {
    if (swapped && image.width !== image.height) return undefined;
    return `image ${shownOrientation(image)}, mask ${shownOrientation(mask)}`;
  }
  if (!swapped || image.width !== mask.height || image.height !== mask.width) return undefined;
  return swapsSides(image)
    ? `The image is ${TURNS[image.orientation]!} by its EXIF orientation ${image.orientation}, the mask is not. Turn the mask the same way, or remove the orientation from the image.`
    : `The mask is ${TURNS[mask.orientation]!} by its EXIF orientation ${mask.orientation}, the image is not. Remove the orientation from the mask.`;
}

const shownOrientation = ({ orientation }: Oriented): string =>
  orientation === 1 ? "none" : `${orientation}, ${TURNS[orientation]!}`;
