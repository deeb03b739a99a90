import type { Region } from "../native/binding.js";

export type { ImageSource } from "../images/decode.js";

export interface AnomalyMap {
  /** Logits, row-major. From `Detection.pixelThreshold` on means defect. */
  data: Float32Array;
  width: number;
  height: number;
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
  /** The path, when the source was one. */
  path: string | undefined;
  /** Sigmoid of the score logit, 0 to 1. */
  score: number;
  logit: number;
  /** logit >= the threshold's logit. */
  anomalous: boolean;
  /** As a score, 0 to 1. */
  threshold: number;
  pixelThreshold: number;
  map: AnomalyMap;
  /** 8-connected regions of the map at or above the pixel threshold, highest peak first, in pixels of the image. Found at model size. */
  regions: Region[];
  /** Size of the image as decoded. */
  width: number;
  height: number;
  timings: Timings;
}
