import assert from "node:assert/strict";
import { test } from "node:test";

import type { FoundRegions } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { random, randomMask } from "../anomalies/masks.js";
import { randomCuts, regionsOf } from "./oracles.js";

/** What a region finder finds in the strips between `cuts`. */
async function byStrips(
  map: Float32Array,
  width: number,
  options: { thresholds: number[]; minArea: number },
  cuts: number[],
  ignore?: Uint8Array,
): Promise<FoundRegions[]> {
  const finder = engine().createRegionFinder({ width, ...options });
  for (let i = 0; i + 1 < cuts.length; i++) {
    const [from, to] = [cuts[i]! * width, cuts[i + 1]! * width];
    await finder.addRows(map.subarray(from, to), cuts[i + 1]! - cuts[i]!, ignore?.subarray(from, to));
  }
  return finder.finish();
}

test("regions equal a flood fill on random maps, ties included", async () => {
  for (let seed = 0; seed < 40; seed++) {
    const next = random(seed);
    const [height, width] = [1 + Math.floor(next() * 20), 1 + Math.floor(next() * 20)];
    const map = Float32Array.from({ length: height * width }, () => Math.floor(next() * 8) - 4);
    for (const [threshold, minArea] of [
      [0, 0],
      [2, 1],
      [3, 2],
      [-4, 1],
      [9, 0],
    ] as const) {
      assert.deepEqual(
        await engine().regions(map, height, width, threshold, minArea),
        regionsOf(map, height, width, threshold, minArea),
        `seed ${seed}, threshold ${threshold}`,
      );
    }
  }
});

test("by strips, regions are those of the whole map, however it is cut", async () => {
  const odd = [NaN, -0, 0, Infinity, -Infinity];
  for (let seed = 0; seed < 300; seed++) {
    const next = random(1000 + seed);
    const [height, width] = [1 + Math.floor(next() * 40), 1 + Math.floor(next() * 40)];
    const levels = [2, 5, 1000][seed % 3]!;
    const oddShare = [0, 0.02][seed % 2]!;
    const map = Float32Array.from({ length: height * width }, () =>
      seed % 5 === 0
        ? [-1, -0, 0][Math.floor(next() * 3)]! // a peak of zero has the sign of the first one
        : next() < oddShare
          ? odd[Math.floor(next() * odd.length)]!
          : Math.floor(next() * levels) / levels - 0.4,
    );
    const ignore = seed % 4 === 0 ? undefined : randomMask(height, width, [0.01, 0.3, 0.9][seed % 3]!, seed);
    const options = { thresholds: [next() - 0.4, next() - 0.4, -Infinity], minArea: Math.floor(next() * 4) };
    assert.deepEqual(
      await byStrips(map, width, options, randomCuts(height, next), ignore),
      options.thresholds.map((threshold) => regionsOf(map, height, width, threshold, options.minArea, ignore)),
      `seed ${seed}`,
    );
  }
});

test("by strips, large regions join over many rows: smooth maps", async () => {
  const [height, width] = [300, 257];
  const map = Float32Array.from(
    { length: height * width },
    (_, i) => Math.sin((i % width) / 9) * Math.sin(i / width / 7) + 0.3 * Math.sin((i % width) / 3 - i / width / 2),
  );
  const thresholds = [-0.1, 0.3];
  for (const cuts of [
    Array.from({ length: height + 1 }, (_, i) => i),
    [0, 128, 256, height],
    randomCuts(height, random(7)),
  ])
    assert.deepEqual(
      await byStrips(map, width, { thresholds, minArea: 5 }, cuts),
      thresholds.map((threshold) => regionsOf(map, height, width, threshold, 5)),
    );
});

test("spirals and combs join into one region", async () => {
  const rows = [
    "#.#.#.#.#",
    "#.#.#.#.#",
    ".#.#.#.#.",
    ".........",
    "#########",
    "........#",
    "#######.#",
    "#.....#.#",
    "#.###.#.#",
    "#.#...#.#",
    "#.#####.#",
    "#.......#",
    "#########",
  ];
  const map = Float32Array.from(rows.join(""), (c) => Number(c === "#"));
  const { regions } = await engine().regions(map, rows.length, 9, 1, 0);
  assert.deepEqual(
    regions.map((r) => r.area),
    [14, [...rows.slice(4).join("")].filter((c) => c === "#").length],
  );
});

test("NaN belongs to no region, and the maximum is NaN", async () => {
  const { peak, regions } = await engine().regions(Float32Array.from([NaN, 1, NaN]), 1, 3, 0, 0);
  assert.deepEqual([peak, regions.map((r) => [r.area, r.x])], [NaN, [[1, 1]]]);
});

test("ignored pixels change nothing, NaN included; all of them leave no peak", async () => {
  const options = { thresholds: [0], minArea: 1 };
  const ignore = Uint8Array.from([0, 0, 7, 0, 0, 1]);
  const found = (a: number, b: number, mask: Uint8Array): Promise<FoundRegions[]> =>
    byStrips(Float32Array.from([1, -1, a, 2, -1, b]), 3, options, [0, 1, 2], mask);
  const expected = { area: 2, x: 0, y: 0, width: 1, height: 2, peak: 2, peakX: 0, peakY: 1 };
  for (const [a, b] of [
    [-9, -9],
    [9, NaN],
  ] as const)
    assert.deepEqual(await found(a, b, ignore), [{ peak: 2, regions: [expected] }]);
  assert.deepEqual(await found(9, NaN, new Uint8Array(6).fill(1)), [{ peak: -Infinity, regions: [] }]);
  assert.deepEqual(
    await engine()
      .createRegionFinder({ width: 3, ...options })
      .finish(),
    [{ peak: -Infinity, regions: [] }],
  );
});

test("a region finder refuses misuse", async () => {
  const internal = { code: "INTERNAL" };
  const make = (options: object) => engine().createRegionFinder({ width: 2, thresholds: [0], minArea: 1, ...options });
  assert.throws(() => make({ width: 0 }), internal);
  assert.throws(() => make({ thresholds: 1 }), internal);
  assert.throws(() => make({ thresholds: ["high"] }), internal);
  const finder = make({});
  const strip = new Float32Array(4);
  assert.throws(() => finder.addRows(strip, 3), internal);
  assert.throws(() => finder.addRows(strip, 0), internal);
  assert.throws(() => finder.addRows(new Float64Array(4) as never, 2), internal);
  assert.throws(() => finder.addRows(strip, 2, new Uint8Array(3)), internal);
  const pending = finder.addRows(strip, 2);
  assert.throws(() => finder.addRows(strip, 2), { ...internal, message: /the call before/ });
  assert.throws(() => finder.finish(), internal);
  await pending;
  const [found] = await finder.finish();
  assert.equal(found!.regions[0]!.area, 4);
  assert.throws(() => finder.addRows(strip, 2), { ...internal, message: /finished/ });
  assert.throws(() => finder.finish(), internal);
  finder.dispose();
  const disposed = make({});
  const last = disposed.addRows(strip, 2);
  disposed.dispose();
  disposed.dispose();
  await last;
  assert.throws(() => disposed.addRows(strip, 2), internal);
});
