import type { Sample } from "../datasets/dataset.js";
import type { Detection } from "../detection/types.js";
import { sharp } from "../images/sharp.js";
import { type ColourRange, ColourScale, heatPixels } from "./colours.js";
import { overlayOf } from "./overlay.js";
import type { ReportPicture } from "./types.js";

/** The longer side in pixels, so that 100 images take less than 4 MB. */
const sideFor = (count: number): number => (count <= 120 ? 256 : 160);
const heatSide = 96;

const dataUri = (type: string, bytes: Buffer): string => `data:image/${type};base64,${bytes.toString("base64")}`;

interface Pixels {
  pixels: Uint8Array;
  width: number;
  height: number;
}

function scaled({ pixels, width, height }: Pixels, side: number, channels: 1 | 3) {
  const scale = Math.min(1, side / Math.max(width, height));
  const size = [width, height].map((length) => Math.max(1, Math.round(length * scale))) as [number, number];
  // The image was read: it may be larger than sharp's own limit.
  const raw = { raw: { width, height, channels }, limitInputPixels: false } as const;
  return { image: sharp(pixels, raw).resize(...size, { fit: "fill" }), width: size[0], height: size[1] };
}

/** Small pictures of images, their maps and masks, all maps in one range of colours. */
export class ReportPictures {
  /** By the samples' ids. */
  readonly pictures = new Map<string, ReportPicture>();
  /** At which the images were judged; NaN before the first one. */
  mapThreshold = NaN;
  /** Images that could not be drawn, such as those that are gone by now. */
  failed = 0;
  readonly #scale: ColourScale;
  readonly #side: number;

  /** `count`: images that will be added. */
  constructor(
    count: number,
    pixelThreshold: number,
    private readonly bitDepth: number,
  ) {
    this.#scale = new ColourScale(pixelThreshold);
    this.#side = sideFor(count);
  }

  async add(sample: Sample, detection: Detection): Promise<void> {
    const { map, mapThreshold } = detection;
    this.mapThreshold = mapThreshold;
    // The evaluation is worth more than a picture.
    const draw = (range: ColourRange): Promise<void> =>
      this.#draw(sample, detection, range).catch(() => void this.failed++);
    await this.#scale.add(map.data, draw);
  }

  /** Call it after the last one. */
  async finish(): Promise<void> {
    await this.#scale.finish();
  }

  async #draw(sample: Sample, detection: Detection, range: ColourRange): Promise<void> {
    const { image, truth } = await overlayOf(sample, detection, this.bitDepth);
    const { map } = detection;
    const picture = scaled(image, this.#side, 3);
    const heat = scaled({ pixels: heatPixels(map.data, range), width: map.width, height: map.height }, heatSide, 3);
    const mask = truth?.mask && scaled(truth.mask, this.#side, 1);
    const [imageBytes, heatBytes, maskBytes] = await Promise.all([
      picture.image.webp({ quality: 72 }).toBuffer(),
      heat.image.webp({ quality: 60 }).toBuffer(),
      mask?.image.threshold(1).png({ colours: 2, compressionLevel: 9 }).toBuffer(),
    ]);
    this.pictures.set(sample.id, {
      image: dataUri("webp", imageBytes),
      heat: dataUri("webp", heatBytes),
      ...(maskBytes && { mask: dataUri("png", maskBytes) }),
      width: picture.width,
      height: picture.height,
    });
  }
}
