import assert from "node:assert/strict";
import { test } from "node:test";

import { plainView, type View } from "../../lib/schema/view.js";
import { axisWeights, raiseTo } from "../../lib/view/blend.js";
import { cutMask } from "../../lib/view/open.js";
import { countTiles, isPlain, type Layout, layoutOf, mapArea } from "../../lib/view/layout.js";
import { failure } from "../datasets/files.js";

const tile = { width: 64, height: 48 };
function laid(view: Partial<View>, width: number, height: number, region = { x: 0, y: 0, width, height }): Layout {
  return layoutOf({ ...plainView, ...view }, tile, { size: { width, height }, region, name: "a.png" });
}
const tiles = (size: number, overlap: number, scales: (number | "whole")[] = [1]): View["tiles"] => ({
  size,
  overlap,
  scales,
});
const square = { width: 64, height: 64 };
const tiled = (view: Partial<View>, width: number, height: number): Layout =>
  layoutOf({ ...plainView, scale: 1, ...view }, square, {
    size: { width, height },
    region: { x: 0, y: 0, width, height },
    name: "a.png",
  });

test("without a view the image is one tile, stretched", () => {
  const layout = laid({}, 300, 20);
  assert.deepEqual(layout.planes, [
    { ...tile, scale: "whole", columns: [0], rows: [0], covered: { x: 0, y: 0, ...tile } },
  ]);
  assert.deepEqual(mapArea(layout), { x: 0, y: 0, width: 300, height: 20 });
  assert.equal(isPlain(plainView), true);
});

test("pad keeps the aspect and covers all; crop keeps it and covers the middle", () => {
  const padded = laid({ fit: "pad" }, 128, 48);
  assert.deepEqual(padded.planes, [
    {
      width: 64,
      height: 24,
      scale: "whole",
      columns: [0],
      rows: [-12],
      covered: { x: 0, y: 0, width: 64, height: 24 },
    },
  ]);
  assert.deepEqual(mapArea(padded), { x: 0, y: 0, width: 128, height: 48 });
  const cropped = laid({ fit: "crop" }, 128, 48);
  assert.deepEqual(cropped.planes, [
    { width: 128, height: 48, scale: "whole", columns: [32], rows: [0], covered: { x: 32, y: 0, ...tile } },
  ]);
  assert.deepEqual(mapArea(cropped), { x: 32, y: 0, width: 64, height: 48 });
  const small = laid({ fit: "pad", scale: 0.25 }, 100, 80, { x: 20, y: 40, width: 80, height: 40 });
  assert.deepEqual(mapArea(small), { x: 20, y: 40, width: 80, height: 40 });
  assert.deepEqual(small.planes[0].columns, [-22]);
});

test("tiles cover every pixel, overlap at least as asked and lie at both edges", () => {
  for (const [length, overlap] of [
    [64, 0],
    [65, 0],
    [127, 16],
    [128, 0],
    [200, 63],
    [1000, 16],
  ] as const) {
    const { columns, rows } = tiled({ tiles: tiles(64, overlap) }, length, 64).planes[0];
    assert.deepEqual(rows, [0]);
    assert.equal(columns[0], 0);
    assert.equal(columns.at(-1), length - 64);
    columns.slice(1).forEach((edge, i) => {
      assert.ok(edge > columns[i]! && columns[i]! + 64 - edge >= overlap, `${length} ${overlap}: ${columns.join()}`);
    });
  }
});

test("several scales: the finest plane first, and the whole in one tile", () => {
  const layout = tiled({ tiles: tiles(64, 0, ["whole", 0.5, 1]) }, 256, 128);
  assert.deepEqual(
    layout.planes.map(({ width, height, columns, rows }) => [width, height, columns.length, rows.length]),
    [
      [256, 128, 4, 2],
      [128, 64, 2, 1],
      [64, 64, 1, 1],
    ],
  );
  assert.equal(countTiles(layout), 11);
});

test("an image that the view cannot be applied to is refused with both sizes", () => {
  const refused = (run: () => unknown, ...texts: string[]): void =>
    assert.throws(run, failure("VIEW_MISMATCH", "a.png", ...texts));
  refused(() => tiled({ tiles: tiles(64, 0) }, 63, 900), "63x900", "64x64");
  refused(() => tiled({ tiles: tiles(64, 0), scale: 0.5 }, 125, 900), "125x900", "63x450", "0.5");
  refused(() => laid({ fit: "pad", scale: 1 }, 65, 40), "65x40", "64x48");
  refused(() => laid({ fit: "crop", scale: 1 }, 640, 40), "640x40", "64x48");
  const wide = { size: { width: 2e5, height: 2e5 }, region: { x: 0, y: 0, width: 2e5, height: 2e5 }, name: "a.png" };
  refused(() => layoutOf({ ...plainView, scale: 1, tiles: tiles(64, 32) }, square, wide), "tiles; at most 1000000");
  refused(() => laid({ fit: "pad", scale: 0.001 }, 300, 400), "300x400", "nothing is left");
});

test("a thin scratch of a mask is in the tiles of a coarser plane, at its place", async () => {
  const layout = tiled({ tiles: tiles(64, 0), scale: 0.4 }, 320, 320);
  const [plane] = layout.planes;
  const mask = new Uint8Array(320 * 320);
  for (let y = 41; y < 300; y++) mask[y * 320 + 101] = 1;
  const whole = await cutMask(mask, layout, plane, plane.covered);
  for (let y = 0; y < 128; y++)
    for (let x = 0; x < 128; x++)
      assert.equal(whole[y * 128 + x], x === 40 && y >= 16 && y < 120 ? 1 : 0, `${x}, ${y}`);
  const part = await cutMask(mask, layout, plane, { x: 30, y: 10, width: 20, height: 20 });
  for (let y = 0; y < 20; y++)
    assert.deepEqual(part.subarray(y * 20, y * 20 + 20), whole.subarray((y + 10) * 128 + 30, (y + 10) * 128 + 50));
});

test("the weights of tiles sum to one, fall to their edges, and are one where nothing overlaps", () => {
  assert.deepEqual(axisWeights([0], 5), [Float32Array.of(1, 1, 1, 1, 1)]);
  assert.deepEqual(axisWeights([-3], 4), [Float32Array.of(1, 1, 1, 1)]);
  for (const edges of [
    [0, 3, 6],
    [0, 1, 2, 9],
    [0, 5, 10],
  ]) {
    const weights = axisWeights(edges, 10);
    const sums = new Float64Array(edges.at(-1)! + 10);
    weights.forEach((of, i) => of.forEach((weight, p) => (sums[edges[i]! + p]! += weight)));
    for (const sum of sums) assert.ok(Math.abs(sum - 1) < 1e-6, `${edges.join()}: ${sum}`);
    assert.ok(weights[1]![0]! < weights[1]![4]!, "it begins low");
  }
});

test("a coarser map raises a finer one where it is higher", () => {
  const fine = { data: Float32Array.of(0, 0, 9, 0), width: 4, height: 1, first: 0, rows: 1 };
  raiseTo(fine, { data: Float32Array.of(-1, 3), width: 2, height: 1 });
  assert.deepEqual(fine.data, Float32Array.of(0, 0, 9, 3));
});
