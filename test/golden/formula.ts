import { readFileSync } from "node:fs";
import path from "node:path";

import type { Architecture, HeadLayout, NativeTensor, TensorMap } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { networkConfig } from "../support/trainer_config.js";

/**
 * Golden cases whose every weight and input is computed from its name, so that they need no files: expected outputs in
 * formula.json were made with the authors' code (ResNet-18, random heads).
 *
 *   u(name, i) = fmix32(fnv1a32(name) + i * 0x9E3779B1) / 2^31 - 1
 */
export const formula = JSON.parse(
  readFileSync(path.resolve(__dirname, "../../../test/golden/formula.json"), "utf8"),
) as {
  tensors: Record<string, { shape: number[]; values: number[] }>;
} & Record<"train/unsupervised" | "train/supervised", StepExpectation>;

export interface StepExpectation {
  losses: { l1_normal: number; l1_anomalous: number; focal_map: number; focal_score: number };
  total: number;
  gradient_norm_before_clipping: number;
  gradient_norms: Record<string, number>;
  after_one_step: Record<string, { sum: number; l2: number }>;
}

function fnv1a32(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

function fmix32(k: number): number {
  k = Math.imul(k ^ (k >>> 16), 0x85ebca6b);
  k = Math.imul(k ^ (k >>> 13), 0xc2b2ae35);
  return (k ^ (k >>> 16)) >>> 0;
}

/** scale * u(name, i) + offset, in double, then rounded. */
export function uniform(name: string, shape: number[], scale: number, offset = 0): NativeTensor {
  const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
  const start = fnv1a32(name);
  for (let i = 0; i < data.length; i++)
    data[i] = scale * (fmix32((start + Math.imul(i, 0x9e3779b1)) >>> 0) / 2 ** 31 - 1) + offset;
  return { dtype: "float32", shape, data };
}

function weight(name: string, shape: number[]): NativeTensor {
  if (shape.length > 1) return uniform(name, shape, Math.sqrt(6 / shape.slice(1).reduce((a, b) => a * b, 1)));
  if (name.endsWith("running_var")) return uniform(name, shape, 0.5, 1);
  if (name.endsWith("weight")) return uniform(name, shape, 0.2, 1);
  return uniform(name, shape, 0.1);
}

export function formulaBackbone(architecture: Architecture): TensorMap {
  const out: TensorMap = {};
  for (const [name, shape] of Object.entries(engine().backboneTensors(architecture)))
    out[name] = { ...weight(`backbone.${name}`, shape) };
  return out;
}

export function formulaHeads(channels: number, layout: Partial<HeadLayout> = {}): TensorMap {
  return Object.fromEntries(
    Object.entries(engine().headTensors(channels, networkConfig(layout))).map(([name, shape]) => [
      name,
      weight(name, shape),
    ]),
  );
}

/** An expected or given tensor of formula.json. */
export function formulaTensor(name: string): NativeTensor {
  const entry = formula.tensors[name];
  if (!entry) throw new Error(`formula.json has no tensor '${name}'`);
  return { dtype: "float32", shape: entry.shape, data: Float32Array.from(entry.values) };
}
