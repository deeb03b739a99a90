import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { crc32 } from "node:zlib";
import { test } from "node:test";

import { cocoCounts } from "../../../lib/datasets/annotations/runs.js";
import { open } from "../../../lib/datasets/registry.js";
import { Random } from "../../../lib/random.js";
import { failure } from "../files.js";
import { box, HEIGHT, marked, messages, project, sampleOf, summary, WIDTH } from "./support.js";

const image = (id: unknown, file_name: string, more: object = {}): object => ({ id, file_name, width: WIDTH, height: HEIGHT, ...more }); // prettier-ignore
const shape = (image_id: unknown, segmentation: unknown, more: object = {}): object => ({ id: 7, image_id, category_id: 1, segmentation, ...more }); // prettier-ignore
const file = (images: readonly object[], annotations: readonly object[] = [], categories: readonly object[] = [{ id: 1, name: "scratch" }, { id: 2, name: "dent" }]): object => ({ info: {}, images, annotations, categories }); // prettier-ignore
const SQUARE = [5, 5, 15, 5, 15, 10, 5, 10];

/** COCO's text of runs, written as its paper trail says: the inverse of what is tested. */
function compressed(counts: readonly number[]): string {
  return counts
    .map((count, i) => {
      let left = i > 2 ? count - counts[i - 2]! : count;
      let text = "";
      for (let more = true; more;) {
        const low = left & 31;
        left >>= 5;
        more = low & 16 ? left !== -1 : left !== 0;
        text += String.fromCharCode(48 + (more ? low | 32 : low));
      }
      return text;
    })
    .join("");
}

/** Runs of a mask, column by column. */
function countsOf(inside: (x: number, y: number) => boolean): number[] {
  const counts = [0];
  let last = false;
  for (let x = 0; x < WIDTH; x++)
    for (let y = 0; y < HEIGHT; y++) {
      if (inside(x, y) !== last) counts.push(0);
      last = inside(x, y);
      counts[counts.length - 1]!++;
    }
  return counts;
}

test("polygons, several parts, runs in both forms, and boxes", async (t) => {
  const random = new Random(4);
  const noise = new Set(Array.from({ length: 200 }, () => `${random.integer(WIDTH)} ${random.integer(HEIGHT)}`));
  const inside = (x: number, y: number): boolean => noise.has(`${x} ${y}`);
  const counts = countsOf(inside);
  const size = [HEIGHT, WIDTH];
  const root = await project(
    t,
    ["a.png", "b.png", "c.png", "d.png", "good.png"].map((name) => `images/${name}`),
    {
      "annotations/instances_default.json": file(
        [image(1, "a.png"), image(2, "b.png"), image(3, "c.png"), image(4, "d.png"), image(5, "good.png")],
        [
          shape(1, [SQUARE, [20, 20, 25, 20, 25, 25, 20, 25]]),
          shape(2, { counts, size }),
          shape(3, { counts: compressed(counts), size }, { iscrowd: 1 }),
          shape(4, [], { bbox: [3, 4, 10, 5], category_id: 2 }),
        ],
      ),
    },
  );
  const data = await open(root);
  assert.deepEqual([data.kind, messages(data), data.unused], ["coco", [], []]);
  assert.deepEqual(summary(data), [
    "images/a.png anomalous train scratch mask",
    "images/b.png anomalous train scratch mask",
    "images/c.png anomalous train scratch mask",
    "images/d.png anomalous train dent mask",
    "images/good.png normal train -",
  ]);
  const maskOf = (id: string) => marked(sampleOf(data, `images/${id}`).mask);
  const order = ([x0, y0]: [number, number], [x1, y1]: [number, number]): number => y0 - y1 || x0 - x1;
  assert.deepEqual(await maskOf("a.png"), [...box(5, 5, 15, 10), ...box(20, 20, 25, 25)]);
  const expected = [...noise].map((text) => text.split(" ").map(Number) as [number, number]).sort(order);
  assert.deepEqual(await maskOf("b.png"), expected);
  assert.deepEqual(await maskOf("c.png"), expected);
  assert.deepEqual(await maskOf("d.png"), box(3, 4, 13, 9));
  // The annotation file by itself: images are looked for beside its folder.
  const alone = await open(path.join(root, "annotations/instances_default.json"), { ignoreClass: ["dent"] });
  assert.deepEqual(alone.samples.map(({ id }) => id), data.samples.map(({ id }) => id)); // prettier-ignore
  assert.deepEqual(summary(alone)[3], "images/d.png normal train - ignore");
});

test("compressed runs: every number comes back", () => {
  const random = new Random(5);
  for (let i = 0; i < 200; i++) {
    const counts = Array.from({ length: 1 + random.integer(20) }, () => random.integer(2 ** (1 + random.integer(28))));
    assert.deepEqual(cocoCounts(compressed(counts)), counts);
  }
});

test("splits by the file's name, then by the folder; captions of the same images are left alone", async (t) => {
  const root = await project(t, ["train2017/a.png", "val2017/b.png", "pool/c.png", "test/d.png"], {
    "annotations/instances_train2017.json": file([image(1, "a.png")], [shape(1, [SQUARE])]),
    "annotations/instances_val2017.json": file([image(1, "b.png"), image(2, "c.png")]),
    "annotations/captions_val2017.json": file([image(1, "b.png")]),
    "annotations/instances.json": file([image("one", "d.png")]),
  });
  const data = await open(root);
  assert.deepEqual(messages(data), []);
  assert.deepEqual(summary(data), [
    "pool/c.png normal test -",
    "test/d.png normal test -",
    "train2017/a.png anomalous train scratch mask",
    "val2017/b.png normal test -",
  ]);
});

test("every damaged annotation names file and image", async (t) => {
  const size = [HEIGHT, WIDTH];
  const damaged: [annotation: unknown, message: string][] = [
    [[[0, 0, 1, 1]], "a polygon has 2 points"],
    [[[0, 0, 1, 1, 2]], "a polygon has an odd number of coordinates"],
    [[[0, 0, 1, null, 2, 2]], "a coordinate is null, not a number"],
    [["abc"], "a polygon has 0 points"],
    [{ counts: [10, 10], size }, "the runs of its mask are 20 pixels long"],
    [{ counts: [1e15, 10], size }, "the runs of its mask are 1000000000000010 pixels long"],
    [{ counts: [-10, 1450], size }, "a run of its mask is -10 pixels long"],
    [{ counts: ["a"], size }, "a run of its mask is 'a' pixels long"],
    [{ counts: "~~~", size }, "the text of its runs is damaged"],
    [{ counts: "oooooooooooooo", size }, "the text of its runs is damaged"],
    [{ counts: "P", size }, "the text of its runs is damaged"],
    [{ size }, "its mask has no counts"],
    [{ counts: [1440] }, "its mask has no size"],
    [{ counts: [1], size: [1e6, 1e6] }, "its mask is 1000000 x 1000000; at most 536870912 pixels are read"],
    [{ counts: [1440], size: [WIDTH, HEIGHT] }, "its mask is 36 x 40 but the image 40 x 36"],
    [undefined, "it has neither a segmentation nor a box"],
    [[[50, 50, 60, 50, 60, 60]], "its shapes cover no pixel"],
  ];
  const name = (i: number): string => `${String.fromCharCode(97 + i)}.png`;
  const root = await project(t, ["good.png", "class.png", "twice.png", "again.png", "size.png", ...damaged.map((_, i) => name(i))], {
    "all.json": file(
      [
        image("g", "good.png"),
        image("class", "class.png"),
        image("twice", "twice.png"),
        image("twice", "again.png"),
        image("size", "size.png", { width: 41 }),
        ...damaged.map((_, i) => image(i, name(i))),
      ],
      [
        ...damaged.map(([segmentation], i) => shape(i, segmentation)),
        shape("class", [SQUARE], { category_id: 9 }),
        shape("size", [SQUARE]),
        shape("nowhere", [SQUARE], { id: 5 }),
      ],
    ),
  }); // prettier-ignore
  const data = await open(root);
  assert.deepEqual(summary(data), ["good.png normal train -", "twice.png normal train -"]);
  const found = messages(data);
  const expected = [
    ...damaged.map(([, message], i) =>
      message.startsWith("its shapes") ? `all.json: image '${name(i)}': ${message}` : `all.json: image '${name(i)}': annotation 7: ${message}`,
    ),
    "all.json: image 'class.png': annotation 7: there is no category 9",
    "all.json: image 'again.png': id: 'twice' is that of another image too",
    "all.json: image 'size.png': it was annotated at 41 x 36 pixels",
    "all.json: annotation 5 is of the image 'nowhere', which the file does not have",
  ]; // prettier-ignore
  for (const start of expected) assert.ok(found.some((message) => message.startsWith(start)), `${start}\n${found.join("\n")}`); // prettier-ignore
  assert.equal(found.length, expected.length, found.join("\n"));
});

test("files that are no such annotations", async (t) => {
  for (const [content, message] of [
    ['{"images": [], "annotations": [', "is not valid JSON"],
    [{ images: [], annotations: {}, categories: [] }, "it has no list 'annotations'"],
    [file([]), "No image is annotated"],
  ] as const) {
    const text = typeof content === "string" ? `${content} {"image_id": ` : content;
    const root = await project(t, ["a.png"], { "a.json": text });
    await assert.rejects(open(root), failure("DATASET_INVALID", message));
  }
});

test("a small file that asks for days of work is refused", async (t) => {
  const side = 20_000;
  const whole = [0, 0, side, 0, side, side, 0, side];
  const zigzag = Array.from({ length: 200_000 }, (_, i) => [i % side, (i % 2) * side]).flat();
  const runs = { counts: [0, side * side], size: [side, side] };
  const shapes: Record<string, unknown[]> = {
    many: Array<unknown>(400).fill([whole]),
    edges: [[zigzag]],
    runs: Array<unknown>(400).fill(runs),
  };
  for (const [name, segmentations] of Object.entries(shapes)) {
    const image_ = image(1, "large.png", { width: side, height: side });
    const root = await project(t, ["large.png", "small.png"], {
      "all.json": file([image_, image(2, "small.png")], segmentations.map((one) => shape(1, one))), // prettier-ignore
    });
    // The header alone says how large it is.
    const png = await readFile(path.join(root, "large.png"));
    png.writeUInt32BE(side, 16);
    png.writeUInt32BE(side, 20);
    png.writeUInt32BE(crc32(png.subarray(12, 29)), 29);
    await writeFile(path.join(root, "large.png"), png);
    const found = messages(await open(root));
    assert.equal(found.length, 1, name);
    assert.match(found[0]!, /image 'large.png': its \d+ shapes cover too much of it/);
  }
});
