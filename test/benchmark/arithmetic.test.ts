import assert from "node:assert/strict";
import { test } from "node:test";

import { arithmetic } from "../../lib/benchmark/arithmetic.js";
import type { Architecture, NetworkConfig } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { networkConfig } from "../support/trainer_config.js";

const layers = ["layer2", "layer3"];
function count(
  architecture: Architecture,
  imageHeight: number,
  imageWidth: number,
  names = layers,
  ablation: Partial<NetworkConfig> = {},
): ReturnType<typeof arithmetic> {
  const network = networkConfig({ architecture, layers: names, imageHeight, imageWidth, ...ablation });
  return arithmetic(
    network,
    engine().backboneTensors(architecture),
    engine().headTensors(engine().featureShape(network).channels, network),
  );
}

test("wide_resnet50_2 at 256x256 has the arithmetic of the specification", () => {
  const { direct, lowResolution } = count("wide_resnet50_2", 256, 256);
  // About 96 GFLOP in full and 31 at low resolution; heads alone 36.25 GMAC: 1536^2 + 1536*1024 + 1024 + 1537*3200 at 64x64, 258 of the score.
  assert.ok(Math.abs(direct / 1e9 - 96) < 1, `${direct}`);
  assert.ok(Math.abs(lowResolution / 1e9 - 31) < 1, `${lowResolution}`);
  const heads = 2 * (4096 * (1536 ** 2 + 1536 * 1024 + 1024 + 1537 * 3200) + 258);
  const low = 2 * (1024 * 512 * 4224 + 256 * 1024 * 4224 + 4096 * (1024 + 3200) + 258);
  assert.equal(direct - heads, lowResolution - low);
});

test("resnet18 at 64x64, layer by layer", () => {
  const stem = 32 * 32 * 64 * 3 * 49;
  const layer1 = 4 * 16 * 16 * 64 * 64 * 9;
  const layer2 = 8 * 8 * (128 * 64 * 9 + 3 * 128 * 128 * 9 + 128 * 64);
  const layer3 = 4 * 4 * (256 * 128 * 9 + 3 * 256 * 256 * 9 + 256 * 128);
  const heads = 16 * 16 * (384 * 384 + 384 * 1024 + 1024 + 385 * 25 * 128) + 258;
  assert.equal(count("resnet18", 64, 64).direct, 2 * (stem + layer1 + layer2 + layer3 + heads));
});

test("only the backbone up to the last layer counts", () => {
  const stem = 32 * 32 * 64 * 3 * 49;
  const layer1 = 4 * 16 * 16 * 64 * 64 * 9;
  const heads = 32 * 32 * (64 * 64 + 64 * 1024 + 1024 + 65 * 25 * 128) + 258;
  const { direct, parameters } = count("resnet18", 64, 64, ["layer1"]);
  assert.equal(direct, 2 * (stem + layer1 + heads));
  assert.equal(
    parameters,
    3 * 49 * 64 +
      128 +
      4 * (64 * 64 * 9 + 128) +
      (64 * 64 + 64) +
      (64 * 1024 + 1024 + 2048 + 1024) +
      (65 * 3200 + 128 + 256) +
      259,
  );
});

test("ablations: what they take away or add", () => {
  const whole = count("resnet18", 64, 64);
  const heads = 384 * 384 + 384 * 1024 + 1024 + 385 * 3200;
  assert.equal(count("resnet18", 64, 64, layers, { upscale: false }).direct, whole.direct - 2 * (256 - 64) * heads);
  assert.equal(
    count("resnet18", 64, 64, layers, { classificationHead: "mapMax" }).direct,
    whole.direct - 2 * (256 * 385 * 3200 + 258),
  );
  assert.equal(count("resnet18", 64, 64, layers, { mapInput: false }).direct, whole.direct - 2 * (256 * 3200 + 2));
  const complex = count("resnet18", 64, 64, layers, { classificationHead: "complex" });
  assert.equal(complex.direct, whole.direct + 2 * 2 * 256 * 128 * 3200);
  assert.equal(complex.parameters, whole.parameters + 2 * (128 * 3200 + 3 * 128));
});

test("odd sizes round up at every stride", () => {
  assert.equal(
    count("resnet50", 33, 65).direct,
    count("resnet50", 48, 96).direct - 2 * (24 * 48 - 17 * 33) * 64 * 3 * 49 - 2 * differenceAfterStem(),
  );
  /** Stages after the stem see 9x17, 5x9, 3x5 instead of 12x24, 6x12, 3x6. */
  function differenceAfterStem(): number {
    const tensors = engine().backboneTensors("resnet50");
    const area = [1, 9 * 17, 5 * 9, 3 * 5];
    const even = [1, 12 * 24, 6 * 12, 3 * 6];
    let sum = 0;
    for (const [name, shape] of Object.entries(tensors)) {
      const stage = Number(/^layer(\d)/.exec(name)?.[1] ?? 0);
      if (stage === 0 || shape.length < 2) continue;
      const input = stage > 1 && name.endsWith(".0.conv1.weight") ? stage - 1 : stage;
      sum += (even[input]! - area[input]!) * shape.reduce((a, b) => a * b, 1);
    }
    return sum + (12 * 24 - 10 * 18) * (1536 ** 2 + 1536 * 1024 + 1024 + 1537 * 3200);
  }
});
