import assert from "node:assert/strict";
import { test } from "node:test";

import type { Region } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { components, random } from "../anomalies/masks.js";

function bruteRegions(map: Float32Array, height: number, width: number, threshold: number, minArea: number): Region[] {
  const labels = components(
    Uint8Array.from(map, (v) => Number(v >= threshold)),
    height,
    width,
  );
  const regions: Region[] = [];
  for (let label = 1; label <= Math.max(0, ...labels); label++) {
    const pixels = [...labels.keys()].filter((i) => labels[i] === label);
    const xs = pixels.map((i) => i % width);
    const ys = pixels.map((i) => Math.floor(i / width));
    const peak = Math.max(...pixels.map((i) => map[i]!));
    const at = pixels.find((i) => map[i] === peak)!;
    const [x, y] = [Math.min(...xs), Math.min(...ys)];
    regions.push({
      area: pixels.length,
      x,
      y,
      width: Math.max(...xs) - x + 1,
      height: Math.max(...ys) - y + 1,
      peak,
      peakX: at % width,
      peakY: Math.floor(at / width),
    });
  }
  return regions.filter((r) => r.area >= minArea).sort((a, b) => b.peak - a.peak);
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
        { peak: Math.max(...map), regions: bruteRegions(map, height, width, threshold, minArea) },
        `seed ${seed}, threshold ${threshold}`,
      );
    }
  }
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
