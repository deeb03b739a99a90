/**
 * What the package learns as it is installed: generated images and the backbone inside, without a file from elsewhere.
 * docs/weights.md has the same on photographs, three seeds of every regime.
 */
import assert from "node:assert/strict";
import path from "node:path";
import { before, describe, test } from "node:test";

import { type Dataset, datasets, Detector, evaluate, type Metrics, type Regime, Trainer } from "../../lib/index.js";
import { labelledFor, scratchFolder } from "./support.js";

const imageSize = [96, 96] as const;
const folder = scratchFolder();
let data: Dataset;
before(async () => {
  data = await datasets.generated(path.join(folder, "plates"), {
    imageSize,
    trainNormal: 40,
    trainAnomalous: 10,
    testNormal: 20,
    testAnomalous: 20,
    seed: 5,
  });
});

async function learn(regime: Regime, epochs: number): Promise<Metrics> {
  const trainer = new Trainer({ backboneWeights: "distilled", imageSize, epochs, calibration: { fraction: 0 } });
  const labelled = labelledFor(data, regime);
  const detector = await Detector.load(await trainer.fit(labelled));
  try {
    return (await evaluate(detector, labelled)).metrics;
  } finally {
    detector.dispose();
  }
}

// The least of seeds 0 to 2 is in the comments; the bounds leave room for other processors. With random weights these
// trainings ended at an I-AUROC of 0.44 to 0.8 (by hand).
describe("generated plates, the package's own backbone", () => {
  const cases: [Regime, number, { imageAuroc: number; aupro: number }][] = [
    ["unsupervised", 24, { imageAuroc: 0.85, aupro: 0.8 }], // 0.93, 0.89
    ["weak", 6, { imageAuroc: 0.95, aupro: 0.75 }], // 1.00, 0.88
    ["mixed", 6, { imageAuroc: 0.95, aupro: 0.75 }], // 1.00, 0.87
    ["full", 6, { imageAuroc: 0.95, aupro: 0.85 }], // 1.00, 0.92
  ];
  for (const [regime, epochs, floor] of cases)
    test(regime, async () => {
      const { imageAuroc, aupro } = await learn(regime, epochs);
      assert.ok(imageAuroc! >= floor.imageAuroc, `I-AUROC ${imageAuroc}`);
      assert.ok(aupro! >= floor.aupro, `AUPRO ${aupro}`);
    });
});
