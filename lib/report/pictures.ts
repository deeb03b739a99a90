import type { Sample } from "../datasets/dataset.js";
import type { Detection } from "../detection/types.js";
import type { Rectangle } from "../images/rectangle.js";
import { sharp } from "../images/sharp.js";
import type { Size } from "../view/mismatch.js";
import { type ColourRange, ColourScale, heatPixels } from "./colours.js";
import { isWhole, overlayOf } from "./overlay.js";
import { pictureMap } from "./reduce.js";
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

/** Of the image's width and height, with four decimals. */
function sharesOf(area: Rectangle, { width, height }: Size): Rectangle {
  const share = (length: number, whole: number): number => Math.round((1e4 * length) / whole) / 1e4;
  return {
    x: share(area.x, width),
    y: share(area.y, height),
    width: share(area.width, width),
    height: share(area.height, height),
  };
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
    this.mapThreshold = detection.mapThreshold;
    const map = await pictureMap(detection.map);
    const drawn = { ...detection, map };
    // The evaluation is worth more than a picture.
    const draw = (range: ColourRange): Promise<void> =>
      this.#draw(sample, drawn, range).catch(() => void this.failed++);
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
      ...(!isWhole(map.area, image) && { heatArea: sharesOf(map.area, image) }),
      ...(maskBytes && { mask: dataUri("png", maskBytes) }),
      width: picture.width,
      height: picture.height,
    });
  }
}
