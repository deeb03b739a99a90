import assert from "node:assert/strict";
import { test } from "node:test";

import { Random } from "../../../lib/random.js";
import { Coverage } from "../../../web/studio/masks/coverage.js";
import { paintOverlay, shownBox } from "../../../web/studio/masks/overlay.js";
import { drawSegment, isSet, reachOf } from "../../../web/studio/masks/raster.js";
import { copyOf, noisy, sizes } from "./support.js";

test("a cell is 0 only without defects, 255 only when full, and between them about its share", () => {
  const random = new Random(6);
  for (const [width, height] of sizes)
    for (const share of [0, 0.01, 0.5, 0.99, 1]) {
      const bitmap = noisy(width, height, share, random);
      const { levels, isEmpty } = new Coverage(bitmap);
      assert.equal(
        isEmpty,
        bitmap.data.every((byte) => byte === 0),
      );
      levels.forEach((level, i) => {
        const side = 2 ** (i + 1);
        assert.deepEqual([level.width, level.height], [Math.ceil(width / side), Math.ceil(height / side)]);
        level.values.forEach((value, cell) => {
          const [left, top] = [(cell % level.width) * side, Math.floor(cell / level.width) * side];
          let [set, all] = [0, 0];
          for (let y = top; y < Math.min(height, top + side); y++)
            for (let x = left; x < Math.min(width, left + side); x++, all++) set += Number(isSet(bitmap, x, y));
          assert.equal(value === 0, set === 0);
          assert.equal(value === 255, set === all);
          const isWhole = left + side <= width && top + side <= height;
          if (isWhole) assert.ok(Math.abs(value - (255 * set) / all) <= i + 2, `${value} for ${set} of ${all}`);
        });
      });
    }
});

test("a change in a box leaves the coverage as if it had been counted anew", () => {
  const random = new Random(7);
  for (const [width, height] of sizes) {
    const bitmap = noisy(width, height, 0.3, random);
    const coverage = new Coverage(bitmap);
    for (let i = 0; i < 40; i++) {
      const [from, to] = [0, 1].map(() => ({ x: random.uniform() * width, y: random.uniform() * height }));
      drawSegment(bitmap, from!, to!, 4, i % 2 === 0);
      coverage.update(reachOf(bitmap, from!, to!, 4));
      assert.deepEqual(coverage.levels, new Coverage(bitmap).levels);
    }
  }
});

const canvas = { left: 0, top: 0, right: 90, bottom: 60 };
const alphaOf = (rgba: Uint8ClampedArray): number[] =>
  Array.from({ length: rgba.length / 4 }, (_, i) => rgba[4 * i + 3]!);

test("the overlay shows, for each of the canvas's pixels, the image's pixel under its centre", () => {
  const random = new Random(8);
  const bitmap = noisy(61, 47, 0.4, random);
  const coverage = new Coverage(bitmap);
  for (const view of [
    { scale: 1, left: 0, top: 0 },
    { scale: 3.7, left: 11.3, top: -2.2 },
    { scale: 16, left: 58, top: 45.5 },
  ]) {
    const rgba = new Uint8ClampedArray(4 * 90 * 60);
    paintOverlay(bitmap, coverage, view, canvas, rgba);
    alphaOf(rgba).forEach((alpha, i) => {
      const x = Math.floor(view.left + ((i % 90) + 0.5) / view.scale);
      const y = Math.floor(view.top + (Math.floor(i / 90) + 0.5) / view.scale);
      const isDefect = x >= 0 && y >= 0 && x < 61 && y < 47 && isSet(bitmap, x, y);
      assert.equal(alpha, isDefect ? 255 : 0);
    });
  }
});

test("however small an image is drawn, each defect shows", () => {
  const random = new Random(9);
  for (const scale of [0.9, 0.5, 0.3, 0.11, 0.03])
    for (let i = 0; i < 20; i++) {
      const [x, y] = [random.integer(Math.floor(90 / scale) - 2), random.integer(Math.floor(60 / scale) - 2)];
      const bitmap = noisy(Math.ceil(90 / scale), Math.ceil(60 / scale), 0, random);
      drawSegment(bitmap, { x: x + 0.5, y: y + 0.5 }, { x: x + 0.5, y: y + 0.5 }, 0.5, true);
      const rgba = new Uint8ClampedArray(4 * 90 * 60);
      paintOverlay(bitmap, new Coverage(bitmap), { scale, left: 0, top: 0 }, canvas, rgba);
      assert.ok(
        alphaOf(rgba).some((alpha) => alpha > 100),
        `pixel ${x}, ${y} at ${scale}`,
      );
    }
});

test("painting the box of a change is painting all", () => {
  const random = new Random(10);
  for (const scale of [0.11, 0.3, 0.74, 1, 5.5])
    for (let i = 0; i < 20; i++) {
      const view = { scale, left: 30 * random.uniform(), top: 30 * random.uniform() };
      const bitmap = noisy(260, 190, 0.01, random);
      const coverage = new Coverage(bitmap);
      const before = new Uint8ClampedArray(4 * 90 * 60);
      paintOverlay(copyOf(bitmap), coverage, view, canvas, before);

      const [from, to] = [0, 1].map(() => ({ x: 120 * random.uniform(), y: 120 * random.uniform() }));
      drawSegment(bitmap, from!, to!, 3, true);
      const changed = reachOf(bitmap, from!, to!, 3);
      coverage.update(changed);
      const box = shownBox(changed, view, 90, 60);
      const part = new Uint8ClampedArray(4 * Math.max(0, box.right - box.left) * Math.max(0, box.bottom - box.top));
      paintOverlay(bitmap, coverage, view, box, part);
      for (let y = box.top; y < box.bottom; y++)
        before.set(
          part.subarray(4 * (y - box.top) * (box.right - box.left), 4 * (y - box.top + 1) * (box.right - box.left)),
          4 * (y * 90 + box.left),
        );
      const after = new Uint8ClampedArray(4 * 90 * 60);
      paintOverlay(bitmap, coverage, view, canvas, after);
      assert.deepEqual(before, after);
    }
});
