import assert from "node:assert/strict";
import path from "node:path";
import { before, test } from "node:test";
import { setTimeout } from "node:timers/promises";

import { type Dataset, type Detection, Detector, type Model, type RawImage } from "../../lib/index.js";
import { decodingBudget } from "../../lib/images/budget.js";
import { loadImage } from "../../lib/images/decode.js";
import { Random } from "../../lib/random.js";
import { plainView, type View } from "../../lib/schema/view.js";
import { openView } from "../../lib/view/open.js";
import { failure, temporaryFolder, writeMask } from "../datasets/files.js";
import { scratchFolder, smallDataset, train } from "../training/support.js";

const folder = scratchFolder();
let data: Dataset;
let model: Model;
before(async () => {
  data = await smallDataset(folder);
  model = await train(data, { imageSize: [64, 64], epochs: 2 });
});

/** The same network behind a view. */
async function through<T>(view: Partial<View>, use: (detector: Detector) => Promise<T>): Promise<T> {
  const before = model.config.view;
  model.config.view = { ...plainView, ...view };
  const detector = await Detector.load(model).finally(() => (model.config.view = before));
  try {
    return await use(detector);
  } finally {
    detector.dispose();
  }
}
const tiles = (overlap: number, scales: (number | "whole")[] = [1]): Partial<View> => ({
  scale: 1,
  tiles: { size: 64, overlap, scales },
});

function texture(width: number, height: number, seed = 0): RawImage {
  const random = new Random(seed, "texture");
  const data = Uint8Array.from({ length: width * height * 3 }, () => 90 + random.integer(60));
  return { data, width, height, channels: 3 };
}

/** A part of an image, as an image of its own. */
function part(image: RawImage, x: number, y: number, width: number, height: number): RawImage {
  const data = new Uint8Array(width * height * 3);
  for (let row = 0; row < height; row++) {
    const from = ((y + row) * image.width + x) * 3;
    data.set(image.data.subarray(from, from + width * 3), row * width * 3);
  }
  return { data, width, height, channels: 3 };
}

const essence = ({ logit, peak, map, regions, verdict, margin }: Detection) => ({
  logit,
  peak,
  map,
  regions,
  verdict,
  margin,
});

test("one tile over the image, and the whole in one tile, are what the model says without a view, bit for bit", async () => {
  for (const { image } of data.samples.slice(0, 3)) {
    const plain = essence(await through({}, (detector) => detector.detect(image)));
    assert.deepEqual(essence(await through(tiles(16), (detector) => detector.detect(image))), plain);
    assert.deepEqual(essence(await through(tiles(0, ["whole"]), (detector) => detector.detect(image))), plain);
    const whole = { x: 0, y: 0, width: 1, height: 1, unit: "fractions" } as const;
    assert.deepEqual(essence(await through({ roi: whole }, (detector) => detector.detect(image))), plain);
  }
});

test("tiles without overlap: each place of the map and the score are those of the tile there", async () => {
  const image = texture(128, 192);
  const seen = await through(tiles(0), (detector) => detector.detect(image));
  assert.deepEqual([seen.map.width, seen.map.height], [128, 192]);
  assert.deepEqual(seen.map.area, { x: 0, y: 0, width: 128, height: 192 });
  let highest = -Infinity;
  for (const y of [0, 64, 128])
    for (const x of [0, 64]) {
      const tile = await through({}, (detector) => detector.detect(part(image, x, y, 64, 64)));
      highest = Math.max(highest, tile.logit);
      for (let row = 0; row < 64; row++) {
        const from = (y + row) * 128 + x;
        assert.deepEqual(seen.map.data.slice(from, from + 64), tile.map.data.slice(row * 64, (row + 1) * 64));
      }
    }
  assert.equal(seen.logit, highest);
});

test("no seam: content that lies half a tile elsewhere has nearly the same map, and neighbours differ no more at edges", async () => {
  const image = texture(320, 128);
  const map = async (source: RawImage, overlap: number): Promise<Detection["map"]> =>
    (await through(tiles(overlap), (detector) => detector.detect(source))).map;
  const steps = (of: Detection["map"], columns: readonly number[]): number =>
    Math.max(
      ...columns.map((x) => {
        let sum = 0;
        for (let y = 0; y < of.height; y++)
          sum += Math.abs(of.data[y * of.width + x]! - of.data[y * of.width + x - 1]!);
        return sum / of.height;
      }),
    );
  const [apart, blended] = [await map(image, 0), await map(image, 32)];
  const edges = [64, 128, 192, 256];
  const inside = [40, 90, 150, 210, 280];
  // Without overlap the edges of tiles show; blended, they are as smooth as any other place.
  assert.ok(steps(apart, edges) > 2 * steps(apart, inside), "tiles side by side have seams here");
  assert.ok(steps(blended, [32, 64, 96, 128, 160, 192]) < 1.5 * steps(blended, inside));
  // The bound of docs/guides/large-images.md, Seams, in logits; training keeps good and defective pixels 1 apart.
  const shifted = await map(part(image, 16, 0, 304, 128), 32);
  let [squares, count] = [0, 0];
  for (let y = 32; y < 96; y++)
    for (let x = 64; x < 224; x++) {
      squares += (blended.data[y * 320 + x + 16]! - shifted.data[y * 304 + x]!) ** 2;
      count++;
    }
  assert.ok(Math.sqrt(squares / count) < 0.1, `${Math.sqrt(squares / count)}`);
});

test("regions and the map's area are in pixels of the image, whatever the view", async () => {
  const image = texture(150, 100);
  const roi = { x: 11, y: 20, width: 130, height: 66 };
  for (const view of [tiles(16), { fit: "pad" }, { fit: "crop" }, {}] satisfies Partial<View>[]) {
    const found = await through({ ...view, roi }, async (detector) => {
      const all = await detector.detect(image);
      return { all, width: all.width, height: all.height };
    });
    const { area, width, height, data: values } = found.all.map;
    assert.deepEqual([found.width, found.height], [150, 100]);
    assert.equal(values.length, width * height);
    assert.ok(area.x >= roi.x && area.y >= roi.y && area.x + area.width <= 141 && area.y + area.height <= 86);
    // The peak lies where the map has it.
    const at = values.indexOf(found.all.peak);
    const x = Math.floor(area.x + (((at % width) + 0.5) * area.width) / width);
    const y = Math.floor(area.y + ((Math.floor(at / width) + 0.5) * area.height) / height);
    const lowest = await through({ ...view, roi }, async () => found.all);
    for (const region of lowest.regions)
      if (region.peak === found.all.peak) assert.deepEqual([region.peakX, region.peakY], [x, y]);
  }
});

test("what is ignored changes nothing: score, map, regions", async (t) => {
  const root = await temporaryFolder(t);
  const ignore = path.join(root, "ignore.png");
  await writeMask(ignore, { width: 128, height: 128 });
  const image = texture(128, 128);
  const random = new Random(1);
  const other: RawImage = { ...image, data: image.data.slice() };
  for (let y = 0; y < 128; y++)
    for (let x = 0; x < 128; x++) {
      const inMask = x >= 5 && x < 12 && y >= 5 && y < 12;
      if (!inMask && x < 120) continue;
      for (let c = 0; c < 3; c++) other.data[(y * 128 + x) * 3 + c] = random.integer(256);
    }
  for (const view of [tiles(16), {}, { fit: "crop" }] satisfies Partial<View>[]) {
    const general = { ...view, ignore: { x: 120, y: 0, width: 8, height: 128 } };
    const [one, two] = await through(general, (detector) =>
      detector.detect([
        { image, ignore },
        { image: other, ignore },
      ]),
    );
    assert.deepEqual(essence(one!), essence(two!));
    const { map } = one!;
    const lowest = map.data.reduce((a, b) => Math.min(a, b), Infinity);
    assert.equal(map.data[map.width - 1], lowest, "ignored pixels are the lowest of the map");
  }
});

test("tiles that are ignored as a whole are left out", async () => {
  const image = texture(192, 64);
  const right = { x: 64, y: 0, width: 128, height: 64 };
  const seen: [number, number][] = [];
  const result = await through({ ...tiles(0), ignore: right }, (detector) =>
    detector.detect(image, { onTiles: (done, total) => seen.push([done, total]) }),
  );
  const tile = await through({}, (detector) => detector.detect(part(image, 0, 0, 64, 64)));
  assert.equal(result.logit, tile.logit);
  assert.equal(result.peak, tile.peak);
  assert.deepEqual(seen, [[3, 3]]);
});

test("a region of one image replaces the model's; several scales make one decision", async () => {
  const image = texture(192, 128);
  const own = { x: 64, y: 32, width: 64, height: 64 };
  const found = await through({}, (detector) => detector.detect({ id: "part 7", image, roi: own }));
  assert.equal(found.id, "part 7");
  assert.deepEqual(found.map.area, own);
  const alone = await through({}, (detector) => detector.detect(part(image, 64, 32, 64, 64)));
  assert.equal(found.logit, alone.logit);
  const at = (...scales: (number | "whole")[]): Promise<Detection> =>
    through(tiles(0, scales), (detector) => detector.detect(image));
  const [fine, whole, both] = [await at(1), await at("whole"), await at("whole", 1)];
  assert.equal(both.logit, Math.max(fine.logit, whole.logit));
  assert.deepEqual(both.scales, [
    { scale: 1, logit: fine.logit },
    { scale: "whole", logit: whole.logit },
  ]);
  assert.equal(fine.scales, undefined);
  assert.ok(both.peak >= fine.peak && both.map.width === fine.map.width);
});

test("abort within an image; images that do not fit are named, and leave the others alone", async () => {
  const image = texture(640, 640);
  await through(tiles(32), async (detector) => {
    const controller = new AbortController();
    const reached: number[] = [];
    await assert.rejects(
      detector.detect(image, {
        signal: controller.signal,
        onTiles: (done) => {
          reached.push(done);
          controller.abort();
        },
      }),
      failure("ABORTED"),
    );
    assert.equal(reached.length, 1);
    const told: string[] = [];
    const results: Detection[] = [];
    const sources = [texture(64, 64), texture(63, 64), texture(70, 64)];
    for await (const result of detector.detectEach(sources, { onUnreadable: (error) => void told.push(error.code) }))
      results.push(result);
    assert.deepEqual([results.length, told], [2, ["VIEW_MISMATCH"]]);
  });
  await assert.rejects(
    through({}, (detector) => detector.detect({ image, roi: { x: 0.5, y: 0, width: 1, height: 1 } })),
    failure("INVALID_OPTION", "whole pixels"),
  );
});

test("no image stays open when a loop is left, by an error or by its reader; results leave memory for other images", async () => {
  const budget = decodingBudget();
  const images = Array.from({ length: 3 }, (_, i) => texture(200, 200, i));
  const before = budget.limit;
  await through(tiles(32), async (detector) => {
    // More often than images are decoded at once: a place that is kept is missed by then.
    for (let i = 0; i < 12; i++) {
      const controller = new AbortController();
      const { signal } = controller;
      const onTiles = (): void => controller.abort();
      await assert.rejects(detector.detect(images, { signal, onTiles }), failure("ABORTED"));
      for await (const _ of detector.detectEach(images)) break;
      for await (const _ of detector.detectEach(
        (async function* () {
          yield* images;
        })(),
      ))
        break;
    }
    await setTimeout(20); // what was under way ends unheard
    assert.equal(budget.used, 0);
    try {
      budget.limit = 1;
      const files = data.samples.slice(0, 3).map(({ image }) => image);
      const seen: number[] = [];
      for await (const { width } of detector.detectEach(files)) {
        assert.equal(budget.used, 0);
        seen.push(width);
      }
      assert.deepEqual(seen, [64, 64, 64]);
    } finally {
      budget.limit = before;
    }
  });
});

test("the whole of a large image comes in bands, with the same values", async () => {
  const { data: noise } = texture(2300, 10);
  const image: RawImage = { data: new Uint8Array(2300 * 10_000 * 3), width: 2300, height: 10_000, channels: 3 };
  for (let at = 0; at < image.data.length; at += noise.length - 4)
    image.data.set(noise.subarray(0, Math.min(noise.length, image.data.length - at)), at);
  const eye = { tile: { width: 48, height: 64 }, bitDepth: 8 };
  for (const resize of ["bilinear", "antialias"] as const) {
    const { pixels } = await loadImage(image, { ...eye.tile, ...eye, resize });
    const opened = await openView(image, { ...eye, resize, view: plainView });
    assert.deepEqual(await opened.tile(opened.layout.planes[0], 0, 0), pixels);
    opened.close();
    const padded = await openView(image, { ...eye, resize, view: { ...plainView, fit: "pad" } });
    const [plane] = padded.layout.planes;
    const whole = await loadImage(image, { ...eye, resize, width: plane.width, height: plane.height });
    const tile = await padded.tile(plane, plane.columns[0]!, plane.rows[0]!);
    const middle = 30 * 48 * 3 - plane.columns[0]! * 3;
    assert.deepEqual(
      tile.slice(middle, middle + plane.width * 3),
      whole.pixels.slice((30 + plane.rows[0]!) * plane.width * 3, (31 + plane.rows[0]!) * plane.width * 3),
    );
    padded.close();
  }
});

test("a model file keeps its view, and files of older formats have none", async () => {
  const { Model: Models } = await import("../../lib/index.js");
  const file = path.join(folder, "tiled.ssn");
  const before = model.config.view;
  const view: View = { ...plainView, ...tiles(16), roi: { x: 0, y: 0, width: 64, height: 64 } };
  model.config.view = view;
  await model.save(file, { embedBackbone: true }).finally(() => (model.config.view = before));
  assert.deepEqual((await Models.load(file)).config.view, view);
  model.config.view = { ...view, scale: -1 };
  try {
    await assert.rejects(Detector.load(model), failure("INVALID_OPTION", "view"));
  } finally {
    model.config.view = before;
  }
});
