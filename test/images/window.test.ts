import assert from "node:assert/strict";
import { test } from "node:test";

import type { Rectangle, ResizeMethod } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { Random } from "../../lib/random.js";
import { failure } from "../datasets/files.js";

const random = new Random(0, "windows");
const noise = (length: number): Uint8Array => Uint8Array.from({ length }, () => random.integer(256));

/** What a window must be: cut out of the whole, whose outermost pixels repeat. */
function cut(whole: Uint8Array, width: number, height: number, channels: number, window: Rectangle): Uint8Array {
  const out = new Uint8Array(window.width * window.height * channels);
  for (let y = 0; y < window.height; y++)
    for (let x = 0; x < window.width; x++) {
      const row = Math.max(0, Math.min(height - 1, window.y + y));
      const column = Math.max(0, Math.min(width - 1, window.x + x));
      for (let c = 0; c < channels; c++)
        out[(y * window.width + x) * channels + c] = whole[(row * width + column) * channels + c]!;
    }
  return out;
}

function part(image: Uint8Array, width: number, channels: number, region: Rectangle): Uint8Array {
  const out = new Uint8Array(region.width * region.height * channels);
  for (let y = 0; y < region.height; y++) {
    const from = ((region.y + y) * width + region.x) * channels;
    out.set(image.subarray(from, from + region.width * channels), y * region.width * channels);
  }
  return out;
}

const within = (width: number, height: number): Rectangle => {
  const [x, y] = [random.integer(width), random.integer(height)];
  return { x, y, width: 1 + random.integer(width - x), height: 1 + random.integer(height - y) };
};

for (const method of ["bilinear", "antialias", "nearest"] satisfies (ResizeMethod | "nearest")[]) {
  test(`a window is cut out of the region that is resized as a whole: ${method}`, async () => {
    for (let i = 0; i < 60; i++) {
      const [width, height] = [1 + random.integer(50), 1 + random.integer(50)];
      const region = within(width, height);
      const same = i % 4 === 0;
      const toWidth = same ? region.width : 1 + random.integer(70);
      const toHeight = same ? region.height : 1 + random.integer(70);
      const window = {
        x: random.integer(toWidth + 8) - 8,
        y: random.integer(toHeight + 8) - 8,
        width: 1 + random.integer(40),
        height: 1 + random.integer(40),
      };
      const where = { region, toWidth, toHeight, window, method };
      if (method === "nearest") {
        const mask = noise(width * height);
        const whole = await engine().resizeImage(
          part(mask, width, 1, region),
          region.height,
          region.width,
          1,
          toHeight,
          toWidth,
          method,
        );
        const found = await engine().maskWindow(mask, { width, height, ...where });
        assert.deepEqual(found, cut(whole, toWidth, toHeight, 1, window));
        continue;
      }
      const image = noise(width * height * 3);
      const resized = await engine().resizeImage(
        part(image, width, 3, region),
        region.height,
        region.width,
        3,
        toHeight,
        toWidth,
        method,
      );
      const expected = cut(resized, toWidth, toHeight, 3, window);
      const rows = { width, firstRow: 0, rows: height, channels: 3, bitDepth: 16, ...where } as const;
      assert.deepEqual(await engine().imageWindow(image, rows), expected);
      // The rows of the region alone, as of an image that is read in strips.
      const strip = image.subarray(region.y * width * 3, (region.y + region.height) * width * 3);
      const fewer = { ...rows, firstRow: region.y, rows: region.height };
      assert.deepEqual(await engine().imageWindow(strip, fewer), expected);
      // 16-bit samples keep their upper byte.
      const deep = Uint16Array.from(image, (value) => value * 256 + random.integer(256));
      assert.deepEqual(await engine().imageWindow(deep, rows), expected);
    }
  });
}

test("grey becomes RGB, and alpha is dropped", async () => {
  const all = { x: 0, y: 0, width: 5, height: 4 };
  const where = { region: all, toWidth: 5, toHeight: 4, window: all, method: "bilinear" } as const;
  const grey = noise(20);
  const rows = { width: 5, firstRow: 0, rows: 4, bitDepth: 16, ...where };
  assert.deepEqual(
    await engine().imageWindow(grey, { ...rows, channels: 1 }),
    Uint8Array.from({ length: 60 }, (_, i) => grey[Math.floor(i / 3)]!),
  );
  const rgba = noise(80);
  assert.deepEqual(
    await engine().imageWindow(rgba, { ...rows, channels: 4 }),
    rgba.filter((_, i) => i % 4 !== 3),
  );
});

test("nothing shows what was at an ignored pixel", async () => {
  const [width, height] = [31, 23];
  const ignored = new Uint8Array(width * height).map(() => (random.integer(3) === 0 ? 1 : 0));
  const one = noise(width * height * 3);
  const other = one.map((value, i) => (ignored[Math.floor(i / 3)] ? random.integer(256) : value));
  const mean = one.map((value, i) => (ignored[Math.floor(i / 3)] ? [124, 116, 104][i % 3]! : value));
  const region = { x: 2, y: 1, width: 27, height: 20 };
  for (const method of ["bilinear", "antialias"] as const) {
    const where = { region, toWidth: 40, toHeight: 11, window: { x: -2, y: 0, width: 30, height: 12 }, method };
    const rows = { width, firstRow: 0, rows: height, channels: 3, bitDepth: 16, ...where } as const;
    const seen = await engine().imageWindow(one, { ...rows, ignored });
    assert.deepEqual(await engine().imageWindow(other, { ...rows, ignored }), seen);
    assert.deepEqual(await engine().imageWindow(mean, rows), seen);
  }
});

test("rows that are not at hand, and arrays that do not have their size, are refused", async () => {
  const all = { x: 0, y: 0, width: 4, height: 4 };
  const where = { region: all, toWidth: 4, toHeight: 4, window: all, method: "bilinear" } as const;
  const rows = { width: 4, firstRow: 1, rows: 3, channels: 3, bitDepth: 16, ...where } as const;
  await assert.rejects(engine().imageWindow(new Uint8Array(36), rows), failure("INTERNAL", "rows at hand"));
  assert.throws(() => engine().imageWindow(new Uint8Array(35), rows), failure("INTERNAL"));
  assert.throws(
    () => engine().imageWindow(new Uint8Array(36), { ...rows, ignored: new Uint8Array(3) }),
    failure("INTERNAL"),
  );
  assert.throws(() => engine().maskWindow(new Uint8Array(15), { width: 4, height: 4, ...where }), failure("INTERNAL"));
});
