import assert from "node:assert/strict";
import { test } from "node:test";

import { engine } from "../../lib/native/engine.js";
import { random } from "../anomalies/masks.js";

function image(height: number, width: number, channels: number, seed: number): Uint8Array {
  const next = random(seed);
  return Uint8Array.from({ length: height * width * channels }, () => Math.floor(next() * 256));
}

/** One axis of a linear resize: for each target index, the source indices and weights. */
type Axis = [number, number][][];

function bilinearAxis(from: number, to: number): Axis {
  return Array.from({ length: to }, (_, i) => {
    const at = Math.max(0, ((i + 0.5) * from) / to - 0.5);
    const low = Math.min(Math.floor(at), from - 1);
    return [
      [low, 1 - (at - low)],
      [Math.min(low + 1, from - 1), at - low],
    ];
  });
}

/** Every source pixel under a triangle centred on the target pixel, as wide as the scale; weights sum to 1. */
function triangleAxis(from: number, to: number): Axis {
  const scale = from / to;
  const support = Math.max(1, scale);
  return Array.from({ length: to }, (_, i) => {
    const weights = Array.from({ length: from }, (_, j): [number, number] => [
      j,
      Math.max(0, 1 - Math.abs(j + 0.5 - scale * (i + 0.5)) / support),
    ]);
    const sum = weights.reduce((s, [, w]) => s + w, 0);
    return weights.map(([j, w]): [number, number] => [j, w / sum]).filter(([, w]) => w > 0);
  });
}

function resized(pixels: ArrayLike<number>, width: number, channels: number, rows: Axis, columns: Axis): number[] {
  return rows.flatMap((row) =>
    columns.flatMap((column) =>
      Array.from({ length: channels }, (_, c) =>
        row.reduce(
          (sum, [y, wy]) =>
            sum + wy * column.reduce((s, [x, wx]) => s + wx * pixels[(y * width + x) * channels + c]!, 0),
          0,
        ),
      ),
    ),
  );
}

const sizes = [
  [10, 14, 5, 7],
  [9, 7, 4, 5],
  [5, 6, 12, 11],
  [1, 1, 3, 4],
  [17, 3, 1, 1],
  [8, 8, 8, 3],
  [40, 60, 16, 16],
] as const;

for (const [method, axis] of [
  ["bilinear", bilinearAxis],
  ["antialias", triangleAxis],
] as const) {
  test(`${method} resizing equals its definition, rounded`, async () => {
    for (const [height, width, toHeight, toWidth] of sizes) {
      for (const channels of [1, 3]) {
        const pixels = image(height, width, channels, height * width);
        const out = await engine().resizeImage(pixels, height, width, channels, toHeight, toWidth, method);
        const expected = resized(pixels, width, channels, axis(height, toHeight), axis(width, toWidth));
        assert.equal(out.length, expected.length);
        // float32 against float64: a value within 1e-3 of a half may round either way.
        expected.forEach((value, i) =>
          assert.ok(
            Math.abs(out[i]! - value) <= 0.501,
            `${height}x${width} to ${toHeight}x${toWidth} at ${i}: ${out[i]} for ${value}`,
          ),
        );
      }
    }
  });
}

test("halves round to even, as torch.round does", async () => {
  // Halving both axes averages four pixels exactly: 0.5 -> 0, 1.5 -> 2, 2.5 -> 2, 254.5 -> 254.
  const quads = [
    [0, 1, 0, 1],
    [1, 2, 1, 2],
    [2, 3, 3, 2],
    [254, 255, 255, 254],
  ];
  for (const quad of quads) {
    const [out] = await engine().resizeImage(Uint8Array.from(quad), 2, 2, 1, 1, 1, "bilinear");
    const mean = quad.reduce((s, v) => s + v, 0) / 4;
    assert.equal(out, 2 * Math.round(mean / 2), `${mean}`);
  }
});

test("nearest takes floor(x * scale), so masks keep their values", async () => {
  for (const [height, width, toHeight, toWidth] of sizes) {
    const pixels = image(height, width, 1, 3);
    const out = await engine().resizeImage(pixels, height, width, 1, toHeight, toWidth, "nearest");
    out.forEach((value, i) => {
      const y = Math.floor((Math.floor(i / toWidth) * height) / toHeight);
      const x = Math.floor(((i % toWidth) * width) / toWidth);
      assert.equal(value, pixels[y * width + x]);
    });
  }
});

test("the same size is the same image, and constant images stay constant", async () => {
  const pixels = image(6, 9, 3, 1);
  for (const method of ["bilinear", "antialias", "nearest"] as const) {
    assert.deepEqual(await engine().resizeImage(pixels, 6, 9, 3, 6, 9, method), pixels);
    const flat = await engine().resizeImage(new Uint8Array(31 * 23 * 3).fill(255), 31, 23, 3, 7, 50, method);
    assert.ok(flat.every((v) => v === 255));
  }
});

test("a view into a larger buffer is read from its own offset", async () => {
  const pixels = image(4, 4, 3, 8);
  const buffer = new Uint8Array(100);
  buffer.set(pixels, 11);
  assert.deepEqual(
    await engine().resizeImage(buffer.subarray(11, 11 + 48), 4, 4, 3, 2, 2, "bilinear"),
    await engine().resizeImage(pixels, 4, 4, 3, 2, 2, "bilinear"),
  );
});

test("flips", () => {
  const pixels = image(3, 4, 3, 2);
  for (const flip of [0, 1, 2, 3]) {
    const out = engine().flipImage(pixels, 3, 4, 3, flip);
    for (let y = 0; y < 3; y++) {
      for (let x = 0; x < 4; x++) {
        const [sy, sx] = [flip & 1 ? 2 - y : y, flip & 2 ? 3 - x : x];
        for (let c = 0; c < 3; c++) assert.equal(out[(y * 4 + x) * 3 + c], pixels[(sy * 4 + sx) * 3 + c]);
      }
    }
  }
});

test("maps resize bilinearly with half-pixel centres", async () => {
  const next = random(5);
  for (const [height, width, toHeight, toWidth] of sizes) {
    const map = Float32Array.from({ length: height * width }, () => next() * 20 - 10);
    const out = await engine().resizeMap(map, height, width, toHeight, toWidth);
    resized(map, width, 1, bilinearAxis(height, toHeight), bilinearAxis(width, toWidth)).forEach((value, i) =>
      assert.ok(Math.abs(out[i]! - value) < 1e-4),
    );
  }
});

test("sizes that do not fit the data are refused", () => {
  assert.throws(() => engine().resizeImage(new Uint8Array(11), 2, 2, 3, 4, 4, "bilinear"), { code: "INTERNAL" });
  assert.throws(() => engine().resizeImage(new Uint8Array(12), 2, 2, 3, 0, 4, "bilinear"), { code: "INTERNAL" });
  assert.throws(() => engine().resizeMap(new Float32Array(3), 2, 2, 4, 4), { code: "INTERNAL" });
  assert.throws(() => engine().flipImage(new Uint8Array(12), 2, 2, 3, 4), { code: "INTERNAL" });
});
