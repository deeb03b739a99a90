import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { copyFile, mkdir, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";

import { countSamples, type Dataset } from "../../lib/datasets/dataset.js";
import { folder } from "../../lib/datasets/folder.js";
import { inferRegime } from "../../lib/datasets/regime.js";
import { validateDataset } from "../../lib/datasets/validate.js";
import { failure, temporaryFolder, writeImage, writeTree } from "./files.js";

/** What the loader could not place. */
const messages = ({ problems }: Dataset): string[] => problems!.map(({ message }) => message);

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
  await writeTree(
    root,
    ["Train/OK/10.PNG", "Train/OK/2.jpg", "Train/OK/1.Jpeg", "Train/Dirt/A7.png"],
    ["Ground_Truth/dirt/a7.PNG"],
  );
  for (const name of [".DS_Store", "Thumbs.db"]) await writeFile(path.join(root, "Train/OK", name), "x");
  await mkdir(path.join(root, "elsewhere"));
  await writeImage(path.join(root, "elsewhere/linked.png"));
  await symlink(path.join(root, "elsewhere"), path.join(root, "Train/normal"), "junction");
  const data = await folder(root);
  assert.deepEqual(
    data.samples.map(({ id }) => id),
    ["Train/Dirt/A7.png", "Train/normal/linked.png", "Train/OK/1.Jpeg", "Train/OK/2.jpg", "Train/OK/10.PNG"],
  );
  assert.equal(data.samples[0]!.mask, path.join(root, "Ground_Truth/dirt/a7.PNG"));
  assert.equal(inferRegime(data), "full");
  assert.deepEqual(data.problems, []);
});

test("training masks beside test masks of the same name", async (t) => {
  const root = await temporaryFolder(t);
  const images = ["train/good/0.png", "train/hole/0.png", "train/hole/1.png", "test/hole/0.png"];
  await writeTree(root, images, ["ground_truth/hole/0_mask.png", "ground_truth/train/hole/0_mask.png"]);
  const data = await folder(root);
  const maskOf = (id: string): string | undefined =>
    data.samples.find((sample) => sample.id === id)!.mask?.slice(root.length + 1);
  assert.equal(maskOf("test/hole/0.png"), path.join("ground_truth", "hole", "0_mask.png"));
  assert.equal(maskOf("train/hole/0.png"), path.join("ground_truth", "train", "hole", "0_mask.png"));
  assert.equal(maskOf("train/hole/1.png"), undefined);
  assert.equal(inferRegime(data), "mixed");
  assert.deepEqual(data.problems, []);
});

test("a shared mask goes to training where no test image has its name; else it is a problem", async (t) => {
  const clear = await temporaryFolder(t);
  await writeTree(
    clear,
    ["train/good/0.png", "train/hole/5.png", "test/hole/0.png"],
    ["ground_truth/hole/5.png", "ground_truth/hole/0.png"],
  );
  const data = await folder(clear);
  assert.deepEqual(data.problems, []);
  assert.ok(data.samples.filter(({ label }) => label === "anomalous").every(({ mask }) => mask !== undefined));

  const ambiguous = await temporaryFolder(t);
  await writeTree(ambiguous, ["train/good/0.png", "train/hole/0.png", "test/hole/0.png"], ["ground_truth/hole/0.png"]);
  const { problems, samples } = await folder(ambiguous);
  assert.equal(problems!.length, 1);
  assert.equal(problems![0]!.split, undefined, "it may be the mask of either");
  assert.match(problems![0]!.message, /ground_truth\/hole\/0\.png could belong to train\/hole\/0\.png/);
  assert.equal(samples.find(({ split, label }) => split === "train" && label === "anomalous")!.mask, undefined);
});

test("what fits nothing is noted: orphan masks, other files, nested folders, loose images", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(
    root,
    ["train/good/0.png", "train/loose.png", "test/cut/sub/1.png", "test/cut/0.png"],
    ["ground_truth/cut/9_mask.png", "ground_truth/good/0.png"],
  );
  await writeFile(path.join(root, "train/good/camera.jp2"), "JP");
  await writeFile(path.join(root, "ground_truth/cut/notes.txt"), "x");
  const problems = messages(await folder(root));
  for (const expected of [
    /train\/loose\.png lies directly in train/,
    /train\/good\/camera\.jp2 is not a supported image/,
    /test\/cut\/sub is a folder/,
    /ground_truth\/cut\/notes\.txt is not a supported mask/,
    /ground_truth\/cut\/9_mask\.png is a mask without an image/,
  ]) {
    assert.equal(
      problems.filter((problem) => expected.test(problem)).length,
      1,
      `${String(expected)} in ${problems.join("\n")}`,
    );
  }
  assert.equal(problems.length, 5);
});

test("other layouts are refused with the expected one", async (t) => {
  const plain = await temporaryFolder(t);
  await writeTree(plain, ["a.png", "b.jpg"]);
  await assert.rejects(folder(plain), failure("DATASET_INVALID", plain, "2 images", "train/good/*.png"));
  const loose = await temporaryFolder(t);
  await writeTree(loose, ["train/a.png"]);
  await assert.rejects(
    folder(loose),
    failure("DATASET_INVALID", "1 images lie directly in train/", "train/good/*.png"),
  );
  await assert.rejects(folder(path.join(plain, "none")), failure("FILE_NOT_FOUND", "none"));
  await assert.rejects(folder(path.join(plain, "a.png")), failure("FILE_ERROR", "a.png"));
  await assert.rejects(folder(plain, { nmae: "x" } as object), failure("UNKNOWN_OPTION", "Did you mean 'name'"));
});

test("a test split alone opens, and other names for normal can be given", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, ["test/pass/0.png", "test/cut/0.png"]);
  const data = await folder(root, { name: "line 3", normalNames: ["Pass"] });
  assert.deepEqual(
    data.samples.map(({ label }) => label),
    ["anomalous", "normal"],
  );
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
  const images = [
    "train/good/0.png",
    "train/good/1.png",
    "test/good/0.png",
    "test/cut/000.png",
    "test/cut/001.png",
    "test/cut/002.png",
  ];
  await writeTree(root, images, [
    "ground_truth/cut/000_GT.png",
    "ground_truth/cut/mask-001.png",
    "ground_truth/cut/009.png",
  ]);
  assert.deepEqual(messages(await folder(root)), [
    "ground_truth/cut/009.png is a mask without an image.",
    "ground_truth/cut names 2 masks in another way than their images: rename 000_GT.png to 000_mask.png, mask-001.png to 001_mask.png.",
  ]);
});

test("a mask that two images of a split match is a problem", async (t) => {
  const root = await temporaryFolder(t);
  const images = [
    "train/good/0.png",
    "train/cut/a0.png",
    "train/cut/a0.jpg",
    "train/cut/a1.png",
    "test/cut/b1.png",
    "test/cut/b1.jpg",
  ];
  await writeTree(root, images, [
    "ground_truth/cut/a0_mask.png",
    "ground_truth/cut/b1_mask.png",
    "ground_truth/train/cut/a1.png",
  ]);
  assert.deepEqual((await folder(root)).problems, [
    {
      split: "test",
      message:
        "test/cut/b1.jpg and test/cut/b1.png both match ground_truth/cut/b1_mask.png: rename one of the images, and its mask if it has one.",
    },
    {
      split: "train",
      message:
        "train/cut/a0.jpg and train/cut/a0.png both match ground_truth/cut/a0_mask.png: rename one of the images, and its mask if it has one.",
    },
  ]);
});

test("problems name the split that they concern, where that is known", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(
    root,
    ["train/good/0.png", "train/loose.png", "test/good/0.png", "test/loose.png"],
    [
      "ground_truth/train/cut/7.png",
      "ground_truth/test/cut/8.png",
      "ground_truth/cut/9.png",
      "ground_truth/good/0.png",
      "ground_truth/test/good/0.png",
    ],
  );
  const { problems, normalMasks } = await folder(root);
  assert.deepEqual(
    problems!.map(({ split, message }) => `${split} ${message.split(" ")[0]}`),
    [
      "train train/loose.png",
      "test test/loose.png",
      "train ground_truth/train/cut/7.png",
      "test ground_truth/test/cut/8.png",
      "undefined ground_truth/cut/9.png",
    ],
  );
  assert.deepEqual(normalMasks, [
    { mask: path.join(root, "ground_truth/test/good/0.png"), split: "test" },
    { mask: path.join(root, "ground_truth/good/0.png") },
  ]);
});

test("names match in either Unicode form", async (t) => {
  const root = await temporaryFolder(t);
  const [composed, decomposed] = ["gr\u00f6be", "gro\u0308be"];
  await writeTree(
    root,
    [
      "train/good/0.png",
      `test/${decomposed}/a${decomposed}.png`,
      `test/${composed.toUpperCase()} 2/b.png`,
      `test/pr\u00fcf/1.png`,
    ],
    [`ground_truth/${composed}/a${composed}_mask.png`, `ground_truth/${decomposed} 2/b.png`],
  );
  const data = await folder(root, { normalNames: ["good", "pru\u0308f"] });
  assert.deepEqual(data.problems, []);
  const anomalous = data.samples.filter(({ label }) => label === "anomalous");
  assert.equal(anomalous.length, 2);
  assert.ok(anomalous.every(({ mask }) => mask !== undefined && existsSync(mask)));
});

test(
  "two folders of masks whose names differ in spelling only",
  { skip: process.platform === "linux" ? false : "only there are they two everywhere" },
  async (t) => {
    const root = await temporaryFolder(t);
    await writeTree(root, ["train/good/0.png", "test/Cut/0.png"], ["ground_truth/Cut/0.png", "ground_truth/cut/1.png"]);
    const found = messages(await folder(root)).filter((problem) =>
      problem.includes("are one name in two spellings: move the masks into one folder."),
    );
    assert.equal(found.length, 1);
    for (const name of ["ground_truth/Cut", "ground_truth/cut"]) assert.ok(found[0]!.includes(name), found[0]);
  },
);

test(
  "a file name that is not UTF-8 has to be changed",
  { skip: process.platform === "linux" ? false : "only there do file systems take such names" },
  async (t) => {
    const root = await temporaryFolder(t);
    await writeTree(root, ["train/good/0.png", "train/good/1.png"]);
    await copyFile(
      path.join(root, "train/good/0.png"),
      Buffer.from(`${path.join(root, "train/good/caf")}\xe9.png`, "latin1"),
    );
    await assert.rejects(
      validateDataset(await folder(root)),
      failure("DATASET_INVALID", "1 problem:", "train/good/caf\uFFFD.png: its name is not valid UTF-8", "Rename it."),
    );
  },
);

test("ignore/ beside ground_truth/, for good images too", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(
    root,
    ["train/good/0.png", "train/good/1.png", "train/hole/7.png", "test/good/2.png", "test/hole/0.png"],
    [
      "ground_truth/hole/0_mask.png",
      "ignore/good/0_mask.png",
      "ignore/good/2.png",
      "ignore/hole/0/a.png",
      "ignore/hole/0/b.png",
      "ignore/train/hole/7_mask.png",
    ],
  );
  const data = await folder(root);
  const seen = data.samples.map(({ id, ignore }) => [id, ignore && path.relative(root, ignore)]);
  assert.deepEqual(seen, [
    ["train/good/0.png", "ignore/good/0_mask.png"],
    ["train/good/1.png", undefined],
    ["train/hole/7.png", "ignore/train/hole/7_mask.png"],
    ["test/good/2.png", "ignore/good/2.png"],
    ["test/hole/0.png", "ignore/hole/0"],
  ]);
  assert.deepEqual([data.problems, data.unused, data.warnings, data.normalMasks], [[], [], [], []]);
  assert.equal(data.samples[4]!.mask, path.join(root, "ground_truth/hole/0_mask.png"));
});

test("ignore masks without an image, of two images, in two places, and no masks are problems", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(
    root,
    ["train/good/0.png", "train/good/1.png", "test/good/0.png", "test/hole/3.png"],
    ["ignore/good/0.png", "ignore/good/9_mask.png", "ignore/hole/3.png", "ignore/test/hole/3_mask.png", "ignore/3.png"],
  );
  await writeFile(path.join(root, "ignore/hole/notes.txt"), "x");
  const found = messages(await folder(root));
  for (const part of [
    "ignore/good/0.png could belong to train/good/0.png or to the test image of the same name: move masks of training images to ignore/train/good",
    "ignore/good/9_mask.png is a mask without an image.",
    "ignore/hole/notes.txt is not a supported mask image",
  ])
    assert.ok(
      found.some((message) => message.includes(part)),
      `${part} in ${found.join("; ")}`,
    );
});
