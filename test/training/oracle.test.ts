import assert from "node:assert/strict";

import type { NativeTensor } from "../../lib/native/binding.js";
import { type Convention, config, testOnDevices, trainerConfig } from "../golden/cases.js";
import { changedConfig, type TrainerChanges } from "../support/trainer_config.js";
import { assertClose, assertCloseInNorm, norm, numbers } from "../golden/compare.js";
import { formulaBackbone, formulaHeads, uniform } from "../golden/formula.js";
import { type GoldenStepInput, testing } from "../support/native.js";

/** Blobs of 0/1 made from a formula; `share` about the part that is set, 0 none, 1 all. */
function mask(name: string, shape: number[], share: number): NativeTensor {
  const out = uniform(name, shape, 0.5, 0.5);
  (out.data as Float32Array).forEach((value, i, data) => (data[i] = share >= 1 || value < share ? 1 : 0));
  return out;
}

function constant(values: number[]): NativeTensor {
  return { dtype: "float32", shape: [values.length], data: Float32Array.from(values) };
}

interface Case {
  name: string;
  size: [number, number];
  /** Feature size of ResNet-18's layer2 and layer3 for that size. */
  features: [number, number];
  convention: Convention;
  regime: "unsupervised" | "supervised";
  batch: number;
  /** Share of the noise masks; "simplenet" has the second copy's whole maps. */
  perlin: number | "simplenet";
  real: number;
  changes?: TrainerChanges;
}

const cases: Case[] = [
  {
    name: "empty Perlin masks",
    size: [64, 64],
    features: [16, 16],
    convention: "jims",
    regime: "unsupervised",
    batch: 2,
    perlin: 0,
    real: 0,
  },
  {
    name: "full Perlin masks",
    size: [64, 64],
    features: [16, 16],
    convention: "jims",
    regime: "unsupervised",
    batch: 2,
    perlin: 1,
    real: 0,
  },
  {
    name: "batch of one",
    size: [64, 64],
    features: [16, 16],
    convention: "jims",
    regime: "supervised",
    batch: 1,
    perlin: 0.3,
    real: 0.2,
  },
  {
    name: "icpr",
    size: [64, 96],
    features: [16, 24],
    convention: "icpr",
    regime: "supervised",
    batch: 2,
    perlin: 0.3,
    real: 0.2,
  },
  {
    name: "icpr, unsupervised, batch of one",
    size: [96, 64],
    features: [24, 16],
    convention: "icpr",
    regime: "unsupervised",
    batch: 1,
    perlin: 0.5,
    real: 0,
  },
  {
    name: "anomalib's convention",
    size: [64, 64],
    features: [16, 16],
    convention: "anomalib",
    regime: "supervised",
    batch: 3,
    perlin: 0.1,
    real: 0.4,
  },
  {
    name: "sizes that are no multiple of 32",
    size: [75, 109],
    features: [20, 28],
    convention: "jims",
    regime: "supervised",
    batch: 2,
    perlin: 0.2,
    real: 0.2,
  },
  {
    name: "real masks that cover everything",
    size: [64, 64],
    features: [16, 16],
    convention: "jims",
    regime: "supervised",
    batch: 2,
    perlin: 0.5,
    real: 1,
  },
  {
    name: "no upscaling",
    size: [64, 96],
    features: [8, 12],
    convention: "jims",
    regime: "supervised",
    batch: 2,
    perlin: 0.3,
    real: 0.2,
    changes: { upscale: false },
  },
  {
    name: "no upscaling, icpr",
    size: [75, 64],
    features: [10, 8],
    convention: "icpr",
    regime: "unsupervised",
    batch: 2,
    perlin: 0.3,
    real: 0,
    changes: { upscale: false },
  },
  {
    name: "overlap",
    size: [64, 64],
    features: [16, 16],
    convention: "jims",
    regime: "supervised",
    batch: 2,
    perlin: 0.5,
    real: 0.4,
    changes: { ablation: { overlap: true } },
  },
  {
    name: "truncated L1 alone",
    size: [64, 64],
    features: [16, 16],
    convention: "jims",
    regime: "supervised",
    batch: 2,
    perlin: 0.3,
    real: 0.2,
    changes: { ablation: { loss: "truncatedL1" } },
  },
  // Elsewhere than on the CPU the noise's products are made 20,971 rows at a time (256 MiB).
  {
    name: "more noise than fits into one piece",
    size: [64, 64],
    features: [16, 16],
    convention: "jims",
    regime: "unsupervised",
    batch: 42,
    perlin: 1,
    real: 0,
  },
  {
    name: "shared noise vectors",
    size: [64, 96],
    features: [16, 24],
    convention: "jims",
    regime: "supervised",
    batch: 3,
    perlin: 0.3,
    real: 0.2,
    changes: { noiseVectors: 7 },
  },
  {
    name: "shared noise vectors, icpr, everywhere",
    size: [75, 64],
    features: [20, 16],
    convention: "icpr",
    regime: "unsupervised",
    batch: 2,
    perlin: 1,
    real: 0,
    changes: { noiseVectors: 64 },
  },
  {
    name: "shared noise vectors that nobody takes",
    size: [64, 64],
    features: [16, 16],
    convention: "jims",
    regime: "unsupervised",
    batch: 2,
    perlin: 0,
    real: 0,
    changes: { noiseVectors: 3 },
  },
  {
    name: "SimpleNet's noise",
    size: [64, 64],
    features: [16, 16],
    convention: "jims",
    regime: "supervised",
    batch: 2,
    perlin: "simplenet",
    real: 0.2,
  },
];

function stepInput(c: Case): Omit<GoldenStepInput, "config" | "backbone" | "heads"> {
  const [h, w] = c.features;
  const b = c.batch;
  return {
    input: uniform(`${c.name}/input`, [b, 3, ...c.size], 1.7),
    noise: uniform(`${c.name}/noise`, [2 * b, 384, h, w], 0.17),
    perlinMask:
      c.perlin === "simplenet"
        ? { dtype: "float32", shape: [2 * b, 1, h, w], data: new Float32Array(2 * b * h * w).fill(1, b * h * w) }
        : mask(`${c.name}/perlin`, [2 * b, 1, h, w], c.perlin),
    mask: mask(`${c.name}/mask`, [b, 1, h, w], c.real),
    label: constant(Array.from({ length: b }, (_, i) => (c.real > 0 ? 1 : i % 2 && c.regime === "supervised" ? 1 : 0))),
    isSegmented: constant(
      Array.from({ length: b }, (_, i) => (i === 1 && c.real === 0 && c.regime === "supervised" ? 0 : 1)),
    ),
    distanceWeight: uniform(`${c.name}/weight`, [b, 1, h, w], 1, 2),
    adaptorLearningRate: 1e-4,
    headsLearningRate: 2e-4,
  };
}

for (const c of cases) {
  testOnDevices(`low-resolution step equals the direct one: ${c.name}`, { skip: false }, async (device) => {
    const weights = { backbone: formulaBackbone("resnet18"), heads: formulaHeads(384) };
    const run = (compute: "direct" | "lowResolution") =>
      testing().goldenStep({
        ...stepInput(c),
        ...weights,
        config: changedConfig(
          trainerConfig(config(c.convention, compute, ...c.size, device), c.regime),
          c.changes ?? {},
        ),
      });
    const direct = await run("direct");
    const fast = await run("lowResolution");
    assert.deepEqual(Array.from(numbers(fast.targetMask)), Array.from(numbers(direct.targetMask)));
    assertClose(numbers(fast.mapLogits), numbers(direct.mapLogits), 1e-4, "map");
    assertClose(numbers(fast.scoreLogit), numbers(direct.scoreLogit), 1e-4, "score");
    const largest = Math.max(...Object.values(direct.gradients).map((g) => norm(numbers(g))));
    for (const [name, expected] of Object.entries(direct.gradients)) {
      // Gradients that vanish but for rounding are compared on the scale of the others.
      if (norm(numbers(expected)) < 1e-5 * largest) {
        assert.ok(norm(numbers(fast.gradients[name]!)) < 1e-4 * largest, `${name} should vanish`);
      } else {
        assertCloseInNorm(numbers(fast.gradients[name]!), numbers(expected), 1e-3, `gradient of ${name}`);
      }
    }
    for (const name of Object.keys(direct.after).filter((n) => n.includes("running_")))
      assertClose(numbers(fast.after[name]!), numbers(direct.after[name]!), 1e-4, name);
  });
}
