import assert from "node:assert/strict";
import { test } from "node:test";

import type { CalibrationImage } from "../../lib/calibration/images.js";
import { rateThreshold } from "../../lib/calibration/rate.js";
import { type CalibrationRequest, calibrateThresholds as calibrate } from "../../lib/calibration/thresholds.js";
import { defaultThresholds, type Thresholds } from "../../lib/models/config.js";

const size = { height: 1, width: 4 };
const flat = Float32Array.of(-1, -1, -1, -1);
const normal = (logit: number, map = flat): CalibrationImage => ({
  anomalous: false,
  logit,
  map,
  peak: Math.max(...map),
});
const anomalous = (logit: number, map = flat, mask?: Uint8Array): CalibrationImage => ({
  anomalous: true,
  logit,
  map,
  peak: Math.max(...map),
  mask,
});
const calibrateThresholds = (
  images: readonly CalibrationImage[],
  request: Partial<CalibrationRequest> = {},
): Promise<Thresholds> =>
  calibrate(images, size, { method: "holdOut", folds: null, falseRejectRate: 0.05, decision: "score", ...request });
const close = (actual: number, expected: number): void =>
  assert.ok(Math.abs(actual - expected) < 1e-6, `${actual}, expected ${expected}`);

test("normal images alone: the rate decides, for the logits and for their maps' maxima", async () => {
  const logits = [-3, -2.2, -2.9, -2.4, -1.8, -2.6];
  const images = logits.map((logit) => normal(logit, Float32Array.of(-9, logit + 5, -9, -7)));
  const found = await calibrateThresholds(images);
  close(found.scoreLogit, rateThreshold(logits, 0.05).logit);
  close(found.pixelLogit, rateThreshold(logits, 0.05).logit + 5);
  assert.deepEqual(
    [found.scoreMethod, found.pixelMethod, found.calibrationNormal, found.calibrationAnomalous],
    ["student-t", "student-t", 6, 0],
  );
  const { calibration } = found;
  assert.deepEqual([calibration?.objective, calibration?.points.score.f1, calibration?.warnings], ["rate", null, []]);
  const rate = calibration!.points.score.rate!;
  assert.equal(rate.detected, null);
  assert.ok(rate.falseRejects.low < 0.05 && rate.falseRejects.high > 0.05);
  close(found.mapLogit, found.pixelLogit);
});

test("with defects both operating points are known; the objective chooses", async () => {
  const images = [...[-3, -2.2, -2.9, -2.4, -1.8, -2.6].map((logit) => normal(logit)), anomalous(-1.7), anomalous(3)];
  const [byDefault, f1, rate] = await Promise.all(
    [undefined, "f1" as const, "rate" as const].map((objective) => calibrateThresholds(images, { objective })),
  );
  assert.deepEqual(byDefault, rate, "two defects");
  const ten = Array.from({ length: 10 }, (_, i) => anomalous(i));
  assert.equal((await calibrateThresholds([...images, ...ten])).scoreMethod, "best-f1");
  assert.deepEqual([f1!.scoreMethod, rate!.scoreMethod], ["best-f1", "student-t"]);
  assert.deepEqual(f1!.calibration!.points, rate!.calibration!.points);
  const points = f1!.calibration!.points.score;
  assert.deepEqual(points.f1!.score, { logit: f1!.scoreLogit, method: "best-f1" });
  assert.deepEqual(points.rate!.score, { logit: rate!.scoreLogit, method: "student-t" });
  const { detected, falseRejects } = points.rate!;
  assert.deepEqual([detected?.count, detected?.of, falseRejects.share], [1, 2, 0.05]);
  assert.equal(points.f1!.detected!.count, 2);
});

test("what tells no threshold leaves the default, and a warning says so", async () => {
  for (const [images, warning] of [
    [[], /^0 good images are too few/],
    [[anomalous(1)], /^0 good images are too few/],
    [[normal(-1)], /^1 good images are too few/],
    [Array.from({ length: 20 }, () => normal(-4)), /All 20 good images have scores of -4/],
  ] as const) {
    const found = await calibrateThresholds(images);
    assert.deepEqual({ ...found, calibrationNormal: 0, calibrationAnomalous: 0, calibration: null }, defaultThresholds);
    assert.equal(found.calibration!.points.score.rate, null);
    assert.match(found.calibration!.warnings.join("\n"), warning);
  }
});

test("too few images for the rate: a threshold with a warning that says how many it takes", async () => {
  const images = [-3, -2.2, -2.9, -2.4, -1.8].map((logit) => normal(logit));
  const found = await calibrateThresholds(images, { falseRejectRate: 0.001 });
  assert.equal(found.scoreMethod, "student-t");
  assert.match(found.calibration!.warnings[0]!, /5 good images .* 0\.1 %: it takes 99\. 5 good images support 1\.7 %/);
});

test("defects that score below the good images: a warning", async () => {
  const images = [-3, -2.2, -2.9, -2.4, -1.8].map((logit) => normal(logit));
  const warningsBeside = async (defect: CalibrationImage): Promise<string> =>
    (await calibrateThresholds([...images, defect], { objective: "rate" })).calibration!.warnings.join();
  assert.match(await warningsBeside(anomalous(-2.5)), /None of the 1 defects reaches the threshold/);
  assert.match(await warningsBeside(anomalous(-5)), /Every defect scores below every good part \(1 and 5\)/);
});

test("separable scores: half way between the classes", async () => {
  const found = await calibrateThresholds([normal(-3), normal(-2), normal(-2.5), anomalous(1), anomalous(4)], {
    objective: "f1",
  });
  close(found.scoreLogit, -0.5);
  assert.deepEqual([found.scoreMethod, found.calibrationNormal, found.calibrationAnomalous], ["best-f1", 3, 2]);
  // No masks: pixels go by the normal images.
  assert.equal(found.pixelMethod, "default");
});

test("overlapping scores: the threshold of the best F1", async () => {
  // At >= 2: 2 of 3 found, no false alarm, F1 = 0.8. At >= 1: one false alarm more, 2/(2+0.5*2)... = 0.667. At >= 0: 3, 1 false: 6/7.
  const found = await calibrateThresholds([normal(1), normal(-4), anomalous(2), anomalous(3), anomalous(0)], {
    objective: "f1",
  });
  close(found.scoreLogit, (0 + -4) / 2);
});

test("defects that score below every normal image: everything is called anomalous", async () => {
  const found = await calibrateThresholds([normal(5), anomalous(1), anomalous(2)], { objective: "f1" });
  assert.equal(found.scoreLogit, 1);
});

test("equal scores: a threshold that calls all of them anomalous", async () => {
  const found = await calibrateThresholds([normal(2), anomalous(2)], { objective: "f1" });
  assert.equal(found.scoreLogit, 2);
});

test("scores that float32 cannot tell apart keep the threshold finite and below the anomalous ones", async () => {
  const found = await calibrateThresholds([normal(0.1), anomalous(0.1 + 1e-12), anomalous(3)], { objective: "f1" });
  assert.ok(Number.isFinite(found.scoreLogit) && found.scoreLogit <= 3);
});

test("masks: the map value of the best F1 over all pixels, normal images included", async () => {
  const mask = Uint8Array.of(0, 1, 1, 0);
  // Pixels 3 and 2 are defect; the normal image has 1.5 and the anomalous one 1 elsewhere. >= 2 is perfect.
  const found = await calibrateThresholds([
    normal(0, Float32Array.of(1.5, 0, 0, 0)),
    anomalous(1, Float32Array.of(1, 3, 2, -1), mask),
  ]);
  assert.equal(found.pixelMethod, "best-f1");
  assert.ok(found.pixelLogit > 1.5 && found.pixelLogit <= 2, String(found.pixelLogit));

  // An anomalous image without mask, or with an empty one, says nothing about pixels.
  const more = [
    anomalous(1, Float32Array.of(9, 9, 9, 9)),
    anomalous(1, Float32Array.of(9, 9, 9, 9), new Uint8Array(4)),
  ];
  const same = await calibrateThresholds([
    normal(0, Float32Array.of(1.5, 0, 0, 0)),
    anomalous(1, Float32Array.of(1, 3, 2, -1), mask),
    ...more,
  ]);
  assert.equal(same.pixelLogit, found.pixelLogit);
});
