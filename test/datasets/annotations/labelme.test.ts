import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";

import sharp from "sharp";

import { open } from "../../../lib/datasets/registry.js";
import { failure } from "../files.js";
import { box, marked, messages, project, sampleOf, summary, where } from "./support.js";

const saved = (imagePath: string, shapes: readonly object[] = [], more: object = {}): object => ({
  version: "5.4.1",
  flags: {},
  shapes,
  imagePath,
  imageData: null,
  imageHeight: 36,
  imageWidth: 40,
  ...more,
});
const SQUARE = [[5, 5], [15, 5], [15, 10], [5, 10]]; // prettier-ignore
const polygon = (label: string, points: unknown = SQUARE): object => ({
  label,
  points,
  shape_type: "polygon",
  group_id: null,
});

test("polygons, rectangles, circles and masks, one file beside each image", async (t) => {
  const mask = await sharp(Uint8Array.of(0, 255, 255, 0, 255, 0), { raw: { width: 3, height: 2, channels: 1 } }).png().toBuffer(); // prettier-ignore
  const root = await project(t, ["a.png", "b.png", "c.png", "d.png", "e.jpg", "good.png", "none.png"], {
    "a.json": saved("a.png", [polygon("scratch")]),
    "b.json": saved("..\\b.png", [{ label: "dent", points: [[30, 20], [20, 10]], shape_type: "rectangle" }]), // prettier-ignore
    "c.json": saved("c.png", [{ label: "pit", points: [[20, 18], [20, 24]], shape_type: "circle" }]), // prettier-ignore
    "d.json": saved("d.png", [{ label: "hole", points: [[10, 4], [12, 5]], shape_type: "mask", mask: mask.toString("base64") }]), // prettier-ignore
    "e.json": saved("e.jpg", [{ label: "old", points: SQUARE }], { imageWidth: undefined, imageHeight: undefined }),
    "good.json": saved("good.png"),
    "settings.json": { labels: ["scratch"] },
  });
  const data = await open(root);
  assert.deepEqual([data.kind, messages(data)], ["labelme", []]);
  assert.deepEqual(summary(data), [
    "a.png anomalous train scratch mask",
    "b.png anomalous train dent mask",
    "c.png anomalous train pit mask",
    "d.png anomalous train hole mask",
    "e.jpg anomalous train old mask",
    "good.png normal train -",
  ]);
  assert.deepEqual(data.unused, ["none.png", "settings.json"]);
  const maskOf = (id: string) => marked(sampleOf(data, id).mask);
  assert.deepEqual(await maskOf("a.png"), box(5, 5, 15, 10));
  assert.deepEqual(await maskOf("b.png"), box(20, 10, 30, 20));
  assert.deepEqual(
    await maskOf("c.png"),
    where((x, y) => (x - 20) ** 2 + (y - 18) ** 2 < 36),
  );
  assert.deepEqual(await maskOf("d.png"), [[11, 4], [12, 4], [11, 5]]); // prettier-ignore
  assert.deepEqual(await maskOf("e.jpg"), box(5, 5, 15, 10));
  assert.deepEqual(summary(await open(path.join(root, "a.json"))), ["a.png anomalous train scratch mask"]);
});

test("folders called train and test are the splits; one with train/good is read as folders", async (t) => {
  const files = {
    "train/x/a.json": saved("a.png", [polygon("Scratch"), polygon("logo", [[0, 0], [3, 0], [3, 3]])]), // prettier-ignore
    "test/b.json": saved("b.png"),
  };
  const root = await project(t, ["train/x/a.png", "test/b.png"], files);
  assert.deepEqual(summary(await open(root, { ignoreClass: ["logo"] })), [
    "test/b.png normal test -",
    "train/x/a.png anomalous train Scratch mask ignore",
  ]);
  await mkdir(path.join(root, "train/good"));
  assert.equal((await open(root)).kind, "folder");
  assert.equal((await open(root, { kind: "labelme" })).samples.length, 2);
});

test("every damaged annotation names file and image", async (t) => {
  const damaged: Record<string, [content: object | string, message: string]> = {
    nan: [saved("nan.png", [polygon("a", [[0, 0], [1, null], [2, 2]])]), "shape 1 (polygon): a coordinate is null, not a number"],
    word: [saved("word.png", [polygon("a", [[0, 0], ["x", 1], [2, 2]])]), "shape 1 (polygon): a coordinate is 'x', not a number"],
    few: [saved("few.png", [polygon("a"), polygon("a", [[0, 0]])]), "shape 2 (polygon): a polygon has 1 points"],
    nopoints: [saved("nopoints.png", [polygon("a", null)]), "shape 1 (polygon): a polygon has 0 points"],
    label: [saved("label.png", [polygon("")]), "shape 1 (polygon): it has no label"],
    line: [saved("line.png", [{ ...polygon("a"), shape_type: "linestrip" }]), "shape 1 (linestrip): shapes of the type 'linestrip' have no area"],
    circle: [saved("circle.png", [{ label: "a", points: [[1, 1]], shape_type: "circle" }]), "shape 1 (circle): it has 1 point; 2 are needed"],
    mask: [saved("mask.png", [{ label: "a", points: [[1, 1]], shape_type: "mask", mask: "bm8=" }]), "shape 1 (mask): Cannot read image in 'mask': "],
    nomask: [saved("nomask.png", [{ label: "a", points: [[1, 1]], shape_type: "mask" }]), "shape 1 (mask): it has no points or no mask"],
    size: [saved("size.png", [polygon("a")], { imageWidth: 50 }), "it was annotated at 50 x 36 pixels, but it is 40 x 36"],
    shapes: [{ version: "5", flags: {}, shapes: [null, 3], imagePath: "shapes.png" }, "shape 1 (polygon): it has no label"],
  }; // prettier-ignore
  const names = Object.keys(damaged);
  const files = Object.fromEntries(names.map((name) => [`${name}.json`, damaged[name]![0]]));
  const root = await project(t, ["good.png", "cut.png", ...names.map((name) => `${name}.png`)], {
    "good.json": saved("good.png"),
    "cut.json": '{"version": "5", "flags": {}, "shapes": [{"label": "a", "points": [[1, 2',
    "gone.json": saved("gone.png", [polygon("a")]),
    ...files,
  });
  const data = await open(root);
  assert.deepEqual(summary(data), ["good.png normal train -"]);
  const found = messages(data);
  for (const name of names) {
    const start = `${name}.json: image '${name}.png': ${damaged[name]![1]}`;
    assert.ok(
      found.some((message) => message.startsWith(start)),
      `${start}\n${found.join("\n")}`,
    );
  }
  assert.ok(found.some((message) => /cut\.json: it is not valid JSON/.test(message)));
  assert.ok(found.some((message) => message.startsWith("gone.json: image 'gone.png': there is no such image")));
});

test("no data set: one that cannot be read at all, or another JSON", async (t) => {
  const root = await project(t, ["a.png"], { "a.json": '{"shapes": [], "version": "1", "imagePath": ' });
  await assert.rejects(open(root), failure("DATASET_INVALID", "a.json: it is not valid JSON"));
  await writeFile(path.join(root, "a.json"), '{"x": 1}');
  await assert.rejects(
    open(path.join(root, "a.json")),
    failure("DATASET_INVALID", "neither a manifest nor an annotation"),
  );
  await assert.rejects(
    open(root, { kind: "labelme" }),
    failure("DATASET_INVALID", "nothing in it looks like 'labelme'"),
  );
});
