import assert from "node:assert/strict";
import { copyFile, mkdir } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";

import { folder } from "../../lib/datasets/folder.js";
import { validateDataset } from "../../lib/datasets/validate.js";
import { temporaryFolder, writeTree } from "./files.js";

test("the same bytes as normal and as anomalous, in both splits, and twice in one", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, [
    ...["0", "1", "2", "3"].map((name) => `train/good/${name}.png`),
    "train/cut/8.png",
    "test/good/20.png",
    "test/cut/9.png",
  ]);
  const copy = async (from: string, to: string): Promise<void> => {
    await mkdir(path.dirname(path.join(root, to)), { recursive: true });
    await copyFile(path.join(root, from), path.join(root, to));
  };
  await copy("train/good/0.png", "train/good/twin.png");
  await copy("train/good/1.png", "train/cut/5.png");
  await copy("train/good/2.png", "test/cut/6.png");
  await copy("train/good/3.png", "test/good/7.png");
  await copy("test/good/20.png", "test/good/21.png");
  const data = await folder(root);
  for (const headersOnly of [false, true])
    assert.deepEqual((await validateDataset(data, { headersOnly })).warnings, [
      "2 images are in the data set as normal and as anomalous, byte for byte: remove the wrong one: train/cut/5.png = train/good/1.png, train/good/2.png = test/cut/6.png.",
      "1 test image is also a training image, which flatters every metric: test/good/7.png = train/good/3.png.",
      "2 images are several times in one split, byte for byte: train/good/0.png = train/good/twin.png, test/good/20.png = test/good/21.png.",
    ]);
  const one = await validateDataset(data, { split: "test" });
  assert.deepEqual(one.warnings, [
    "1 image is several times in one split, byte for byte: test/good/20.png = test/good/21.png.",
  ]);
});

test("names like those of copies are told, numbered series are not", async (t) => {
  const root = await temporaryFolder(t);
  const good = (names: readonly string[]): string[] => names.map((name) => `train/good/${name}`);
  const copies = ["a.jpg", "a.png", "b.png", "b - Copy.png", "c.png", "c (copy 2).png", "d.png", "Copy of d.png"];
  const series = ["e.png", "e (1).png", "e (2).png", "f1.png", "f01.png", "g_copy.png", "photocopy.png", "photo.png"];
  await writeTree(root, [...good([...copies, ...series]), "train/cut/a.png"]);
  assert.deepEqual((await validateDataset(await folder(root), { split: "train" })).warnings, [
    "4 images are called like copies of others, with other bytes (the same picture, saved twice?): train/good/a.jpg and train/good/a.png, train/good/b - Copy.png and train/good/b.png, train/good/c (copy 2).png and train/good/c.png, train/good/Copy of d.png and train/good/d.png.",
  ]);
});
