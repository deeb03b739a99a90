import assert from "node:assert/strict";
import path from "node:path";

import { type Source, computes, config, formulaSource, testOnDevices, trainerConfig, vectorSource } from "./cases.js";
import { assertClose, norm, numbers, total } from "./compare.js";
import { skip } from "./vectors.js";
import { testing } from "../support/native.js";

const shared = path.resolve(__dirname, "../../../../shared");
/** Their true gradient is zero, because batch norm follows; the authors' code shows rounding there. */
const zeroGradient = new Set([
  "feature_adaptor.projection.bias",
  "discriminator.seg.0.bias",
  "discriminator.dec_head.0.bias",
]);

function stepTests(source: Source, skipReason: string | false): void {
  for (const regime of ["unsupervised", "supervised"] as const) {
    for (const compute of computes) {
      testOnDevices(
        `training step ${source.name} ${regime} ${compute} equals the authors' code`,
        { skip: skipReason },
        async (device) => {
          const weights = await source.weights();
          const name = (part: string) => `train/${regime}/${part}`;
          const result = await testing().goldenStep({
            config: trainerConfig(config("jims", compute, 64, 64, device), regime),
            ...weights,
            input: source.input(name("input"), [3, 3, 64, 64]),
            noise: source.noise(name("noise"), [6, 384, 16, 16]),
            perlinMask: source.tensor(name("perlin_mask")),
            mask: source.tensor(name("mask")),
            label: source.tensor(name("label")),
            isSegmented: source.tensor(name("is_segmented")),
            distanceWeight: source.tensor(name("distance_weight")),
            adaptorLearningRate: 1e-4,
            headsLearningRate: 2e-4,
          });
          assert.deepEqual(
            Array.from(numbers(result.targetMask)),
            Array.from(numbers(source.tensor(name("target_mask")))),
          );
          assert.deepEqual(
            Array.from(numbers(result.targetLabel)),
            Array.from(numbers(source.tensor(name("target_label")))),
          );
          assertClose(numbers(result.mapLogits), numbers(source.tensor(name("map_logits"))), 1e-4, "map");
          assertClose(numbers(result.scoreLogit), numbers(source.tensor(name("score_logit"))), 1e-4, "score");
          const expected = source.step(regime);
          const close = (actual: number, wanted: number, tolerance: number, what: string) =>
            assertClose([actual], [wanted], tolerance, what);
          close(result.losses.l1Normal, expected.losses.l1_normal, 1e-4, "l1Normal");
          close(result.losses.l1Anomalous, expected.losses.l1_anomalous, 1e-4, "l1Anomalous");
          close(result.losses.focalMap, expected.losses.focal_map, 1e-4, "focalMap");
          // A nearly perfect score leaves a loss of 1e-11, where a relative comparison shows the rounding of the logit to the fifth power.
          assert.ok(
            Math.abs(result.losses.focalScore - expected.losses.focal_score) <=
              1e-4 * expected.losses.focal_score + 1e-12,
            `focalScore ${result.losses.focalScore}`,
          );
          close(result.losses.total, expected.total, 1e-4, "total");
          close(result.losses.gradientNorm, expected.gradient_norm_before_clipping, 1e-3, "gradient norm");
          assert.deepEqual(Object.keys(result.gradients).sort(), Object.keys(expected.gradient_norms).sort());
          for (const [parameter, gradient] of Object.entries(result.gradients)) {
            const actual = norm(numbers(gradient));
            if (zeroGradient.has(parameter)) {
              assert.ok(actual < 1e-4, `${parameter}: gradient ${actual} should vanish`);
            } else if (expected.gradient_norms[parameter]! > 1e-6) {
              close(actual, expected.gradient_norms[parameter]!, 1e-3, `gradient of ${parameter}`);
            }
          }
          for (const [parameter, sums] of Object.entries(expected.after_one_step)) {
            const values = numbers(result.after[parameter]!);
            if (zeroGradient.has(parameter)) {
              // AdamW blows rounding noise up to steps of either sign: at most one learning rate per value.
              const rate = parameter.startsWith("feature_adaptor") ? 1e-4 : 2e-4;
              assert.ok(
                Math.abs(norm(values) - sums.l2) <= rate * Math.sqrt(values.length),
                `norm of ${parameter} after one step`,
              );
              assert.ok(
                Math.abs(total(values) - sums.sum) <= rate * values.length,
                `sum of ${parameter} after one step`,
              );
              continue;
            }
            close(norm(values), sums.l2, 1e-4, `norm of ${parameter} after one step`);
            // Sums of many values of both signs: compare on the scale of the norm.
            assert.ok(
              Math.abs(total(values) - sums.sum) <=
                1e-4 * sums.l2 * Math.sqrt(values.length) + 1e-4 * Math.abs(sums.sum),
              `sum of ${parameter} after one step: ${total(values)} instead of ${sums.sum}`,
            );
          }
        },
      );
    }
  }
}

stepTests(formulaSource, false);
stepTests(vectorSource(shared), skip);
