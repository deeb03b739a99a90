import assert from "node:assert/strict";
import { test } from "node:test";

import { evaluateMaps, type EvaluatedMap, evaluateScores } from "../../lib/evaluation/metrics.js";
import { metricsTable } from "../../lib/evaluation/metrics_table.js";
import { golden, goldenJson, skip } from "../golden/vectors.js";

const [height, width] = [2, 3];
const normal = (...values: number[]): EvaluatedMap => ({ label: "normal", map: Float32Array.from(values) });
const defect = (mask: number[] | null, ...values: number[]): EvaluatedMap => ({
  label: "anomalous",
  map: Float32Array.from(values),
  mask: mask && Uint8Array.from(mask),
});

test("seg-I-AUROC takes the maximum of the map", { skip }, async () => {
  const { shape, data } = golden("metrics/maps");
  const masks = golden("metrics/masks").data;
  const pixels = shape[1]! * shape[2]!;
  const images = Array.from({ length: shape[0]! }, (_, i): EvaluatedMap => {
    const mask = Uint8Array.from(masks.slice(i * pixels, (i + 1) * pixels));
    return { label: mask.some(Boolean) ? "anomalous" : "normal", map: data.slice(i * pixels, (i + 1) * pixels), mask };
  });
  const metrics = await evaluateMaps(images, { height: shape[1]!, width: shape[2]! });
  for (const id of ["pixelAuroc", "pixelAveragePrecision", "aupro", "segmentedImageAuroc"] as const) {
    const { name } = metricsTable[id];
    assert.ok(Math.abs(metrics[id]! - (goldenJson("metrics", name) as number)) < 1e-9, name);
  }
  assert.deepEqual(metrics.notes, []);
});

test("scores: the threshold decides as F1 was computed, for scores finer than float32 too", async () => {
  const scores = [0.1, 0.2, 0.9000000001, 0.9];
  const metrics = await evaluateScores(scores, ["normal", "normal", "anomalous", "anomalous"]);
  assert.deepEqual(metrics, { imageAuroc: 1, imageAveragePrecision: 1, imageF1Max: 1, f1MaxThreshold: 0.9, notes: [] });
});

test("scores: one class gives null and says why", async () => {
  const expected = { imageAuroc: null, imageAveragePrecision: null, imageF1Max: null, f1MaxThreshold: null };
  assert.deepEqual(await evaluateScores([1, 2], ["normal", "normal"]), {
    ...expected,
    notes: ["I-AUROC, AP-det, F1-max: all test images are normal"],
  });
  assert.deepEqual(await evaluateScores([1], ["anomalous"]), {
    ...expected,
    notes: ["I-AUROC, AP-det, F1-max: all test images are anomalous"],
  });
  assert.deepEqual(await evaluateScores([], []), {
    ...expected,
    notes: ["I-AUROC, AP-det, F1-max: there are no test images"],
  });
});

test("maps: anomalous images without a mask stay out of the pixel metrics only", async () => {
  const images = [
    normal(0, 0, 0, 0, 0, 1),
    defect([0, 0, 0, 0, 1, 1], 0, 0, 0, 0, 5, 6),
    defect(null, 9, 9, 9, 9, 9, 9),
  ];
  const metrics = await evaluateMaps(images, { height, width });
  assert.equal(metrics.pixelAuroc, 1);
  assert.equal(metrics.aupro, 1);
  assert.equal(metrics.segmentedImageAuroc, 1);
  assert.equal(metrics.pixelF1MaxThreshold, 5);
  assert.deepEqual(metrics.counts, { images: 3, inPixelMetrics: 2, withoutMask: 1, regions: 1 });
  assert.deepEqual(metrics.notes, ["1 anomalous image has no mask and is left out of the pixel metrics"]);
});

test("maps: without masks the pixel metrics are null and the image ones are not", async () => {
  const metrics = await evaluateMaps([normal(0, 0, 0, 0, 0, 1), defect(null, 0, 0, 0, 0, 0, 2)], { height, width });
  assert.deepEqual(
    [
      metrics.pixelAuroc,
      metrics.pixelAveragePrecision,
      metrics.aupro,
      metrics.pixelF1Max,
      metrics.segmentedImageAuroc,
      metrics.segmentedImageAveragePrecision,
    ],
    [null, null, null, null, 1, 1],
  );
  assert.equal(metrics.notes[0], "P-AUROC, AP-loc, AUPRO: no masks in the test images");
});

test("maps: an empty mask of an anomalous image is counted and told", async () => {
  const metrics = await evaluateMaps([normal(0, 0, 0, 0, 0, 1), defect([0, 0, 0, 0, 0, 0], 0, 0, 0, 0, 0, 2)], {
    height,
    width,
  });
  assert.deepEqual(metrics.notes, [
    "P-AUROC, AP-loc, AUPRO: no defect pixel is marked in the test images",
    "1 anomalous image has an empty mask: its pixels count as normal",
  ]);
});

test("maps: ignored pixels change nothing, in the maximum of the map neither", async () => {
  const ignore = Uint8Array.from([0, 7, 0, 0, 0, 1]);
  const metrics = (odd: number, mask: number): ReturnType<typeof evaluateMaps> =>
    evaluateMaps(
      [
        { ...normal(0, odd, 1, 0, 3, odd), ignore },
        { ...normal(0, odd, 1, 0, 2, odd), ignore, mask: Uint8Array.from([0, mask, 0, 0, 0, 0]) },
        { ...defect([0, mask, 0, 0, 1, mask], 0, odd, 1, 0, 2, odd), ignore },
        normal(0, 0, 0, 0, 0, 5),
      ],
      { height, width },
    );
  const first = await metrics(0, 0);
  assert.equal(first.segmentedImageAuroc, 0.5 / 3);
  assert.equal(first.counts.regions, 1);
  for (const [odd, mask] of [
    [9, 0],
    [NaN, 0],
    [-Infinity, 1],
  ] as const)
    assert.deepEqual(await metrics(odd, mask), first);
});

test("maps: a mask whose defects are all ignored counts as empty", async () => {
  const ignored = { ...defect([0, 0, 0, 0, 0, 1], 0, 0, 0, 0, 0, 2), ignore: Uint8Array.from([0, 0, 0, 0, 0, 1]) };
  const { notes, counts } = await evaluateMaps([normal(0, 0, 0, 0, 0, 1), ignored], { height, width });
  assert.equal(counts.regions, 0);
  assert.equal(notes[1], "1 anomalous image has an empty mask: its pixels count as normal");
});

test("wrong input is refused before it reaches the engine", async () => {
  const good = normal(0, 0, 0, 0, 0, 1);
  await assert.rejects(evaluateScores([1, 2], ["normal"]), { code: "INVALID_OPTION" });
  await assert.rejects(evaluateScores([1], ["good" as "normal"]), { code: "INVALID_OPTION", message: /labels\[0\]/ });
  await assert.rejects(evaluateScores([0, NaN], ["normal", "anomalous"]), {
    code: "METRIC_UNDEFINED",
    message: /score 1/,
  });
  await assert.rejects(evaluateMaps([normal(1, 2)], { height, width }), {
    code: "INVALID_OPTION",
    message: /images\[0\]\.map/,
  });
  await assert.rejects(evaluateMaps([good, { ...good, mask: new Uint8Array(5) }], { height, width }), {
    code: "INVALID_OPTION",
    message: /images\[1\]\.mask/,
  });
  for (const ignore of [new Uint8Array(5), new Uint8Array(6).fill(2), "all"])
    await assert.rejects(evaluateMaps([good, { ...good, ignore: ignore as Uint8Array }], { height, width }), {
      code: "INVALID_OPTION",
      message: /images\[1\]\.ignore/,
    });
  await assert.rejects(evaluateMaps([{ ...good, mask: new Uint8Array(6).fill(1) }], { height, width }), {
    code: "INVALID_OPTION",
    message: /normal image/,
  });
  await assert.rejects(evaluateMaps([normal(0, 0, 0, NaN, 0, 0)], { height, width }), {
    code: "METRIC_UNDEFINED",
    message: /images\[0\]\.map is NaN at pixel 3/,
  });
  await assert.rejects(evaluateMaps([good], { height, width, fprLimit: 0 }), { code: "INVALID_OPTION" });
  await assert.rejects(evaluateMaps([good], { height: 0, width }), { code: "INVALID_OPTION" });
  await assert.rejects(evaluateMaps([good], { height, width, fprlimit: 0.3 } as never), {
    code: "UNKNOWN_OPTION",
    message: /fprLimit/,
  });
});
