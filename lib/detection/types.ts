import type { Precision, Region } from "../native/binding.js";

export type { ImageSource } from "../images/decode.js";

export interface DetectorOptions {
  /** "auto" (default), "cpu", "cuda" or "cuda:1". */
  device?: string;
  /** CPU threads of the engine, for everything it does from now on. Default: as before; at first SUPERSIMPLENET_THREADS or the number of cores. */
  threads?: number;
  /** Weights file of the backbone. It must exist, and is read when the model file does not hold its backbone. Default: the cache folder. */
  backboneWeights?: string;
  /** Score from 0 to 1 at and above which an image is anomalous. Default: the model's own. */
  threshold?: number;
  /** Map logit at and above which a pixel belongs to a region. Default: the model's own. */
  pixelThreshold?: number;
  /** Regions smaller than this many pixels of the image are left out. Default 0. */
  minAreaPx?: number;
  /** "model" (default): the map has the model's input size; "image": the image's own. */
  mapSize?: "model" | "image";
  /** Images per forward pass when an array is given. Default 8. */
  batchSize?: number;
  /**
   * "float32" (default), "bfloat16", or on CUDA alone "float16" and "tf32" (float32 whose products round to 11 bits): how the backbone and the wide products of the heads are
   * computed; scores and maps are float32 numbers all the same (docs/measurements/performance.md). On a CPU, bfloat16 is faster only
   * with instructions for it (AVX512-BF16, AMX).
   */
  precision?: Precision;
  /**
   * CUDA only: for how many batch sizes the GPU's work is kept as a CUDA graph, which starts faster, from the second batch
   * of that size on; each takes GPU memory. 0: none. Default 4.
   */
  cudaGraphs?: number;
  /** "lowResolution" or "direct", the slow oracle. Default: the first, where the model has it (docs/method.md). */
  heads?: "lowResolution" | "direct";
}

export interface DetectOptions {
  signal?: AbortSignal | undefined;
}

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
