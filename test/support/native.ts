import type { DetectorConfig, NativeTensor, StepLosses, TensorMap, TrainerConfig } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";

/** For golden tests and inspection: one forward pass in inference mode on normalised input (b x 3 x H x W). */
export interface ForwardResult {
  /** The backbone's maps, one per layer, in float32 whatever the precision. */
  layerMaps: NativeTensor[];
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
  /** 2b x C x h x w. With `noiseVectors` in the configuration its first so many positions are shared, in some order and scale. */
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

/** What the addon offers to tests and benchmarks alone (native/addon/testing.cc). */
export interface NativeTesting {
  /** true runs on the CPU what is written for other devices, until it is set to false. */
  setPortable(portable: boolean): Promise<void>;
  /** Bytes that malloc has handed out to the whole process; null where it does not count them (glibc before 2.33, macOS). */
  allocatedBytes(): number | null;
  /** Gives malloc's free blocks back to the system, where malloc is glibc's. */
  trimMemory(): void;
  /** Bytes outside its heap that V8 has been told of, array buffers among them. */
  externalBytes(): number;

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
  /** The same of `vectors` shared noise vectors (vectors x channels): which one each position takes, and times what. */
  sharedNoise(
    seed: number,
    index: number,
    sample: number,
    positions: Int32Array,
    channels: number,
    vectors: number,
    device?: string,
  ): { vectors: NativeTensor; index: NativeTensor; weight: NativeTensor };
  distanceWeight(mask: Uint8Array, height: number, width: number, w: number, p: number): Float32Array;
  dilate(mask: Uint8Array, height: number, width: number, size: number): Uint8Array;

  forward(config: DetectorConfig, backbone: TensorMap, heads: TensorMap, input: NativeTensor): Promise<ForwardResult>;
  goldenStep(input: GoldenStepInput): Promise<GoldenStepResult>;
}

export const testing = (): NativeTesting => (engine() as unknown as { testing: NativeTesting }).testing;
