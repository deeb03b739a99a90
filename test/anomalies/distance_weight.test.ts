import assert from "node:assert/strict";
import { test } from "node:test";

import { golden, skip } from "../golden/vectors.js";
import { components, randomMask } from "./masks.js";
import { testing } from "../support/native.js";

function bruteWeight(mask: Uint8Array, height: number, width: number, w: number, p: number): number[] {
  const labels = components(mask, height, width);
  const distance = Array.from(mask, (_, i) => {
    let best = Infinity;
    if (labels[i] === 0) return 0;
    for (let j = 0; j < mask.length; j++) {
      if (labels[j] !== labels[i])
        best = Math.min(best, Math.hypot(Math.floor(i / width) - Math.floor(j / width), (i % width) - (j % width)));
    }
    return best;
  });
  const farthest = new Map<number, number>();
  distance.forEach((d, i) => farthest.set(labels[i]!, Math.max(farthest.get(labels[i]!) ?? 0, d)));
  return distance.map((d, i) => (labels[i] === 0 ? 1 : d === Infinity ? w : w * (d / farthest.get(labels[i]!)!) ** p));
}

test("the distance weight equals the reference implementation's", { skip }, () => {
  const mask = golden("distance_weight/mask");
  const [height, width] = mask.shape as [number, number];
  const weight = testing().distanceWeight(Uint8Array.from(mask.data), height, width, 3, 2);
  golden("distance_weight/w3_p2").data.forEach((expected, i) =>
    assert.ok(Math.abs(weight[i]! - expected) < 1e-6, `${i}: ${weight[i]} for ${expected}`),
  );
});

test("the distance weight equals a brute-force search on random masks", () => {
  for (const [height, width, density, seed] of [
    [13, 17, 0.7, 1],
    [20, 9, 0.95, 2],
    [1, 30, 0.8, 3],
    [30, 1, 0.8, 4],
    [16, 16, 0.3, 5],
    [12, 25, 0.99, 6],
    [1, 1, 0, 7],
    [1, 1, 1, 8],
    [4, 6, 1, 9],
  ] as const) {
    const mask = randomMask(height, width, density, seed);
    const weight = testing().distanceWeight(mask, height, width, 3, 2);
    bruteWeight(mask, height, width, 3, 2).forEach((expected, i) =>
      assert.ok(Math.abs(weight[i]! - expected) < 1e-5, `${height}x${width} at ${i}: ${weight[i]} for ${expected}`),
    );
  }
});

test("other exponents and scales", () => {
  const mask = randomMask(11, 14, 0.9, 3);
  for (const [w, p] of [
    [1, 1],
    [5, 0.5],
    [2, 0],
  ] as const) {
    const weight = testing().distanceWeight(mask, 11, 14, w, p);
    bruteWeight(mask, 11, 14, w, p).forEach((expected, i) => assert.ok(Math.abs(weight[i]! - expected) < 1e-5));
  }
});

test("dilation by a square, origin as in OpenCV", () => {
  for (const size of [0, 1, 2, 3, 4, 7, 50]) {
    const [height, width] = [9, 12];
    const mask = randomMask(height, width, 0.06, 10 + size);
    const dilated = testing().dilate(mask, height, width, size);
    const n = Math.max(1, size);
    const anchor = Math.floor(n / 2);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        let expected = 0;
        for (let j = 0; j < n; j++) {
          for (let i = 0; i < n; i++) {
            const [sy, sx] = [y + j - anchor, x + i - anchor];
            if (sy >= 0 && sy < height && sx >= 0 && sx < width && mask[sy * width + sx]) expected = 1;
          }
        }
        assert.equal(dilated[y * width + x], expected, `size ${size} at ${y}, ${x}`);
      }
    }
  }
});

test("sizes that do not fit the data are refused", () => {
  assert.throws(() => testing().distanceWeight(new Uint8Array(5), 2, 3, 3, 2), { code: "INTERNAL" });
  assert.throws(() => testing().dilate(new Uint8Array(6), 0, 6, 3), { code: "INTERNAL" });
});
