import assert from "node:assert/strict";
import { test } from "node:test";

import { engine } from "../../lib/native/engine.js";
import { components, random, randomMask } from "../anomalies/masks.js";
import { golden, goldenJson, skip } from "../golden/vectors.js";
import { auroc, aupro, averagePrecision, f1Max } from "./oracles.js";

function near(actual: number, expected: number, what: string): void {
  assert.ok(Math.abs(actual - expected) < 1e-9, `${what}: ${actual} for ${expected}`);
}

/** The slices of a count x H x W golden tensor. */
function slices(name: string): { height: number; width: number; images: Float32Array[] } {
  const { shape, data } = golden(name);
  const [count, height, width] = shape as [number, number, number];
  return {
    height,
    width,
    images: Array.from({ length: count }, (_, i) => data.slice(i * height * width, (i + 1) * height * width)),
  };
}

test("image metrics equal the reference implementation's", { skip }, async () => {
  const metrics = await engine().imageMetrics(
    golden("metrics/image_scores").data,
    Uint8Array.from(golden("metrics/image_labels").data),
  );
  near(metrics.auroc, goldenJson("metrics", "I-AUROC") as number, "I-AUROC");
  near(metrics.averagePrecision, goldenJson("metrics", "AP-det") as number, "AP-det");
});

test("pixel metrics equal the reference implementation's", { skip }, async () => {
  const { height, width, images } = slices("metrics/maps");
  const masks = slices("metrics/masks").images.map((mask) => Uint8Array.from(mask));
  const metrics = await engine().pixelMetrics(images, masks, height, width, 0.3);
  near(metrics.auroc, goldenJson("metrics", "P-AUROC") as number, "P-AUROC");
  near(metrics.averagePrecision, goldenJson("metrics", "AP-loc") as number, "AP-loc");
  near(metrics.aupro, goldenJson("metrics", "AUPRO") as number, "AUPRO");
});

test("image metrics equal brute force on scores with many ties", async () => {
  for (let seed = 0; seed < 60; seed++) {
    const next = random(seed);
    const count = 2 + Math.floor(next() * 40);
    const levels = 1 + Math.floor(next() * 12);
    const scores = Float32Array.from({ length: count }, () => (Math.floor(next() * levels) - levels / 2) * 0.37);
    const labels = Uint8Array.from({ length: count }, (_, i) => (i === 0 ? 0 : i === 1 ? 1 : Number(next() < 0.4)));
    const metrics = await engine().imageMetrics(scores, labels);
    const f1 = f1Max(scores, labels);
    near(metrics.auroc, auroc(scores, labels), `AUROC, seed ${seed}`);
    near(metrics.averagePrecision, averagePrecision(scores, labels), `AP, seed ${seed}`);
    near(metrics.f1Max, f1.value, `F1, seed ${seed}`);
    assert.equal(metrics.f1Threshold, f1.threshold, `F1's threshold, seed ${seed}`);
  }
});

test("pixel metrics equal brute force, at several false-positive-rate limits", async () => {
  for (let seed = 0; seed < 20; seed++) {
    const next = random(100 + seed);
    const [count, height, width] = [1 + Math.floor(next() * 3), 3 + Math.floor(next() * 7), 3 + Math.floor(next() * 9)];
    const levels = [3, 20, 1e6][seed % 3]!;
    const masks = Array.from({ length: count }, (_, i) =>
      randomMask(height, width, [0.05, 0.2, 0.4][i % 3]!, seed * 10 + i),
    );
    masks[0]![0] = 1;
    masks[0]![masks[0]!.length - 1] = 0;
    const maps = masks.map((mask) =>
      Float32Array.from(mask, (inside) => Math.floor((next() + 0.3 * inside) * levels) / levels - 0.5),
    );
    const scores = maps.flatMap((map) => [...map]);
    const labels = masks.flatMap((mask) => [...mask]);
    for (const limit of [0.05, 0.3, 1]) {
      const metrics = await engine().pixelMetrics(maps, masks, height, width, limit);
      near(metrics.aupro, aupro(maps, masks, height, width, limit), `AUPRO to ${limit}, seed ${seed}`);
      near(metrics.auroc, auroc(scores, labels), `P-AUROC, seed ${seed}`);
      near(metrics.averagePrecision, averagePrecision(scores, labels), `AP-loc, seed ${seed}`);
      near(metrics.f1Max, f1Max(scores, labels).value, `pixel F1, seed ${seed}`);
      assert.equal(metrics.f1Threshold, f1Max(scores, labels).threshold);
      assert.equal(
        metrics.regions,
        masks.reduce((sum, mask) => sum + Math.max(0, ...components(mask, height, width)), 0),
      );
    }
  }
});

test("extreme scores sort rightly: signs, signed zeros, denormals, the largest floats", async () => {
  const scores = Float32Array.from([-3.4e38, -1, -1e-45, -0, 0, 1e-45, 1, 3.4e38]);
  const labels = Uint8Array.from([0, 0, 0, 0, 1, 1, 1, 1]);
  near((await engine().imageMetrics(scores, labels)).auroc, 1 - 0.5 / 16, "AUROC with -0 and 0 tied");
});

test("equal scores give AUROC 1/2 and AP the share of anomalous items", async () => {
  const metrics = await engine().imageMetrics(
    new Float32Array(10).fill(0.7),
    Uint8Array.from([1, 1, 1, 0, 0, 0, 0, 0, 0, 0]),
  );
  near(metrics.auroc, 0.5, "AUROC");
  near(metrics.averagePrecision, 0.3, "AP");
});

test("one class, or nothing, gives NaN", async () => {
  for (const labels of [[], [0, 0], [1, 1]]) {
    const metrics = await engine().imageMetrics(
      Float32Array.from(labels, (_, i) => i),
      Uint8Array.from(labels),
    );
    assert.ok(Object.values(metrics).every(Number.isNaN), labels.join());
  }
  const none = await engine().pixelMetrics([], [], 4, 4, 0.3);
  assert.ok(Number.isNaN(none.aupro) && none.regions === 0);
  const full = await engine().pixelMetrics([new Float32Array(4)], [new Uint8Array(4).fill(1)], 2, 2, 0.3);
  assert.ok(Number.isNaN(full.aupro) && Number.isNaN(full.auroc) && full.regions === 1);
});

test("scores that are not finite are refused by position", async () => {
  await assert.rejects(engine().imageMetrics(Float32Array.from([1, 2, NaN, NaN]), Uint8Array.from([0, 1, 0, 1])), {
    code: "METRIC_UNDEFINED",
    message: /score 2 is NaN/,
  });
  const map = new Float32Array(12);
  map[7] = -Infinity;
  await assert.rejects(
    engine().pixelMetrics([new Float32Array(12), map], [new Uint8Array(12), new Uint8Array(12)], 3, 4, 0.3),
    {
      code: "METRIC_UNDEFINED",
      message: /map 1 is minus infinity at row 1, column 3/,
    },
  );
});

test("arrays that do not fit the sizes are refused", () => {
  assert.throws(() => engine().imageMetrics(new Float32Array(3), new Uint8Array(2)), { code: "INTERNAL" });
  assert.throws(() => engine().pixelMetrics([new Float32Array(5)], [new Uint8Array(6)], 2, 3, 0.3), {
    code: "INTERNAL",
  });
  assert.throws(() => engine().pixelMetrics([], [], 2, 3, 0), { code: "INTERNAL" });
});

test("changing the arrays after the call changes nothing", async () => {
  const maps = [Float32Array.from([1, 2, 3, 4])];
  const masks = [Uint8Array.from([0, 0, 0, 1])];
  const pending = engine().pixelMetrics(maps, masks, 2, 2, 0.3);
  maps[0]!.fill(0);
  masks[0]!.fill(0);
  assert.equal((await pending).auroc, 1);
});
