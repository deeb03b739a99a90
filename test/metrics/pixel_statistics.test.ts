import assert from "node:assert/strict";
import { test } from "node:test";

import type { BoundedPixelMetrics } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { random, randomMask } from "../anomalies/masks.js";
import { auroc, aupro, averagePrecision, f1Max, randomCuts } from "./oracles.js";

interface LabelledImage {
  map: Float32Array;
  mask?: Uint8Array;
  ignore?: Uint8Array;
  width: number;
}

type Cut = (height: number) => number[];
const uncut: Cut = (height) => [0, height];

/** What is accumulated of images that are cut into strips. */
async function byStrips(images: LabelledImage[], fprLimit = 0.3, cut = uncut): Promise<BoundedPixelMetrics> {
  const statistics = engine().createPixelStatistics();
  for (const { map, mask, ignore, width } of images) {
    const cuts = cut(map.length / width);
    for (let i = 0; i + 1 < cuts.length; i++) {
      const [from, to] = [cuts[i]! * width, cuts[i + 1]! * width];
      const part = (array?: Uint8Array): Uint8Array | undefined => array?.subarray(from, to);
      await statistics.addRows(map.subarray(from, to), width, cuts[i + 1]! - cuts[i]!, part(mask), part(ignore));
    }
    await statistics.endImage();
  }
  const metrics = await statistics.metrics(fprLimit);
  statistics.dispose();
  return metrics;
}

const kinds = ["auroc", "averagePrecision", "f1Max", "aupro"] as const;

/** Within the bound of the exact metrics of the same images, which have one size. */
async function assertBounded(images: LabelledImage[], fprLimit: number, what: string): Promise<BoundedPixelMetrics> {
  const { width, map } = images[0]!;
  const exact = await engine().pixelMetrics(
    images.map((image) => image.map),
    images.map((image) => image.mask ?? new Uint8Array(map.length)),
    map.length / width,
    width,
    fprLimit,
    images.map((image) => image.ignore),
  );
  const bounded = await byStrips(images, fprLimit);
  assert.equal(bounded.regions, exact.regions, what);
  for (const kind of kinds) {
    if (Number.isNaN(exact[kind])) {
      assert.ok(Number.isNaN(bounded[kind]), what);
      continue;
    }
    assert.ok(bounded.errorBound[kind] >= 0, what);
    const difference = Math.abs(bounded[kind] - exact[kind]);
    assert.ok(difference <= bounded.errorBound[kind] + 1e-12, `${what}: ${kind} differs by ${difference}`);
  }
  return bounded;
}

/** Sums of few uniform numbers: bell-shaped. Defects score higher. */
function bellShaped(mask: Uint8Array, next: () => number, scale = 1, offset = 0): Float32Array {
  return Float32Array.from(mask, (m) => (next() + next() + next() + next() - 2 + 0.7 * m) * scale + offset);
}

test("few distinct scores: the same bits as the exact metrics", async () => {
  for (let seed = 0; seed < 60; seed++) {
    const next = random(seed);
    const [height, width] = [2 + Math.floor(next() * 20), 2 + Math.floor(next() * 20)];
    const levels = 1 + Math.floor(next() * 12);
    const images = Array.from({ length: 1 + Math.floor(next() * 3) }, (_, i): LabelledImage => {
      const mask = randomMask(height, width, [0.02, 0.3][i % 2]!, seed * 10 + i);
      const map = Float32Array.from(mask, (m) => (Math.floor((next() + 0.3 * m) * levels) - levels / 2) * 0.37);
      return { map, mask, width, ignore: i % 2 === 1 ? undefined : randomMask(height, width, 0.3, seed + 7) };
    });
    for (const limit of [0.05, 0.3, 1]) {
      const { errorBound, ...metrics } = await byStrips(images, limit);
      const exact = await engine().pixelMetrics(
        images.map(({ map }) => map),
        images.map(({ mask }) => mask!),
        height,
        width,
        limit,
        images.map(({ ignore }) => ignore),
      );
      assert.deepEqual(metrics, exact, `seed ${seed}`);
      if (!Number.isNaN(exact.auroc))
        assert.deepEqual(errorBound, { auroc: 0, averagePrecision: 0, f1Max: 0, aupro: 0 }, `seed ${seed}`);
    }
  }
});

test("the bound holds where many scores share a bucket, and it is not zero there", async () => {
  let largest = 0;
  for (let seed = 0; seed < 200; seed++) {
    const next = random(500 + seed);
    const [height, width] = [2 + Math.floor(next() * 20), 2 + Math.floor(next() * 20)];
    // A bucket is 2^-16 of its scores, 2^-13 outside the usual range: spread them over a few buckets, or within one.
    const offset = [1.5, -1.5, 100, -1e-6, 1e9][seed % 5]!;
    const spread = Math.abs(offset) * [2 ** -18, 2 ** -16, 2 ** -13][seed % 3]!;
    const images = Array.from({ length: 1 + Math.floor(next() * 3) }, (_, i): LabelledImage => {
      const mask = randomMask(height, width, [0.02, 0.3][i % 2]!, seed * 10 + i);
      return { map: bellShaped(mask, next, spread, offset), mask, width };
    });
    for (const limit of [0.05, 0.3, 1]) {
      const { errorBound } = await assertBounded(images, limit, `seed ${seed}, limit ${limit}`);
      largest = Math.max(largest, errorBound.auroc || 0);
    }
  }
  assert.ok(largest > 0.1, "these scores do not test the bound");
});

test("smooth scores have a small bound", async () => {
  const [height, width] = [512, 512];
  for (const offset of [0, -8]) {
    const next = random(3);
    const images = Array.from({ length: 4 }, (_, n): LabelledImage => {
      const mask = new Uint8Array(height * width);
      if (n % 2 === 0) for (let y = 100; y < 160; y++) mask.fill(1, y * width + 200 + n * y, y * width + 240 + n * y);
      return { map: bellShaped(mask, next, 2, offset), mask, width };
    });
    const { errorBound, auroc } = await assertBounded(images, 0.3, `offset ${offset}`);
    assert.ok(auroc < 0.99);
    for (const kind of kinds) assert.ok(errorBound[kind] < 2e-5, `${kind}, offset ${offset}: ${errorBound[kind]}`);
  }
});

test("images of different sizes, cut anywhere, give the same bits", async () => {
  const next = random(11);
  const images = [
    [40, 33],
    [7, 90],
    [64, 1],
    [1, 50],
  ].map(([height, width], i): LabelledImage => {
    const mask = randomMask(height!, width!, 0.3, i);
    return { map: bellShaped(mask, next), mask, width: width!, ignore: randomMask(height!, width!, 0.1, 40 + i) };
  });
  const whole = await byStrips(images);
  assert.ok(whole.regions > 20);
  for (let i = 0; i < 20; i++)
    assert.deepEqual(await byStrips(images, 0.3, (height) => randomCuts(height, next)), whole);
  assert.deepEqual(await byStrips(images, 0.3, (height) => Array.from({ length: height + 1 }, (_, y) => y)), whole);
});

test("ignored pixels are in no count: equal to brute force without them", async () => {
  for (let seed = 0; seed < 12; seed++) {
    const next = random(900 + seed);
    const [height, width] = [8, 9];
    const masks = [0, 1].map((i) => randomMask(height, width, [0.15, 0.4][i]!, seed * 10 + i));
    const ignores = [2, 3].map((i) => randomMask(height, width, 0.4, seed * 10 + i));
    const maps = masks.map((mask) => Float32Array.from(mask, (m) => Math.floor((next() + 0.3 * m) * 20) / 20));
    const kept = (_: unknown, i: number): boolean => ![...ignores[0]!, ...ignores[1]!][i];
    const scores = maps.flatMap((map) => [...map]).filter(kept);
    const labels = masks.flatMap((mask) => [...mask]).filter(kept);
    const expected = {
      auroc: auroc(scores, labels),
      averagePrecision: averagePrecision(scores, labels),
      f1Max: f1Max(scores, labels).value,
      aupro: aupro(maps, masks, height, width, 0.3, ignores),
    };
    const odd = maps.map((map, i) => map.map((value, at) => (ignores[i]![at] ? [NaN, Infinity, 9][at % 3]! : value)));
    const images = odd.map((map, i) => ({ map, mask: masks[i], ignore: ignores[i], width }));
    const { errorBound: _, ...bounded } = await byStrips(images);
    const exact = await engine().pixelMetrics(odd, masks, height, width, 0.3, ignores);
    assert.deepEqual(bounded, exact);
    for (const kind of kinds) assert.ok(Math.abs(exact[kind] - expected[kind]) < 1e-9, `${kind}, seed ${seed}`);
  }
});

test("a region that ignored pixels cut in two is one; one that is ignored as a whole does not count", async () => {
  const mask = Uint8Array.from([1, 1, 1, 0, 1, 0]);
  const map = Float32Array.from([3, 9, 3, 0, 9, 1]);
  const images = [{ map, mask, width: 6, ignore: Uint8Array.from([0, 1, 0, 0, 1, 0]) }];
  const { regions, aupro } = await byStrips(images);
  assert.deepEqual([regions, aupro], [1, 1]);
});

test("without defects, with nothing else, and without images the metrics are NaN", async () => {
  const map = Float32Array.from([1, 2, 3, 4]);
  const full = new Uint8Array(4).fill(1);
  for (const [images, regions] of [
    [[], 0],
    [[{ map, width: 2 }], 0],
    [[{ map, width: 2, mask: full }], 1],
    [[{ map, width: 2, mask: full, ignore: full }], 0],
  ] as const) {
    const metrics = await byStrips([...images]);
    for (const kind of kinds) assert.ok(Number.isNaN(metrics[kind]) && Number.isNaN(metrics.errorBound[kind]));
    assert.equal(metrics.regions, regions);
  }
});

test("metrics may be asked for between images", async () => {
  const next = random(5);
  const images = [1, 2, 3].map((i): LabelledImage => {
    const mask = randomMask(20, 20, 0.2, i);
    return { map: bellShaped(mask, next), mask, width: 20 };
  });
  const statistics = engine().createPixelStatistics();
  for (const [i, { map, mask }] of images.entries()) {
    await statistics.addRows(map, 20, 20, mask);
    await statistics.endImage();
    assert.deepEqual(await statistics.metrics(0.3), await byStrips(images.slice(0, i + 1)));
  }
  statistics.dispose();
});

test("pixels that are not finite are refused by position, and end the object", async () => {
  for (const [value, name] of [
    [NaN, "NaN"],
    [Infinity, "infinite"],
    [-Infinity, "minus infinity"],
  ] as const) {
    const statistics = engine().createPixelStatistics();
    await statistics.addRows(new Float32Array(4), 4, 1);
    await statistics.endImage();
    await statistics.addRows(new Float32Array(6), 3, 2);
    const map = new Float32Array(6);
    map[5] = value;
    await assert.rejects(statistics.addRows(map, 3, 2, Uint8Array.from([0, 0, 0, 0, 0, 1])), {
      code: "METRIC_UNDEFINED",
      message: new RegExp(`map 1 is ${name} at row 3, column 2`),
    });
    assert.throws(() => statistics.endImage(), { code: "INTERNAL", message: /failed/ });
    statistics.dispose();
  }
});

test("scores of every exponent and sign are counted in order", async () => {
  const next = random(77);
  const map = Float32Array.from({ length: 20000 }, () => (next() - 0.5) * 2 ** (next() * 245 - 120));
  const mask = randomMask(100, 200, 0.4, 1);
  const { errorBound } = await assertBounded([{ map, mask, width: 200 }], 0.3, "every exponent");
  assert.ok(errorBound.auroc < 1e-5, String(errorBound.auroc));
});

test("extreme scores: signs, signed zeros, denormals, the largest floats", async () => {
  const map = Float32Array.from([-3.4e38, -1, -1e-45, -0, 0, 1e-45, 1, 3.4e38]);
  const mask = Uint8Array.from([0, 0, 0, 0, 1, 1, 1, 1]);
  const { auroc } = await assertBounded([{ map, mask, width: 8 }], 0.3, "extreme scores");
  assert.ok(Math.abs(auroc - (1 - 0.5 / 16)) <= 0.5 / 16, "-0 and 0 share a bucket with the smallest floats");
});

test("pixel statistics refuse misuse", async () => {
  const internal = { code: "INTERNAL" };
  const strip = new Float32Array(4);
  const statistics = engine().createPixelStatistics();
  assert.throws(() => statistics.addRows(strip, 3, 2), internal);
  assert.throws(() => statistics.addRows(strip, 0, 2), internal);
  assert.throws(() => statistics.addRows(strip, 2, 2, new Uint8Array(3)), internal);
  assert.throws(() => statistics.addRows(strip, 2, 2, undefined, new Uint8Array(5)), internal);
  assert.throws(() => statistics.addRows(strip, 2, 2, [] as never), internal);
  assert.throws(() => statistics.metrics(0), internal);
  const pending = statistics.addRows(strip, 2, 2);
  assert.throws(() => statistics.endImage(), { ...internal, message: /the call before/ });
  await pending;
  statistics.dispose();
  statistics.dispose();
  assert.throws(() => statistics.endImage(), { ...internal, message: /disposed/ });
  for (const misuse of [
    async (s: typeof statistics) => s.endImage(),
    async (s: typeof statistics) => (await s.addRows(strip, 2, 2), s.metrics(0.3)),
    async (s: typeof statistics) => (await s.addRows(strip, 2, 2), s.addRows(strip, 4, 1)),
  ]) {
    const other = engine().createPixelStatistics();
    await assert.rejects(misuse(other), internal);
    other.dispose();
  }
});
