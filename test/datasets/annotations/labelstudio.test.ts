import assert from "node:assert/strict";
import { test } from "node:test";

import { brushRuns } from "../../../lib/datasets/annotations/runs.js";
import { Damaged } from "../../../lib/datasets/annotations/shapes.js";
import { open } from "../../../lib/datasets/registry.js";
import { Random } from "../../../lib/random.js";
import { failure } from "../files.js";
import { box, HEIGHT, marked, messages, project, sampleOf, summary, where, WIDTH } from "./support.js";

const region = (type: string, label: string, value: object, more: object = {}): object => ({
  type,
  original_width: WIDTH,
  original_height: HEIGHT,
  image_rotation: 0,
  value: { rotation: 0, [type]: [label], ...value },
  ...more,
});
const task = (image: string, result: readonly object[] = [], more: object = {}): object => ({
  id: 1,
  data: { image },
  annotations: [{ id: 2, was_cancelled: false, ground_truth: false, result }],
  ...more,
});
/** In percent of the image, as the tool has it. */
const [px, py] = [(x: number): number => (100 * x) / WIDTH, (y: number): number => (100 * y) / HEIGHT];
const rectangle = (label: string, x: number, y: number, width: number, height: number, more: object = {}): object =>
  region("rectanglelabels", label, { x: px(x), y: py(y), width: px(width), height: py(height), ...more });

/** Packs RGBA values as the brush of the tool does, with runs and rows of single values mixed at random. */
function packed(alpha: readonly number[], random: Random): number[] {
  const values = alpha.flatMap((value) => [255, 0, 0, value]);
  let bits = "";
  const put = (value: number, count: number): void => void (bits += value.toString(2).padStart(count, "0"));
  const sizes = [3, 4, 8, 16];
  put(values.length, 32);
  put(8 - 1, 5);
  for (const size of sizes) put(size - 1, 4);
  for (let at = 0; at < values.length;) {
    let same = 1;
    while (same < 60_000 && values[at + same] === values[at]) same++;
    const isRun = same > 2;
    const length = isRun ? same : Math.min(1 + random.integer(6), values.length - at);
    const which = sizes.findIndex((size) => length <= 2 ** size);
    put(isRun ? 1 : 0, 1);
    put(which, 2);
    put(length - 1, sizes[which]!);
    for (let i = 0; i < (isRun ? 1 : length); i++) put(values[at + i]!, 8);
    at += length;
  }
  bits = bits.padEnd(Math.ceil(bits.length / 8) * 8, "0");
  return bits.match(/.{8}/g)!.map((byte) => parseInt(byte, 2));
}

test("polygons, rectangles, ellipses and brushes, in percent; names of uploads, storages and addresses", async (t) => {
  const random = new Random(6);
  const alpha = Array.from({ length: WIDTH * HEIGHT }, (_, i) =>
    i % 97 < 20 ? 255 * random.integer(2) : i > 900 ? 128 : 0,
  );
  const points = [[5, 5], [15, 5], [15, 10], [5, 10]].map(([x, y]) => [px(x!), py(y!)]); // prettier-ignore
  const root = await project(t, ["images/a.png", "images/b c.png", "images/d.png", "images/e.png", "images/f.png", "images/good.png", "images/1a2b3c4d-h.png"], {
    "project.json": [
      task("/data/upload/3/1a2b3c4d-a.png", [region("polygonlabels", "scratch", { points })]),
      task("/data/local-files/?d=images%2Fb%20c.png", [rectangle("dent", 10, 4, 20, 6)]),
      task("s3://bucket/folder/d.png", [region("ellipselabels", "pit", { x: px(20), y: py(18), radiusX: px(8), radiusY: py(4), rotation: 90 })]),
      task("https://host/e.png?token=x", [region("brushlabels", "stain", { format: "rle", rle: packed(alpha, random) })]),
      task("f.png", [rectangle("turned", 20, 10, 10, 4, { rotation: 90 })]),
      task("good.png"),
      task("/data/upload/3/1a2b3c4d-h.png", [rectangle("logo", 0, 0, 4, 4)]),
    ],
  }); // prettier-ignore
  const data = await open(root, { ignoreClass: ["logo"] });
  assert.deepEqual([data.kind, messages(data), data.unused], ["labelstudio", [], []]);
  assert.deepEqual(summary(data), [
    "images/1a2b3c4d-h.png normal train - ignore",
    "images/a.png anomalous train scratch mask",
    "images/b c.png anomalous train dent mask",
    "images/d.png anomalous train pit mask",
    "images/e.png anomalous train stain mask",
    "images/f.png anomalous train turned mask",
    "images/good.png normal train -",
  ]);
  const maskOf = (id: string) => marked(sampleOf(data, `images/${id}`).mask);
  assert.deepEqual(await maskOf("a.png"), box(5, 5, 15, 10));
  assert.deepEqual(await maskOf("b c.png"), box(10, 4, 30, 10));
  assert.deepEqual(
    await maskOf("d.png"),
    where((x, y) => ((x - 20) / 4) ** 2 + ((y - 18) / 8) ** 2 < 1),
  );
  assert.deepEqual(
    await maskOf("e.png"),
    where((x, y) => alpha[Math.floor(y) * WIDTH + Math.floor(x)]! > 0),
  );
  assert.deepEqual(await maskOf("f.png"), box(16, 10, 20, 20)); // about its corner, clockwise
});

test("brushes of random pixels come back, in any mixture of runs", () => {
  const random = new Random(7);
  for (let i = 0; i < 40; i++) {
    const [width, height] = [1 + random.integer(20), 1 + random.integer(20)];
    const share = random.uniform();
    const alpha = Array.from({ length: width * height }, () =>
      random.uniform() < share ? 1 + random.integer(255) : 0,
    );
    const { counts } = brushRuns(packed(alpha, random), width, height);
    const pixels = counts.flatMap((count, k) => Array<number>(count).fill(k % 2));
    assert.deepEqual(pixels, alpha.map((value) => (value > 0 ? 1 : 0))); // prettier-ignore
  }
});

test("which annotation of a task counts; tasks without one, and choices", async (t) => {
  const one = (result: readonly object[], more: object = {}): object => ({ result, ...more });
  const root = await project(t, ["a.png", "b.png", "c.png", "d.png", "e.png"], {
    "project.json": [
      task("a.png", [], { annotations: [one([rectangle("x", 0, 0, 9, 9)], { was_cancelled: true }), one([])] }),
      task("b.png", [], { annotations: [one([rectangle("x", 0, 0, 9, 9)]), one([rectangle("y", 20, 20, 9, 9)], { ground_truth: true })] }),
      task("c.png", [], { annotations: [] }),
      task("d.png", [], { annotations: [one([rectangle("x", 0, 0, 9, 9)]), one([rectangle("y", 20, 20, 10, 10)])] }),
      task("e.png", [{ type: "choices", value: { choices: ["good"] } }]),
    ],
  }); // prettier-ignore
  const data = await open(root);
  assert.deepEqual(summary(data), ["a.png normal train -", "b.png anomalous train y mask", "d.png anomalous train y mask", "e.png normal train -"]); // prettier-ignore
  assert.equal((await marked(sampleOf(data, "d.png").mask)).length, 181);
  assert.deepEqual(data.unused, ["c.png"]);
  assert.deepEqual(data.warnings, [
    "project.json: 1 task without an annotation is left out.",
    "project.json: 1 choice for an image is not read. Label defects as regions.",
  ]);
});

test("every damaged annotation names file and image", async (t) => {
  const brush = (rle: unknown): object => region("brushlabels", "a", { format: "rle", rle });
  const whole = packed(Array<number>(WIDTH * HEIGHT).fill(255), new Random(1));
  const damaged: [region: object, message: string][] = [
    [rectangle("a", NaN, 0, 1, 1), "region 1 (rectanglelabels): x is null, not a number"],
    [region("polygonlabels", "a", { points: [[1, 1], [2, 2]] }), "region 1 (polygonlabels): a polygon has 2 points"], // prettier-ignore
    [region("ellipselabels", "a", { x: 1, y: 1, radiusX: 0, radiusY: 1 }), "region 1 (ellipselabels): its radii are 0 and"],
    [region("rectanglelabels", "", { x: 1, y: 1, width: 1, height: 1 }), "region 1 (rectanglelabels): it has no class"],
    [region("keypointlabels", "a", { x: 1, y: 1 }), "region 1 (keypointlabels): regions of this type are not read"],
    [rectangle("a", 0, 0, 9, 9, {}), "it was annotated at 41 x 36 pixels, but it is 40 x 36"],
    [brush(undefined), "region 1 (brushlabels): its brush has no list 'rle'"],
    [brush([1, 2, 300]), "region 1 (brushlabels): its brush holds something else than bytes"],
    [brush(whole.slice(0, 7)), "region 1 (brushlabels): the bytes of its brush end too early"],
    [brush([0, 0, 0, 4, ...whole.slice(4)]), "region 1 (brushlabels): its brush holds 4 values, but 40 x 36 pixels have 5760"],
    [brush([...whole.slice(0, 6), 0, ...Array<number>(40).fill(255)]), "region 1 (brushlabels): "],
    [{ ...rectangle("a", 0, 0, 9, 9), image_rotation: 90 }, "region 1 (rectanglelabels): it was drawn on the image turned"],
    [{ ...rectangle("a", 0, 0, 9, 9), original_width: 0 }, "region 1 (rectanglelabels): original_width is 0, not a whole number from 1"],
  ]; // prettier-ignore
  (damaged[5]![0] as { original_width: number }).original_width = 41;
  const name = (i: number): string => `${String.fromCharCode(97 + i)}.png`;
  const root = await project(t, ["good.png", ...damaged.map((_, i) => name(i))], {
    "project.json": [task("good.png"), task("gone.png"), ...damaged.map(([one], i) => task(name(i), [one]))],
  });
  const data = await open(root);
  assert.deepEqual(summary(data), ["good.png normal train -"]);
  const found = messages(data);
  const expected = [
    "project.json: image 'gone.png': there is no such image",
    ...damaged.map(([, message], i) => `project.json: image '${name(i)}': ${message}`),
  ];
  for (const start of expected) assert.ok(found.some((message) => message.startsWith(start)), `${start}\n${found.join("\n")}`); // prettier-ignore
  assert.equal(found.length, expected.length, found.join("\n"));
});

test("a brush that is damaged anywhere is refused or read, and nothing else", () => {
  const random = new Random(8);
  const good = packed(Array.from({ length: 48 }, () => 255 * random.integer(2)), random); // prettier-ignore
  for (let i = 0; i < 500; i++) {
    const bytes = [...good];
    bytes[random.integer(bytes.length)] = random.integer(256);
    try {
      assert.equal(brushRuns(bytes, 8, 6).counts.reduce((a, b) => a + b), 48); // prettier-ignore
    } catch (error) {
      assert.ok(error instanceof Damaged);
    }
  }
});

test("files that are no such annotations", async (t) => {
  const root = await project(t, ["a.png"], { "a.json": '[{"annotations": [], "data": ' });
  await assert.rejects(open(root), failure("DATASET_INVALID", "is not valid JSON"));
  const empty = await project(t, ["a.png"], { "a.json": [task("a.png", [], { annotations: [] })] });
  await assert.rejects(open(empty), failure("DATASET_INVALID", "No image is annotated"));
});
