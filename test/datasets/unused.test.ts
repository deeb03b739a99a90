import assert from "node:assert/strict";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";

import { folder } from "../../lib/datasets/folder.js";
import { generated } from "../../lib/datasets/generated.js";
import { open } from "../../lib/datasets/registry.js";
import { validateDataset } from "../../lib/datasets/validate.js";
import { failure, temporaryFolder, writeImage, writeTree } from "./files.js";

const IMAGES = ["train/good/0.png", "train/good/1.png", "test/good/2.png", "test/cut/3.png"];

const write = async (root: string, ...names: string[]): Promise<void> => {
  for (const name of names) {
    await mkdir(path.dirname(path.join(root, name)), { recursive: true });
    await writeFile(path.join(root, name), "x");
  }
};

test("what is found and not used is named once, by kind", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, [...IMAGES, "validation/good/0.png", "validation/good/1.png", "overview.png"]);
  await write(root, "readme.txt", "ground_truth/notes.txt", "raw/7.dng", "train/good/.hidden.png", ".old/1.png");
  await write(root, ".DS_Store", "train/good/Thumbs.db", ".git/config", "__MACOSX/train/._good", "test/@eaDir/2.png");
  const data = await folder(root);
  assert.deepEqual(data.problems, []);
  assert.deepEqual(data.unused, [
    ".old/1.png",
    "ground_truth/notes.txt",
    "overview.png",
    "raw/7.dng",
    "readme.txt",
    "train/good/.hidden.png",
    "validation/good/0.png",
    "validation/good/1.png",
  ]);
  const { warnings } = await validateDataset(data);
  assert.deepEqual(warnings, [
    "4 images are not used: overview.png, raw/ (1), validation/ (2).",
    "2 hidden files are not used: .old/ (1), train/good/.hidden.png.",
    "2 files that are no images are not used: ground_truth/ (1), readme.txt.",
  ]);
  await assert.rejects(
    validateDataset({ ...data, unused: [1] as unknown as string[] }),
    failure("INVALID_OPTION", "'dataset.unused'"),
  );
});

test("many files make a line, not a page", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, IMAGES);
  await write(root, ...Array.from({ length: 30 }, (_, i) => `note${i}.txt`));
  const { warnings } = await validateDataset(await folder(root));
  assert.deepEqual(warnings, [
    "30 files that are no images are not used: note0.txt, note1.txt, note2.txt, note3.txt, note4.txt, ... (30 in all).",
  ]);
});

test("what a problem names is not named again, nor what is used through a link", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, [...IMAGES, "elsewhere/4.png", "single/5.png", "other/6.png"]);
  await symlink(path.join(root, "elsewhere"), path.join(root, "train", "ok"), "junction");
  await symlink(path.join(root, "single/5.png"), path.join(root, "train/good/5.png"));
  await symlink(path.join(root, "other"), path.join(root, "link"), "junction");
  await write(root, "train/good/list.txt");
  const data = await folder(root);
  assert.equal(data.problems!.length, 1);
  assert.deepEqual(data.unused, ["link", "other/6.png"]);
});

test("a generated data set has nothing to tell", async (t) => {
  const root = path.join(await temporaryFolder(t), "made");
  const count = { trainNormal: 2, testNormal: 1, testAnomalous: 1 };
  const data = await generated(root, { imageSize: [64, 64], ...count });
  assert.deepEqual(data.unused, []);
  assert.deepEqual((await open(root)).unused, []);
});

test("a manifest: images beside those that it lists", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, ["images/0.png", "images/1.png", "images/2.png", "far/3.png"]);
  await writeImage(path.join(root, "lists/4.png"));
  await writeFile(
    path.join(root, "lists/samples.csv"),
    "image,label\n../images/0.png,normal\n../images/1.png,normal\n",
  );
  const data = await open(path.join(root, "lists"));
  assert.deepEqual(data.unused, ["../images/2.png"]);
  assert.equal((await validateDataset(data)).warnings[0], "1 image is not used: ../images/2.png.");
});
