import assert from "node:assert/strict";
import { test } from "node:test";

import { type CalibrationImage, calibrateThresholds, quantile } from "../../lib/detection/thresholds.js";
import { defaultThresholds } from "../../lib/models/config.js";

const size = { height: 1, width: 4 };
const flat = Float32Array.of(-1, -1, -1, -1);
const normal = (logit: number, map = flat): CalibrationImage => ({ anomalous: false, logit, map });
const anomalous = (logit: number, map = flat, mask?: Uint8Array): CalibrationImage => ({
  anomalous: true,
  logit,
  map,
  mask,
});
const close = (actual: number, expected: number): void =>
  assert.ok(Math.abs(actual - expected) < 1e-6, `${actual}, expected ${expected}`);

test("quantile: linear interpolation between order statistics", () => {
  assert.equal(quantile([5], 0.99), 5);
  assert.equal(quantile([3, 1], 0.5), 2);
  assert.equal(quantile([4, 2, 1, 3], 0), 1);
  assert.equal(quantile([4, 2, 1, 3], 1), 4);
  close(quantile([0, 10, 20, 30], 0.99), 29.7);
  close(
    quantile(
      Array.from({ length: 101 }, (_, i) => i),
      0.99,
    ),
    99,
  );
  const values = [3, 1, 2];
  quantile(values, 0.5);
  assert.deepEqual(values, [3, 1, 2], "the input is left as it was");
  close(quantile([-10, 9, 10, 8], 0.5), 8.5); // sorted as numbers, not as text
});

test("normal images alone: the 0.99 quantile of their logits and of their maps' maxima", async () => {
  const images = [0, 1, 2, 3].map((i) => normal(i - 3, Float32Array.of(-5, i, -9, i - 1)));
  const found = await calibrateThresholds(images, size);
  close(found.scoreLogit, -0.03);
  close(found.pixelLogit, 2.97);
  assert.deepEqual(
    [found.scoreMethod, found.pixelMethod, found.calibrationNormal, found.calibrationAnomalous],
    ["normal-quantile", "normal-quantile", 4, 0],
  );
});

test("separable scores: half way between the classes", async () => {
  const found = await calibrateThresholds([normal(-3), normal(-2), normal(-2.5), anomalous(1), anomalous(4)], size);
  close(found.scoreLogit, -0.5);
  assert.deepEqual([found.scoreMethod, found.calibrationNormal, found.calibrationAnomalous], ["best-f1", 3, 2]);
  // No masks: pixels go by the normal images.
  assert.equal(found.pixelMethod, "normal-quantile");
  close(found.pixelLogit, -1);
});

test("overlapping scores: the threshold of the best F1", async () => {
  // At >= 2: 2 of 3 found, no false alarm, F1 = 0.8. At >= 1: one false alarm more, 2/(2+0.5*2)... = 0.667. At >= 0: 3, 1 false: 6/7.
  const found = await calibrateThresholds([normal(1), normal(-4), anomalous(2), anomalous(3), anomalous(0)], size);
  close(found.scoreLogit, (0 + -4) / 2);
});

test("defects that score below every normal image: everything is called anomalous", async () => {
  const found = await calibrateThresholds([normal(5), anomalous(1), anomalous(2)], size);
  assert.equal(found.scoreLogit, 1);
});

test("equal scores: a threshold that calls all of them anomalous", async () => {
  const found = await calibrateThresholds([normal(2), anomalous(2)], size);
  assert.equal(found.scoreLogit, 2);
});

test("scores that float32 cannot tell apart keep the threshold finite and below the anomalous ones", async () => {
  const found = await calibrateThresholds([normal(0.1), anomalous(0.1 + 1e-12), anomalous(3)], size);
  assert.ok(Number.isFinite(found.scoreLogit) && found.scoreLogit <= 3);
});

test("masks: the map value of the best F1 over all pixels, normal images included", async () => {
  const mask = Uint8Array.of(0, 1, 1, 0);
  // Pixels 3 and 2 are defect; the normal image has 1.5 and the anomalous one 1 elsewhere. >= 2 is perfect.
  const found = await calibrateThresholds(
    [normal(0, Float32Array.of(1.5, 0, 0, 0)), anomalous(1, Float32Array.of(1, 3, 2, -1), mask)],
    size,
  );
  assert.equal(found.pixelMethod, "best-f1");
  assert.ok(found.pixelLogit > 1.5 && found.pixelLogit <= 2, String(found.pixelLogit));

  // An anomalous image without mask, or with an empty one, says nothing about pixels.
  const more = [
    anomalous(1, Float32Array.of(9, 9, 9, 9)),
    anomalous(1, Float32Array.of(9, 9, 9, 9), new Uint8Array(4)),
  ];
  const same = await calibrateThresholds(
    [normal(0, Float32Array.of(1.5, 0, 0, 0)), anomalous(1, Float32Array.of(1, 3, 2, -1), mask), ...more],
    size,
  );
  assert.equal(same.pixelLogit, found.pixelLogit);
});

test("nothing normal to go by: the defaults, in an object of their own", async () => {
  const found = await calibrateThresholds([anomalous(1)], size);
  assert.deepEqual(found, defaultThresholds);
  assert.notEqual(found, defaultThresholds);
  assert.deepEqual(await calibrateThresholds([], size), defaultThresholds);
});
