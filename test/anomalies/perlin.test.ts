import assert from "node:assert/strict";
import { test } from "node:test";

import { testElsewhere } from "../golden/cases.js";
import { golden, goldenJson, skip } from "../golden/vectors.js";
import { philox, tag } from "./philox.js";
import { testing } from "../support/native.js";

/** docs/method.md, Synthetic anomalies, word for word in float64: one sample at a time. */
function noiseAt(
  y: number,
  x: number,
  height: number,
  width: number,
  latticeY: number,
  latticeX: number,
  angles: ArrayLike<number>,
): number {
  const fade = (t: number): number => 6 * t ** 5 - 15 * t ** 4 + 10 * t ** 3;
  const [v, u] = [(y * latticeY) / height, (x * latticeX) / width];
  const [cy, cx] = [Math.floor(v), Math.floor(u)];
  const corner = (iy: number, ix: number): number => {
    const angle = 2 * Math.PI * angles[(cy + iy) * (latticeX + 1) + cx + ix]!;
    return Math.cos(angle) * (v - cy - iy) + Math.sin(angle) * (u - cx - ix);
  };
  const mix = (a: number, b: number, t: number): number => a + t * (b - a);
  const [fy, fx] = [fade(v - cy), fade(u - cx)];
  return Math.SQRT2 * mix(mix(corner(0, 0), corner(1, 0), fy), mix(corner(0, 1), corner(1, 1), fy), fx);
}

/** What native/anomalies/perlin.h promises for one sample, before the threshold; null when the mask is emptied. */
function drawn(seed: number, step: number, copy: number, height: number, width: number): Float64Array | null {
  const block = (first: number, second: number) => philox([first, second, tag(1, copy), step], BigInt(seed));
  const choice = block(0, 0);
  if (choice[2] >= 2 ** 31) return null;
  const [latticeY, latticeX] = [2 ** Math.floor((choice[0] * 6) / 2 ** 32), 2 ** Math.floor((choice[1] * 6) / 2 ** 32)];
  const angles = Array.from(
    { length: (latticeY + 1) * (latticeX + 1) },
    (_, i) => Math.floor(block(Math.floor(i / 4), 1)[i % 4]! / 256) / 2 ** 24,
  );
  const power = (n: number): number => 2 ** Math.ceil(Math.log2(n));
  const [gridHeight, gridWidth] = [power(height), power(width)];
  const source = (i: number, from: number, to: number): [number, number, number] => {
    const at = Math.max(0, ((i + 0.5) * from) / to - 0.5);
    const low = Math.min(Math.floor(at), from - 1);
    return [low, Math.min(low + 1, from - 1), at - low];
  };
  const out = new Float64Array(height * width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [y0, y1, ty] = source(y, gridHeight, height);
      const [x0, x1, tx] = source(x, gridWidth, width);
      const at = (gy: number, gx: number): number => noiseAt(gy, gx, gridHeight, gridWidth, latticeY, latticeX, angles);
      out[y * width + x] =
        (1 - ty) * ((1 - tx) * at(y0, x0) + tx * at(y0, x1)) + ty * ((1 - tx) * at(y1, x0) + tx * at(y1, x1));
    }
  }
  return out;
}

for (const i of [0, 1, 2]) {
  test(`Perlin noise equals the reference implementation's (golden ${i})`, { skip }, () => {
    const expected = golden(`perlin/${i}/noise`);
    const [latticeY, latticeX] = goldenJson(`perlin/${i}`, "lattice") as [number, number];
    const noise = testing().perlinNoise(
      expected.shape[0]!,
      expected.shape[1]!,
      latticeY,
      latticeX,
      golden(`perlin/${i}/angles_over_2pi`).data,
    );
    noise.forEach((value, k) =>
      assert.ok(Math.abs(value - expected.data[k]!) < 2e-6, `${k}: ${value} for ${expected.data[k]}`),
    );
  });
}

test("Perlin noise follows its definition for every lattice a mask can draw, finer than the grid too", () => {
  for (const [height, width, latticeY, latticeX] of [
    [16, 16, 32, 1],
    [8, 4, 2, 32],
    [1, 1, 1, 1],
    [1, 64, 32, 16],
    [2, 2, 32, 32],
  ] as const) {
    const angles = Float32Array.from({ length: (latticeY + 1) * (latticeX + 1) }, (_, i) => (i * 0.37) % 1);
    const noise = testing().perlinNoise(height, width, latticeY, latticeX, angles);
    noise.forEach((value, i) => {
      const expected = noiseAt(Math.floor(i / width), i % width, height, width, latticeY, latticeX, angles);
      assert.ok(Math.abs(value - expected) < 2e-6, `${height}x${width} lattice ${latticeY}x${latticeX} at ${i}`);
    });
  }
});

test("masks are the thresholded, resized noise that Philox draws", () => {
  for (const [height, width, threshold] of [
    [16, 16, 0.2],
    [12, 20, 0.2],
    [7, 33, 0.6],
    [1, 1, -1],
    [3, 1, 0],
  ] as const) {
    const count = 6;
    const masks = testing().perlinMasks(11, 5, count, height, width, threshold);
    assert.equal(masks.length, count * height * width);
    for (let copy = 0; copy < count; copy++) {
      const noise = drawn(11, 5, copy, height, width);
      for (let i = 0; i < height * width; i++) {
        const value = masks[copy * height * width + i];
        if (noise && Math.abs(noise[i]! - threshold) < 1e-5) continue; // float32 may fall on either side
        assert.equal(value, noise && noise[i]! > threshold ? 1 : 0, `${height}x${width} copy ${copy} at ${i}`);
      }
    }
  }
});

test("about half of the masks are empty, and a sample's mask does not depend on the batch it is in", () => {
  const [height, width] = [32, 32];
  const masks = testing().perlinMasks(0, 0, 400, height, width, -10); // every value passes, so only emptied masks are empty
  const empty = Array.from({ length: 400 }, (_, i) => masks[i * height * width]).filter((v) => v === 0).length;
  assert.ok(empty > 160 && empty < 240, `${empty} of 400`);
  const alone = testing().perlinMasks(3, 9, 1, height, width, 0.2);
  const batch = testing().perlinMasks(3, 9, 50, height, width, 0.2);
  assert.deepEqual(alone, batch.slice(0, height * width));
  assert.notDeepEqual(testing().perlinMasks(3, 10, 50, height, width, 0.2), batch);
  assert.notDeepEqual(testing().perlinMasks(4, 9, 50, height, width, 0.2), batch);
});

testElsewhere("the same masks, bit for bit", { skip: false }, async (device) => {
  const draw = (where?: string): Float32Array[] =>
    (
      [
        [0, 0, 64, 64, 0.2],
        [2 ** 40 + 7, 70001, 32, 16, 0.6],
        [3, 1, 20, 28, 0.2],
        [4, 2, 1, 33, 0.1],
      ] as const
    ).map(([seed, step, height, width, threshold]) =>
      testing().perlinMasks(seed, step, 40, height, width, threshold, where),
    );
  const actual = draw(device);
  await testing().setPortable(false);
  assert.deepEqual(actual, draw());
});
