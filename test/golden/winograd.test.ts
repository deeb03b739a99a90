import { test } from "node:test";

import type { Architecture } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { assertClose, numbers } from "./compare.js";
import { formulaBackbone, uniform } from "./formula.js";
import { testing } from "../support/native.js";
import { detectorConfig } from "../support/trainer_config.js";

/**
 * The backbone as it runs on the CPU beside the one of other devices (at::conv2d). Which tile a 3x3 convolution takes
 * depends on the size of its map. At 151x131 layer1 and layer2 take 4x4, layer3 2x2, with sides that are no multiple of the
 * tile's; a side of 2 or 3 makes maps one wide; at 41x37 layer1 takes 2x2 and the others have too few tiles.
 */
const cases: [Architecture, number, number, number][] = [
  ["resnet18", 2, 151, 131],
  ["resnet18", 1, 400, 3],
  ["resnet18", 3, 3, 800],
  ["resnet18", 1, 41, 37],
  ["resnet34", 2, 77, 90],
  ["wide_resnet50_2", 1, 75, 101],
  ["wide_resnet50_2", 1, 2, 300],
];

for (const [architecture, batch, height, width] of cases) {
  test(`${architecture} ${batch}x3x${height}x${width}: the convolutions of the CPU equal at::conv2d`, async () => {
    const names = ["layer1", "layer2", "layer3"];
    const network = detectorConfig({ architecture, layers: names, imageHeight: height, imageWidth: width });
    const heads = await engine().randomHeads(engine().featureShape(network).channels, 0);
    const input = uniform(`winograd/${height}x${width}`, [batch, 3, height, width], 1.7);
    const layerMaps = async () =>
      (await testing().forward(network, formulaBackbone(architecture), heads, input)).layerMaps;
    const actual = await layerMaps();
    await testing().setPortable(true);
    try {
      const expected = await layerMaps();
      names.forEach((name, i) => assertClose(numbers(actual[i]!), numbers(expected[i]!), 2e-5, name));
    } finally {
      await testing().setPortable(false);
    }
  });
}
