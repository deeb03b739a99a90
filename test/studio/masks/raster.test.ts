import assert from "node:assert/strict";
import { test } from "node:test";

import { Random } from "../../../lib/random.js";
import {
  createBitmap,
  drawSegment,
  fillHole,
  fillPolygon,
  isSet,
  type Point,
  writeSpan,
} from "../../../web/studio/masks/raster.js";
import { copyOf, naively, noisy, paddingOf, pixelsOf, sizes } from "./support.js";

test("a span writes its pixels and no other", () => {
  const random = new Random(1);
  for (const [width, height] of sizes)
    for (let from = 0; from <= width; from++)
      for (const to of [from, from + 1, from + 9, width].map((end) => Math.min(width, end)))
        for (const value of [true, false]) {
          const before = noisy(width, height, 0.5, random);
          const after = copyOf(before);
          const row = random.integer(height);
          writeSpan(after, row, from, to, value);
          const expected = naively(before, value, (x, y) => y === row && x >= from && x < to);
          assert.deepEqual(pixelsOf(after), expected);
          assert.equal(paddingOf(after), 0);
        }
});

/** Distance of a point to a segment, by the place on it that is nearest. */
function distance({ x, y }: Point, a: Point, b: Point): number {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const along = dx === 0 && dy === 0 ? 0 : ((x - a.x) * dx + (y - a.y) * dy) / (dx * dx + dy * dy);
  const t = Math.max(0, Math.min(1, along));
  return Math.hypot(x - a.x - t * dx, y - a.y - t * dy);
}

test("a segment writes the pixels whose centres lie within its radius", () => {
  const random = new Random(2);
  const place = (size: number): number => (1.6 * random.uniform() - 0.3) * size;
  for (const [width, height] of sizes)
    for (let i = 0; i < 150; i++) {
      const from = { x: place(width), y: place(height) };
      const to = [from, { ...from, x: place(width) }, { ...from, y: place(height) }][i % 8] ?? {
        x: place(width),
        y: place(height),
      };
      const radius = [0.5, 1, 3.3, 0.4 * width][i % 4]!;
      const before = noisy(width, height, 0.5, random);
      const after = copyOf(before);
      drawSegment(after, from, to, radius, i % 2 === 0);
      const expected = naively(before, i % 2 === 0, (x, y) => distance({ x: x + 0.5, y: y + 0.5 }, from, to) <= radius);
      assert.deepEqual(pixelsOf(after), expected, JSON.stringify({ from, to, radius }));
      assert.equal(paddingOf(after), 0);
    }
});

test("centres at the very edge of a stroke belong to it", () => {
  const random = new Random(15);
  let edges = 0;
  for (let i = 0; i < 5000; i++) {
    // In halves of a pixel, where whole numbers decide: 3-4-5 and its like meet centres exactly.
    const [ax, ay, bx, by] = Array.from({ length: 4 }, () => random.integer(60)) as [number, number, number, number];
    const radius = 1 + random.integer(20);
    const [dx, dy] = [bx - ax, by - ay];
    const squared = dx * dx + dy * dy;
    const isInside = (x: number, y: number): boolean => {
      const [px, py] = [2 * x + 1 - ax, 2 * y + 1 - ay];
      const along = px * dx + py * dy;
      const [far, reach] =
        along <= 0
          ? [px * px + py * py, radius * radius]
          : along >= squared
            ? [(px - dx) ** 2 + (py - dy) ** 2, radius * radius]
            : [(dx * py - dy * px) ** 2, radius * radius * squared];
      edges += Number(far === reach);
      return far <= reach;
    };
    const bitmap = createBitmap(30, 30);
    drawSegment(bitmap, { x: ax / 2, y: ay / 2 }, { x: bx / 2, y: by / 2 }, radius / 2, true);
    assert.deepEqual(pixelsOf(bitmap), naively(createBitmap(30, 30), true, isInside), String([ax, ay, bx, by, radius]));
  }
  assert.ok(edges > 1000, `${edges}`);
});

test("a polygon sets the pixels whose centres lie in it, by the even-odd rule", () => {
  const random = new Random(3);
  for (const [width, height] of sizes)
    for (let i = 0; i < 150; i++) {
      // Every third has its corners on a grid with centres and corners of pixels: edges meet them exactly.
      const place = (size: number): number =>
        i % 3 === 0 ? random.integer(2 * size + 1) / 2 : (1.6 * random.uniform() - 0.3) * size;
      const corners = Array.from({ length: 3 + (i % 9) }, () => ({ x: place(width), y: place(height) }));
      const isInside = (x: number, y: number): boolean => {
        let inside = false;
        corners.forEach((a, k) => {
          const b = corners.at(k - 1)!;
          const crosses = a.y <= y + 0.5 !== b.y <= y + 0.5;
          // Of which side of the edge, without a division: to the left of where it crosses.
          const side = (b.x - a.x) * (y + 0.5 - a.y) - (x + 0.5 - a.x) * (b.y - a.y);
          if (crosses && (b.y > a.y ? side > 0 : side < 0)) inside = !inside;
        });
        return inside;
      };
      const before = noisy(width, height, 0.2, random);
      const after = copyOf(before);
      fillPolygon(after, corners);
      assert.deepEqual(pixelsOf(after), naively(before, true, isInside), JSON.stringify(corners));
      assert.equal(paddingOf(after), 0);
    }
});

/** What is reached over edges: in rounds over all pixels, until nothing is added. */
function reachedFrom(before: Uint8Array, width: number, start: number): Uint8Array {
  const reached = new Uint8Array(before.length);
  reached[start] = 1;
  for (let grows = true; grows;) {
    grows = false;
    for (let i = 0; i < before.length; i++) {
      if (reached[i] === 1 || before[i] === 1) continue;
      const x = i % width;
      const near = [i - width, i + width, x > 0 ? i - 1 : -1, x < width - 1 ? i + 1 : -1];
      if (near.some((other) => reached[other] === 1)) reached[i] = 1;
      grows ||= reached[i] === 1;
    }
  }
  return reached;
}

test("a fill takes the hole around a pixel, and nothing where there is none", () => {
  const random = new Random(4);
  const counts = { filled: 0, marked: 0, open: 0 };
  for (const [width, height] of sizes)
    for (let i = 0; i < 60; i++) {
      const before = noisy(width, height, [0.35, 0.45, 0.6][i % 3]!, random);
      const pixels = pixelsOf(before);
      const [column, row] = [random.integer(width), random.integer(height)];
      const reached = reachedFrom(pixels, width, row * width + column);
      const touches = (isThere: (x: number, y: number) => boolean): boolean =>
        reached.some((pixel, k) => pixel === 1 && isThere(k % width, Math.floor(k / width)));
      const across = touches((x) => x === 0) && touches((x) => x === width - 1);
      const down = touches((_, y) => y === 0) && touches((_, y) => y === height - 1);
      const expected = isSet(before, column, row) ? "marked" : across || down ? "open" : "filled";
      const after = copyOf(before);
      assert.equal(fillHole(after, { x: column, y: row }), expected);
      counts[expected]++;
      assert.deepEqual(pixelsOf(after), expected === "filled" ? pixels.map((p, k) => p | reached[k]!) : pixels);
      assert.equal(paddingOf(after), 0);
    }
  assert.ok(
    Object.values(counts).every((count) => count > 20),
    JSON.stringify(counts),
  );
});
