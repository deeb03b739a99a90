/**
 * The whole C++ surface as one type. Only lib/native/engine.ts opens the addon; nothing else touches it.
 * Validation happens before these calls: the C++ side trusts what it gets.
 *
 * Conventions: images are uint8, row-major, RGB interleaved (H x W x 3). Maps are float32 logits, row-major.
 * Promises run on the engine thread (libtorch) unless marked "pool" (libuv pool, no libtorch).
 */

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

export interface TensorFile {
  tensors: TensorMap;
  metadata: Record<string, string>;
  /** What the file turned out to be. */
  format: "safetensors" | "pytorch-zip" | "pytorch-legacy";
}

export type Architecture = "wide_resnet50_2" | "wide_resnet101_2" | "resnet50" | "resnet101" | "resnet34" | "resnet18";
export type Variant = "jims" | "icpr";
export type ResizeMethod = "bilinear" | "antialias";

export type ClassificationHead = "standard" | "complex" | "mapMax";
export type Compute = "direct" | "lowResolution";
export type SyntheticAnomalies = "perlin" | "simplenet" | "none";
export type Loss = "default" | "truncatedL1";

/** What of the classification head there is. Without a field: as in the paper. */
export interface HeadLayout {
  /** "standard" (default): one convolutional block; "complex": three; "mapMax": none, the score is the maximum of the map. */
  classificationHead?: ClassificationHead;
  /** The classification head sees the map. Default true. */
  mapInput?: boolean;
}

/** What fixes the function that the network computes. */
export interface NetworkConfig extends HeadLayout {
  architecture: Architecture;
  /** Taps, in the order in which their channels are concatenated. */
  layers: readonly string[];
  imageHeight: number;
  imageWidth: number;
  variant: Variant;
  alignCorners: boolean;
  /** Features are upscaled to twice the largest tap's size. Default true. */
  upscale?: boolean;
}

export interface EngineConfig extends NetworkConfig {
  /** "cpu" or "cuda" or "cuda:1". */
  device: string;
  /** "direct" computes the heads at full resolution (the oracle); "lowResolution" is the same function, faster, for the standard HeadLayout only. */
  compute: Compute;
}

/** "tf32": float32 whose products round their operands to 11 bits, on a GPU. */
export type Precision = "float32" | "tf32" | "bfloat16" | "float16";

export interface DetectorConfig extends EngineConfig {
  /**
   * Element type of the backbone and of the wide matrix products of the low-resolution heads. What reduces or decides is
   * float32 always, and so are the direct heads. "tf32" and "float16" need CUDA.
   */
  precision: Precision;
  /** CUDA: for how many batch sizes a captured graph is kept. Default 0: none. */
  cudaGraphs?: number;
}

export interface TrainerConfig extends EngineConfig {
  seed: number;
  /** Standard deviation of the latent noise: one value per feature channel, or one for all. */
  noiseStd: Float32Array;
  perlinThreshold: number;
  /** Default "perlin". */
  syntheticAnomalies?: SyntheticAnomalies;
  /** Noise on real defects too. Default false. */
  overlap?: boolean;
  /** "truncatedL1" leaves the map's focal loss out. Default "default". */
  loss?: Loss;
  /** Of the wide matrix products' operands; parameters, optimiser and everything else stay float32. "tf32" is for CUDA. Absent: "float32". */
  precision?: Exclude<Precision, "float16">;
  /** Upper limit of the memory, of the device, that cached backbone features may take. */
  featureCacheBytes: number;
  /** Where the device is not the CPU: page-locked memory of the host for the features that do not fit there. Default 0. */
  featureCacheHostBytes?: number;
  /** Of cached features, and of all features that training sees. Absent: "float32". */
  featureCachePrecision?: "float32" | "float16";
  /** Cached features that outlive the process; `identity` (32 bytes) names what they depend on besides the pixels. */
  featureCacheFile?: { path: string; bytes: number; identity: Uint8Array };
  /** Stop the gradient from the classification head into the map (unsupervised training). */
  stopGradient: boolean;
  /** Clip the global gradient norm to this; 0 does not clip. */
  gradientClip: number;
  adaptorWeightDecay: number;
  headsWeightDecay: number;
  /** CUDA: for how many sizes of steps a captured graph is kept. Default 0: none. */
  cudaGraphs?: number;
  /** In a group, the same on all ranks, whose devices are GPUs: sum gradients by NCCL, if each has one of its own. Default false. */
  nccl?: boolean;
}

/** One image of a training batch. `key` names (sample, flip); pixels are needed when the features of `key` are not cached. */
export interface StepItem {
  key: number;
  pixels?: Uint8Array;
  /** SHA-256 of the pixels; given with them when there is a cache file. */
  content?: Uint8Array;
}

export interface CacheReport {
  /** Images whose features came from memory, from page-locked memory of the host, from the cache file, were computed: since the trainer was made. */
  memory: number;
  host: number;
  file: number;
  computed: number;
  /** About the cache file, since the last report. */
  warnings: string[];
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
  /** The keys whose features are not cached: their pixels must be given to the next step. Safe while a step runs. */
  missing(keys: number[]): number[];
  cacheReport(): CacheReport;
  /**
   * Tells of the steps that will come, once all targets are set: a GPU then draws their noise without being waited for in each
   * of them. Replaces the plan before. Without a GPU, nothing.
   */
  plan(steps: PlannedStep[]): Promise<void>;
  /**
   * One optimiser step. Resolves to the losses that have become known, in the order of the steps: its own, or on a GPU those of
   * steps before, because it is not waited for (DIVERGED comes late likewise). FILE_CORRUPT: features without pixels have become unreadable in
   * the cache file; again with pixels.
   */
  step(options: StepOptions): Promise<StepLosses[]>;
  /** The losses that no step has returned; waits for them. To be called until there are none: those before a divergence come first, then DIVERGED. */
  finishSteps(): Promise<StepLosses[]>;
  /** Adds images to the statistics of the pooled features. */
  observeFeatures(items: StepItem[]): Promise<void>;
  /** The per-channel standard deviation of the features observed so far, by all ranks. Collective. */
  featureStd(): Promise<Float32Array>;
  setNoiseStd(noiseStd: Float32Array): Promise<void>;
  /** Heads by the authors' names, and the optimiser's moments by the same names. */
  state(): Promise<{ heads: TensorMap; optimizer: TensorMap }>;
  restore(state: { heads: TensorMap; optimizer: TensorMap }): Promise<void>;
  /** Gives every rank the heads and the optimiser of rank 0. Collective. */
  shareState(): Promise<void>;
  /** Frees everything now instead of at the next garbage collection. */
  dispose(): void;
}

/** Where this process stands among those that train together, and where they meet. */
export interface GroupOptions {
  rank: number;
  worldSize: number;
  masterAddress: string;
  masterPort: number;
  /** The launcher serves the store at that port (torchrun does); otherwise rank 0 does. */
  launcherStore: boolean;
  /** Of the keys in the store; groups that follow one another share it. */
  prefix: string;
  /** A rank from which nothing comes for so long has failed. */
  timeoutSeconds: number;
  joinTimeoutSeconds: number;
}

/**
 * Processes that train together. Collective calls, a trainer's among them, are made by every rank in the same order, and
 * fail with RANK_FAILED when another rank has ended, fallen silent or failed.
 */
export interface NativeGroup {
  /** Once, at first. Resolves when all ranks are there. RANK_FAILED, RANKS_DIFFER. */
  join(): Promise<void>;
  /** What every rank gave, by rank. Collective. */
  gather(bytes: Uint8Array): Promise<Uint8Array[]>;
  createTrainer(config: TrainerConfig, backbone: TensorMap, heads: TensorMap): Promise<NativeTrainer>;
  /** Makes the collective calls of all ranks, and this one's join, fail: this one's with that code, the others' with RANK_FAILED. At once, also while one runs. */
  fail(code: string, message: string): void;
  /** Disconnects, after three seconds at most for the others to take what was sent. */
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

/** For golden tests and inspection: one forward pass in inference mode on normalised input (b x 3 x H x W). */
export interface ForwardResult {
  /** The backbone's maps, one per layer, in float32 whatever the precision. */
  taps: NativeTensor[];
  features: NativeTensor;
  mapLogits: NativeTensor;
  anomalyMap: NativeTensor;
  scoreLogit: NativeTensor;
}

export interface GoldenStepInput {
  config: TrainerConfig;
  backbone: TensorMap;
  heads: TensorMap;
  /** b x 3 x H x W, normalised. */
  input: NativeTensor;
  /** 2b x C x h x w. */
  noise: NativeTensor;
  /** 2b x 1 x h x w. */
  perlinMask: NativeTensor;
  /** b x 1 x h x w. */
  mask: NativeTensor;
  /** b. */
  label: NativeTensor;
  isSegmented: NativeTensor;
  /** b x 1 x h x w. */
  distanceWeight: NativeTensor;
  adaptorLearningRate: number;
  headsLearningRate: number;
}

export interface GoldenStepResult {
  losses: StepLosses;
  mapLogits: NativeTensor;
  scoreLogit: NativeTensor;
  targetMask: NativeTensor;
  targetLabel: NativeTensor;
  /** Before clipping. */
  gradients: TensorMap;
  /** Heads after one AdamW step. */
  after: TensorMap;
}

export interface TargetOptions {
  imageHeight: number;
  imageWidth: number;
  featureHeight: number;
  featureWidth: number;
  /** Of the mask's downsampling to feature size. */
  alignCorners: boolean;
  /** Side of the square that dilates the mask first; 0 or 1 does not. */
  dilation: number;
  /** Distance weight (spec section 4); null gives weight 1 everywhere. */
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
  /** Area under the per-region-overlap curve up to the false-positive-rate limit, divided by the limit. NaN without defect regions or without normal pixels. */
  aupro: number;
  regions: number;
}

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
  /** INVALID_OPTION, with about the number that can be, when they cannot all be started; nothing has changed then. */
  setThreads(threads: number): Promise<void>;
  /** Tries every GPU, which makes a CUDA context on each: call it in a process of its own. null in the CPU engine. */
  cudaStatus(): CudaStatus | null;
  /** Bytes that libtorch's allocator has taken of a GPU's memory, now and at most: since the last call with `resetPeak`. null in the CPU engine. */
  cudaMemory(index: number, resetPeak?: boolean): { reserved: number; peakReserved: number } | null;
  /** For tests: true runs on the CPU what is written for other devices, until it is set to false. */
  setPortable(portable: boolean): Promise<void>;
  /** For tests: bytes that malloc has handed out to the whole process; null where it does not count them (glibc before 2.33, macOS). */
  allocatedBytes(): number | null;
  /** For tests: bytes outside its heap that V8 has been told of, array buffers among them. */
  externalBytes(): number;
  /** Synchronous: cancels, joins the engine thread. Nothing may be called afterwards. */
  shutdown(): void;

  // files (pool)
  /**
   * By content: safetensors, PyTorch zip, PyTorch legacy. With `names`, only tensors whose name starts with one of them.
   * Tensors keep the file's element type; toFloat32 (lib/backbones/float32.ts) converts. Of a PyTorch file: the top-level
   * dictionary, or its `state_dict`, `model_state_dict` or `model` when it holds no tensor itself; `metadata` is empty.
   * Fails with FILE_CORRUPT, PICKLE_REFUSED, WEIGHTS_INVALID (element type without a form here) and the file codes.
   */
  readTensors(path: string, names?: string[]): Promise<TensorFile>;
  /** safetensors with a checksum, which readTensors of the whole file verifies; to a temporary name, then renamed. The same input gives the same bytes. */
  writeTensors(path: string, tensors: TensorMap, metadata: Record<string, string>): Promise<void>;
  /**
   * Unpickles a plain Python pickle of builtin containers, strings and numbers (data set split files). Lists, tuples and
   * sets become arrays, dictionaries Map, None null, bytes Buffer; integers beyond 2^53 become bigint.
   */
  readPickle(path: string): Promise<unknown>;
  /** Locks an open file or folder for this descriptor, until it is closed or the process ends. False if another one has it. */
  tryLock(descriptor: number): boolean;

  // images (pool)
  /** `channels` is 3 (RGB) or 1 (masks: nearest neighbour only). */
  resizeImage(
    pixels: Uint8Array,
    height: number,
    width: number,
    channels: number,
    toHeight: number,
    toWidth: number,
    method: ResizeMethod | "nearest",
  ): Promise<Uint8Array>;
  flipImage(pixels: Uint8Array, height: number, width: number, channels: number, flip: number): Uint8Array;
  /** `mask` is 0/1 at the image's own size. One result per requested flip. */
  trainingTargets(
    mask: Uint8Array,
    height: number,
    width: number,
    options: TargetOptions,
  ): Promise<{ mask: Float32Array; weight: Float32Array }[]>;
  /** Bilinear, half-pixel centres, float32 (maps to the image's own size). */
  resizeMap(map: Float32Array, height: number, width: number, toHeight: number, toWidth: number): Promise<Float32Array>;
  distanceWeight(mask: Uint8Array, height: number, width: number, w: number, p: number): Float32Array;
  dilate(mask: Uint8Array, height: number, width: number, size: number): Uint8Array;

  // metrics (pool)
  imageMetrics(scores: Float32Array, labels: Uint8Array): Promise<ImageMetrics>;
  /** `maps` and `masks` are count x H x W. */
  pixelMetrics(
    maps: Float32Array[],
    masks: Uint8Array[],
    height: number,
    width: number,
    fprLimit: number,
  ): Promise<PixelMetrics>;
  regions(map: Float32Array, height: number, width: number, threshold: number, minArea: number): Promise<Region[]>;

  // anomalies
  /** Perlin noise of a given lattice of gradient angles (fractions of a turn), times sqrt(2): height x width. */
  perlinNoise(
    height: number,
    width: number,
    latticeY: number,
    latticeX: number,
    anglesOver2Pi: Float32Array,
  ): Float32Array;
  /** The synthetic-anomaly masks that training step `index` draws: count x height x width of 0/1. */
  perlinMasks(
    seed: number,
    index: number,
    count: number,
    height: number,
    width: number,
    threshold: number,
    device?: string,
  ): Float32Array;
  /** The latent noise of unit variance that training step `index` draws at the given flat positions: positions x channels. */
  latentNoise(
    seed: number,
    index: number,
    sample: number,
    positions: Int32Array,
    channels: number,
    device?: string,
  ): Float32Array;

  // network
  /** Every tensor that an architecture needs, up to layer3, with torchvision's names. */
  backboneTensors(architecture: Architecture): Record<string, number[]>;
  /** Size of F, and of the map logits: twice the largest tap's, or the largest tap's without upscaling. */
  featureShape(config: NetworkConfig): { channels: number; height: number; width: number };
  /** Untrained weights. */
  randomBackbone(architecture: Architecture, seed: number): Promise<TensorMap>;
  /** Every tensor of the heads for C feature channels, by the authors' names (spec section 2). */
  headTensors(channels: number, layout?: HeadLayout): Record<string, number[]>;
  /** Untrained heads. */
  randomHeads(channels: number, seed: number, layout?: HeadLayout): Promise<TensorMap>;
  createTrainer(config: TrainerConfig, backbone: TensorMap, heads: TensorMap): Promise<NativeTrainer>;
  createDetector(config: DetectorConfig, backbone: TensorMap, heads: TensorMap): Promise<NativeDetector>;
  createGroup(options: GroupOptions): NativeGroup;
  forward(config: DetectorConfig, backbone: TensorMap, heads: TensorMap, input: NativeTensor): Promise<ForwardResult>;
  goldenStep(input: GoldenStepInput): Promise<GoldenStepResult>;
}
