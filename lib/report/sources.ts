import type { Sample } from "../datasets/types.js";
import type { Detection } from "../detection/types.js";
import { decodeImage, decodeMask } from "../images/decode.js";
import type { OverlayInput } from "./overlay.js";

/** What an overlay of a data set's sample shows: the image and the mask are read again, at their own size. */
export async function overlayOf(sample: Sample, detection: Detection): Promise<OverlayInput> {
  const [image, mask] = await Promise.all([
    decodeImage(sample.image),
    sample.mask === undefined ? undefined : decodeMask(sample.mask),
  ]);
  return { image, detection, truth: { label: sample.label, ...(mask && { mask }) }, title: sample.id };
}
