import assert from "node:assert/strict";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { test, type TestContext } from "node:test";

import { countSamples, type Dataset, type Sample } from "../../lib/datasets/dataset.js";
import { publishedSettings } from "../../lib/datasets/published.js";
import { inferRegime } from "../../lib/datasets/regime.js";
import { open } from "../../lib/datasets/registry.js";
import { validateDataset } from "../../lib/datasets/validate.js";
import { pickle, type Py } from "../files/torch_save.js";
import { failure, temporaryFolder, writeImage, writeMask, writeTree } from "./files.js";

const ids = (dataset: Dataset, want: Partial<Sample> = {}): string[] =>
  dataset.samples
    .filter((sample) => Object.entries(want).every(([key, value]) => sample[key as keyof Sample] === value))
    .map(({ id, mask }) => id + (mask === undefined ? "" : "*"));
const numbers = (dataset: Dataset): number[] => Object.values(countSamples(dataset));
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

/** A split file's list of (id, is_segmented). */
const listed = (entries: [Py, boolean][]): Py => entries.map(([id, segmented]): Py => ({ tuple: [id, segmented] }));
async function writePickle(file: string, value: Py): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, pickle(value));
}

async function mvtecTree(t: TestContext, categories = ["bottle", "cable"]): Promise<string> {
  const root = await temporaryFolder(t);
  for (const category of categories) {
    const images = [
      "train/good/000.png",
      "train/good/001.png",
      "test/good/000.png",
      "test/broken_large/000.png",
      "test/broken_large/001.png",
    ];
    const masks = ["ground_truth/broken_large/000_mask.png", "ground_truth/broken_large/001_mask.png"];
    await writeTree(path.join(root, category), images, masks);
    await writeFile(path.join(root, category, "license.txt"), "");
  }
  return root;
}

test("mvtec: a category of the whole data set, or a category's own folder", async (t) => {
  const root = await mvtecTree(t);
  const data = await open(root, { category: "cable" });
  assert.deepEqual(
    [data.kind, data.category, data.name, path.basename(data.root)],
    ["mvtec", "cable", "cable", "cable"],
  );
  assert.deepEqual(numbers(data), [2, 0, 0, 1, 2, 2]);
  assert.deepEqual(ids(data, { label: "anomalous" }), ["test/broken_large/000.png*", "test/broken_large/001.png*"]);
  assert.deepEqual(ids(await open(path.join(root, "cable"), { kind: "mvtec" })), ids(data));
  assert.equal((await open(path.join(root, "cable"))).kind, "folder");
  const { regime, warnings } = await validateDataset(data);
  assert.equal(regime, "unsupervised");
  assert.match(warnings.join(" "), /train split has 2 images; 224 were published/);
});

test("mvtec: what is wrong is said", async (t) => {
  const root = await mvtecTree(t);
  await assert.rejects(open(root), failure("INVALID_OPTION", "Choose one with 'category'", "bottle, cable"));
  await assert.rejects(
    open(root, { category: "botle" }),
    failure("INVALID_OPTION", "'bottle', 'cable'", "did you mean 'bottle'"),
  );
  await assert.rejects(
    open(path.join(root, "cable"), { kind: "mvtec", category: "bottle" }),
    failure("INVALID_OPTION", "'cable'"),
  );
  await assert.rejects(
    open(path.dirname(root), { kind: "mvtec" }),
    failure("DATASET_INVALID", "Expected layout", "bottle/train/good"),
  );
  await rm(path.join(root, "cable", "ground_truth", "broken_large", "001_mask.png"));
  await assert.rejects(
    validateDataset(await open(root, { category: "cable" })),
    failure("DATASET_INVALID", "1 anomalous test images have no mask", "test/broken_large/001.png"),
  );
  await rm(path.join(root, "cable", "ground_truth"), { recursive: true });
  await assert.rejects(
    open(root, { category: "cable" }),
    failure("DATASET_INVALID", "no folder ground_truth", "Expected layout"),
  );
  await writeImage(path.join(root, "bottle", "train", "crack", "000.png"));
  await assert.rejects(
    validateDataset(await open(root, { category: "bottle" })),
    failure("DATASET_INVALID", "train/crack/000.png", "as 'folder'"),
  );
});

test("mvtec_loco: several masks of an image, validation images named", async (t) => {
  const root = await temporaryFolder(t);
  for (const category of ["juice_bottle", "pushpins"]) {
    await writeTree(
      path.join(root, category),
      [
        ...["train/good/0.png", "train/good/1.png", "validation/good/0.png", "test/good/0.png"],
        ...["test/logical_anomalies/0.png", "test/structural_anomalies/0.png"],
      ],
      [
        ...["ground_truth/logical_anomalies/0/000.png", "ground_truth/logical_anomalies/0/001.png"],
        "ground_truth/structural_anomalies/0/000.png",
      ],
    );
    await writeFile(path.join(root, category, "defects_config.json"), "[]");
  }
  const data = await open(root, { category: "pushpins" });
  assert.deepEqual([data.kind, data.category, ...numbers(data)], ["mvtec_loco", "pushpins", 2, 0, 0, 1, 2, 2]);
  assert.deepEqual(data.unused, ["defects_config.json", "validation/good/0.png"]);
  const { regime, warnings } = await validateDataset(data);
  assert.equal(regime, "unsupervised");
  assert.match(warnings.join("\n"), /train split has 2 images; 372 were published/);
  assert.match(warnings.join("\n"), /has 1 normal and 2 anomalous images; 138 and 172 were published/);
  assert.match(warnings.join("\n"), /^1 image is not used: validation\/ \(1\)\.$/m);

  const one = path.join(root, "pushpins");
  assert.deepEqual(ids(await open(one, { kind: "mvtec_loco" })), ids(data));
  const plain = await open(one);
  assert.deepEqual([plain.kind, ids(plain)], ["folder", ids(data)]);
  await assert.rejects(open(root), failure("INVALID_OPTION", "juice_bottle, pushpins"));
  await rm(path.join(one, "ground_truth/structural_anomalies/0"), { recursive: true });
  await assert.rejects(
    validateDataset(await open(root, { category: "pushpins" })),
    failure("DATASET_INVALID", "1 anomalous test images have no mask", "test/structural_anomalies/0.png"),
  );
  await rm(path.join(one, "test/good"), { recursive: true });
  await assert.rejects(
    open(root, { category: "pushpins" }),
    failure("DATASET_INVALID", "no folder test/good", "juice_bottle/validation"),
  );
});

test("mvtec_ad2: evaluated on test_public, what has no labels is named", async (t) => {
  const root = await temporaryFolder(t);
  const can = path.join(root, "can");
  await writeTree(
    can,
    [
      ...["train/good/000_regular.png", "train/good/001_regular.png", "validation/good/000_regular.png"],
      ...["test_public/good/000_regular.png", "test_public/bad/000_regular.png"],
      ...["test_private/000_regular.png", "test_private_mixed/000_mixed.png", "test_private_mixed/001_mixed.png"],
    ],
    ["test_public/ground_truth/bad/000_regular_mask.png"],
  );
  const data = await open(root);
  assert.deepEqual([data.kind, data.category, data.name], ["mvtec_ad2", "can", "can"]);
  assert.deepEqual(ids(data, { split: "test" }), [
    "test_public/bad/000_regular.png*",
    "test_public/good/000_regular.png",
  ]);
  const { regime, counts, warnings } = await validateDataset(data);
  assert.deepEqual([regime, counts.trainNormal, counts.testSegmented], ["unsupervised", 2, 1]);
  assert.deepEqual(warnings, ["4 images are not used: test_private_mixed/ (2), test_private/ (1), validation/ (1)."]);
  assert.equal((await open(can)).kind, "mvtec_ad2");
  assert.match(
    (await validateDataset(await open(can, { kind: "folder" }))).warnings[0]!,
    /^test_public\/ belongs to MVTec AD 2: open the data set as 'mvtec_ad2'/,
  );
  await rm(path.join(can, "test_public/good"), { recursive: true });
  await assert.rejects(
    open(can, { kind: "mvtec_ad2" }),
    failure("DATASET_INVALID", "no folder test_public/good", "Expected layout"),
  );
});

test("an archive's own folder is found one level down", async (t) => {
  const root = await mvtecTree(t);
  const outer = path.join(path.dirname(root), `${path.basename(root)}-outer`);
  await mkdir(outer);
  t.after(() => rm(outer, { recursive: true, force: true }));
  await rename(root, path.join(outer, "mvtec_anomaly_detection"));
  await assert.rejects(
    open(outer, { kind: "mvtec" }),
    failure("DATASET_INVALID", "the folder mvtec_anomaly_detection in it is"),
  );
});

test("options that a kind has no use for are refused", async (t) => {
  const root = await mvtecTree(t);
  await assert.rejects(
    open(path.join(root, "cable"), { category: "cable" }),
    failure("INVALID_OPTION", "'folder' has no 'category'", "mvtec"),
  );
  await assert.rejects(
    open(root, { category: "cable", fold: 1 }),
    failure("INVALID_OPTION", "'mvtec' has no 'fold'", "sensum, mtd"),
  );
  await assert.rejects(open(root, { kind: "mvtex" as "mvtec" }), failure("INVALID_OPTION", "did you mean 'mvtec'"));
  await assert.rejects(open(root, { catgory: "x" } as object), failure("UNKNOWN_OPTION", "category"));
});

async function visaTree(t: TestContext): Promise<string> {
  const root = await temporaryFolder(t);
  const rows = ["object,split,label,image,mask"];
  for (const [c, category] of ["candle", "pcb1"].entries()) {
    for (const i of range(0, 4)) {
      const image = `${category}/Data/Images/Normal/000${i}.JPG`;
      await writeImage(path.join(root, image), { value: 10 * c + i });
      rows.push(`${category},${i < 3 ? "train" : "test"},normal,${image},`);
    }
    const [image, mask] = [`${category}/Data/Images/Anomaly/000.JPG`, `${category}/Data/Masks/Anomaly/000.png`];
    await writeImage(path.join(root, image), { value: 10 * c + 9 });
    await writeMask(path.join(root, mask), { value: 3 }); // the class of the defect
    rows.push(`${category},test,anomaly,${image},${mask}`);
  }
  await mkdir(path.join(root, "split_csv"));
  await writeFile(path.join(root, "split_csv", "1cls.csv"), `${rows.join("\n")}\n`);
  return root;
}

test("visa: by the official one-class split, masks with class numbers", async (t) => {
  const root = await visaTree(t);
  const data = await open(root, { category: "pcb1" });
  assert.deepEqual([data.kind, data.category], ["visa", "pcb1"]);
  assert.deepEqual(numbers(data), [3, 0, 0, 1, 1, 1]);
  assert.deepEqual(ids(data, { label: "anomalous" }), ["pcb1/Data/Images/Anomaly/000.JPG*"]);
  assert.deepEqual(data.unused, []);
  assert.equal((await validateDataset(data)).regime, "unsupervised");

  await assert.rejects(open(root), failure("INVALID_OPTION", "candle, pcb1"));
  await assert.rejects(open(root, { category: "pcb9" }), failure("INVALID_OPTION", "'candle', 'pcb1'"));
  await rm(path.join(root, "pcb1", "Data", "Images", "Normal", "0001.JPG"));
  await assert.rejects(
    open(root, { category: "pcb1" }),
    failure("DATASET_INVALID", "1 files of", "0001.JPG", "incomplete", "Expected layout"),
  );
  const csv = path.join(root, "split_csv", "1cls.csv");
  await writeFile(csv, "object,split,label,picture\npcb1,train,normal,a\n");
  await assert.rejects(open(root), failure("DATASET_INVALID", "no column image, mask"));
  await writeFile(
    csv,
    "object,split,label,image,mask\ncandle,train,normal,candle/Data/Images/Normal/0000.JPG,candle/Data/Masks/Anomaly/000.png\n",
  );
  await assert.rejects(open(root), failure("DATASET_INVALID", "a normal image has a mask"));
});

test("visa: regrouped by the authors' script", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(
    path.join(root, "visa_pytorch", "candle"),
    ["train/good/0000.JPG", "train/good/0001.JPG", "test/good/0002.JPG", "test/bad/000.JPG"],
    ["ground_truth/bad/000.png"],
  );
  const data = await open(root, { kind: "visa", category: "candle" });
  assert.deepEqual([data.kind, data.category, ...numbers(data)], ["visa", "candle", 2, 0, 0, 1, 1, 1]);
});

/** Three normal and four anomalous training images, one of each for testing, and the archive's stray copies. */
async function ksdd2Tree(t: TestContext): Promise<string> {
  const root = await temporaryFolder(t);
  for (const [split, from, to, normals] of [
    ["train", 10000, 10007, 3],
    ["test", 20000, 20002, 1],
  ] as const) {
    for (const i of range(from, to)) {
      await writeImage(path.join(root, split, `${i}.png`), { value: (i % 10000) + (split === "test" ? 50 : 0) });
      await writeMask(path.join(root, split, `${i}_GT.png`), { empty: i < from + normals });
    }
  }
  await writeImage(path.join(root, "train", "10003 (copy).png"));
  await writeMask(path.join(root, "train", "10003_GT (copy).png"));
  return root;
}

test("ksdd2: labels come from the masks, stray copies are left out", async (t) => {
  const root = await ksdd2Tree(t);
  const data = await open(root);
  assert.equal(data.kind, "ksdd2");
  assert.deepEqual(numbers(data), [3, 4, 4, 1, 1, 1]);
  assert.deepEqual(ids(data, { split: "test" }), ["test/20000.png", "test/20001.png*"]);
  assert.deepEqual(data.unused, ["train/10003 (copy).png", "train/10003_GT (copy).png"]);
  const { regime, warnings } = await validateDataset(data);
  assert.equal(regime, "full");
  assert.match(warnings[0]!, /3 normal and 4 anomalous images; 2085 and 246 were published/);
});

test("ksdd2: SegDecNet's split file says which masks may be used, before our own choice", async (t) => {
  const root = await ksdd2Tree(t);
  const train = range(10000, 10007).map((i): [Py, boolean] => [i, i === 10004]);
  const tests = range(20000, 20002).map((i): [Py, boolean] => [i, true]);
  await writePickle(path.join(root, "split_weakly_16.pyb"), { tuple: [listed(train), listed(tests)] });
  const data = await open(root, { segmentedCount: 16 });
  assert.deepEqual(data.segmented, { file: "split_weakly_16.pyb", count: 16 });
  assert.deepEqual(ids(data, { split: "train", label: "anomalous" }), [
    "train/10003.png",
    "train/10004.png*",
    "train/10005.png",
    "train/10006.png",
  ]);
  assert.equal(inferRegime(data), "mixed");
  assert.deepEqual(ids(data, { split: "test" }), ["test/20000.png", "test/20001.png*"]);

  // Weak: nothing is segmented. SegDecNet's own file name and folder, names as text.
  await writePickle(path.join(root, "splits", "KSDD2", "split_0.pyb"), [
    listed(train.map(([id]) => [String(id), false])),
    listed(tests),
  ]);
  assert.equal(inferRegime(await open(root, { segmentedCount: 0 })), "weak");

  // Without a file it is our own choice; a published number says that it is not the published one.
  assert.deepEqual(numbers(await open(root, { segmentedCount: 2 })).slice(0, 3), [3, 4, 2]);
  await assert.rejects(open(root, { segmentedCount: 53 }), failure("DATASET_INVALID", "only 4 of 4"));

  await writePickle(path.join(root, "split_weakly_53.pyb"), {
    tuple: [listed([...train, [10999, true]]), listed(tests)],
  });
  await assert.rejects(
    validateDataset(await open(root, { segmentedCount: 53 })),
    failure("DATASET_INVALID", "1 images of split_weakly_53.pyb are not in train/: 10999"),
  );
  await writePickle(path.join(root, "split_weakly_126.pyb"), [1, 2, 3]);
  await assert.rejects(
    open(root, { segmentedCount: 126 }),
    failure("DATASET_INVALID", "split_weakly_126.pyb", "pair of lists"),
  );
  await writePickle(path.join(root, "split_weakly_126.pyb"), [[1], []]);
  await assert.rejects(open(root, { segmentedCount: 126 }), failure("DATASET_INVALID", "pairs (image, is_segmented)"));
  await writePickle(path.join(root, "split_weakly_126.pyb"), { call: "os.system", args: ["true"] });
  await assert.rejects(open(root, { segmentedCount: 126 }), failure("PICKLE_REFUSED", "os.system"));
});

test("ksdd2: an incomplete download", async (t) => {
  const root = await ksdd2Tree(t);
  await rm(path.join(root, "train", "10001_GT.png"));
  await rm(path.join(root, "test", "20001.png"));
  await assert.rejects(
    validateDataset(await open(root)),
    failure(
      "DATASET_INVALID",
      "1 images in train/ have no mask (10001_GT.png)",
      "1 masks in test/ have no image: 20001_GT.png",
    ),
  );
  await rm(path.join(root, "test"), { recursive: true });
  await assert.rejects(open(root, { kind: "ksdd2" }), failure("DATASET_INVALID", "no folder test/", "10000_GT.png"));
});

/** Six normal and six anomalous softgels. */
async function sensumTree(t: TestContext): Promise<string> {
  const root = await temporaryFolder(t);
  const name = (i: number): string => `${String(i).padStart(3, "0")}.png`;
  for (const i of range(0, 6)) {
    await writeImage(path.join(root, "softgel/negative/data", name(i)), { value: i });
    await writeImage(path.join(root, "softgel/positive/data", name(i)), { value: 20 + i });
    await writeMask(path.join(root, "softgel/positive/annotation", name(i)));
  }
  return root;
}

async function sensumSplits(root: string): Promise<void> {
  for (const fold of range(0, 3)) {
    const folder = path.join(root, "sensum_splits", "softgel", String(fold));
    const test = [2 * fold, 2 * fold + 1];
    const train = range(0, 6).filter((i) => !test.includes(i));
    await writePickle(path.join(folder, "train", "neg.pckl"), listed(train.map((i) => [i, true])));
    await writePickle(path.join(folder, "test", "neg.pckl"), listed(test.map((i) => [i, true])));
    await writePickle(path.join(folder, "test", "pos.pckl"), listed(test.map((i) => [i, true])));
    for (const percent of [0, 50, 100])
      await writePickle(
        path.join(folder, "train", `pos_${percent}.pckl`),
        listed(train.map((i, k) => [i, k * 25 < percent])),
      );
  }
}

test("sensum: three folds and ratios by the authors' split files", async (t) => {
  const root = await sensumTree(t);
  await sensumSplits(root);
  const data = await open(root, { fold: 1 });
  assert.deepEqual([data.kind, data.category, data.fold, data.unused], ["sensum", "softgel", 1, []]);
  assert.deepEqual(numbers(data), [4, 4, 4, 2, 2, 2]);
  assert.deepEqual(ids(data, { split: "test", label: "anomalous" }), [
    "softgel/positive/data/002.png*",
    "softgel/positive/data/003.png*",
  ]);
  assert.equal((await validateDataset(data)).regime, "full");
  const half = await open(root, { fold: 1, segmentedRatio: 0.5 });
  assert.deepEqual(ids(half, { split: "train", label: "anomalous" }), [
    "softgel/positive/data/000.png*",
    "softgel/positive/data/001.png*",
    "softgel/positive/data/004.png",
    "softgel/positive/data/005.png",
  ]);
  assert.deepEqual(half.segmented, { file: "sensum_splits/softgel/1/train/pos_50.pckl", ratio: 0.5 });
  assert.equal(inferRegime(await open(root, { fold: 0, segmentedRatio: 0 })), "weak");
  const other = await open(root, { fold: 0, segmentedRatio: 0.25 });
  assert.deepEqual(numbers(other).slice(0, 3), [4, 4, 1]);
  assert.match(other.warnings!.join(), /no .*pos_25\.pckl/);

  await assert.rejects(open(root), failure("INVALID_OPTION", "'fold'", "0 to 2"));
  await assert.rejects(open(root, { fold: 3 }), failure("INVALID_OPTION", "at most 2", "3"));
  await assert.rejects(open(root, { category: "tablet", fold: 0 }), failure("INVALID_OPTION", "'softgel'"));
  await rm(path.join(root, "sensum_splits/softgel/2/test/pos.pckl"));
  await assert.rejects(open(root, { fold: 2 }), failure("DATASET_INVALID", "pos.pckl is missing", "Expected layout"));
  await rm(path.join(root, "softgel/positive/data/000.png"));
  await rm(path.join(root, "softgel/positive/annotation/005.png"));
  await assert.rejects(
    validateDataset(await open(root, { fold: 1 })),
    failure("DATASET_INVALID", "not in softgel/positive/data: 000.png", "no mask of the same name", "005.png"),
  );
  await rm(path.join(root, "softgel/negative"), { recursive: true });
  await assert.rejects(
    open(root, { fold: 1 }),
    failure("DATASET_INVALID", "no folder softgel/negative/data", "sensum_splits/softgel"),
  );
});

test("sensum: without the split files, folds of our own and a warning", async (t) => {
  const root = await sensumTree(t);
  const tested = new Set<string>();
  for (const fold of range(0, 3)) {
    const data = await open(root, { fold });
    assert.deepEqual(numbers(data), [4, 4, 4, 2, 2, 2]);
    assert.match(data.warnings!.join(), /no folder sensum_splits/);
    for (const id of ids(data, { split: "test" })) tested.add(id);
  }
  assert.equal(tested.size, 12, "every image is tested once");
});

async function bmadTree(t: TestContext): Promise<string> {
  const root = await temporaryFolder(t);
  const brain = path.join(root, "Brain_AD", "BraTS2021_slice");
  await writeTree(
    brain,
    [
      "train/good/img/1.png",
      "train/good/img/2.png",
      "valid/good/img/1.png",
      "valid/Ungood/img/2.png",
      "test/good/img/3.png",
      "test/Ungood/img/4.png",
    ],
    ["valid/Ungood/label/2.png", "test/Ungood/label/4.png"],
  );
  await writeTree(path.join(root, "camelyon16"), [
    "train/good/1.png",
    "train/good/2.png",
    "valid/good/3.png",
    "valid/Ungood/3.png",
    "test/good/4.png",
    "test/Ungood/4.png",
  ]);
  return root;
}

test("bmad: brain with masks, histopathology with labels; the validation split is not used", async (t) => {
  const root = await bmadTree(t);
  const brain = await open(root, { category: "brain" });
  assert.deepEqual([brain.kind, brain.category], ["bmad", "brain"]);
  assert.deepEqual(ids(brain), [
    "train/good/img/1.png",
    "train/good/img/2.png",
    "test/good/img/3.png",
    "test/Ungood/img/4.png*",
  ]);
  assert.match((await validateDataset(brain)).warnings.join(), /2 images; 7500 were published/);
  assert.deepEqual(brain.unused, ["valid/good/img/1.png", "valid/Ungood/img/2.png", "valid/Ungood/label/2.png"]);
  assert.deepEqual(ids(await open(path.join(root, "Brain_AD", "BraTS2021_slice"))), ids(brain));
  const histopathology = await open(root, { category: "histopathology" });
  assert.deepEqual(ids(histopathology), [
    "train/good/1.png",
    "train/good/2.png",
    "test/good/4.png",
    "test/Ungood/4.png",
  ]);
  assert.equal((await open(path.join(root, "camelyon16"), { kind: "bmad" })).category, "histopathology");

  await assert.rejects(open(root), failure("INVALID_OPTION", "brain, histopathology"));
  await rm(path.join(root, "camelyon16", "test", "Ungood"), { recursive: true });
  await assert.rejects(
    open(root, { category: "histopathology" }),
    failure("DATASET_INVALID", "no folder test/Ungood", "Expected layout"),
  );
  await rm(path.join(root, "Brain_AD", "BraTS2021_slice", "test", "Ungood", "label", "4.png"));
  await assert.rejects(
    validateDataset(await open(root, { category: "brain" })),
    failure("DATASET_INVALID", "1 images have no mask", "test/Ungood/img/4.png"),
  );
});

async function mtdTree(t: TestContext): Promise<string> {
  const root = await temporaryFolder(t);
  for (const [k, kind] of ["Free", "Blowhole", "Break", "Crack", "Fray", "Uneven"].entries()) {
    for (const i of range(0, kind === "Free" ? 10 : 3)) {
      await writeImage(path.join(root, `MT_${kind}/Imgs/exp1_num_${i}.jpg`), { value: 10 * k + i });
      await writeMask(path.join(root, `MT_${kind}/Imgs/exp1_num_${i}.png`), { empty: kind === "Free" });
    }
  }
  return root;
}

test("mtd: unsupervised without a fold, three stratified folds with one", async (t) => {
  const root = await mtdTree(t);
  const data = await open(root);
  assert.deepEqual([data.kind, data.unused], ["mtd", []]);
  assert.deepEqual(numbers(data), [8, 0, 0, 2, 15, 15]);
  assert.equal((await validateDataset(data)).regime, "unsupervised");
  const tested: string[] = [];
  for (const fold of range(0, 3)) {
    const part = await open(root, { fold });
    assert.equal(inferRegime(part), "full");
    assert.deepEqual(numbers(part).slice(1, 3), [10, 10]);
    for (const defect of ["blowhole", "break", "crack", "fray", "uneven"])
      assert.equal(ids(part, { split: "test", defect }).length, 1, defect);
    tested.push(...ids(part, { split: "test" }));
  }
  assert.equal(new Set(tested).size, 25);
  assert.equal(tested.length, 25);

  await assert.rejects(open(root, { fold: 7 }), failure("INVALID_OPTION", "at most 2", "7"));
  await writeImage(path.join(root, "MT_Fray/Imgs/exp1_num_1.jpeg"));
  await assert.rejects(
    validateDataset(await open(root)),
    failure(
      "DATASET_INVALID",
      /1 problem:\n.*exp1_num_1\.jpeg and MT_Fray\/Imgs\/exp1_num_1\.jpg both match MT_Fray\/Imgs\/exp1_num_1\.png/,
    ),
  );
  await rm(path.join(root, "MT_Fray/Imgs/exp1_num_1.jpeg"));
  await rm(path.join(root, "MT_Fray/Imgs/exp1_num_0.png"));
  await assert.rejects(
    validateDataset(await open(root)),
    failure("DATASET_INVALID", "1 images in MT_Fray/Imgs have no mask", "exp1_num_0.jpg"),
  );
  await rm(path.join(root, "MT_Uneven"), { recursive: true });
  await assert.rejects(open(root), failure("DATASET_INVALID", "no folder MT_Uneven/Imgs", "MT_Blowhole"));
});

test("published settings", () => {
  const pace = "published";
  const anomalies = { noiseVectors: "independent" };
  assert.deepEqual(publishedSettings({ kind: "mvtec", category: "bottle" }), {
    imageSize: [256, 256],
    pace,
    anomalies: { ...anomalies, perlinThreshold: 0.2 },
  });
  assert.deepEqual(publishedSettings({ kind: "visa", category: "pcb1" }), {
    imageSize: [256, 256],
    pace,
    anomalies: { ...anomalies, perlinThreshold: 0.6 },
  });
  const sized = (height: number, width: number) => ({ imageSize: [height, width], pace, anomalies });
  assert.deepEqual(publishedSettings({ kind: "ksdd2" }), sized(640, 232));
  assert.deepEqual(publishedSettings({ kind: "sensum", category: "softgel" }), sized(144, 144));
  assert.deepEqual(publishedSettings({ kind: "sensum", category: "capsule" }), sized(320, 192));
  assert.deepEqual(publishedSettings({ kind: "folder" }), {});
});
