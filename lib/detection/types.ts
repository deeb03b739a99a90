import type { Rectangle } from "../images/rectangle.js";
import type { Region } from "../native/binding.js";
import type { SuperSimpleNetError } from "../errors.js";
import type { ImageSource } from "../images/source.js";
import type { Source } from "../schema/decisions.js";
import type { detectEachOptions, detectOptions } from "../schema/detection.js";
import type { Settings } from "../schema/types.js";

export type { ImageSource } from "../images/source.js";

/** An image with what the caller knows of it. */
export interface NamedImage {
  /** What the caller calls it: a part number, a time, a frame. Its detection has the same. */
  id?: string | undefined;
  image: ImageSource;
  /**
   * The part of this image to look at, instead of the model's: a rectangle in its pixels, or the path of a mask whose
   * non-zero pixels it is.
   */
  roi?: Rectangle | string | undefined;
  /** Path of a mask whose non-zero pixels are ignored, beside what the model ignores. */
  ignore?: string | undefined;
}

/** Options of detector.detect. */
export interface DetectOptions extends Settings<typeof detectOptions> {
  /** Called while the network looks at the tiles of an image. */
  onTiles?: ((done: number, total: number) => void) | undefined;
}

/** Options of detector.detectEach. */
export interface DetectEachOptions extends Settings<typeof detectEachOptions> {
  /** Called while the network looks at the tiles of an image. */
  onTiles?: ((done: number, total: number) => void) | undefined;
  /**
   * Called in the place of its result for an image that cannot be read: IMAGE_UNREADABLE, FILE_NOT_FOUND, NO_PERMISSION or
   * FILE_ERROR. Other errors end the stream all the same.
   */
  onUnreadable?: ((error: SuperSimpleNetError, source: ImageSource | NamedImage) => void | Promise<void>) | undefined;
}

/** How anomalous each place is. */
export interface AnomalyMap {
  /** Logits, row-major. From `Detection.pixelThreshold` on means defect. Ignored pixels have the lowest value of the others. */
  data: Float32Array;
  width: number;
  height: number;
  /** The part of the image that the map covers, in pixels of the image; broken numbers where the model's view crops. */
  area: Rectangle;
}

export interface Timings {
  decodeMs: number;
  /** Share of the batch's time in the engine. */
  engineMs: number;
  /** Regions and resizing of the map. */
  postMs: number;
  totalMs: number;
}

/** What a detector says about one image. */
export interface Detection {
  /** What the caller called the image; absent without a name. */
  id?: string;
  /** The path, when the source was one, or the `file:` URL of one. */
  path: string | undefined;
  /** Sigmoid of the score logit, 0 to 1. */
  score: number;
  logit: number;
  /** The map's maximum, a logit. */
  peak: number;
  /** "defect": the evidence that decides reaches its threshold. "unsure": it reaches the lower one, where the model has one. */
  verdict: "good" | "unsure" | "defect";
  /** The verdict in one bit: true for a defect. */
  anomalous: boolean;
  /** What reached the threshold of the verdict. Empty for a good part. */
  decidedBy: readonly Source[];
  /**
   * How far the evidence lies above its threshold (0 and more: a defect) or below it, in standard deviations of the good
   * parts that the threshold was set on; in logits where those are not known. With "either" the larger of both.
   */
  margin: number;
  /** Of the score, 0 to 1. */
  threshold: number;
  /** Of the map's maximum, a logit. */
  mapThreshold: number;
  /** Of a pixel of the map, a logit. */
  pixelThreshold: number;
  map: AnomalyMap;
  /** 8-connected regions of the map at or above the pixel threshold, highest peak first, in pixels of the image. Found at model size. */
  regions: Region[];
  /** Size of the image as decoded. */
  width: number;
  height: number;
  /** What is doubtful about the image: one value in all pixels, 16-bit samples that do not fit the model's bit depth. */
  warnings: string[];
  timings: Timings;
}
