import assert from "node:assert/strict";
import { test } from "node:test";

import { areaOf, fillPolygons, type Point, type Polygon, selfCrosses } from "../../lib/images/polygons.js";
import { Random } from "../../lib/random.js";

/** Whether the centre of a pixel is inside: edges to the left of it are counted, in exact whole numbers of 1/grid pixel. */
function isInside(polygon: Polygon, column: number, row: number, grid: number): boolean {
  const whole = (value: number): bigint => BigInt(Math.round(value * 2 * grid));
  const [x, y] = [whole(column + 0.5), whole(row + 0.5)];
  let inside = false;
  polygon.forEach((a, i) => {
    const b = polygon[(i + 1) % polygon.length]!;
    const [upper, lower] = a[1] <= b[1] ? [a, b] : [b, a];
    const [x0, y0, x1, y1] = [whole(upper[0]), whole(upper[1]), whole(lower[0]), whole(lower[1])];
    if (y0 <= y && y < y1 && (x - x0) * (y1 - y0) >= (x1 - x0) * (y - y0)) inside = !inside;
  });
  return inside;
}

function byOracle(polygons: readonly Polygon[], width: number, height: number, grid: number): Uint8Array {
  const pixels = new Uint8Array(width * height);
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++)
      if (polygons.some((polygon) => isInside(polygon, column, row, grid))) pixels[row * width + column] = 1;
  return pixels;
}

/** Corners on a grid of so many to the pixel, some of them outside the image. */
function randomPolygon(random: Random, corners: number, size: number, grid: number): Point[] {
  const place = (): number => (random.integer(size * 1.5 * grid) - 0.25 * size * grid) / grid;
  return Array.from({ length: corners }, () => [place(), place()] as const);
}

const marked = (pixels: Uint8Array): number => pixels.reduce((sum, pixel) => sum + pixel, 0);

test("random polygons are filled as point by point, whether or not they cross themselves", async () => {
  const random = new Random(1);
  for (const grid of [1, 2, 8, 1024])
    for (let i = 0; i < 60; i++) {
      const polygons = Array.from({ length: 1 + (i % 3) }, () =>
        randomPolygon(random, 3 + random.integer(9), 24, grid),
      );
      const [width, height] = [24 + (i % 5), 20 + (i % 7)];
      assert.deepEqual(await fillPolygons(polygons, { width, height }), byOracle(polygons, width, height, grid));
    }
});

test("a window is the crop of the whole", async () => {
  const random = new Random(2);
  const [width, height] = [37, 41];
  for (let i = 0; i < 40; i++) {
    const polygons = [
      randomPolygon(random, 7, 40, 1024),
      [[random.integer(30) + 0.1, -3.3] as const, [36.7, 20.2] as const, [3.3, 50.1] as const],
    ];
    const whole = await fillPolygons(polygons, { width, height });
    for (const [top, rows] of [
      [0, 5],
      [13, 11],
      [40, 1],
    ] as const)
      assert.deepEqual(
        await fillPolygons(polygons, { width, height, top, rows }),
        whole.slice(top * width, (top + rows) * width),
      );
  }
});

test("polygons that share edges share no pixel and leave none out, wherever their corners lie", async () => {
  const random = new Random(3);
  const size = 32;
  for (let i = 0; i < 50; i++) {
    const place = (least: number, most: number): number => least + random.uniform() * (most - least);
    const corners: Polygon = [[0, 0], [place(8, 24), 0], [size, 0], [size, place(8, 24)], [size, size], [place(8, 24), size], [0, size], [0, place(8, 24)]]; // prettier-ignore
    const middle: Point = i % 2 ? [place(4, 28), place(4, 28)] : [16.5, 16.5];
    const fan = corners.map((a, k) =>
      k % 2 ? [a, corners[(k + 1) % 8]!, middle] : [middle, corners[(k + 1) % 8]!, a],
    );
    const parts = await Promise.all(fan.map((part) => fillPolygons([part], { width: size, height: size })));
    assert.equal(
      parts.reduce((sum, part) => sum + marked(part), 0),
      size * size,
    );
    assert.equal(marked(await fillPolygons(fan, { width: size, height: size })), size * size);
  }
});

test("a centre on an edge belongs to the right and below", async () => {
  const square: Polygon = [[0.5, 0.5], [2.5, 0.5], [2.5, 2.5], [0.5, 2.5]]; // prettier-ignore
  assert.deepEqual([...(await fillPolygons([square], { width: 3, height: 3 }))], [1, 1, 0, 1, 1, 0, 0, 0, 0]);
});

test("corners far outside are cut off, and polygons of no area fill nothing", async () => {
  const size = { width: 9, height: 7 };
  const far: Polygon = [[-1e9, -1e9], [1e9, -1e9], [1e9, 1e9], [-1e9, 1e9]]; // prettier-ignore
  assert.equal(marked(await fillPolygons([far], size)), 63);
  for (const nothing of [
    [],
    [[1, 1]],
    [
      [1, 1],
      [8, 5],
    ],
    [
      [1, 2],
      [8, 2],
      [3, 2],
    ],
    [
      [20, 0],
      [30, 0],
      [30, 7],
    ],
  ])
    // prettier-ignore
    assert.equal(marked(await fillPolygons([nothing as unknown as Polygon], size)), 0);
  assert.equal(marked(await fillPolygons([], size)), 0);
});

test("a strip of a line-scan image is filled without the rest, and other work goes on meanwhile", async () => {
  const [width, height] = [8192, 40_000];
  const rhombus: Polygon = [[4096, 0], [8192, 20_000], [4096, 40_000], [0, 20_000]]; // prettier-ignore
  const strip = await fillPolygons([rhombus], { width, height, top: 19_990, rows: 20 });
  assert.equal(strip.length, 20 * width);
  // The widest rows lie beside y = 20000, where each side runs 4096 pixels in 20000 rows.
  for (let row = 0; row < 20; row++) {
    const inside = 2 * 4096 * (1 - Math.abs(19_990 + row + 0.5 - 20_000) / 20_000);
    assert.ok(Math.abs(marked(strip.subarray(row * width, (row + 1) * width)) - inside) <= 1);
  }
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  await fillPolygons([rhombus], { width, height, rows: 4096 });
  clearInterval(timer);
  assert.ok(turns > 0);
});

test("areas, whichever way round and wherever", () => {
  const square: Polygon = [[1, 1], [4, 1], [4, 3], [1, 3]]; // prettier-ignore
  assert.equal(areaOf(square), 6);
  assert.equal(areaOf([...square].reverse()), 6);
  assert.equal(areaOf(square.map(([x, y]) => [x + 2 ** 40, y + 2 ** 40] as const)), 6);
  assert.equal(areaOf([]), 0);
});

const shapes: Readonly<Record<string, readonly [crosses: boolean, polygon: Polygon]>> = {
  triangle: [false, [[0, 0], [4, 0], [0, 4]]],
  "square with its first corner again at the end": [false, [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]],
  "corners on one line": [false, [[0, 0], [2, 0], [4, 0], [4, 4]]],
  "hollow": [false, [[0, 0], [9, 0], [9, 9], [6, 9], [6, 3], [3, 3], [3, 9], [0, 9]]],
  bow: [true, [[0, 0], [4, 4], [4, 0], [0, 4]]],
  "corner on an edge": [true, [[0, 0], [4, 0], [4, 4], [2, 0], [0, 4]]],
  "corner on a corner": [true, [[0, 0], [2, 2], [4, 0], [4, 4], [2, 2], [0, 4]]],
  "edge on an edge": [true, [[0, 0], [9, 0], [9, 4], [6, 4], [6, 0], [3, 0], [3, 4], [0, 4]]],
  "spike": [true, [[0, 0], [4, 0], [8, 0], [4, 0], [4, 4]]],
  "there and back": [true, [[0, 0], [4, 4], [0, 0], [4, 4]]],
  "one point": [true, [[1, 1], [1, 1], [1, 1]]],
}; // prettier-ignore

for (const [name, [crosses, polygon]] of Object.entries(shapes))
  test(`${name}: ${crosses ? "crosses or touches itself" : "does not cross itself"}`, () => {
    for (let turn = 0; turn < polygon.length; turn++) {
      const turned = [...polygon.slice(turn), ...polygon.slice(0, turn)];
      assert.equal(selfCrosses(turned), crosses);
      assert.equal(selfCrosses(turned.reverse()), crosses);
      assert.equal(selfCrosses(turned.map(([x, y]) => [y, x] as const)), crosses);
    }
  });

test("a circle of many corners does not cross itself, and one corner drawn across does", () => {
  const corners = Array.from({ length: 5000 }, (_, i): Point => {
    const angle = (2 * Math.PI * i) / 5000;
    return [500 + 400 * Math.cos(angle), 500 + 400 * Math.sin(angle)];
  });
  assert.equal(selfCrosses(corners), false);
  corners[1234] = [50, 500];
  assert.equal(selfCrosses(corners), true);
});
