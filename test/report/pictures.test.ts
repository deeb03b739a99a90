import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";

import sharp from "sharp";

import { Canvas, fitText, textWidth } from "../../lib/report/canvas.js";
import { colourRange, ColourScale, heatColours, heatPixels } from "../../lib/report/colours.js";
import { contourSegments, drawContour, drawTint, nothing, resizeField } from "../../lib/report/contour.js";
import { eachTextPixel } from "../../lib/report/font.js";
import { isPictureName, mapSuffixes, overlaySuffix, pictureNames } from "../../lib/report/names.js";
import { npyFile } from "../../lib/report/npy.js";
import { contactSheet, heatMapPng, overlayPng, type OverlayInput } from "../../lib/report/overlay.js";
import { ReportPictures } from "../../lib/report/pictures.js";
import { byMaxima, pictureMap } from "../../lib/report/reduce.js";
import { failure, temporaryFolder } from "../datasets/files.js";

/** Relative luminance of an RGB triple. */
function luminance(at: number): number {
  const linear = [0, 1, 2].map((c) => ((heatColours[3 * at + c]! / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear[0]! + 0.7152 * linear[1]! + 0.0722 * linear[2]!;
}

/** A disc of +1 on -1. */
function disc(size: number, radius: number): Float32Array {
  const map = new Float32Array(size * size);
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) map[y * size + x] = radius - Math.hypot(x - size / 2, y - size / 2) >= 0 ? 1 : -1;
  return map;
}

function input(truth: OverlayInput["truth"], size = 64): OverlayInput {
  return {
    image: { pixels: new Uint8Array(size * size * 3).fill(120), width: size, height: size },
    detection: {
      map: { data: disc(size, 12), width: size, height: size, area: { x: 0, y: 0, width: size, height: size } },
      score: 0.9,
      peak: 1,
      threshold: 0.5,
      mapThreshold: 0.5,
      pixelThreshold: 0,
      anomalous: true,
      verdict: "defect",
      decidedBy: ["score"],
    },
    ...(truth && { truth }),
    title: "test/scratch/001.png",
  };
}

test("colours grow lighter with every step, from dark to light", () => {
  for (let i = 8; i < 256; i += 8) assert.ok(luminance(i) > luminance(i - 8), `step ${i}`);
  assert.ok(luminance(0) < 0.02 && luminance(255) > 0.8);
});

test("the colour range is centred on the pixel threshold and covers the maps", () => {
  const { low, high } = colourRange([Float32Array.from({ length: 1000 }, (_, i) => i / 1000 - 3)], -1);
  assert.ok(Math.abs((low + high) / 2 + 1) < 1e-6);
  assert.ok(low <= -2.98 && low > -3.01);
  const flat = colourRange([new Float32Array(10)], 0);
  assert.ok(flat.high > flat.low, "a flat map still gives a range");
});

test("heat pixels: clamped, threshold in the middle", () => {
  const pixels = heatPixels(Float32Array.from([-9, 0, 9]), { low: -1, high: 1 });
  assert.deepEqual([...pixels.subarray(0, 3)], [...heatColours.subarray(0, 3)]);
  assert.deepEqual([...pixels.subarray(3, 6)], [...heatColours.subarray(128 * 3, 128 * 3 + 3)]);
  assert.deepEqual([...pixels.subarray(6, 9)], [...heatColours.subarray(255 * 3)]);
});

test("a contour lies where the field crosses the level", () => {
  // A ramp along x: the level 0.5 is crossed at x = 2.5 in every row.
  const ramp = Float32Array.from({ length: 6 * 4 }, (_, i) => (i % 6) / 5);
  const segments = contourSegments({ data: ramp, width: 6, height: 4 }, 0.5);
  const xs = segments.filter((_, i) => i % 2 === 0);
  assert.ok(
    Math.abs(Math.min(...xs) - 2.5) < 1e-6 && Math.max(...xs) === 5,
    "around the right part, closed at the border",
  );
  const ends = new Map<string, number>();
  for (let i = 0; i < segments.length; i += 2) {
    const end = [segments[i]!, segments[i + 1]!].map((value) => Math.round(value * 1000)).join();
    ends.set(end, (ends.get(end) ?? 0) + 1);
  }
  assert.ok(
    [...ends.values()].every((count) => count % 2 === 0),
    "no loose end",
  );
  assert.deepEqual(contourSegments({ data: new Float32Array(16), width: 4, height: 4 }, 0.5), []);
});

test("a drawn contour is two pixels wide", () => {
  const canvas = new Canvas(20, 5, [0, 0, 0]);
  const data = Float32Array.from({ length: 100 }, (_, i) => (i % 20) - 9.5);
  drawContour(canvas, 0, 0, { data, width: 20, height: 5 }, 0, [255, 0, 0]);
  const row = Array.from({ length: 16 }, (_, x) => canvas.pixels[(2 * 20 + x) * 3]!);
  assert.deepEqual(
    row.map((red, x) => (red > 0 ? x : -1)).filter((x) => x >= 0),
    [9, 10],
  );
});

test("resizing a field keeps constants and its mean", () => {
  assert.ok(
    resizeField({ data: new Float32Array(12).fill(3), width: 4, height: 3 }, 9, 7).data.every((value) => value === 3),
  );
  const twice = resizeField({ data: Float32Array.from([0, 1]), width: 2, height: 1 }, 4, 1);
  assert.deepEqual([...twice.data], [0, 0.25, 0.75, 1]);
  const placed = resizeField({ data: Uint8Array.from([0, 1]), width: 2, height: 1 }, 8, 2, {
    x: 2,
    y: 0,
    width: 4,
    height: 1,
  });
  const empty = [nothing, nothing];
  assert.deepEqual([...placed.data], [...empty, 0, 0.25, 0.75, 1, ...empty, ...Array<number>(8).fill(nothing)]);
  const thin = resizeField({ data: Float32Array.from([3]), width: 1, height: 1 }, 4, 1, {
    x: 2.6,
    y: 0,
    width: 0.2,
    height: 1,
  });
  assert.deepEqual([...thin.data], [...empty, 3, nothing], "what is thinner than a pixel fills one");
});

test("text: every printable ASCII character has its own shape", () => {
  const shapes = new Map<string, string>();
  for (let code = 33; code < 127; code++) {
    const character = String.fromCharCode(code);
    const pixels: string[] = [];
    eachTextPixel(character, (x, y) => pixels.push(`${x},${y}`));
    const shape = pixels.join(" ");
    assert.ok(shape !== "", character);
    assert.equal(shapes.get(shape), undefined, `${character} looks like ${shapes.get(shape)}`);
    shapes.set(shape, character);
  }
  assert.equal(textWidth("ab", 1), 11);
  assert.equal(fitText("abcdefgh", 5 * 6, 1), "…efgh");
});

test("overlay: four panels with truth, three without", async () => {
  const range = { low: -1, high: 1 };
  const mask = { pixels: Uint8Array.from(disc(64, 10), (v) => (v > 0 ? 1 : 0)), width: 64, height: 64 };
  const sizes = await Promise.all(
    [
      input({ label: "anomalous", mask }),
      input({ label: "anomalous" }),
      input({ label: "normal" }),
      input(undefined),
    ].map(async (one) => sharp(await overlayPng(one, range)).metadata()),
  );
  assert.deepEqual(
    sizes.map(({ width }) => width),
    [1074, 1074, 1074, 808],
  );
  assert.ok(sizes.every(({ format, channels }) => format === "png" && channels === 3));
});

/** Pixels of the panels of an overlay: x and y count from each panel's corner. */
async function panelsOf(one: OverlayInput, range: { low: number; high: number }) {
  const { data, info } = await sharp(await overlayPng(one, range))
    .raw()
    .toBuffer({ resolveWithObject: true });
  const top = 10 + 28 + 20; // a margin, the title, the panel's label
  return (panel: number, x: number, y: number): number[] => {
    const at = ((top + y) * info.width + 10 + panel * 266 + x) * 3;
    return [...data.subarray(at, at + 3)];
  };
}

test("a map of a part of the image lies there; around it is neither heat nor contour", async () => {
  const one = input(undefined, 8);
  const image = { pixels: new Uint8Array(512 * 256 * 3).fill(120), width: 512, height: 256 };
  // A quarter of the panel's pixels: from 64 to 192 across, and from 32 to 80 down.
  const map = {
    data: new Float32Array(64).fill(1),
    width: 8,
    height: 8,
    area: { x: 128, y: 64, width: 256, height: 96 },
  };
  const at = await panelsOf({ ...one, image, detection: { ...one.detection, map } }, { low: -1, high: 1 });
  const [grey, hottest, empty] = [[120, 120, 120], [...heatColours.subarray(255 * 3)], [38, 41, 48]];
  for (const [x, y] of [
    [64, 32],
    [191, 79],
    [128, 50],
  ] as const)
    assert.deepEqual(at(1, x, y), hottest, `${x},${y}`);
  for (const [x, y] of [
    [63, 50],
    [192, 50],
    [128, 31],
    [128, 80],
    [0, 0],
  ] as const)
    assert.deepEqual(at(1, x, y), empty, `${x},${y}`);
  assert.deepEqual(at(2, 20, 50), grey);
  assert.deepEqual(at(2, 128, 100), grey);
  assert.notDeepEqual(at(2, 128, 50), grey, "tinted");
  assert.deepEqual(at(2, 64, 50), [255, 140, 26], "the contour runs along the edge of what the map covers");
});

test("a small defect of a large map, and its mask, are in the picture", async () => {
  const size = 2048;
  const data = new Float32Array(size * size).fill(-1);
  const pixels = new Uint8Array(size * size);
  data[700 * size + 1203] = 1;
  pixels[1500 * size + 301] = 1;
  const area = { x: 0, y: 0, width: size, height: size };
  const image = { pixels: new Uint8Array(size * size * 3).fill(120), width: size, height: size };
  const one = { ...input({ label: "anomalous", mask: { pixels, width: size, height: size } }), image };
  const map = await pictureMap({ data, width: size, height: size, area });
  assert.deepEqual([map.width, map.height], [512, 512]);
  for (const each of [map, { data, width: size, height: size, area }]) {
    const at = await panelsOf({ ...one, detection: { ...one.detection, map: each } }, { low: -1, high: 1 });
    assert.ok(at(1, 37, 187)[0]! > 20, "white in the mask's panel");
    assert.notDeepEqual(at(2, 150, 87), at(2, 10, 10));
    assert.notDeepEqual(at(3, 37, 187), [120, 120, 120], "the mask's contour");
  }
  const small = { data: data.subarray(0, 4), width: 2, height: 2, area };
  assert.equal(await pictureMap(small), small);
});

test("maxima: every value lies under one, whatever the sizes", async () => {
  const grid = { data: Float32Array.from({ length: 35 }, (_, i) => 34 - i), width: 7, height: 5 };
  const { data, width, height } = await byMaxima(grid, 2.5, 2);
  assert.deepEqual([width, height], [3, 2]);
  assert.deepEqual([...data], [34, 32, 30, 20, 18, 16]);
  for (let i = 0; i < 35; i++) {
    const single = Float32Array.from({ length: 35 }, (_, k) => (k === i ? 1 : 0));
    assert.ok((await byMaxima({ ...grid, data: single }, 3, 2)).data.includes(1), `value ${i}`);
  }
  assert.deepEqual((await byMaxima(grid, 99, 99)).data, grid.data, "never more than there are");
});

test("the report says which part of an image a heat map covers", async (t) => {
  const image = path.join(await temporaryFolder(t), "a.png");
  await sharp(Buffer.alloc(80 * 40 * 3, 90), { raw: { width: 80, height: 40, channels: 3 } }).toFile(image);
  const pictures = new ReportPictures(2, 0, 16);
  const { detection } = input(undefined, 16);
  const place = async (id: string, area: { x: number; y: number; width: number; height: number }): Promise<void> =>
    pictures.add({ id, image, label: "normal", split: "test" }, {
      ...detection,
      map: { ...detection.map, area },
    } as Parameters<ReportPictures["add"]>[1]);
  await place("part", { x: 20, y: 10, width: 40, height: 15 });
  await place("whole", { x: 0, y: 0, width: 80, height: 40 });
  await pictures.finish();
  assert.equal(pictures.failed, 0);
  assert.deepEqual(pictures.pictures.get("part")!.heatArea, { x: 0.25, y: 0.25, width: 0.5, height: 0.375 });
  assert.ok(!("heatArea" in pictures.pictures.get("whole")!));
});

/** The title row of a picture, and where it has pixels of the text's colour as the text would have them. */
async function shows(picture: Buffer, text: string, colour: readonly [number, number, number]): Promise<boolean> {
  const { data, info } = await sharp(picture).raw().toBuffer({ resolveWithObject: true });
  const wanted: [number, number][] = [];
  eachTextPixel(text, (x, y) => wanted.push([2 * x, 2 * y]));
  const inColour = (x: number, y: number): boolean =>
    colour.every((value, channel) => data[(y * info.width + x) * info.channels + channel] === value);
  for (let left = 0; left < info.width - textWidth(text); left++)
    if (wanted.every(([x, y]) => inColour(left + x, 10 + y))) return true;
  return false;
}

test("the title says what decided: the score, or the map where it alone did", async () => {
  const range = { low: -1, high: 1 };
  const [red, green, blue, yellow] = [
    [255, 99, 88],
    [104, 204, 138],
    [120, 170, 255],
    [245, 200, 66],
  ] as const;
  const drawn = (own: Partial<OverlayInput["detection"]>, truth?: OverlayInput["truth"]): Promise<Buffer> => {
    const one = input(truth);
    return overlayPng({ ...one, detection: { ...one.detection, peak: 2.5, mapThreshold: 1.25, ...own } }, range);
  };
  const good = { verdict: "good", anomalous: false, decidedBy: [] } as const;
  const unsure = { ...good, verdict: "unsure" } as const;
  const dim = [150, 156, 168] as const;
  const cases: [Partial<OverlayInput["detection"]>, string, string, typeof red | typeof green | typeof blue][] = [
    [{ decidedBy: ["score"] }, "DEFECT 0.900", "threshold 0.500", red],
    [{ decidedBy: ["score", "map"] }, "DEFECT 0.900", "threshold 0.500", red],
    [{ decidedBy: ["map"] }, "DEFECT map 2.50", "threshold 1.25", red],
    [{ ...unsure, decidedBy: ["map"] }, "unsure map 2.50", "threshold 1.25", blue],
    [{ ...unsure, decidedBy: ["score"] }, "unsure 0.900", "threshold 0.500", blue],
    [good, "good 0.900", "threshold 0.500", green],
  ];
  for (const [own, verdict, threshold, colour] of cases) {
    const picture = await drawn(own);
    assert.ok(await shows(picture, verdict, colour), verdict);
    assert.ok(await shows(picture, threshold, dim), threshold);
  }
  const alarm = await drawn({ decidedBy: ["map"] }, { label: "normal" });
  assert.ok(await shows(alarm, "DEFECT map 2.50 false alarm", yellow));
  const missed = await drawn({ ...unsure, decidedBy: ["score"] }, { label: "anomalous" });
  assert.ok(await shows(missed, "unsure 0.900 missed", yellow));
  assert.ok(!(await shows(alarm, "DEFECT 0.900", yellow)));
});

test("contact sheet: one strip per image; aspect kept", async () => {
  const wide: OverlayInput = {
    ...input(undefined),
    image: { pixels: new Uint8Array(200 * 50 * 3), width: 200, height: 50 },
  };
  const one = await sharp(await contactSheet([input(undefined)], { low: -1, high: 1 }, "One")).metadata();
  const two = await sharp(await contactSheet([input(undefined), wide], { low: -1, high: 1 }, "Two")).metadata();
  assert.ok(two.height! > one.height! && two.height! < 2 * one.height!);
  const four = await sharp(
    await contactSheet(
      Array.from({ length: 4 }, () => input(undefined)),
      { low: -1, high: 1 },
      "Four",
    ),
  ).metadata();
  assert.ok(four.width! > 2 * one.width!, "two columns");
});

test("the same input gives the same bytes", async () => {
  const map = { data: disc(32, 8), width: 32, height: 32 };
  assert.deepEqual(await heatMapPng(map, { low: -1, high: 1 }), await heatMapPng(map, { low: -1, high: 1 }));
});

test("arrays of another size than they claim, and a range that is none, are refused", async () => {
  const range = { low: -1, high: 1 };
  const good = input(undefined, 8);
  const map = { data: new Float32Array(5), width: 2, height: 2 };
  const wrong: [string, () => Promise<unknown>][] = [
    ["map", () => heatMapPng(map, range)],
    ["map", () => heatMapPng({ data: new Float32Array(0), width: 0, height: 0 }, range)],
    ["range", () => heatMapPng({ ...map, data: new Float32Array(4) }, { low: 1, high: 1 })],
    ["range.high", () => heatMapPng({ ...map, data: new Float32Array(4) }, { low: 1, high: NaN })],
    [
      "detection.map",
      () => overlayPng({ ...good, detection: { ...good.detection, map: { ...good.detection.map, ...map } } }, range),
    ],
    [
      "detection.map.area",
      () =>
        overlayPng(
          { ...good, detection: { ...good.detection, map: { ...good.detection.map, area: undefined as never } } },
          range,
        ),
    ],
    ["image.pixels", () => overlayPng({ ...good, image: { pixels: new Uint8Array(5), width: 2, height: 2 } }, range)],
    [
      "truth.mask",
      () =>
        overlayPng(
          { ...good, truth: { label: "anomalous", mask: { pixels: new Uint8Array(5), width: 2, height: 2 } } },
          range,
        ),
    ],
    ["inputs", () => contactSheet([], range, "None")],
  ];
  for (const [name, call] of wrong) await assert.rejects(call, failure("INVALID_OPTION", `'${name}'`), name);
  for (const shape of [[3, 3], [-1, -4], [4.5], [NaN]])
    assert.throws(() => npyFile(new Float32Array(4), shape), failure("INVALID_OPTION", "'shape'"));
});

test("ColourScale: the first maps set the range for all", async () => {
  const scale = new ColourScale(0, 2);
  const ranges: { low: number; high: number }[] = [];
  const draw = async (range: { low: number; high: number }): Promise<void> => void ranges.push(range);
  await scale.add(Float32Array.from([1, -1]), draw);
  assert.equal(ranges.length, 0, "the first waits");
  await scale.add(Float32Array.from([2, -1]), draw);
  await scale.add(Float32Array.from([50, -1]), draw);
  await scale.finish();
  assert.equal(ranges.length, 3);
  assert.ok(ranges.every(({ low, high }) => low === ranges[0]!.low && high === 2));
});

test("ColourScale: large maps do not wait for others", async () => {
  const scale = new ColourScale(0);
  let drawn = 0;
  const draw = async (): Promise<void> => void drawn++;
  await scale.add(new Float32Array(4), draw, 2 ** 25);
  assert.equal(drawn, 0);
  await scale.add(new Float32Array(4), draw, 2 ** 25 + 1);
  assert.equal(drawn, 2);
});

test("ColourScale: a picture that fails does not take the others with it", async () => {
  const scale = new ColourScale(0);
  const drawn: number[] = [];
  for (const i of [0, 1, 2]) {
    await scale.add(Float32Array.from([i]), async () => {
      if (i < 2) throw new Error(`picture ${i}`);
      drawn.push(i);
    });
  }
  await assert.rejects(scale.finish(), /picture 0/);
  assert.deepEqual(drawn, [2]);
});

test("the found side of the contour is tinted, the other is not", () => {
  const canvas = new Canvas(20, 5, [0, 0, 0]);
  drawTint(
    canvas,
    0,
    0,
    { data: Float32Array.from({ length: 100 }, (_, i) => (i % 20) - 9.5), width: 20, height: 5 },
    0,
    [200, 0, 0],
  );
  assert.deepEqual(
    [5, 15].map((x) => canvas.pixels[(2 * 20 + x) * 3]! > 0),
    [false, true],
  );
});

test("picture names never equal their sources, are unique and stay inside the folder", () => {
  const names = (...ids: string[]): string[] => pictureNames(ids, overlaySuffix);
  assert.deepEqual(names("test/scratch/001.png"), ["test_scratch_001.overlay.png"]);
  assert.deepEqual(names("a.tif", "a.png", "b.png"), ["a.tif.overlay.png", "a.png.overlay.png", "b.overlay.png"]);
  assert.deepEqual(names("a.png", "a.png"), ["a.overlay.png", "a-2.overlay.png"]);
  assert.deepEqual(names("../../etc/passwd", "/tmp/ä b.png", "部品/1.png"), [
    "etc_passwd.overlay.png",
    "tmp_ä_b.overlay.png",
    "部品_1.overlay.png",
  ]);
});

test("a picture is known by its name", () => {
  for (const suffix of [overlaySuffix, mapSuffixes.png])
    assert.ok(pictureNames(["a/1.png", "a/1.png", "b.tif"], suffix).every(isPictureName), suffix);
  assert.deepEqual(["1.png", "overlay.png", "map.png", "bitmap.png"].filter(isPictureName), []);
});

test("long picture names are shortened, and stay different", () => {
  const long = [..."ab"].map((end) => `${"ö/".repeat(300)}${end}${"x".repeat(200)}.png`);
  const names = pictureNames(long, mapSuffixes.npy);
  assert.ok(names.every((name) => Buffer.byteLength(name) <= 200 && name.endsWith("x.map.npy")));
  assert.notEqual(names[0], names[1]);
});

test("npy: header as NumPy reads it, then float32", () => {
  const file = npyFile(Float32Array.from([0.5, -1, 2, 3, 4, 5]), [2, 3]);
  assert.equal(file.subarray(0, 8).toString("latin1"), "\x93NUMPY\x01\x00");
  const length = file.readUInt16LE(8);
  assert.equal((10 + length) % 64, 0);
  const header = file.subarray(10, 10 + length).toString("latin1");
  assert.match(header, /^\{'descr': '<f4', 'fortran_order': False, 'shape': \(2, 3\), \} *\n$/);
  assert.equal(file.length, 10 + length + 24);
  assert.equal(file.readFloatLE(10 + length), 0.5);
  assert.equal(file.readFloatLE(10 + length + 20), 5);
});
