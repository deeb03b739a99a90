import assert from "node:assert/strict";
import { test } from "node:test";

import { Random } from "../../../lib/random.js";
import { Coverage } from "../../../web/studio/masks/coverage.js";
import { History } from "../../../web/studio/masks/history.js";
import { Mask } from "../../../web/studio/masks/mask.js";
import { type Box, createBitmap, whole, writeSpan } from "../../../web/studio/masks/raster.js";
import { pixelsOf } from "./support.js";

const [width, height] = [203, 141];

/** A stroke at a random place, of one to three segments. */
function stroke(mask: Mask, random: Random): Box[] {
  const place = () => ({ x: random.uniform() * width, y: random.uniform() * height });
  return Array.from({ length: 1 + random.integer(3) }, () =>
    mask.segment(place(), place(), 1 + 9 * random.uniform(), random.uniform() < 0.7),
  );
}

test("undo and redo go through all states, and a new stroke ends what was undone", () => {
  const random = new Random(5);
  const mask = new Mask(width, height);
  let states = [pixelsOf(mask.bitmap)];
  let at = 0;
  for (let i = 0; i < 400; i++) {
    const chance = random.uniform();
    if (chance < 0.4) {
      stroke(mask, random);
      if (!mask.commit()) continue;
      states = [...states.slice(0, at + 1), pixelsOf(mask.bitmap)].slice(-65);
      at = states.length - 1;
    } else if (chance < 0.5) {
      stroke(mask, random);
      mask.cancel();
    } else {
      const step = chance < 0.8 ? "undo" : "redo";
      const next = at + (step === "undo" ? -1 : 1);
      const box = mask[step]();
      assert.equal(box !== undefined, next in states);
      if (box === undefined) continue;
      const [before, after] = [states[at]!, states[next]!];
      after.forEach((pixel, k) => {
        const [x, y] = [k % width, Math.floor(k / width)];
        const isIn = x >= box.left && x < box.right && y >= box.top && y < box.bottom;
        assert.ok(isIn || pixel === before[k], "a change outside of the box would not be drawn");
      });
      at = next;
    }
    assert.deepEqual(pixelsOf(mask.bitmap), states[at]);
    assert.deepEqual(mask.coverage.levels, new Coverage(mask.bitmap).levels, "what is drawn follows");
    assert.equal(mask.history.canUndo, at > 0);
    assert.equal(mask.history.canRedo, at < states.length - 1);
  }
});

test("a stroke that changes nothing is no step", () => {
  const mask = new Mask(width, height);
  mask.segment({ x: 50, y: 50 }, { x: 60, y: 60 }, 8, false);
  assert.equal(mask.commit(), false);
  mask.segment({ x: 50, y: 50 }, { x: 60, y: 60 }, 8, true);
  assert.equal(mask.commit(), true);
  mask.segment({ x: 50, y: 50 }, { x: 60, y: 60 }, 8, true);
  assert.equal(mask.commit(), false);
  mask.undo();
  assert.equal(mask.history.canUndo, false);
  assert.equal(mask.isEmpty, true);
});

test("a history holds changed tiles only, so many steps and so many bytes", () => {
  const bitmap = createBitmap(1000, 1000);
  const history = new History(bitmap, { steps: 5, bytes: 20_000 });
  const mark = (x: number, y: number): void => {
    history.touch(whole(bitmap));
    writeSpan(bitmap, y, x, x + 1, true);
    assert.ok(history.commit());
  };
  for (let i = 0; i < 9; i++) {
    mark(100 * i, 100 * i);
    assert.equal(history.bytes, Math.min(5, i + 1) * (512 + 4));
  }
  let undone = 0;
  while (history.undo() !== undefined) undone++;
  assert.equal(undone, 5);
  assert.equal(
    pixelsOf(bitmap).reduce((sum, pixel) => sum + pixel),
    4,
  );

  // 31 tiles and more a step: one fits.
  for (let i = 0; i < 3; i++) {
    history.touch(whole(bitmap));
    for (let y = 0; y < 1000; y += 500) writeSpan(bitmap, y, 0, 1000, i % 2 === 0);
    assert.ok(history.commit());
    assert.ok(history.bytes <= 20_000);
  }
  assert.ok(history.undo());
  assert.equal(history.undo(), undefined);
});

test("of an image of 50 megapixels the history stays within 64 MB", () => {
  const mask = new Mask(8192, 6144);
  for (let i = 0; i < 14; i++) {
    mask.polygon([
      { x: 0, y: 0 },
      { x: 8192, y: 0 },
      { x: 8192, y: 6144 },
      { x: 0, y: 6144 },
    ]);
    assert.ok(mask.commit());
    mask.clear();
    assert.ok(mask.commit());
  }
  assert.ok(mask.history.bytes <= 64 * 2 ** 20);
  assert.ok(mask.history.bytes > 50 * 2 ** 20);
});
