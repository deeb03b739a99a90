import { mergeOptions, trainerDefaults } from "../../lib/index.js";
import { paces } from "../../lib/schema/presets.js";
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

type Group = "optimizer" | "ablation";

export type TrainerChanges = Partial<Omit<TrainerConfig, Group>> & { [Name in Group]?: Partial<TrainerConfig[Name]> };

/** The same with changes, group by group. */
export const changedConfig = (config: TrainerConfig, changes: TrainerChanges): TrainerConfig =>
  mergeOptions<TrainerChanges>(config, changes) as TrainerConfig;

/** Unsupervised training as in the paper, without caches. */
export function trainerConfig(changes: TrainerChanges = {}): TrainerConfig {
  const standard: TrainerConfig = {
    ...engineConfig(),
    seed: 0,
    noiseStd: Float32Array.of(1),
    noiseVectors: 0,
    perlinThreshold: 0.2,
    precision: "float32",
    featureCacheBytes: 0,
    featureCacheHostBytes: 0,
    featureCachePrecision: "float32",
    cudaGraphs: 0,
    nccl: false,
    optimizer: {
      ...trainerDefaults.optimizer,
      ...paces.published.optimizer,
      gradientClip: 0,
      stopGradient: true,
      balancedSampling: false,
    },
    ablation: trainerDefaults.ablation,
  };
  return changedConfig(standard, changes);
}
