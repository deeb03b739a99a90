import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";

import { Trainer, type TrainerOptions } from "../../lib/index.js";
import { plainView, type View } from "../../lib/schema/view.js";
import { readArea } from "../../lib/view/areas.js";
import { cutMask, outlineOf, type OwnView } from "../../lib/view/open.js";
import { optionsOfView, readView, viewOf } from "../../lib/view/options.js";
import { failure, temporaryFolder, writeMask } from "../datasets/files.js";

const size = { width: 40, height: 36 };
const tile = { width: 32, height: 32 };
const outline = (view: Partial<View>, own: OwnView = {}, image = size) =>
  outlineOf({ view: { ...plainView, ...view }, tile }, image, own, "a.png");
const tiles = { size: 32, overlap: 0, scales: [1] };

/** The pixels that are looked at, and of those the ignored ones: rows of the region as text. */
async function drawn(view: Partial<View>, own: OwnView = {}): Promise<{ region: unknown; ignored: number }> {
  const { layout, pixels } = await outline({ ...view, fit: "pad" }, own);
  return { region: layout.region, ignored: pixels?.reduce((sum, value) => sum + value, 0) ?? 0 };
}

test("a region of interest: rectangle, fractions, polygon, mask", async (t) => {
  const root = await temporaryFolder(t);
  const mask = path.join(root, "roi.png");
  await writeMask(mask); // 5..11 in both directions
  const area = await readArea("test", "view.roi", mask);
  assert.deepEqual(await drawn({ roi: { x: 4, y: 6, width: 10, height: 12 } }), {
    region: { x: 4, y: 6, width: 10, height: 12 },
    ignored: 0,
  });
  assert.deepEqual(await drawn({ roi: { x: 0.25, y: 0.5, width: 0.5, height: 0.5, unit: "fractions" } }), {
    region: { x: 10, y: 18, width: 20, height: 18 },
    ignored: 0,
  });
  const triangle = {
    polygons: [
      [
        [0, 0],
        [8, 0],
        [0, 8],
      ] as [number, number][],
    ],
  };
  const found = await drawn({ roi: triangle });
  assert.deepEqual(found.region, { x: 0, y: 0, width: 7, height: 7 });
  assert.equal(found.ignored, 40 * 36 - (8 * 7) / 2);
  const inside = { region: { x: 5, y: 5, width: 7, height: 7 }, ignored: 40 * 36 - 49 };
  assert.deepEqual(await drawn({ roi: area }), inside);
  // Of one image: instead of the view's.
  assert.deepEqual(await drawn({ roi: triangle }, { roi: mask }), inside);
  assert.deepEqual(await drawn({ roi: triangle }, { roi: { x: 1, y: 2, width: 3, height: 4 } }), {
    region: { x: 1, y: 2, width: 3, height: 4 },
    ignored: 0,
  });
});

test("ignored pixels of the view and of the image come together, and lie where the view shows them", async (t) => {
  const root = await temporaryFolder(t);
  const ignore = path.join(root, "ignore.png");
  await writeMask(ignore);
  const { layout, ignored, pixels } = await outline(
    { ignore: { x: 0, y: 0, width: 2, height: 36 }, roi: { x: 0, y: 0, width: 32, height: 32 } },
    { ignore },
  );
  assert.equal(
    pixels!.reduce((sum, value) => sum + value, 0),
    2 * 36 + 49,
  );
  const [plane] = layout.planes;
  const shown = await ignored(plane, { x: 1, y: 4, width: 8, height: 2 });
  assert.deepEqual(shown, Uint8Array.from([1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1]));
});

test("beyond the plane everything is ignored, and nothing is a defect", async () => {
  const { layout, ignored } = await outline({ fit: "pad" }, {}, { width: 64, height: 32 });
  const [plane] = layout.planes;
  const window = { x: 0, y: -1, width: 2, height: 3 };
  assert.deepEqual(await ignored(plane, window), Uint8Array.of(1, 1, 0, 0, 0, 0));
  assert.equal(await ignored(plane, { ...window, y: 0 }), undefined);
  const all = new Uint8Array(64 * 32).fill(1);
  assert.deepEqual(await cutMask(all, layout, plane, window), Uint8Array.of(0, 0, 1, 1, 1, 1));
});

test("what does not fit an image is refused by name", async (t) => {
  const root = await temporaryFolder(t);
  const mask = path.join(root, "small.png");
  await writeMask(mask, { width: 20, height: 20 });
  const area = await readArea("test", "view.roi", mask);
  const refused = async (view: Partial<View>, own: OwnView, ...texts: string[]): Promise<void> =>
    assert.rejects(outline(view, own), failure("VIEW_MISMATCH", "a.png", ...texts));
  await refused({ roi: { x: 30, y: 0, width: 20, height: 5 } }, {}, "30 0 20 5", "40x36");
  await refused({}, { roi: { x: 0, y: 36, width: 1, height: 1 } }, "0 36 1 1");
  await refused({ roi: area }, {}, "40x36", "20x20");
  await refused({}, { ignore: mask }, mask, "20x20");
  await refused(
    {
      roi: {
        polygons: [
          [
            [50, 50],
            [60, 50],
            [50, 60],
          ],
        ],
      },
    },
    {},
    "no pixel",
  );
  await refused({ ignore: { x: 0, y: 0, width: 1, height: 1, unit: "fractions" } }, {}, "ignored");
  await refused({ roi: { x: 0, y: 0, width: 0.001, height: 0.001, unit: "fractions" } }, {}, "no pixel");
  await refused({ tiles, roi: { x: 0, y: 0, width: 31, height: 36 }, scale: 1 }, {}, "31x36", "32x32");
});

test("options that make no view are refused before any work", () => {
  const refused = (options: TrainerOptions, option: string, ...texts: string[]): void =>
    assert.throws(
      () => new Trainer(options),
      (error: Error & { option?: string }) => {
        assert.equal(error.option, option, error.message);
        return failure("INVALID_OPTION", ...texts)(error);
      },
    );
  const view = (given: TrainerOptions["view"], ...rest: [string, ...string[]]): void =>
    refused({ view: given }, ...rest);
  const bow = [
    [0, 0],
    [10, 10],
    [10, 0],
    [0, 10],
  ] as const;
  view({ roi: { polygons: [bow] } }, "view.roi", "crosses");
  view(
    {
      ignore: {
        polygons: [
          [
            [0, 0],
            [2, 0],
            [0, 2],
          ],
        ],
        unit: "fractions",
      },
    },
    "view.ignore",
    "0 to 1",
  );
  view({ roi: { x: 0.5, y: 0, width: 2, height: 2 } }, "view.roi", "whole pixels");
  view({ roi: { x: 0.6, y: 0, width: 0.5, height: 1, unit: "fractions" } }, "view.roi", "inside the image");
  view({ roi: { x: -1, y: 0, width: 5, height: 5 } }, "view.roi");
  view(
    {
      roi: {
        polygons: [
          [
            [0, 0],
            [1, 1],
          ],
        ],
      },
    } as never,
    "view.roi",
  );
  view({ tiles: { size: 64, overlap: 64 } }, "view.tiles.overlap", "below");
  view({ tiles: { overlap: 4 } }, "view.tiles.overlap", "without tiles");
  view({ tiles: { scales: [1] } }, "view.tiles.scales", "without tiles");
  view({ tiles: { size: 64, scales: [1, 1] } }, "view.tiles.scales", "different");
  view({ scale: 0.5 }, "view.scale", "without tiles");
  view({ fit: "pad", tiles: { size: 64 } }, "view.fit", "whole");
  view({ fit: "crop", tiles: { size: 64, scales: [1, "whole"] } }, "view.fit", "beside tiles");
  refused({ imageSize: [128, 128], view: { tiles: { size: 64 } } }, "imageSize", "64x64");
  refused({ tiling: { fixedTiles: true } }, "tiling.fixedTiles", "without tiles");
  assert.deepEqual(new Trainer({ view: { tiles: { size: 64 } } }).options.imageSize, [64, 64]);
});

test("a view goes into a model and comes back as options", async (t) => {
  const root = await temporaryFolder(t);
  const mask = path.join(root, "roi.png");
  await writeMask(mask);
  const asked = await readView("test", { roi: mask, fit: "pad", tiles: { size: 64, scales: [1, "whole"] } });
  const view = viewOf(asked);
  assert.deepEqual(view, {
    roi: { width: 40, height: 36, runs: (view.roi as Extract<View["roi"], { runs: unknown }>).runs },
    ignore: null,
    fit: "pad",
    scale: 1,
    tiles: { size: 64, overlap: 16, scales: [1, "whole"] },
  });
  assert.deepEqual(viewOf(optionsOfView(view)), view);
  assert.deepEqual(viewOf(optionsOfView(plainView)), plainView);
  await writeMask(mask, { empty: true });
  await assert.rejects(readView("test", { ignore: mask, tiles: {} }), failure("INVALID_OPTION", "marks something"));
});
