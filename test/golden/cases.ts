import { test } from "node:test";

import { readTensors } from "../../lib/files/tensors.js";
import type { DetectorConfig, EngineConfig, NativeTensor, TensorMap, TrainerConfig } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { type StepExpectation, formula, formulaBackbone, formulaHeads, formulaTensor, uniform } from "./formula.js";
import { golden, goldenJson } from "./vectors.js";
import { testing } from "../support/native.js";
import { detectorConfig, trainerConfig as unsupervisedConfig } from "../support/trainer_config.js";

export const conventions = {
  jims: { variant: "jims", alignCorners: true },
  icpr: { variant: "icpr", alignCorners: true },
  anomalib: { variant: "jims", alignCorners: false },
} as const;
export type Convention = keyof typeof conventions;

export const computes = ["direct", "lowResolution"] as const;

/** Every device that is present: with a GPU the tests run on it too. */
export const devices = engine().devices();

/** One test per device, and on the CPU a second one of what is written for other devices ("portable"). */
export function testOnDevices(
  name: string,
  options: { skip: string | false },
  body: (device: string) => Promise<void>,
): void {
  test(`${name}, cpu`, options, () => body("cpu"));
  testElsewhere(name, options, body);
}

/** The same without the CPU's own code, for what is compared with that. */
export function testElsewhere(
  name: string,
  options: { skip: string | false },
  body: (device: string) => Promise<void>,
): void {
  for (const device of devices.slice(1)) test(`${name}, ${device}`, options, () => body(device));
  test(`${name}, cpu portable`, options, async () => {
    await testing().setPortable(true);
    try {
      await body("cpu");
    } finally {
      await testing().setPortable(false);
    }
  });
}

export function config(
  convention: Convention,
  compute: (typeof computes)[number],
  height: number,
  width: number,
  device = "cpu",
): DetectorConfig {
  return detectorConfig({
    imageHeight: height,
    imageWidth: width,
    device,
    compute,
    ...conventions[convention],
  });
}

export function trainerConfig(engineConfig: EngineConfig, regime: "unsupervised" | "supervised"): TrainerConfig {
  return unsupervisedConfig({
    ...engineConfig,
    noiseStd: Float32Array.of(0.015),
    optimizer: { stopGradient: regime === "unsupervised", gradientClip: regime === "unsupervised" ? 0 : 1 },
  });
}

/** One source of golden cases: the big vectors beside the checkout, or the formula cases inside it. */
export interface Source {
  name: string;
  weights(): Promise<{ backbone: TensorMap; heads: TensorMap }>;
  /** Inputs are not stored in formula.json but computed. */
  input(name: string, shape: number[]): NativeTensor;
  noise(name: string, shape: number[]): NativeTensor;
  tensor(name: string): NativeTensor;
  has(name: string): boolean;
  step(regime: "unsupervised" | "supervised"): StepExpectation;
}

export const formulaSource: Source = {
  name: "formula",
  weights: async () => ({ backbone: formulaBackbone("resnet18"), heads: formulaHeads(384) }),
  input: (name, shape) => uniform(name, shape, 1.7),
  noise: (name, shape) => uniform(name, shape, 0.17),
  tensor: formulaTensor,
  has: (name) => name in formula.tensors,
  step: (regime) => formula[`train/${regime}`],
};

export function vectorSource(folder: string): Source {
  const tensor = (name: string): NativeTensor => ({ dtype: "float32", ...golden(name) });
  return {
    name: "vectors",
    weights: async () => ({
      backbone: (await readTensors(`${folder}/weights/resnet18_to_layer3.safetensors`)).tensors,
      heads: (await readTensors(`${folder}/golden/heads.pt`)).tensors,
    }),
    input: tensor,
    noise: tensor,
    tensor,
    has: (name) => {
      try {
        golden(name);
        return true;
      } catch {
        return false;
      }
    },
    step: (regime) => goldenJson(`train/${regime}`) as StepExpectation,
  };
}
