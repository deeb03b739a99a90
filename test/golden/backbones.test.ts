import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import type { Architecture } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { devices } from "./cases.js";
import { assertClose, numbers, total } from "./compare.js";
import { formulaBackbone, uniform } from "./formula.js";
import { testing } from "../support/native.js";
import { detectorConfig } from "../support/trainer_config.js";

/**
 * Made by torchvision 0.29's own networks in eval mode, weights and the 75 x 64 input by the formulas of formula.ts:
 * of each layer's output the shape, mean, root mean square, first eight values, and the mean of value[i] cos(i).
 */
const expected = JSON.parse(
  readFileSync(path.resolve(__dirname, "../../../test/golden/backbones.json"), "utf8"),
) as Record<
  Architecture,
  Record<string, { shape: number[]; mean: number; rms: number; first: number[]; wave: number }>
>;

for (const [architecture, layers] of Object.entries(expected))
  for (const device of devices) {
    test(`${architecture} equals torchvision's, batch norms folded, ${device}`, async () => {
      const names = Object.keys(layers);
      const network = detectorConfig({
        architecture: architecture as Architecture,
        layers: names,
        imageHeight: 75,
        imageWidth: 64,
        device,
        compute: "direct",
      });
      const heads = await engine().randomHeads(engine().featureShape(network).channels, 0);
      const { layerMaps } = await testing().forward(
        network,
        formulaBackbone(architecture as Architecture),
        heads,
        uniform("backbone/input", [1, 3, 75, 64], 1.7),
      );
      names.forEach((name, i) => {
        const layerMap = layerMaps[i]!;
        const want = layers[name]!;
        const values = Array.from(numbers(layerMap));
        assert.deepEqual(layerMap.shape, want.shape);
        assertClose([total(values) / values.length], [want.mean], 1e-4, `${name} mean`);
        const rms = Math.sqrt(total(values.map((v) => v * v)) / values.length);
        assertClose([rms], [want.rms], 1e-4, `${name} root mean square`);
        const scale = Math.max(want.rms, ...want.first.map(Math.abs));
        want.first.forEach((value, j) =>
          assert.ok(
            Math.abs(values[j]! - value) <= 1e-4 * scale,
            `${name} value ${j}: ${values[j]} instead of ${value}`,
          ),
        );
        const wave = total(values.map((v, j) => v * Math.cos(j))) / values.length;
        assert.ok(Math.abs(wave - want.wave) <= 1e-4 * want.rms, `${name} wave ${wave} instead of ${want.wave}`);
      });
    });
  }
