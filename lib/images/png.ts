import { sharp } from "./sharp.js";
import type { RawImage } from "./source.js";

/** Raw pixels as a PNG, without loss. */
export function pngOf({ data, width, height, channels }: RawImage): Promise<Buffer> {
  const image = sharp(data, { raw: { width, height, channels }, limitInputPixels: false });
  return (channels === 1 ? image.toColourspace("b-w") : image).png().toBuffer();
}
