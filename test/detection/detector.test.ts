import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { before, test } from "node:test";

import sharp from "sharp";

import {
  type Dataset,
  type Detection,
  Detector,
  type DetectorOptions,
  type ImageSource,
  type Model,
  type NamedImage,
  type Sample,
  type SuperSimpleNetError,
} from "../../lib/index.js";
import { engine } from "../../lib/native/engine.js";
import { failure } from "../datasets/files.js";
import { scratchFolder, train } from "../training/support.js";

const folder = scratchFolder();
const at = (name: string): string => path.join(folder, name);

interface Square {
  left: number;
  top: number;
  side: number;
}

/** Grey with a little texture; the defect is a white square. */
async function draw(
  name: string,
  width: number,
  height: number,
  seed: number,
  square?: Square,
): Promise<{ image: string; mask: string; pixels: Uint8Array }> {
  const pixels = new Uint8Array(width * height * 3);
  const mask = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const inside =
        square !== undefined &&
        x >= square.left &&
        x < square.left + square.side &&
        y >= square.top &&
        y < square.top + square.side;
      mask[y * width + x] = inside ? 255 : 0;
      pixels.fill(
        inside ? 250 : 90 + ((x * 7 + y * 13 + seed * 29 + ((x * y) % 5)) % 12),
        (y * width + x) * 3,
        (y * width + x) * 3 + 3,
      );
    }
  }
  const image = at(`${name}.png`);
  writeFileSync(
    image,
    await sharp(pixels, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer(),
  );
  writeFileSync(
    at(`${name}-mask.png`),
    await sharp(mask, { raw: { width, height, channels: 1 } })
      .toColourspace("b-w")
      .png()
      .toBuffer(),
  );
  return { image, mask: at(`${name}-mask.png`), pixels };
}

let model: Model;
/** Four images of different sizes, two of them with a square. */
let images: string[];
before(async () => {
  const samples: Sample[] = [];
  for (let i = 0; i < 6; i++) {
    const { image } = await draw(`good-${i}`, 64, 64, i);
    samples.push({ id: `good-${i}`, image, label: "normal", split: "train" });
  }
  for (let i = 0; i < 4; i++) {
    const { image, mask } = await draw(`bad-${i}`, 64, 64, i + 6, {
      left: 4 + i * 11,
      top: 40 - i * 12,
      side: 14 + i * 2,
    });
    samples.push({ id: `bad-${i}`, image, mask, label: "anomalous", split: "train" });
  }
  const dataset: Dataset = { kind: "test", name: "squares", root: folder, samples };
  model = await train(dataset, { epochs: 6, optimizer: { adaptorLearningRate: 1e-3, headsLearningRate: 2e-3 } });
  images = [
    (await draw("a", 64, 64, 20)).image,
    (await draw("b", 160, 96, 21, { left: 100, top: 20, side: 32 })).image,
    (await draw("c", 50, 70, 22)).image,
    (await draw("d", 64, 64, 23, { left: 10, top: 30, side: 16 })).image,
  ];
});

const load = (options: DetectorOptions = {}): Promise<Detector> => Detector.load(model, { threads: 1, ...options });
const result = ({ logit, map, regions, width, height }: Detection) => ({
  logit,
  map: Buffer.from(map.data.buffer, map.data.byteOffset, map.data.byteLength).toString("base64"),
  regions,
  width,
  height,
});

test("a file of backbone weights must exist, although this model holds its own", async () => {
  await assert.rejects(load({ backboneWeights: at("none.pth") }), failure("FILE_NOT_FOUND", at("none.pth")));
  assert.ok(model.embedsBackbone);
  await load({ backboneWeights: images[0]! });
});

test("a path, a buffer and raw pixels are the same image", async () => {
  const detector = await load();
  const { pixels } = await draw("b", 160, 96, 21, { left: 100, top: 20, side: 32 });
  const rgba = new Uint8Array(160 * 96 * 4);
  const grey = new Uint8Array(160 * 96);
  for (let i = 0; i < grey.length; i++) {
    rgba.set([pixels[i * 3]!, pixels[i * 3 + 1]!, pixels[i * 3 + 2]!, i % 256], i * 4);
    grey[i] = pixels[i * 3]!;
  }
  const size = { width: 160, height: 96 };
  const sources: ImageSource[] = [
    readFileSync(images[1]!),
    { data: pixels, channels: 3, ...size },
    { data: grey, channels: 1, ...size },
    { data: rgba, channels: 4, ...size },
  ];
  const expected = await detector.detect(images[1]!);
  assert.equal(expected.path, images[1]);
  for (const source of sources) {
    const found = await detector.detect(source);
    assert.equal(found.path, undefined);
    assert.deepEqual(result(found), result(expected));
  }
});

test("one by one, in batches of any size, and at the same time: the same bits in the same order", async () => {
  const one = await load({ batchSize: 1 });
  const alone: Detection[] = [];
  for (const image of images) alone.push(await one.detect(image));
  const expected = alone.map(result);
  assert.equal(new Set(alone.map(({ logit }) => logit)).size, images.length, "the images differ");
  for (const batchSize of [2, 3, 8]) {
    const found = await (await load({ batchSize })).detect(images);
    assert.deepEqual(
      found.map(({ path: file }) => file),
      images,
    );
    assert.deepEqual(found.map(result), expected, `batches of ${batchSize}`);
  }
  const together = await Promise.all([one.detect(images), ...images.map((image) => one.detect(image))]);
  assert.deepEqual((together[0] as Detection[]).map(result), expected);
  assert.deepEqual(
    together.slice(1).map((found) => result(found as Detection)),
    expected,
  );
  assert.deepEqual(await one.detect([]), []);
});

test("the map of a detection can be transferred to another thread", async () => {
  for (const mapSize of ["model", "image"] as const) {
    const detector = await load({ mapSize });
    for (const { map } of [await detector.detect(images[1]!), ...(await detector.detect(images.slice(0, 2)))]) {
      const expected = map.data.slice();
      const moved = structuredClone(map.data, { transfer: [map.data.buffer as ArrayBuffer] });
      assert.equal(map.data.length, 0, "moved, not copied");
      assert.deepEqual(moved, expected);
    }
  }
});

test("score, decision and timings fit each other", async () => {
  for (const found of await (await load()).detect(images)) {
    assert.ok(Math.abs(found.score - 1 / (1 + Math.exp(-found.logit))) < 1e-12);
    assert.equal(found.anomalous, found.logit >= model.config.thresholds.scoreLogit);
    assert.equal(found.threshold, 0.5);
    assert.deepEqual([found.map.width, found.map.height, found.map.data.length], [64, 64, 4096]);
    const { decodeMs, engineMs, postMs, totalMs } = found.timings;
    assert.ok([decodeMs, engineMs, postMs].every((ms) => ms >= 0));
    assert.equal(totalMs, decodeMs + engineMs + postMs);
  }
});

test("an obvious defect is found where it is, in the image's own pixels", async () => {
  const pixelThreshold = 0;
  const [good, bad] = await (await load({ pixelThreshold })).detect(images.slice(0, 2));
  assert.ok(bad!.score > good!.score);
  const [region] = bad!.regions;
  assert.ok(region, "there is a region");
  assert.deepEqual([bad!.width, bad!.height], [160, 96]);
  // The square is 100..132 x 20..52.
  assert.ok(
    region.peakX >= 100 && region.peakX < 132 && region.peakY >= 20 && region.peakY < 52,
    JSON.stringify(region),
  );
  assert.ok(
    region.x < 116 && region.x + region.width > 116 && region.y < 36 && region.y + region.height > 36,
    JSON.stringify(region),
  );
  assert.ok(region.x >= 0 && region.y >= 0 && region.x + region.width <= 160 && region.y + region.height <= 96);
});

test("regions are those of the map, scaled to the image; the peak is the map's maximum", async () => {
  const [, image] = images;
  const { map } = await (await load()).detect(image!);
  const sorted = [...map.data].sort((a, b) => a - b);
  const pixelThreshold = sorted[Math.floor(sorted.length * 0.9)]!;
  const found = await (await load({ pixelThreshold })).detect(image!);
  const { regions: scaled, peak } = await engine().regions(map.data, 64, 64, pixelThreshold, 1);
  assert.deepEqual([peak, found.peak], [sorted.at(-1), sorted.at(-1)]);
  const [sx, sy] = [160 / 64, 96 / 64];
  assert.ok(found.regions.length > 0);
  assert.deepEqual(
    found.regions.map(({ area, peak, x, y }) => ({ area, peak, x, y })),
    scaled.map(({ area, peak, x, y }) => ({
      area: Math.round(area * sx * sy),
      peak,
      x: Math.floor(x * sx),
      y: Math.floor(y * sy),
    })),
  );
  const highest = map.data.indexOf(Math.fround(sorted.at(-1)!));
  const [first] = found.regions;
  assert.equal(first!.peak, map.data[highest]);
  assert.deepEqual(
    [first!.peakX, first!.peakY],
    [Math.floor(((highest % 64) + 0.5) * sx), Math.floor((Math.floor(highest / 64) + 0.5) * sy)],
  );

  // minAreaPx counts pixels of the image.
  const areas = found.regions.map(({ area }) => area).sort((a, b) => a - b);
  const least = areas.at(-1)!;
  const large = await (await load({ pixelThreshold, minAreaPx: least })).detect(image!);
  assert.deepEqual(
    large.regions.map(({ area }) => area),
    areas.filter((area) => area >= least),
  );
  assert.deepEqual((await (await load({ pixelThreshold, minAreaPx: least + 4 })).detect(image!)).regions, []);

  // Regions come highest peak first.
  const peaks = async (minPeak: number): Promise<number[]> =>
    (await (await load({ pixelThreshold, minPeak })).detect(image!)).regions.map(({ peak }) => peak);
  assert.deepEqual(await peaks(first!.peak), [first!.peak]);
  assert.deepEqual(
    await peaks(pixelThreshold),
    found.regions.map(({ peak }) => peak),
  );
  assert.deepEqual(await peaks(first!.peak + 1e-3), []);
});

test("minAreaPx at exactly a region's area keeps it, whatever the scale", async () => {
  for (const side of [7, 10, 30, 99]) {
    const whole = { width: side, height: side, channels: 3, data: new Uint8Array(side * side * 3).fill(90) } as const;
    const { regions } = await (await load({ pixelThreshold: -1e9, minAreaPx: side * side })).detect(whole);
    assert.deepEqual(
      regions.map(({ area, x, y, width, height }) => [area, x, y, width, height]),
      [[side * side, 0, 0, side, side]],
    );
  }
});

test("mapSize 'image': the map at the image's own size, with the same regions", async () => {
  const small = await (await load()).detect(images[1]!);
  const large = await (await load({ mapSize: "image" })).detect(images[1]!);
  assert.deepEqual([large.map.width, large.map.height, large.map.data.length], [160, 96, 160 * 96]);
  assert.deepEqual(large.regions, small.regions);
  assert.deepEqual(large.map.data, await engine().resizeMap(small.map.data, 64, 64, 96, 160));
});

test("thresholds given to the detector go before the model's, at their limits too", async () => {
  const decisions = async (threshold: number): Promise<boolean[]> =>
    (await (await load({ threshold })).detect(images)).map(({ anomalous }) => anomalous);
  assert.ok((await decisions(0)).every(Boolean));
  assert.ok(!(await decisions(1)).some(Boolean));
  const scores = (await (await load()).detect(images)).map(({ score }) => score);
  const middle = (Math.min(...scores) + Math.max(...scores)) / 2;
  assert.deepEqual(
    await decisions(middle),
    scores.map((score) => score >= middle),
  );
  const [found] = await (await load({ threshold: middle, pixelThreshold: 1e9 })).detect(images);
  assert.deepEqual([found!.threshold, found!.pixelThreshold, found!.regions], [middle, 1e9, []]);
});

test("direct and low-resolution heads agree to 1e-4", async () => {
  const fast = await (await load()).detect(images);
  const direct = await (await load({ heads: "direct" })).detect(images);
  for (const [i, { logit, map }] of direct.entries()) {
    const scale = Math.max(...map.data.map(Math.abs));
    assert.ok(Math.abs(logit - fast[i]!.logit) <= 1e-4 * Math.max(1, Math.abs(logit)));
    map.data.forEach((value, p) => assert.ok(Math.abs(value - fast[i]!.map.data[p]!) <= 1e-4 * scale));
  }
});

test("bfloat16: the same decisions, logits and maps near those of float32", async () => {
  const exact = await (await load()).detect(images);
  const detector = await load({ precision: "bfloat16" });
  const reduced = await detector.detect(images);
  const scale = Math.max(...exact.flatMap(({ map }) => Array.from(map.data, Math.abs)));
  for (const [i, { logit, anomalous, map }] of exact.entries()) {
    assert.equal(reduced[i]!.anomalous, anomalous);
    assert.ok(
      Math.abs(logit - reduced[i]!.logit) <= 0.05 * Math.max(1, Math.abs(logit)),
      `${logit} and ${reduced[i]!.logit}`,
    );
    map.data.forEach((value, p) => assert.ok(Math.abs(value - reduced[i]!.map.data[p]!) <= 0.05 * scale));
  }
  assert.notDeepEqual(
    reduced.map(({ logit }) => logit),
    exact.map(({ logit }) => logit),
  );
  assert.deepEqual(
    (await detector.detect(images.slice(1, 2)))[0]!.map,
    reduced[1]!.map,
    "an image does not depend on its batch",
  );
});

test("a stream stops where its reader stops, and starts nothing more", async () => {
  const detector = await load({ batchSize: 1 });
  let drawn = 0;
  let closed = false;
  function* endless(): Generator<string> {
    try {
      for (;;) {
        drawn++;
        yield images[0]!;
      }
    } finally {
      closed = true;
    }
  }
  let seen = 0;
  for await (const { score } of detector.detectEach(endless())) {
    assert.ok(score >= 0);
    if (++seen === 3) break;
  }
  assert.equal(seen, 3);
  assert.ok(closed, "the source was told to stop");
  const before = drawn;
  await detector.detect(images[0]!);
  assert.equal(drawn, before);
  assert.ok(drawn < 20);
});

test("an image in the middle that cannot be read: those before it come, the error names it, the detector goes on", async () => {
  writeFileSync(at("broken.png"), readFileSync(images[0]!).subarray(0, 60));
  const list = [images[0]!, images[1]!, images[2]!, at("broken.png"), images[3]!];
  for (const batchSize of [1, 2, 8]) {
    const detector = await load({ batchSize });
    const seen: (string | undefined)[] = [];
    const stream = async (): Promise<void> => {
      for await (const { path: file } of detector.detectEach(list)) seen.push(file);
    };
    await assert.rejects(stream(), failure("IMAGE_UNREADABLE", "broken.png"));
    assert.deepEqual(seen, images.slice(0, 3), `batches of ${batchSize}`);
    await assert.rejects(detector.detect(list), failure("IMAGE_UNREADABLE", "broken.png"));
    await assert.rejects(detector.detect(at("missing.png")), failure("FILE_NOT_FOUND", "missing.png"));
    assert.equal((await detector.detect(images)).length, 4);
  }
});

test("abort: before, and in the middle of a long list", async () => {
  const detector = await load({ batchSize: 1 });
  await assert.rejects(detector.detect(images, { signal: AbortSignal.abort() }), failure("ABORTED"));
  const controller = new AbortController();
  let seen = 0;
  const stream = async (): Promise<void> => {
    for await (const _ of detector.detectEach(Array<string>(500).fill(images[0]!), { signal: controller.signal }))
      if (++seen === 4) controller.abort();
  };
  await assert.rejects(stream(), failure("ABORTED"));
  assert.equal(seen, 4);
  assert.equal((await detector.detect(images)).length, 4);
});

test("abort between two results of one batch", async () => {
  const detector = await load({ batchSize: 4 });
  const controller = new AbortController();
  const results = detector.detectEach(images, { signal: controller.signal });
  assert.equal((await results.next()).done, false);
  controller.abort();
  await assert.rejects(results.next(), failure("ABORTED"));
});

test("disposed: twice does nothing more, a running call ends at its next batch, later ones are refused", async () => {
  const detector = await load({ batchSize: 1 });
  const running = detector.detectEach(images);
  assert.equal((await running.next()).value?.path, images[0]);
  detector.dispose();
  detector.dispose();
  await assert.rejects(running.next(), failure("INVALID_OPTION", "disposed"));
  await assert.rejects(detector.detect([]), failure("INVALID_OPTION", "disposed"));
  await assert.rejects(detector.detect(images[0]!), failure("INVALID_OPTION", "disposed"));
  assert.equal((await (await load()).detect(images)).length, 4, "the model is not affected");
});

test("wrong options and sources", async () => {
  const wrong: [string, unknown[]][] = [
    ["threshold", [-0.1, 1.1, NaN, "0.5"]],
    ["pixelThreshold", [NaN, Infinity, "0"]],
    ["minAreaPx", [-1, NaN]],
    ["minPeak", [NaN, "0"]],
    ["mapSize", ["full", 3]],
    ["batchSize", [0, 1.5, "8"]],
    ["cudaGraphs", [-1, 0.5, true]],
    ["heads", ["slow"]],
    ["precision", ["bf16", 16]],
    ["device", ["gpu", 3]],
    ["threads", [0, 1.5]],
  ];
  for (const [name, values] of wrong) {
    for (const value of values)
      await assert.rejects(
        Detector.load(model, { [name]: value }),
        failure("INVALID_OPTION", name),
        `${name} ${String(value)}`,
      );
  }
  await assert.rejects(
    Detector.load(model, { treshold: 1 } as object),
    failure("UNKNOWN_OPTION", "Did you mean 'threshold'?"),
  );
  await assert.rejects(Detector.load(3 as unknown as string), failure("INVALID_OPTION", "source"));
  await assert.rejects(
    Detector.load(model, { device: "cpu", precision: "float16" }),
    failure("INVALID_OPTION", "'precision' 'float16' is for CUDA"),
  );
  if (engine().devices().length === 1)
    await assert.rejects(Detector.load(model, { device: "cuda" }), failure("DEVICE_UNAVAILABLE"));
  const detector = await load();
  for (const source of [undefined, 3, null])
    await assert.rejects(detector.detect(source as unknown as string), failure("INVALID_OPTION"));
  await assert.rejects(
    detector.detect({ data: new Uint8Array(5), width: 2, height: 1, channels: 3 }),
    failure("INVALID_OPTION", "6 bytes"),
  );
  await assert.rejects(detector.detect(images, { sinal: undefined } as object), failure("UNKNOWN_OPTION", "signal"));
  for (const sources of [images[0]!, 5, undefined, null, {}])
    await assert.rejects(detector.detectEach(sources as string[]).next(), failure("INVALID_OPTION", "sources"));
  const controller = new AbortController();
  controller.abort();
  await assert.rejects(
    detector.detect(images, controller.signal as object),
    failure("INVALID_OPTION", "a plain object"),
    "the signal in place of the options",
  );
  const one = await detector.detect(images[0]!, { signal: undefined });
  assert.equal(one.path, images[0]);
});

/** Yields one at a time, and counts what was asked of it. */
async function* frames(
  list: readonly (ImageSource | NamedImage)[],
  told: { asked: number; closed: boolean } = { asked: 0, closed: false },
): AsyncGenerator<ImageSource | NamedImage> {
  try {
    for (const frame of list) {
      told.asked++;
      yield frame;
    }
  } finally {
    told.closed = true;
  }
}

test("a stream of named frames: the results of the same images, with their names", async () => {
  const detector = await load({ batchSize: 2 });
  const expected = await detector.detect(images);
  const found: Detection[] = [];
  for await (const detection of detector.detectEach(frames(images.map((image, i) => ({ id: `part ${i}`, image })))))
    found.push(detection);
  assert.deepEqual(
    found.map(({ id }) => id),
    ["part 0", "part 1", "part 2", "part 3"],
  );
  assert.deepEqual(found.map(result), expected.map(result));
  assert.equal((await detector.detect({ id: "one", image: images[0]! })).id, "one");
  assert.ok(!("id" in expected[0]!));
  await assert.rejects(detector.detect({ id: "", image: images[0]! }), failure("INVALID_OPTION", "id"));
  await assert.rejects(
    detector.detect({ id: "a", image: images[0]!, part: 1 } as NamedImage),
    failure("UNKNOWN_OPTION"),
  );
});

test("a source is asked for no more than there is room for, and closed when the reader leaves", async () => {
  const detector = await load({ batchSize: 1 });
  const told = { asked: 0, closed: false };
  for await (const _ of detector.detectEach(frames(Array<string>(100).fill(images[0]!), told))) break;
  assert.ok(told.asked <= 6, `${told.asked} asked for`);
  assert.ok(told.closed);
});

test(
  "a result does not wait for a source that is silent, and neither does who leaves",
  { timeout: 60_000 },
  async () => {
    const detector = await load({ batchSize: 8 });
    const silent: AsyncIterable<ImageSource> = {
      [Symbol.asyncIterator]: () => {
        let given = 0;
        return {
          next: () =>
            given++ === 0 ? Promise.resolve({ value: images[0]!, done: false }) : new Promise<never>(() => undefined),
        };
      },
    };
    for (const options of [{}, { latestOnly: true }])
      for await (const detection of detector.detectEach(silent, options)) {
        assert.equal(detection.path, images[0]);
        break;
      }
    const controller = new AbortController();
    const stream = detector.detectEach(silent, { signal: controller.signal });
    await stream.next();
    const waiting = stream.next();
    controller.abort();
    await assert.rejects(waiting, failure("ABORTED"));
  },
);

test("latestOnly judges the newest frame and drops those that waited", async () => {
  const detector = await load();
  const numbered = Array.from({ length: 50 }, (_, i) => ({ id: String(i), image: images[i % 4]! }));
  const found: Detection[] = [];
  for await (const detection of detector.detectEach(frames(numbered), { latestOnly: true })) found.push(detection);
  const ids = found.map(({ id }) => Number(id));
  assert.equal(ids.at(-1), 49);
  assert.ok(ids.length < 10, `${ids.length} of 50 were judged`);
  assert.deepEqual(
    ids,
    [...ids].sort((a, b) => a - b),
  );
  const list = detector.detectEach(images, { latestOnly: true });
  await assert.rejects(list.next(), failure("INVALID_OPTION", "latestOnly"));
});

test("an image that cannot be read ends a stream, or is told of in its place", async () => {
  const detector = await load({ batchSize: 3 });
  const list = [images[0]!, { id: "lost", image: at("none.png") }, images[1]!];
  for (const sources of [list, frames(list)]) {
    const seen: unknown[] = [];
    const onUnreadable = (error: SuperSimpleNetError, source: unknown): void =>
      void seen.push([error.code, (source as NamedImage).id]);
    for await (const { path: file } of detector.detectEach(sources, { onUnreadable })) seen.push(file);
    assert.deepEqual(seen, [images[0], ["FILE_NOT_FOUND", "lost"], images[1]]);
  }
  const stream = detector.detectEach(frames(list));
  assert.equal((await stream.next()).value?.path, images[0]);
  await assert.rejects(stream.next(), failure("FILE_NOT_FOUND", "none.png"));
});

test("a program that only detects loads no library of downloads, archives or outputs", async () => {
  await model.save(at("alone.ssn"));
  const script = `
    require(process.argv[1]).Detector.load(process.argv[2], { threads: 1 }).then(async (detector) => {
      await detector.detect(process.argv[3]);
      console.log(Object.keys(require.cache).filter((file) => /node_modules.(undici|yauzl|mqtt|better-sqlite3)./.test(file)).length);
    });`;
  const index = require.resolve("../../lib/index.js");
  const child = spawnSync(process.execPath, ["-e", script, index, at("alone.ssn"), at("a.png")], { encoding: "utf8" });
  assert.equal(child.stdout.trim(), "0", child.stderr);
});
