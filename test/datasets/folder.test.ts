import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { copyFile, mkdir, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";

import { countSamples } from "../../lib/datasets/counts.js";
import { folder } from "../../lib/datasets/folder.js";
import { inferRegime } from "../../lib/datasets/regime.js";
import { validateDataset } from "../../lib/datasets/validate.js";
import { failure, temporaryFolder, writeImage, writeTree } from "./files.js";

const SHARED = path.resolve(__dirname, "../../../../shared/data/hazelnut");

test("MVTec AD's layout", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(
    root,
    ["train/good/000.png", "train/good/001.png", "test/good/000.png", "test/crack/000.png", "test/crack/001.png"],
    ["ground_truth/crack/000_mask.png", "ground_truth/crack/001_mask.png"],
  );
  const data = await folder(root);
  assert.equal(inferRegime(data), "unsupervised");
  assert.equal(data.root, root);
  assert.equal(data.name, path.basename(root));
  assert.deepEqual(data.problems, []);
  assert.deepEqual(data.samples[2], {
    id: "test/crack/000.png",
    image: path.join(root, "test/crack/000.png"),
    label: "anomalous",
    split: "test",
    defect: "crack",
    mask: path.join(root, "ground_truth/crack/000_mask.png"),
  });
  assert.equal(data.samples.find(({ id }) => id === "test/good/000.png")!.mask, undefined);
});

test("names match in any case, numbers sort as numbers, hidden files and links are handled", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, ["Train/OK/10.PNG", "Train/OK/2.jpg", "Train/OK/1.Jpeg", "Train/Dirt/A7.png"], ["Ground_Truth/dirt/a7.PNG"]);
  for (const name of [".DS_Store", "Thumbs.db"]) await writeFile(path.join(root, "Train/OK", name), "x");
  await mkdir(path.join(root, "elsewhere"));
  await writeImage(path.join(root, "elsewhere/linked.png"));
  await symlink(path.join(root, "elsewhere"), path.join(root, "Train/normal"), "junction");
  const data = await folder(root);
  assert.deepEqual(data.samples.map(({ id }) => id), ["Train/Dirt/A7.png", "Train/normal/linked.png", "Train/OK/1.Jpeg", "Train/OK/2.jpg", "Train/OK/10.PNG"]);
  assert.equal(data.samples[0]!.mask, path.join(root, "Ground_Truth/dirt/a7.PNG"));
  assert.equal(inferRegime(data), "full");
  assert.deepEqual(data.problems, []);
});

test("training masks beside test masks of the same name", async (t) => {
  const root = await temporaryFolder(t);
  const images = ["train/good/0.png", "train/hole/0.png", "train/hole/1.png", "test/hole/0.png"];
  await writeTree(root, images, ["ground_truth/hole/0_mask.png", "ground_truth/train/hole/0_mask.png"]);
  const data = await folder(root);
  const maskOf = (id: string): string | undefined => data.samples.find((sample) => sample.id === id)!.mask?.slice(root.length + 1);
  assert.equal(maskOf("test/hole/0.png"), path.join("ground_truth", "hole", "0_mask.png"));
  assert.equal(maskOf("train/hole/0.png"), path.join("ground_truth", "train", "hole", "0_mask.png"));
  assert.equal(maskOf("train/hole/1.png"), undefined);
  assert.equal(inferRegime(data), "mixed");
  assert.deepEqual(data.problems, []);
});

test("a shared mask goes to training where no test image has its name; else it is a problem", async (t) => {
  const clear = await temporaryFolder(t);
  await writeTree(clear, ["train/good/0.png", "train/hole/5.png", "test/hole/0.png"], ["ground_truth/hole/5.png", "ground_truth/hole/0.png"]);
  const data = await folder(clear);
  assert.deepEqual(data.problems, []);
  assert.ok(data.samples.filter(({ label }) => label === "anomalous").every(({ mask }) => mask !== undefined));

  const ambiguous = await temporaryFolder(t);
  await writeTree(ambiguous, ["train/good/0.png", "train/hole/0.png", "test/hole/0.png"], ["ground_truth/hole/0.png"]);
  const { problems, samples } = await folder(ambiguous);
  assert.equal(problems!.length, 1);
  assert.match(problems![0]!, /ground_truth\/hole\/0\.png could belong to train\/hole\/0\.png/);
  assert.equal(samples.find(({ split, label }) => split === "train" && label === "anomalous")!.mask, undefined);
});

test("what fits nothing is noted: orphan masks, other files, nested folders, loose images", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, ["train/good/0.png", "train/loose.png", "test/cut/sub/1.png", "test/cut/0.png"], ["ground_truth/cut/9_mask.png", "ground_truth/good/0.png"]);
  await writeFile(path.join(root, "train/good/camera.bmp"), "BM");
  await writeFile(path.join(root, "ground_truth/cut/notes.txt"), "x");
  const { problems } = await folder(root);
  for (const expected of [
    /train\/loose\.png lies directly in train/,
    /train\/good\/camera\.bmp is not a supported image/,
    /test\/cut\/sub is a folder/,
    /ground_truth\/cut\/notes\.txt is not a supported mask/,
    /ground_truth\/cut\/9_mask\.png is a mask without an image/,
  ]) {
    assert.equal(problems!.filter((problem) => expected.test(problem)).length, 1, `${String(expected)} in ${problems!.join("\n")}`);
  }
  assert.equal(problems!.length, 5);
});

test("other layouts are refused with the expected one", async (t) => {
  const plain = await temporaryFolder(t);
  await writeTree(plain, ["a.png", "b.jpg"]);
  await assert.rejects(folder(plain), failure("DATASET_INVALID", plain, "2 images", "train/good/*.png"));
  const loose = await temporaryFolder(t);
  await writeTree(loose, ["train/a.png"]);
  await assert.rejects(folder(loose), failure("DATASET_INVALID", "1 images lie directly in train/", "train/good/*.png"));
  await assert.rejects(folder(path.join(plain, "none")), failure("FILE_NOT_FOUND", "none"));
  await assert.rejects(folder(path.join(plain, "a.png")), failure("FILE_ERROR", "a.png"));
  await assert.rejects(folder(plain, { nmae: "x" } as object), failure("UNKNOWN_OPTION", "Did you mean 'name'"));
});

test("a test split alone opens, and other names for normal can be given", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, ["test/pass/0.png", "test/cut/0.png"]);
  const data = await folder(root, { name: "line 3", normalNames: ["Pass"] });
  assert.deepEqual(data.samples.map(({ label }) => label), ["anomalous", "normal"]);
  assert.equal(data.name, "line 3");
});

test("hazelnut", { skip: existsSync(SHARED) ? false : "the shared sample data is not here" }, async () => {
  const data = await folder(SHARED);
  const counts = countSamples(data);
  assert.deepEqual(data.problems, []);
  assert.equal(inferRegime(data), "unsupervised");
  assert.ok(counts.trainNormal > 10);
  assert.equal(counts.testSegmented, counts.testAnomalous);
  assert.equal(counts.testAnomalous, 17);
});

test("masks named in another way: what to rename", async (t) => {
  const root = await temporaryFolder(t);
  const images = ["train/good/0.png", "train/good/1.png", "test/good/0.png", "test/cut/000.png", "test/cut/001.png", "test/cut/002.png"];
  await writeTree(root, images, ["ground_truth/cut/000_GT.png", "ground_truth/cut/mask-001.png", "ground_truth/cut/009.png"]);
  const problems = (await folder(root)).problems!;
  assert.deepEqual(problems, [
    "ground_truth/cut/009.png is a mask without an image.",
    "ground_truth/cut names 2 masks in another way than their images: rename 000_GT.png to 000_mask.png, mask-001.png to 001_mask.png.",
  ]);
});

test("a file name that is not UTF-8 has to be changed", { skip: process.platform === "linux" ? false : "only there do file systems take such names" }, async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, ["train/good/0.png", "train/good/1.png"]);
  await copyFile(path.join(root, "train/good/0.png"), Buffer.from(`${path.join(root, "train/good/caf")}\xe9.png`, "latin1"));
  await assert.rejects(validateDataset(await folder(root)), failure("DATASET_INVALID", "1 problem:", "train/good/caf\uFFFD.png: its name is not valid UTF-8", "Rename it."));
});
