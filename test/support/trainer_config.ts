import type { DetectorConfig, EngineConfig, NetworkConfig, TrainerConfig } from "../../lib/native/binding.js";

/** The paper's network on a small backbone and a small image. */
export function networkConfig(overrides: Partial<NetworkConfig> = {}): NetworkConfig {
  return {
    architecture: "resnet18",
    layers: ["layer2", "layer3"],
    imageHeight: 32,
    imageWidth: 32,
    variant: "jims",
    alignCorners: true,
    upscale: true,
    classificationHead: "standard",
    mapInput: true,
    ...overrides,
  };
}

const engineConfig = (): EngineConfig => ({ ...networkConfig(), device: "cpu", compute: "lowResolution" });

export function detectorConfig(overrides: Partial<DetectorConfig> = {}): DetectorConfig {
  return { ...engineConfig(), precision: "float32", cudaGraphs: 0, ...overrides };
}

/** Unsupervised training as in the paper, without caches. */
export function trainerConfig(overrides: Partial<TrainerConfig> = {}): TrainerConfig {
  return {
    ...engineConfig(),
    seed: 0,
    noiseStd: Float32Array.of(1),
    perlinThreshold: 0.2,
    syntheticAnomalies: "perlin",
    overlap: false,
    loss: "default",
    precision: "float32",
    featureCacheBytes: 0,
    featureCacheHostBytes: 0,
    featureCachePrecision: "float32",
    stopGradient: true,
    gradientClip: 0,
    adaptorWeightDecay: 0.01,
    headsWeightDecay: 1e-5,
    cudaGraphs: 0,
    nccl: false,
    ...overrides,
  };
}
