/**
 * What the product calls of C++, as one type. Only lib/native/engine.ts opens the addon; nothing else touches it.
 * Validation happens before these calls: the C++ side asserts (INTERNAL).
 *
 * Conventions: images are uint8, row-major, RGB interleaved (H x W x 3). Maps are float32 logits, row-major.
 * Promises run on the engine thread (libtorch) unless marked "pool" (libuv pool, no libtorch).
 */

import type { architectures } from "../schema/common.js";
import type { AblationGroup, OptimizerGroup } from "../schema/types.js";
import type { NativeWarning } from "./errors.js";

export type Dtype =
  "float32" | "float64" | "float16" | "bfloat16" | "int64" | "int32" | "int16" | "int8" | "uint8" | "bool";

/** A tensor as it crosses the boundary: dense, row-major. float16 and bfloat16 travel as raw bits in a Uint16Array. */
export interface NativeTensor {
  dtype: Dtype;
  shape: number[];
  data: Float32Array | Float64Array | BigInt64Array | Int32Array | Int16Array | Int8Array | Uint8Array | Uint16Array;
}

/** Tensors by name. */
export type TensorMap = Record<string, NativeTensor>;

declare const sent: unique symbol;
/** Tensors that the engine has copies of, or that are lent to it. */
export interface SentTensors {
  readonly [sent]: true;
}

/** What a network is made of; a TensorMap is copied at once. */
export type Weights = TensorMap | SentTensors;

/** The backbones: torchvision's ResNets. */
export type Architecture = (typeof architectures)[number];
export type Variant = "jims" | "icpr";
export type ResizeMethod = "bilinear" | "antialias";

export type ClassificationHead = "standard" | "complex" | "mapMax";
export type Compute = "direct" | "lowResolution";

/** Which parts the classification head has. */
export interface HeadLayout {
  /** "standard": one convolutional block, as in the paper; "complex": three; "mapMax": none, the score is the map's maximum. */
  classificationHead: ClassificationHead;
  /** The classification head sees the map, as in the paper. */
  mapInput: boolean;
}

/** What fixes the function that the network computes. */
export interface NetworkConfig extends HeadLayout {
  architecture: Architecture;
  /** Layers of the backbone that feed the heads, in the order in which their channels are concatenated. */
  layers: readonly string[];
  imageHeight: number;
  imageWidth: number;
  variant: Variant;
  alignCorners: boolean;
  /** Features are upscaled to twice the size of the largest layer map. */
  upscale: boolean;
}

export interface EngineConfig extends NetworkConfig {
  /** "cpu" or "cuda" or "cuda:1". */
  device: string;
  /** "direct": heads at full resolution (the oracle). "lowResolution": the same function, faster, standard HeadLayout only. */
  compute: Compute;
}

/** "tf32": float32 whose products round their operands to 11 bits, on a GPU. */
export type Precision = "float32" | "tf32" | "bfloat16" | "float16";

export interface DetectorConfig extends EngineConfig {
  /**
   * Element type of the backbone and of the wide matrix products of the low-resolution heads. Sums, statistics, decisions
   * and the direct heads are always float32. "tf32" and "float16" need CUDA.
   */
  precision: Precision;
  /** CUDA: for how many batch sizes a captured graph is kept; 0: none. */
  cudaGraphs: number;
}

export interface TrainerConfig extends EngineConfig {
  seed: number;
  /** Standard deviation of the latent noise: one value per feature channel, or one for all. */
  noiseStd: Float32Array;
  /** How many noise vectors the positions of a step share; 0: each position has its own. */
  noiseVectors: number;
  perlinThreshold: number;
  /** The groups of the trainer's options, with everything filled in. */
  optimizer: OptimizerGroup;
  ablation: AblationGroup;
  /**
   * The backbone and the operands of the wide matrix products; features as they are cached, parameters, optimiser and
   * everything else stay float32. "tf32" needs CUDA.
   */
  precision: Exclude<Precision, "float16">;
  /** Upper limit of the device's memory that cached backbone features may take. */
  featureCacheBytes: number;
  /** Page-locked memory of the host for the features that do not fit on the device. Not used where the device is the CPU. */
  featureCacheHostBytes: number;
  /** Element type of cached features. Training sees the features as they are cached. */
  featureCachePrecision: "float32" | "float16";
  /** Cached features that outlive the process; `identity` (32 bytes) names what they depend on besides the pixels. */
  featureCacheFile?: { path: string; bytes: number; identity: Uint8Array };
  /** CUDA: for how many sizes of steps a captured graph is kept; 0: none. */
  cudaGraphs: number;
  /** In a group of ranks on GPUs, the same on all ranks: sum gradients by NCCL, if each rank has a GPU of its own. */
  nccl: boolean;
}

/** What is known of an image's samples before they are resized. */
export interface SampleFacts {
  /** Every pixel has the same value. */
  uniform: boolean;
  /** The highest sample. */
  highest: number;
}

export interface ConversionOptions {
  height: number;
  width: number;
  /** 1: grey; 3: RGB; 4: RGB and alpha, which is dropped. */
  channels: 1 | 3 | 4;
  /** Bits that 16-bit samples hold, 8 to 16. */
  bitDepth: number;
  toHeight: number;
  toWidth: number;
  method: ResizeMethod;
  /** For 8-bit samples. */
  copy: boolean;
}

/** Pixels: left, top, width, height. */
export interface Rectangle {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** A part of an image that is resized as a whole, of which a window is cut out. */
export interface WindowOptions {
  /** The part, in pixels of the image. */
  region: Rectangle;
  /** Its size where the window is cut out. */
  toHeight: number;
  toWidth: number;
  /** Pixels of that size. Beyond the edges the outermost pixels repeat. */
  window: Rectangle;
  method: ResizeMethod | "nearest";
}

/** Which rows of an image are at hand, and what they are. */
export interface SampleRows {
  width: number;
  /** Of the image, from 0. */
  firstRow: number;
  rows: number;
  /** As in ConversionOptions. */
  channels: 1 | 3 | 4;
  bitDepth: number;
}

/** Where the pixels of an uncompressed BMP lie. */
export interface BmpLayout {
  width: number;
  height: number;
  /** 1, 4 or 8 bits are indices of the palette; 24 and 32 are colours. */
  bits: 1 | 4 | 8 | 24 | 32;
  /** The first row of the file is the top of the image. */
  topDown: boolean;
  /** Where the rows begin, and the bytes of each with its padding. */
  offset: number;
  stride: number;
  /** R, G, B of each index, 3 bytes each. */
  palette: Uint8Array;
  /** Where red, green and blue lie in the bytes of a pixel of 24 or 32 bits. */
  order: readonly [number, number, number];
}

/** One image of a training batch. `key` names (sample, flip). Give pixels when the features of `key` are not cached. */
export interface StepItem {
  key: number;
  pixels?: Uint8Array;
  /** SHA-256 of the pixels. Give it with them when there is a cache file. */
  content?: Uint8Array;
  /** The image will not be seen again: its features are not kept. */
  once?: boolean;
}

export interface CacheReport {
  /** Counts images since the trainer was made, by where their features came from; `host` is page-locked host memory. */
  memory: number;
  host: number;
  file: number;
  computed: number;
  /** About the cache file, since the last report. */
  warnings: NativeWarning[];
}

/** A step that will come. */
export interface PlannedStep {
  /** As in StepOptions. */
  index: number;
  keys: number[];
  share?: { first: number; total: number };
}

export interface StepOptions {
  /** Number of the step from 0 over the whole training: it alone picks the random stream, so a resumed run repeats. */
  index: number;
  items: StepItem[];
  /** Which images of the whole batch these are; the others are at other ranks. Absent: all of them. */
  share?: { first: number; total: number };
  /** Times noiseStd; absent: 1. */
  noiseScale?: number;
  /**
   * Queued behind another step, without knowing how that one ends. If it has failed, or after halt(), this one is not made
   * and fails with ABORTED.
   */
  chained?: boolean;
  adaptorLearningRate: number;
  headsLearningRate: number;
}

export interface StepLosses {
  l1Normal: number;
  l1Anomalous: number;
  focalMap: number;
  focalScore: number;
  total: number;
  /** Global gradient norm before clipping. */
  gradientNorm: number;
}

/** What one image is trained towards, at feature resolution. */
export interface Target {
  key: number;
  label: 0 | 1;
  /** False only for an anomalous image without pixel labels (the paper's gamma). */
  segmented: boolean;
  /** featureHeight x featureWidth of 0/1; absent means empty. */
  mask?: Float32Array;
  /** featureHeight x featureWidth; absent means 1 everywhere. */
  weight?: Float32Array;
}

export interface NativeTrainer {
  setTargets(targets: Target[]): Promise<void>;
  /** Forgets all targets. */
  clearTargets(): Promise<void>;
  /** The keys whose features are not cached: their pixels must be given to the next step. Safe while a step runs. */
  missing(keys: number[]): number[];
  /** As it is when the steps that are queued have been made. */
  cacheReport(): Promise<CacheReport>;
  /**
   * Announces the next steps, so that the host need not wait for a GPU within each of them. Call it once all targets are
   * set. Replaces the plan before. Does nothing on the CPU.
   */
  plan(steps: PlannedStep[]): Promise<void>;
  /**
   * One optimiser step. Resolves to the losses known by now, in the order of the steps. On the CPU these are its own. On
   * a GPU, which runs behind, they belong to earlier steps, and DIVERGED comes late too. FILE_CORRUPT: the cache file can
   * no longer be read for an image without pixels; nothing has happened, try again with pixels.
   */
  step(options: StepOptions): Promise<StepLosses[]>;
  /** Synchronous: chained steps that have not begun fail with ABORTED. */
  halt(): void;
  /** Waits for the losses that no step has returned. Call it until there are none: DIVERGED comes after the losses before it. */
  finishSteps(): Promise<StepLosses[]>;
  /** Adds images to the statistics of the pooled features. */
  observeFeatures(items: StepItem[]): Promise<void>;
  /** The per-channel standard deviation of the features observed so far, by all ranks. Collective. */
  featureStd(): Promise<Float32Array>;
  setNoiseStd(noiseStd: Float32Array): Promise<void>;
  /** The score logits that the heads of now give images, as a detector with these heads does. Needs no targets. */
  scores(items: StepItem[]): Promise<Float32Array>;
  /** Heads by the authors' names, and the optimiser's moments by the same names. */
  state(): Promise<{ heads: TensorMap; optimizer: TensorMap }>;
  restore(state: { heads: TensorMap; optimizer: TensorMap }): Promise<void>;
  /** Gives every rank the heads and the optimiser of rank 0. Collective. */
  shareState(): Promise<void>;
  /** Frees everything now instead of at the next garbage collection. */
  dispose(): void;
}

/** This process's rank in the group that trains together, and where the ranks meet. */
export interface GroupOptions {
  rank: number;
  worldSize: number;
  masterAddress: string;
  masterPort: number;
  /** The launcher serves the store at that port (torchrun does); otherwise rank 0 does. */
  launcherStore: boolean;
  /** Prefix of the keys in the store, which successive groups share. */
  prefix: string;
  /** A rank that sends nothing for this long has failed. */
  timeoutSeconds: number;
  joinTimeoutSeconds: number;
}

/**
 * Processes that train together. Every rank makes the collective calls, a trainer's included, in the same order. They
 * fail with RANK_FAILED when another rank has ended, fallen silent or failed.
 */
export interface NativeGroup {
  /** Call it first, once. Resolves when all ranks are there. RANK_FAILED, RANKS_DIFFER. */
  join(): Promise<void>;
  /** What every rank gave, by rank. Collective. */
  gather(bytes: Uint8Array): Promise<Uint8Array[]>;
  createTrainer(config: TrainerConfig, backbone: Weights, heads: Weights): Promise<NativeTrainer>;
  /** Makes collective calls and join fail at once, running ones too: here with `code`, at other ranks with RANK_FAILED. */
  fail(code: string, message: string): void;
  /** Disconnects. Gives the others three seconds at most to receive what was sent. */
  leave(): Promise<void>;
}

export interface DetectionBatch {
  /** Score logits, one per image. */
  scores: Float32Array;
  /** Map logits, images x imageHeight x imageWidth, upscaled and blurred. */
  maps: Float32Array;
}

export interface NativeDetector {
  /** Images at model size, stacked: count x H x W x 3. */
  detect(pixels: Uint8Array, count: number): Promise<DetectionBatch>;
  dispose(): void;
}

export interface TargetOptions {
  imageHeight: number;
  imageWidth: number;
  featureHeight: number;
  featureWidth: number;
  /** How the mask is downsampled to feature size. */
  alignCorners: boolean;
  /** Side of the square that dilates the mask first; 0 or 1 does not. */
  dilation: number;
  /** Distance weight (docs/method.md, Targets and distance weight); null gives weight 1 everywhere. */
  distanceWeight: { w: number; p: number } | null;
  /** 0 none, 1 vertical, 2 horizontal, 3 both. */
  flips: number[];
}

export interface ImageMetrics {
  auroc: number;
  averagePrecision: number;
  f1Max: number;
  /** The score at which F1 is highest: anomalous means score >= threshold. */
  f1Threshold: number;
}

export interface PixelMetrics extends ImageMetrics {
  /**
   * Area under the per-region-overlap curve up to the false-positive-rate limit, divided by the limit. NaN without defect
   * regions or without normal pixels.
   */
  aupro: number;
  regions: number;
}

/**
 * Each metric is the middle of the interval that holds the exact value, which pixelMetrics computes from the same pixels,
 * and `errorBound` is half the interval's length (docs/method.md, Metrics). NaN where the metric is.
 */
export interface BoundedPixelMetrics extends PixelMetrics {
  errorBound: { auroc: number; averagePrecision: number; f1Max: number; aupro: number };
}

/**
 * Pixel metrics of images of any sizes, whose maps come strip by strip from top to bottom and are not held. Takes a few
 * MiB (60 if scores were spread over all floats), and some 20 bytes for each defect pixel at the peak. One call at a time:
 * wait for its promise before the next call. After a call that failed only `dispose` is left.
 */
export interface NativePixelStatistics {
  /**
   * The next rows of an image, rows x width. `mask`: non-zero is defect; absent: none is. `ignore`: non-zero is neither
   * defect nor normal, and may be NaN; absent: none is. A defect region that is ignored as a whole does not count. The
   * arrays are not copied: nobody may transfer or change their buffers meanwhile. METRIC_UNDEFINED for NaN or infinite
   * pixels, with the image (from 0), row and column.
   */
  addRows(map: Float32Array, width: number, rows: number, mask?: Uint8Array, ignore?: Uint8Array): Promise<void>;
  endImage(): Promise<void>;
  /** Of the images that have ended; more may follow. As of pixelMetrics. */
  metrics(fprLimit: number): Promise<BoundedPixelMetrics>;
  /** Frees everything now instead of at the next garbage collection. */
  dispose(): void;
}

/** A connected part of the map at or above the pixel threshold. */
export interface Region {
  /** Pixels. */
  area: number;
  /** Bounding box in pixels: left, top, width, height. */
  x: number;
  y: number;
  width: number;
  height: number;
  peak: number;
  peakX: number;
  peakY: number;
}

export interface FoundRegions {
  /** The map's maximum; NaN if any pixel is. */
  peak: number;
  /** Highest peak first; equal peaks in raster order. */
  regions: Region[];
}

/**
 * regions() of a map that comes strip by strip from top to bottom and is not held, at several thresholds at once: the same
 * results, bit for bit. Takes a few rows besides what is found. One call at a time: wait for its promise before the next
 * call. After a call that failed only `dispose` is left.
 */
export interface NativeRegionFinder {
  /**
   * The next rows, rows x width. `ignore`: non-zero pixels belong to no region and do not count for the peak; absent: none
   * is. The arrays are not copied: nobody may transfer or change their buffers meanwhile.
   */
  addRows(map: Float32Array, rows: number, ignore?: Uint8Array): Promise<void>;
  /** By threshold; the peak is the same in all, -Infinity without pixels. Ends the object. */
  finish(): Promise<FoundRegions[]>;
  /** Frees everything now instead of at the next garbage collection. */
  dispose(): void;
}

/** What the CUDA runtime says, and whether the GPUs compute. */
export interface CudaStatus {
  /** Highest CUDA version of the driver and version of the runtime, 13000 for 13.0; driver 0: there is no driver. */
  driver: number;
  runtime: number;
  /** Why there is no device; empty if there are some. */
  error: string;
  /** In the order of "cuda:0", "cuda:1"...; `error` is empty for one that computes. */
  devices: { name: string; capability: string; bytes: number; error: string }[];
}

export interface NativeBinding {
  versions(): { libtorch: string; cpuCapability: string; mkldnn: string; nodeApi: number };
  /** Every device the engine can use; "cpu" first. */
  devices(): string[];
  /** INVALID_OPTION when they cannot all be started, with about the number that can; then nothing has changed. */
  setThreads(threads: number): Promise<void>;
  /** Times matrix products of a training step's shapes in both formats on the CPU, with the threads that are set. */
  productSpeed(): Promise<{ float32Ms: number; bfloat16Ms: number }>;
  /** Tries every GPU, which makes a CUDA context on each: call it in a separate process. null in the CPU engine. */
  cudaStatus(): CudaStatus | null;
  /** Bytes of a GPU that libtorch's allocator holds, now and at most since the last `resetPeak`. null in the CPU engine. */
  cudaMemory(index: number, resetPeak?: boolean): { reserved: number; peakReserved: number } | null;
  /** Synchronous: cancels, joins the engine thread. Nothing may be called afterwards. */
  shutdown(): void;

  // files (pool)
  /** Behind readTensors (lib/files/tensors.ts), which tells the format. Fails with FILE_CORRUPT, PICKLE_REFUSED, and the file codes. */
  readPytorch(path: string, format: "pytorch-zip" | "pytorch-legacy", names?: readonly string[]): Promise<TensorMap>;
  /** For copyToTensor and lendTensor: lib/native/send.ts. */
  createTensors(): SentTensors;
  /** Synchronous: copies the bytes begin..end; the first piece of a tensor is its first copy. WEIGHTS_INVALID for data that do not fit dtype and shape. */
  copyToTensor(tensors: SentTensors, name: string, tensor: NativeTensor, begin: number, end: number): void;
  /** The engine reads the tensor's own memory. WEIGHTS_INVALID as above. */
  lendTensor(tensors: SentTensors, name: string, tensor: NativeTensor): void;
  /** Synchronous, at the speed of memory: values that are NaN or infinite, and finite ones below zero. */
  oddValues(values: Float32Array): { notFinite: number; negative: number };
  /** Synchronous, at the speed of memory: continues the checksum `seed` (64 bits; 0 at first) over more bytes. */
  checksum(bytes: Uint8Array, seed: bigint): bigint;
  /**
   * Unpickles a plain Python pickle of builtin containers, strings and numbers (data set split files). Lists, tuples and
   * sets become arrays, dictionaries Map, None null, bytes Buffer; integers beyond 2^53 become bigint.
   */
  readPickle(path: string): Promise<unknown>;
  /** Locks an open file or folder until it is closed or the process ends. False if another descriptor has the lock. */
  tryLock(descriptor: number): boolean;

  // images (pool)
  /** `channels` is 3 (RGB) or 1. The pixels are not copied: nobody may transfer their buffer meanwhile. */
  resizeImage(
    pixels: Uint8Array,
    height: number,
    width: number,
    channels: number,
    toHeight: number,
    toWidth: number,
    method: ResizeMethod | "nearest",
  ): Promise<Uint8Array>;
  /**
   * Samples as RGB of another size, or of their own; with what they are before they are resized. The samples are not copied
   * but with `copy`, then before this returns: nobody may transfer or change their buffer meanwhile. Without anything to
   * do, `pixels` is `samples`.
   */
  imageToRgb(
    samples: Uint8Array | Uint16Array,
    options: ConversionOptions,
  ): Promise<SampleFacts & { pixels: Uint8Array }>;
  /**
   * RGB of a window, with the values that it has in the region resized as a whole. Pixels with a byte other than 0 in
   * `ignored` (rows x width) are ImageNet's mean colour before. The rows that the window needs must be at hand. Not copied.
   */
  imageWindow(
    samples: Uint8Array | Uint16Array,
    options: SampleRows & WindowOptions & { ignored?: Uint8Array },
  ): Promise<Uint8Array>;
  /** The same of a mask of height x width with one byte a pixel. Not copied. */
  maskWindow(mask: Uint8Array, options: { height: number; width: number } & WindowOptions): Promise<Uint8Array>;
  /** 8-bit CMYK, 0 = no ink. Not copied. */
  cmykToRgb(cmyk: Uint8Array): Promise<Uint8Array>;
  /** The RGB pixels of a BMP, and the highest index of the palette that they use. The file is not copied. */
  bmpPixels(file: Uint8Array, layout: BmpLayout): Promise<{ pixels: Uint8Array; highestIndex: number }>;
  /**
   * 1 for every pixel with a channel of at least `least`, else 0, and how many there are. The samples are not copied:
   * nobody may transfer their buffer meanwhile.
   */
  markDefects(
    samples: Uint8Array | Uint16Array,
    channels: number,
    least: number,
  ): Promise<{ pixels: Uint8Array; marked: number }>;
  /** How many pixels of RGB have each value, 0 to 255, as their brightest channel. Not copied. */
  brightnessCounts(rgb: Uint8Array): Promise<Uint32Array>;
  /** 1 where either mask has 1. Not copied; `into` becomes the result. */
  mergeMasks(into: Uint8Array, other: Uint8Array): Promise<{ pixels: Uint8Array; marked: number }>;
  flipImage(pixels: Uint8Array, height: number, width: number, channels: number, flip: number): Uint8Array;
  /**
   * `mask` is 0/1 at the image's own size. One result per requested flip. `ignored`: of the same size; feature cells with a
   * pixel that is not 0 there have weight 0.
   */
  trainingTargets(
    mask: Uint8Array,
    height: number,
    width: number,
    options: TargetOptions,
    ignored?: Uint8Array,
  ): Promise<{ mask: Float32Array; weight: Float32Array }[]>;
  /** Bilinear, half-pixel centres, float32 (maps to the image's own size). */
  resizeMap(map: Float32Array, height: number, width: number, toHeight: number, toWidth: number): Promise<Float32Array>;

  // metrics (pool)
  imageMetrics(scores: Float32Array, labels: Uint8Array): Promise<ImageMetrics>;
  /**
   * `maps`, `masks` and `ignores` are count x H x W. Pixels that are non-zero in `ignores` are neither defect nor normal, and
   * may be NaN; a defect region that is ignored as a whole does not count.
   */
  pixelMetrics(
    maps: Float32Array[],
    masks: Uint8Array[],
    height: number,
    width: number,
    fprLimit: number,
    ignores?: readonly (Uint8Array | null | undefined)[],
  ): Promise<PixelMetrics>;
  createPixelStatistics(): NativePixelStatistics;
  regions(map: Float32Array, height: number, width: number, threshold: number, minArea: number): Promise<FoundRegions>;
  /** `width` and `minArea` in pixels of the map. */
  createRegionFinder(options: { width: number; thresholds: readonly number[]; minArea: number }): NativeRegionFinder;

  // network
  /** Every tensor that an architecture needs, up to layer3, with torchvision's names. */
  backboneTensors(architecture: Architecture): Record<string, number[]>;
  /** Size of F and of the map logits: twice that of the largest layer map, or the same as its size without upscaling. */
  featureShape(config: NetworkConfig): { channels: number; height: number; width: number };
  /** Untrained weights. */
  randomBackbone(architecture: Architecture, seed: number): Promise<TensorMap>;
  /** Every tensor of the heads for C feature channels, by the authors' names. Without `layout`: the paper's heads. */
  headTensors(channels: number, layout?: HeadLayout): Record<string, number[]>;
  /** Untrained heads. */
  randomHeads(channels: number, seed: number, layout?: HeadLayout): Promise<TensorMap>;
  createTrainer(config: TrainerConfig, backbone: Weights, heads: Weights): Promise<NativeTrainer>;
  createDetector(config: DetectorConfig, backbone: Weights, heads: Weights): Promise<NativeDetector>;
  createGroup(options: GroupOptions): NativeGroup;
}
