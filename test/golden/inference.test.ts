import assert from "node:assert/strict";

import type { DetectorConfig, NativeTensor } from "../../lib/native/binding.js";
import { type Convention, config, conventions, testOnDevices } from "./cases.js";
import { assertClose, numbers, relativeDifference } from "./compare.js";
import { formulaBackbone, formulaHeads, uniform } from "./formula.js";
import { testing } from "../support/native.js";

const weights = { backbone: formulaBackbone("resnet18"), heads: formulaHeads(384) };

/** bfloat16 rounds by up to 2^-9, and some 20 layers follow each other. Of the largest magnitude of a map; of max(1, |logit|) of a score, which picks maxima and adds 258 terms; kernels round once more, between a convolution and its bias. */
const reducedTolerance = { map: 0.03, score: 0.15 };
const exactTolerance = { map: 1e-4, score: 1e-4 };

/** Score logits are sums that may cancel: their error is compared on a scale of at least 1. */
function assertScores(actual: NativeTensor, expected: NativeTensor, tolerance: number, what: string): void {
  const want = numbers(expected);
  Array.from(numbers(actual)).forEach((value, i) => {
    const difference = Math.abs(value - want[i]!) / Math.max(1, Math.abs(want[i]!));
    assert.ok(difference <= tolerance, `${what}, score of image ${i}: ${value}, expected ${want[i]}`);
  });
}

const sizes: [height: number, width: number, batch: number][] = [
  [64, 64, 1],
  [75, 109, 3],
  [33, 97, 1],
  [16, 16, 64],
  [1, 1, 2],
];

for (const convention of Object.keys(conventions) as Convention[]) {
  for (const [height, width, batch] of sizes) {
    testOnDevices(
      `inference ${convention} ${height}x${width}, batch of ${batch}: low resolution equals direct, reduced precision is near`,
      { skip: false },
      async (device) => {
        const reduced = device === "cpu" ? (["bfloat16"] as const) : (["bfloat16", "float16"] as const);
        const input = uniform(`inference/${height}x${width}`, [batch, 3, height, width], 1.7);
        const forward = (changes: Partial<DetectorConfig>) =>
          testing().forward(
            { ...config(convention, "direct", height, width, device), ...changes },
            weights.backbone,
            weights.heads,
            input,
          );
        const direct = await forward({});
        const check = async (
          what: string,
          changes: Partial<DetectorConfig>,
          tolerance: { map: number; score: number },
        ): Promise<void> => {
          const result = await forward(changes);
          assert.deepEqual(
            result.layerMaps.map(({ dtype, shape }) => [dtype, shape]),
            direct.layerMaps.map(({ shape }) => ["float32", shape]),
          );
          for (const part of ["mapLogits", "anomalyMap"] as const)
            assertClose(numbers(result[part]), numbers(direct[part]), tolerance.map, `${what}, ${part}`);
          assertScores(result.scoreLogit, direct.scoreLogit, tolerance.score, what);
          if (changes.precision !== undefined)
            assert.ok(
              relativeDifference(numbers(result.layerMaps[0]!), numbers(direct.layerMaps[0]!)) > 1e-4,
              `${what} is computed in less than float32`,
            );
        };
        await check("low resolution", { compute: "lowResolution" }, exactTolerance);
        for (const precision of reduced) {
          await check(precision, { compute: "lowResolution", precision }, reducedTolerance);
          await check(`${precision}, direct heads`, { precision }, reducedTolerance);
        }
      },
    );
  }
}
