import assert from "node:assert/strict";
import { test } from "node:test";

import { Random } from "../../../lib/random.js";
import { fitted, moved, toCanvas, toImage, type View, zoomed } from "../../../web/studio/masks/view.js";

const image = { width: 8192, height: 6144 };
const canvas = { width: 1280, height: 700 };

function assertNear(a: { x: number; y: number }, b: { x: number; y: number }): void {
  assert.ok(Math.hypot(a.x - b.x, a.y - b.y) < 1e-6, JSON.stringify({ a, b }));
}

test("an image is fitted in the middle, as large as it can be", () => {
  const view = fitted(image, canvas);
  assert.equal(view.scale, 700 / 6144);
  assertNear(toCanvas(view, { x: 4096, y: 3072 }), { x: 640, y: 350 });
  assert.equal(fitted({ width: 2, height: 2 }, canvas).scale, 64);
});

test("the point under the pointer stays there while it zooms", () => {
  const random = new Random(13);
  let view = fitted(image, canvas);
  for (let i = 0; i < 200; i++) {
    const point = { x: 640 + 100 * (random.uniform() - 0.5), y: 350 + 100 * (random.uniform() - 0.5) };
    const before = toImage(view, point);
    const next: View = zoomed(view, random.uniform() < 0.6 ? 1.3 : 0.8, point, image, canvas);
    const isInside = next.left > -canvas.width / next.scale / 2 + 1 && next.top > -canvas.height / next.scale / 2 + 1;
    if (isInside) assertNear(toImage(next, point), before);
    view = next;
  }
});

test("zoom and move have limits: the image cannot be lost", () => {
  let view = fitted(image, canvas);
  for (let i = 0; i < 100; i++) view = zoomed(view, 2, { x: 0, y: 0 }, image, canvas);
  assert.equal(view.scale, 64);
  for (let i = 0; i < 100; i++) view = zoomed(view, 0.5, { x: 1280, y: 0 }, image, canvas);
  assert.equal(view.scale, 700 / 6144 / 2);
  const away = moved(view, { x: 1e9, y: -1e9 }, image, canvas);
  assertNear(toImage(away, { x: 640, y: 350 }), { x: 0, y: 6144 });
  const small = { width: 4, height: 4 };
  assert.equal(zoomed(fitted(small, canvas), 1e-9, { x: 0, y: 0 }, small, canvas).scale, 1);
});
