import assert from "node:assert/strict";
import { after, before, test, type TestContext } from "node:test";

import type { Page } from "playwright-core";
import sharp from "sharp";

import { renderScene } from "../../lib/datasets/surface.js";
import { Random } from "../../lib/random.js";
import { until } from "../support/until.js";
import { Bench, drag, drawn, pixelsOf, placesOf, pngOf } from "./mask_bench.js";
import { closeBrowser, openBrowser, screenshot, violations, withoutBrowser } from "./support.js";

before(openBrowser);
after(closeBrowser);
const options = { skip: withoutBrowser, timeout: 180_000 };

const [width, height] = [64, 48];
const where = (isSet: (x: number, y: number) => boolean): Uint8Array => drawn(width, height, isSet);
/** Within `radius` of the row's pixels from `from` to `to`: what a brush leaves there. */
const bar = (from: number, to: number, row: number, radius: number) => (x: number, y: number) =>
  Math.hypot(x - Math.max(from, Math.min(to, x)), y - row) <= radius;

function scene(): { image: Promise<Buffer>; mask: Promise<Buffer> } {
  const { pixels, mask } = renderScene(new Random(3, "masks"), 480, 640, "scratch");
  const raw = (data: Uint8Array, channels: 1 | 3): Promise<Buffer> =>
    sharp(data, { raw: { width: 640, height: 480, channels } })
      .png()
      .toBuffer();
  return {
    image: raw(pixels, 3),
    mask: raw(
      mask!.map((pixel) => 255 * pixel),
      1,
    ),
  };
}

/** An image of 64 x 48 pixels, and where they lie on the page. The brush is `size` wide. */
async function small(t: TestContext, { size = 5, query = "", bench = undefined as Bench | undefined } = {}) {
  bench ??= new Bench(await pngOf(width, height, (x, y) => (x + y) % 2 === 0, 90));
  const { page, stage, complaints } = await bench.open(t, { query });
  await stage.waitFor();
  const at = await placesOf(stage, width, height);
  /** The middle of a pixel. */
  const on = (x: number, y: number): [number, number] => at(x + 0.5, y + 0.5);
  for (let i = 1; i < size; i++) await page.keyboard.press("]"); // it begins with 1, and the first steps are 1
  return { bench, page, stage, complaints, at, on };
}

test("brush, eraser, undo and redo: what is saved is exactly what was drawn", options, async (t) => {
  const { bench, page, on, complaints } = await small(t);
  const status = page.getByRole("status");
  await drag(page, on(10, 20), on(40, 20));
  const first = where(bar(10, 40, 20, 2.5));
  assert.deepEqual(await bench.saved(1), first);
  await status.getByText("Saved").waitFor();

  await page.keyboard.press("e");
  await drag(page, on(20, 20), on(30, 20));
  const second = where((x, y) => bar(10, 40, 20, 2.5)(x, y) && !bar(20, 30, 20, 2.5)(x, y));
  assert.deepEqual(await bench.saved(2), second);

  await page.keyboard.press("Control+z");
  assert.deepEqual(await bench.saved(3), first);
  await page.keyboard.press("Control+z");
  await until(() => bench.stored.length === 4);
  assert.equal(bench.stored[3], undefined, "the mask is empty");
  await page.keyboard.press("Control+Shift+Z");
  await page.keyboard.press("Control+y");
  await until(async () => {
    const last = bench.stored.at(-1);
    return last !== undefined && Buffer.from(await pixelsOf(last)).equals(second);
  });
  assert.equal(await page.getByRole("button", { name: "Redo" }).getAttribute("aria-disabled"), "true");

  const metadata = await sharp(bench.stored.at(-1)).metadata();
  assert.deepEqual([metadata.width, metadata.height, metadata.channels], [width, height, 1]);
  assert.deepEqual(complaints(), []);
});

test("a stroke that changes nothing is not saved; Clear is, and can be undone", options, async (t) => {
  const { bench, page, on } = await small(t);
  await page.keyboard.press("e");
  await drag(page, on(10, 10), on(20, 10));
  await page.keyboard.press("b");
  await page.mouse.click(...on(30, 30));
  const disc = where(bar(30, 30, 30, 2.5));
  assert.deepEqual(await bench.saved(1), disc);
  await page.getByRole("button", { name: "Clear" }).click();
  await until(() => bench.stored.length === 2);
  assert.equal(bench.stored[1], undefined);
  await page.getByRole("button", { name: "Undo" }).click();
  assert.deepEqual(await bench.saved(3), disc);
});

test("a polygon is closed by Enter, a double click, its first corner or the button", options, async (t) => {
  const { bench, page, at } = await small(t);
  const click = async (...corners: [number, number][]): Promise<void> => {
    for (const corner of corners) await page.mouse.click(...at(...corner));
  };
  const block = (left: number, top: number, right: number, bottom: number) => (x: number, y: number) =>
    x >= left && x < right && y >= top && y < bottom;
  let expected = where(() => false);
  let count = 0;
  const grew = async (isSet: (x: number, y: number) => boolean): Promise<void> => {
    expected = expected.map((pixel, i) => pixel | Number(isSet(i % width, Math.floor(i / width))));
    assert.deepEqual(await bench.saved(++count), expected);
  };
  await page.keyboard.press("p");

  await click([4, 4], [14, 4], [30, 30]);
  await page.keyboard.press("Backspace");
  await click([14, 10], [4, 10]);
  await page.keyboard.press("Enter");
  await grew(block(4, 4, 14, 10));

  await click([20, 4], [30, 4], [30, 10]);
  await page.mouse.dblclick(...at(20, 10));
  await grew(block(20, 4, 30, 10));

  await click([36, 4], [46, 4], [46, 10], [36, 10], [36, 4]);
  await grew(block(36, 4, 46, 10));

  await click([4, 20], [14, 20], [14, 26], [4, 26]);
  await page.getByRole("group", { name: "Outline" }).getByRole("button", { name: "Close outline" }).click();
  await grew(block(4, 20, 14, 26));

  // Crossed by itself: even-odd, so that its middle stays free.
  const star = [
    [34.3, 17.2],
    [44.1, 43.6],
    [20.7, 26.1],
    [47.9, 26.4],
    [24.2, 43.9],
  ] as const;
  await click(...star.map(([x, y]): [number, number] => [x, y]));
  await page.keyboard.press("Enter");
  await grew((x, y) => {
    const crossed = star.filter(([ax, ay], i) => {
      const [bx, by] = star.at(i - 1)!;
      return ay <= y + 0.5 !== by <= y + 0.5 && ax + ((y + 0.5 - ay) * (bx - ax)) / (by - ay) > x + 0.5;
    });
    return crossed.length % 2 === 1;
  });
  assert.equal(expected[33 * width + 33], 0);
  assert.equal(expected[22 * width + 34], 1);

  await click([50, 30], [60, 30], [60, 40]);
  await page.keyboard.press("Escape");
  await page.keyboard.press("Enter");
  await click([50, 30], [60, 30]);
  await page.keyboard.press("Enter");
  await page.getByText("An outline needs three corners.").waitFor();
  await page.keyboard.press("Control+z");
  await page.keyboard.press("Control+z");
  assert.equal(await page.getByRole("group", { name: "Outline" }).count(), 0);
  assert.equal(bench.stored.length, count);
});

test("fill takes a hole, and says why where there is none", options, async (t) => {
  const isRing = (x: number, y: number): boolean => {
    const far = Math.max(Math.abs(x - 20), Math.abs(y - 20));
    return far === 10 || (far === 4 && x < 22);
  };
  const bench = new Bench(await pngOf(width, height, () => true));
  bench.mask = await pngOf(width, height, isRing);
  const { page, on } = await small(t, { bench, query: "?mask" });
  await page.keyboard.press("f");
  await page.mouse.click(...on(50, 40));
  await page.getByText("This place is not enclosed").waitFor();
  await page.mouse.click(...on(10, 20));
  await page.getByText("This place is in the mask already.").waitFor();
  assert.equal(bench.begun, 0);
  await page.mouse.click(...on(20, 20));
  assert.deepEqual(
    await bench.saved(1),
    where((x, y) => Math.max(Math.abs(x - 20), Math.abs(y - 20)) <= 10),
  );
});

test("after zoom and pan, strokes land on the pixels under the pointer", options, async (t) => {
  const { bench, page, on, stage } = await small(t, { size: 1 });
  const target = on(45, 33);
  await page.mouse.move(...target);
  for (let i = 0; i < 5; i++) await page.mouse.wheel(0, -150);
  await until(async () => Number.parseInt((await page.locator(".zoom .masks-value").textContent())!) > 4000);
  await page.mouse.click(...target);
  assert.deepEqual(
    await bench.saved(1),
    where((x, y) => x === 45 && y === 33),
  );

  await page.keyboard.down(" ");
  await drag(page, target, [target[0] - 300, target[1] - 200]);
  await page.keyboard.up(" ");
  assert.equal(bench.stored.length, 1, "moving is not drawing");
  await page.keyboard.press("e");
  await page.mouse.click(target[0] - 300, target[1] - 200);
  await until(() => bench.stored.length === 2);
  assert.equal(bench.stored[1], undefined, "the same pixel");

  await page.mouse.move(...target);
  await page.mouse.down({ button: "middle" });
  await page.mouse.move(target[0] + 100, target[1] + 50, { steps: 3 });
  await page.mouse.up({ button: "middle" });
  assert.equal(bench.begun, 2);

  await page.keyboard.press("0");
  await page.keyboard.press("b");
  await page.mouse.click(...on(3, 4));
  assert.deepEqual(
    await bench.saved(3),
    where((x, y) => x === 3 && y === 4),
  );
  await page.getByRole("button", { name: "Zoom in" }).click();
  const zoom = await page.locator(".zoom .masks-value").textContent();
  await page.keyboard.press(" ");
  assert.equal(await page.locator(".zoom .masks-value").textContent(), zoom, "space does not press the button again");
  await page.keyboard.press("-");
  await stage.press("ArrowLeft");
  await stage.press("ArrowRight");
  await page.mouse.click(...on(60, 40));
  assert.deepEqual(
    await bench.saved(4),
    where((x, y) => (x === 3 && y === 4) || (x === 60 && y === 40)),
  );
});

test("on a screen with two and a half pixels a point, strokes land under the pointer too", options, async (t) => {
  const { bench, page, stage } = await small(t);
  const session = await page.context().newCDPSession(page);
  const metrics = { width: 900, height: 700, deviceScaleFactor: 2.5, mobile: false };
  await session.send("Emulation.setDeviceMetricsOverride", metrics);
  await page.reload();
  await stage.waitFor();
  const at = await placesOf(stage, width, height);
  await drag(page, at(8.5, 40.5), at(60.5, 40.5));
  assert.deepEqual(await bench.saved(1), where(bar(8, 60, 40, 0.5)));
});

test("what is seen is what is stored: the mask's colour on its pixels only", options, async (t) => {
  const { page, on } = await small(t);
  await drag(page, on(10, 20), on(40, 20));
  await page.mouse.move(0, 0);
  const colourAt = async ([x, y]: [number, number]): Promise<number[]> => {
    const shot = await page.screenshot({ clip: { x: Math.round(x), y: Math.round(y), width: 1, height: 1 } });
    return [...(await sharp(shot).removeAlpha().raw().toBuffer())];
  };
  const isBlue = async (place: [number, number]): Promise<boolean> => {
    const [red, , blue] = (await colourAt(place)) as [number, number, number];
    return blue > red + 60;
  };
  const expected = bar(10, 40, 20, 2.5);
  for (const [x, y] of [
    [8, 20],
    [10, 20],
    [25, 18],
    [25, 22],
    [42, 20],
    [7, 20],
    [25, 17],
    [25, 23],
    [43, 20],
  ] as const)
    assert.equal(await isBlue(on(x, y)), expected(x, y), `pixel ${x}, ${y}`);
  await page.keyboard.press("h");
  await page.getByRole("button", { name: "Show mask" }).waitFor();
  assert.equal(await isBlue(on(25, 20)), false);
  await page.keyboard.press("h");
  await page.getByLabel("Opacity").fill("1");
  assert.deepEqual(await colourAt(on(25, 20)), [0x3c, 0xce, 0xff]);
});

test("the model's proposal becomes the mask, and can be undone; a failure changes nothing", options, async (t) => {
  const bench = new Bench(await pngOf(width, height, () => true));
  const own = (x: number, y: number): boolean => x < 5 && y < 9;
  const proposed = (x: number, y: number): boolean => x > 30 && x + y < 70;
  // Whatever is not 0 is defect: ids of kinds too.
  bench.mask = await pngOf(width, height, own, 1);
  const { page } = await small(t, { bench, query: "?mask&model" });
  const propose = page.getByRole("button", { name: "Propose" });
  await propose.click();
  await page.getByText("There is no proposal: there is none").waitFor();
  bench.proposal = await pngOf(32, 24, proposed);
  await propose.click();
  await page.getByText("it has 32 x 24 pixels").waitFor();
  assert.equal(bench.begun, 0);
  bench.proposal = await pngOf(width, height, proposed);
  await propose.click();
  assert.deepEqual(await bench.saved(1), where(proposed));
  await page.keyboard.press("Control+z");
  assert.deepEqual(await bench.saved(2), where(own));
  bench.proposal = bench.stored[0]; // what the editor wrote can be read again
  await propose.click();
  assert.deepEqual(await bench.saved(3), where(proposed));
});

test("a failed save keeps the mask, warns who leaves, and can be tried again", options, async (t) => {
  const { bench, page, on } = await small(t);
  bench.failure = "the disk is full";
  await page.mouse.click(...on(10, 10));
  await page.getByText("Not saved: the disk is full").waitFor();
  await page.mouse.click(...on(30, 30));
  await until(() => bench.begun === 2);
  const both = where((x, y) => bar(10, 10, 10, 2.5)(x, y) || bar(30, 30, 30, 2.5)(x, y));

  const warned = page.waitForEvent("dialog");
  await page.evaluate("void setTimeout(() => location.reload())");
  const dialog = await warned;
  assert.equal(dialog.type(), "beforeunload");
  await dialog.dismiss();

  bench.failure = undefined;
  await page.getByRole("button", { name: "Try again" }).click();
  assert.deepEqual(await bench.saved(1), both);
  await page.getByRole("status").getByText("Saved").waitFor();
  assert.equal(await page.getByRole("button", { name: "Try again" }).count(), 0);
  page.on("dialog", () => assert.fail("all is saved"));
  await page.reload();
});

test("while a save is under way the next state waits, and the last one is stored last", options, async (t) => {
  const { bench, page, on } = await small(t);
  let open = (): void => undefined;
  bench.gate = new Promise((resolve) => (open = resolve));
  for (let i = 0; i < 4; i++) await page.mouse.click(...on(10 + 10 * i, 10));
  await until(() => bench.begun === 1);
  assert.equal(await page.getByRole("status").textContent(), "Saving");
  open();
  await page.getByRole("status").getByText("Saved").waitFor();
  assert.equal(bench.begun, 2);
  assert.deepEqual(await bench.saved(1), where(bar(10, 10, 10, 2.5)));
  assert.deepEqual(
    await bench.saved(2),
    where((x, y) => [10, 20, 30, 40].some((at) => bar(at, at, 10, 2.5)(x, y))),
  );
});

test("another image has a mask and a history of its own, and the first one's save still ends", options, async (t) => {
  const { bench, page, stage, on } = await small(t);
  await page.mouse.move(...on(10, 10));
  await page.mouse.down(); // and goes on
  await page.evaluate('show("/other")');
  await stage.waitFor();
  assert.deepEqual(await bench.saved(1), where(bar(10, 10, 10, 2.5)));
  await page.mouse.up();
  await page.keyboard.press("Control+z");
  assert.equal(await page.getByRole("button", { name: "Undo" }).getAttribute("aria-disabled"), "true");
  await page.mouse.click(...on(30, 30)); // with the first size, 1
  assert.deepEqual(
    await bench.saved(2),
    where((x, y) => x === 30 && y === 30),
  );
});

test("a mask or an image that cannot be used says so", options, async (t) => {
  const bench = new Bench(await pngOf(width, height, () => true));
  bench.mask = await pngOf(10, 10, () => true);
  const { page, stage } = await bench.open(t, { query: "?mask" });
  await page.getByText("The stored mask cannot be used: it has 10 x 10 pixels").waitFor();
  await page.getByRole("button", { name: "Start with an empty mask" }).click();
  await stage.waitFor();
  const other = await new Bench(Buffer.from("no image")).open(t);
  await other.page.getByText("The image cannot be shown: the browser cannot read it").waitFor();
});

/** Fingers on the page, as the browser's own protocol has them. */
async function fingers(
  page: Page,
): Promise<(type: "Start" | "Move" | "End", ...at: [number, number][]) => Promise<void>> {
  const session = await page.context().newCDPSession(page);
  return async (type, ...at) => {
    const touchPoints = at.map(([x, y], id) => ({ x, y, id }));
    await session.send("Input.dispatchTouchEvent", { type: `touch${type}`, touchPoints });
  };
}

test("one finger draws, two move and zoom and leave no stroke behind", options, async (t) => {
  const { bench, page, on } = await small(t, { size: 1 });
  const touch = await fingers(page);
  const [x, y] = on(20, 20);
  await touch("Start", [x, y]);
  await touch("Move", [x + 40, y]);
  await touch("Start", [x + 40, y], [x + 100, y]);
  await touch("Move", [x + 10, y], [x + 130, y]);
  await touch("End");
  await until(async () => (await page.locator(".zoom .masks-value").textContent()) !== "100 %");
  assert.equal(bench.begun, 0);
  await page.keyboard.press("0");
  await touch("Start", [x, y]);
  await touch("Move", on(24, 20));
  await touch("End");
  assert.deepEqual(
    await bench.saved(1),
    where((column, row) => row === 20 && column >= 20 && column <= 24),
  );
});

test("an image of 50 megapixels can be drawn on", options, async (t) => {
  const [wide, tall] = [8192, 6144];
  const tile = renderScene(new Random(5, "large"), 384, 512).pixels;
  const image = sharp(tile, { raw: { width: 512, height: 384, channels: 3 } });
  const bench = new Bench(await image.resize(wide, tall, { kernel: "nearest" }).jpeg().toBuffer());
  const { page, stage, complaints } = await bench.open(t);
  await stage.waitFor({ timeout: 120_000 });
  const at = await placesOf(stage, wide, tall);
  await drag(page, at(1000.5, 1000.5), at(7000.5, 5000.5));
  const pixels = await bench.saved(1);
  await screenshot(page, "masks-50-megapixels");
  assert.equal(pixels.length, wide * tall);
  const marked = pixels.reduce((sum, pixel) => sum + pixel, 0);
  // The brush is 96 wide: a band of 7211 pixels with round ends.
  const area = 96 * Math.hypot(6000, 4000) + Math.PI * 48 ** 2;
  assert.ok(Math.abs(marked / area - 1) < 0.02, `${marked} pixels, not ${area}`);

  // Every pixel can be reached: zoomed in about one of them.
  await page.keyboard.press("e");
  const edge = at(4000.5, 3000.5);
  await page.mouse.move(...edge);
  for (let i = 0; i < 14; i++) await page.mouse.wheel(0, -250);
  await until(async () => (await page.locator(".zoom .masks-value").textContent()) === "6400 %");
  for (let i = 0; i < 30; i++) await page.keyboard.press("[");
  await page.mouse.click(...edge);
  const erased = await bench.saved(2);
  const changed = [...erased.keys()].filter((i) => erased[i] !== pixels[i]);
  assert.equal(changed.length, 1);
  const [x, y] = [changed[0]! % wide, Math.floor(changed[0]! / wide)];
  assert.ok(Math.abs(x - 4000) <= 6 && Math.abs(y - 3000) <= 6, `${x}, ${y}: within a pixel of the screen`);
  await screenshot(page, "masks-50-megapixels-zoomed");
  assert.deepEqual(complaints(), []);
});

test(
  "where the browser cannot hold the image, a smaller one is drawn, and strokes are as exact",
  options,
  async (t) => {
    const [wide, tall] = [4096, 3072];
    const bench = new Bench(await pngOf(wide, tall, (x, y) => ((x ^ y) & 64) !== 0));
    const { page, stage } = await bench.open(t);
    await page.addInitScript(() => {
      const { createImageBitmap: own } = globalThis as unknown as Record<string, (...given: unknown[]) => unknown>;
      Object.assign(globalThis, {
        createImageBitmap: async (source: unknown, ...how: { resizeWidth?: number }[]) => {
          if ((how[0]?.resizeWidth ?? Infinity) > 2048 && source instanceof Blob) throw new Error("too large");
          return own!.call(globalThis, source, ...how);
        },
      });
    });
    await page.reload();
    await stage.waitFor();
    const at = await placesOf(stage, wide, tall);
    await page.mouse.click(...at(2000.5, 1000.5));
    const pixels = await bench.saved(1);
    assert.equal(pixels.length, wide * tall);
    const marked = [...pixels.keys()].filter((i) => pixels[i] === 1);
    const middle = marked.reduce((sum, i) => sum + (i % wide), 0) / marked.length;
    assert.ok(Math.abs(middle - 2000) <= 3, `${middle}`);
  },
);

for (const pageWidth of [1280, 390])
  for (const theme of ["light", "dark"] as const)
    test(`the editor at ${pageWidth} pixels, ${theme}: accessible, nothing to complain`, options, async (t) => {
      const { image, mask } = scene();
      const bench = new Bench(await image);
      bench.mask = await mask;
      bench.proposal = await mask;
      const { page, stage, complaints } = await bench.open(t, { query: "?mask&model", width: pageWidth, theme });
      const name = `masks-${pageWidth}-${theme}`;
      await stage.waitFor();
      const at = await placesOf(stage, 640, 480);
      await drag(page, at(200, 200), at(260, 300));
      await page.getByRole("status").getByText("Saved").waitFor();
      await page.mouse.move(...at(300, 250));
      await screenshot(page, name);
      assert.deepEqual(await violations(page), []);

      await page.keyboard.press("p");
      for (const [x, y] of [
        [380, 120],
        [500, 140],
        [470, 260],
      ] as const)
        await page.mouse.click(...at(x, y));
      await page.mouse.move(...at(400, 250));
      await screenshot(page, `${name}-polygon`);
      assert.deepEqual(await violations(page), []);
      assert.deepEqual(complaints(), []);
      const wide = Number(await page.evaluate("document.documentElement.scrollWidth"));
      assert.ok(wide <= pageWidth, `${wide} pixels wide`);

      bench.failure = "there is no space left in /data/parts";
      await page.keyboard.press("Enter");
      await page.getByRole("button", { name: "Try again" }).waitFor();
      await screenshot(page, `${name}-failed`);
      assert.deepEqual(await violations(page), []);
    });
