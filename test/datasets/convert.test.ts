import assert from "node:assert/strict";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";

import { convertDataset } from "../../lib/datasets/convert.js";
import type { Dataset, Sample } from "../../lib/datasets/dataset.js";
import { datasets } from "../../lib/datasets/index.js";
import { open } from "../../lib/datasets/registry.js";
import { decodeImage } from "../../lib/images/decode.js";
import { decodeMask } from "../../lib/images/mask.js";
import { project } from "./annotations/support.js";
import { failure, temporaryFolder, writeImage, writeMask, writeTree } from "./files.js";

/** All that a training sees of a sample. */
async function facts({ image, label, split, defect, mask, ignore, roi }: Sample): Promise<unknown> {
  const pixels = async (file: string | undefined): Promise<unknown> => file && (await decodeMask(file));
  return {
    image: (await decodeImage(image)).pixels,
    ...{ label, split, defect },
    mask: await pixels(mask),
    ignore: await pixels(ignore),
    roi: typeof roi === "string" ? await pixels(roi) : roi,
  };
}

async function assertSame(converted: Dataset, data: Dataset): Promise<void> {
  assert.equal(converted.samples.length, data.samples.length);
  for (const [i, sample] of data.samples.entries())
    assert.deepEqual(await facts(converted.samples[i]!), await facts(sample), sample.id);
}

test("round trip: folders with masks of every form, ignore masks and kinds", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(
    root,
    ["train/good/0.png", "train/good/0.jpg", "train/hole, deep/a b.png", "test/good/0.png", "test/rust/5.png"],
    ["ground_truth/rust/5/one.png", "ground_truth/train/hole, deep/a b_mask.png", "ignore/train/good/0.jpg_mask.png"],
  );
  await writeMask(path.join(root, "ground_truth/rust/5/two.png"), { value: 7 });
  const data = await datasets.folder(root);
  assert.deepEqual(data.problems, []);
  for (const copy of [false, true]) {
    const out = path.join(path.dirname(root), `out ${copy}`, "inner");
    const progress: number[] = [];
    const converted = await convertDataset(data, out, { copy, onProgress: ({ written }) => progress.push(written) });
    assert.deepEqual(progress, [1, 2, 3, 4, 5]);
    assert.equal(converted.kind, "manifest");
    await assertSame(await open(out), data);
    assert.deepEqual((await readdir(out)).sort(), ["ignore", ...(copy ? ["images"] : []), "masks", "samples.csv"]);
    await datasets.validate({ ...converted, samples: [...converted.samples] });
    const text = await readFile(path.join(out, "samples.csv"), "utf8");
    assert.equal(text.includes(path.dirname(root)), false, "paths are relative");
    const copied = converted.samples.every(({ image }) => !path.relative(out, image).startsWith(".."));
    assert.equal(copied, copy);
  }
  assert.deepEqual((await readdir(path.join(path.dirname(root), "out true/inner/images/train/good"))).sort(), ["0.jpg", "0.png"]); // prettier-ignore
});

test("round trip: a manifest with regions, and images outside its folder and of one name", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, ["lists/a.png", "x/a.png", "y/a.png"], ["m/mask.png"]);
  const rows = [
    "image;label;mask;split;defect;ignore;roi",
    "a.png;ok;;train;;../m/mask.png;1 2 30 20",
    '../x/a.png;ng;../m/mask.png;test;"a ""big"" one";;../m/mask.png',
    "../y/a.png;ng;;train;;;0 0 40 36",
  ];
  await writeFile(path.join(root, "lists/samples.csv"), rows.join("\n"));
  const data = await open(path.join(root, "lists"));
  for (const copy of [false, true]) {
    const out = path.join(path.dirname(root), `out${copy}`);
    await mkdir(out); // an empty folder will do
    await convertDataset(data, out, { copy });
    await assertSame(await open(out), data);
  }
});

test("round trip: annotations of every tool", async (t) => {
  const polygon = [[5, 5], [15, 5], [15, 10]]; // prettier-ignore
  const flat = polygon.flat();
  const percent = polygon.map(([x, y]) => [(100 * x!) / 40, (100 * y!) / 36]);
  const drawn = { type: "polygonlabels", original_width: 40, original_height: 36 };
  const sets: Record<string, Record<string, string | object>> = {
    cvat: {
      "annotations.xml": `<annotations><image name="a.png" subset="test"><polygon label="cut" points="5,5;15,5;15,10"/><box label="logo" xtl="0" ytl="0" xbr="4" ybr="4"/></image><image name="b.png"/></annotations>`,
    },
    coco: {
      "instances_test.json": {
        images: [{ id: 1, file_name: "a.png" }, { id: 2, file_name: "b.png" }],
        annotations: [{ image_id: 1, category_id: 1, segmentation: [flat] }, { image_id: 2, category_id: 2, bbox: [1, 1, 5, 5] }],
        categories: [{ id: 1, name: "cut" }, { id: 2, name: "logo" }],
      },
    },
    labelme: {
      "a.json": { version: "5", shapes: [{ label: "cut", points: polygon }], imagePath: "a.png" },
      "b.json": { version: "5", shapes: [{ label: "logo", points: polygon }], imagePath: "b.png" },
    },
    labelstudio: {
      "a.json": [
        { data: { image: "a.png" }, annotations: [{ result: [{ ...drawn, value: { points: percent, polygonlabels: ["cut"] } }] }] },
        { data: { image: "b.png" }, annotations: [{ result: [] }] },
      ],
    },
  }; // prettier-ignore
  for (const [kind, files] of Object.entries(sets)) {
    const root = await project(t, ["a.png", "b.png"], files);
    const data = await open(root, { ignoreClass: ["logo"] });
    assert.deepEqual([data.kind, data.problems], [kind, []]);
    const out = path.join(path.dirname(root), "out");
    await convertDataset(data, out);
    const converted = await open(out);
    await assertSame(converted, data);
    assert.deepEqual([converted.samples[0]!.defect, converted.samples[1]!.label], ["cut", "normal"]);
  }
});

test("what it refuses: a folder with something in it or in the data set, data with problems, options", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, ["train/good/0.png", "train/good/1.png", "test/cut/0.png"], ["ground_truth/cut/0.png"]);
  const data = await datasets.folder(root);
  const out = path.join(path.dirname(root), "out");
  for (const inside of [root, path.join(root, "new")])
    await assert.rejects(convertDataset(data, inside), failure("INVALID_OPTION", "out", "outside the data set"));
  await assert.rejects(convertDataset(data, ""), failure("INVALID_OPTION", "out"));
  for (const copy of [1, "true", null])
    await assert.rejects(convertDataset(data, out, { copy } as never), failure("INVALID_OPTION", "copy"));
  await assert.rejects(convertDataset({ ...data, samples: [] }, out), failure("DATASET_INVALID", "no images"));
  const problems = [{ message: "something is wrong" }];
  await assert.rejects(convertDataset({ ...data, problems }, out), failure("DATASET_INVALID", "something is wrong"));
  await writeMask(path.join(root, "marks.png"));
  const normalMasks = [{ mask: path.join(root, "marks.png") }];
  await assert.rejects(convertDataset({ ...data, normalMasks }, out), failure("DATASET_INVALID", "marks a defect"));
  const signal = AbortSignal.abort();
  await assert.rejects(convertDataset(data, out, { signal }), failure("ABORTED"));
  const missing = data.samples.map((sample) => ({ ...sample, mask: path.join(root, "none.png") }));
  await assert.rejects(convertDataset({ ...data, samples: missing }, out), failure("FILE_NOT_FOUND"));
  assert.deepEqual(await readdir(path.dirname(root)), ["data"], "nothing is left behind");

  await writeImage(path.join(out, "a.png"));
  await assert.rejects(convertDataset(data, out), failure("FILE_ERROR", "it is not empty"));
});

test("names that a manifest cannot hold are refused, not changed", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, ["train/good/0.png", "train/good/a\\b.png"]);
  const out = path.join(path.dirname(root), "out");
  await assert.rejects(convertDataset(await datasets.folder(root), out), failure("DATASET_INVALID", "a\\b.png"));
  assert.deepEqual(await readdir(path.dirname(root)), ["data"]);
});
