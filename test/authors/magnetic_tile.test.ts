/**
 * Learning on real images with real weights, beside the authors' code (benchmarks/learning.ts is the full version, three
 * seeds of every regime; docs/measurements/learning.md has its table).
 * It takes longest, and stands in a folder of its own so that the runner, which goes by the alphabet, starts it among the first.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import path from "node:path";
import { before, describe, test } from "node:test";

import { learn, mean, sources } from "../../benchmarks/learning.js";
import { type Metrics, metricsTable } from "../../lib/evaluation/metrics_table.js";
import type { Regime } from "../../lib/datasets/dataset.js";

const shared = path.resolve(__dirname, "../../../../shared");
const { data, weights, authors } = sources(shared);
const skip =
  !(existsSync(data) && existsSync(weights)) &&
  "../shared (magnetic tile images, ResNet-18 weights, the authors' numbers) is absent";

describe("magnetic tiles, ResNet-18, the authors' budget, seed 0", { skip }, () => {
  const results = new Map<Regime, Metrics>();
  before(async () => {
    for (const regime of ["full", "mixed", "weak", "unsupervised"] as const)
      results.set(regime, await learn(shared, regime, { seed: 0 }));
  });

  // The authors' numbers are one or two seeds, and a seed moves them by several points: 4 points below their mean.
  for (const regime of ["full", "mixed", "weak"] as const) {
    test(`${regime}: not below the authors' code`, async () => {
      const theirs = (await authors()).filter((run) => run.regime === regime);
      // Weakly supervised maps are near chance at this noise, in the authors' run too: nothing to hold one seed against.
      for (const id of regime === "weak" ? (["imageAuroc"] as const) : (["imageAuroc", "aupro"] as const)) {
        const reference = mean(theirs.map((run) => run[metricsTable[id].name]));
        const ours = results.get(regime)![id]!;
        assert.ok(ours >= reference - 0.04, `${id} ${ours}, authors ${reference}`);
      }
    });

    test(`${regime}: clearly above unsupervised`, () => {
      const [ours, unsupervised] = [results.get(regime)!.imageAuroc!, results.get("unsupervised")!.imageAuroc!];
      assert.ok(ours > unsupervised + 0.1, `I-AUROC ${ours}, unsupervised ${unsupervised}`);
    });
  }
});
