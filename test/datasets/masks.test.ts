import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { test, type TestContext } from "node:test";

import sharp from "sharp";

import type { Dataset } from "../../lib/datasets/dataset.js";
import { folder } from "../../lib/datasets/folder.js";
import { countSamples } from "../../lib/datasets/dataset.js";
import { validateDataset } from "../../lib/datasets/validate.js";
import { decodeMask } from "../../lib/images/mask.js";
import { failure, temporaryFolder, writeImage, writeMask, writeTree } from "./files.js";

const GOOD = ["train/good/0.png", "train/good/1.png"];

const messages = ({ problems }: Dataset): string[] => problems!.map(({ message }) => message);

/** The mask of every sample that has one, relative to the root. */
const masksOf = ({ samples, root }: Dataset): Record<string, string> =>
  Object.fromEntries(
    samples.flatMap(({ id, mask }) =>
      mask === undefined ? [] : [[id, path.relative(root, mask).split(path.sep).join("/")]],
    ),
  );

async function tree(t: TestContext, images: readonly string[], masks: readonly string[] = []): Promise<string> {
  const root = await temporaryFolder(t);
  await writeTree(root, [...GOOD, ...images], masks);
  return root;
}

/** A picture with many values, from black to white. */
async function writePhoto(file: string, { width = 40, height = 36 } = {}): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 37) % 256);
  await sharp(pixels, { raw: { width, height, channels: 3 } }).toFile(file);
}

test("masks beside their images are masks, never samples", async (t) => {
  const root = await tree(
    t,
    ["train/cut/5.png", "train/cut/6.jpg", "test/cut/7.png", "test/good/8.png"],
    ["train/cut/5_GT.png", "train/cut/6_GT.png", "test/cut/7.png.png"],
  );
  for (const name of ["0", "1"]) await writeMask(path.join(root, `train/good/${name}_GT.png`), { empty: true });
  const data = await folder(root);
  assert.deepEqual(messages(data), []);
  assert.deepEqual(Object.values(countSamples(data)), [2, 2, 2, 1, 1, 1]);
  assert.deepEqual(masksOf(data), {
    "train/cut/5.png": "train/cut/5_GT.png",
    "train/cut/6.jpg": "train/cut/6_GT.png",
    "test/cut/7.png": "test/cut/7.png.png",
  });
  assert.deepEqual(data.unused, []);
  const { warnings, regime } = await validateDataset(data);
  assert.equal(regime, "full");
  assert.deepEqual(warnings, [
    "5 files beside their images are used as masks: train/cut/5_GT.png of train/cut/5.png, train/cut/6_GT.png of train/cut/6.jpg, ... (5 in all).",
  ]);

  await writeMask(path.join(root, "train/good/1_GT.png"));
  await assert.rejects(
    validateDataset(await folder(root)),
    failure("DATASET_INVALID", "train/good/1_GT.png marks a defect on a normal image"),
  );
});

test("photos that are called like masks stay samples", async (t) => {
  const root = await tree(t, ["train/cut/5.png"]);
  await writePhoto(path.join(root, "train/cut/5_label.png"));
  const data = await folder(root);
  assert.deepEqual(
    data.samples.filter(({ defect }) => defect === "cut").map(({ id }) => id),
    ["train/cut/5_label.png", "train/cut/5.png"],
  );
  assert.deepEqual([data.warnings, data.problems], [[], []]);
});

test("where it is not clear which files are masks, the data set is refused", async (t) => {
  const cases: [string, (root: string) => Promise<void>, RegExp][] = [
    [
      "one is a photo",
      (root) => writePhoto(path.join(root, "train/cut/6_GT.png")),
      /^train\/cut: 2 files are called like masks of images beside them \(5_GT\.png\), but 1 of them do not look like masks \(6_GT\.png\)\. Move masks to ground_truth\/cut/,
    ],
    [
      "one has no image",
      (root) => writeMask(path.join(root, "train/cut/9_GT.png")),
      /but 1 of them have no image beside them \(9_GT\.png\)/,
    ],
    [
      "an image has two",
      (root) => writeMask(path.join(root, "train/cut/5_mask.png")),
      /but 5\.png has two \(5_GT\.png, 5_mask\.png\)/,
    ],
    [
      "the images look like masks",
      (root) => writeMask(path.join(root, "train/cut/5.png")),
      /but 1 of the images look like masks too \(5\.png\)/,
    ],
  ];
  for (const [name, spoil, expected] of cases) {
    const root = await tree(t, ["train/cut/5.png", "train/cut/6.png"], ["train/cut/5_GT.png"]);
    await spoil(root);
    const [problem, ...others] = messages(await folder(root));
    assert.match(problem!, expected, name);
    assert.deepEqual(others, [], name);
  }
  const twins = await tree(t, ["train/cut/5.jpg"], ["train/cut/5.png"]);
  assert.match(
    messages(await folder(twins)).join(),
    /^train\/cut: 1 file looks like the mask of images of the same name \(5\.png beside 5\.jpg\)/,
  );
});

test("a mask beside an image and one in ground_truth", async (t) => {
  const root = await tree(t, ["train/cut/5.png"], ["train/cut/5_GT.png", "ground_truth/cut/5.png"]);
  assert.deepEqual(messages(await folder(root)), [
    "train/cut/5.png has two masks, train/cut/5_GT.png and ground_truth/cut/5.png: remove one of them.",
  ]);
});

test("folders of masks in other places are used where every mask has its image", async (t) => {
  const image = "train/cut/5.png";
  for (const mask of [
    "masks/cut/5_mask.png",
    "GT/cut/5.png",
    "groundtruth/train/cut/5.png",
    "labels/5.png",
    "ground_truth/5_mask.png",
    "ground_truth/train/5.png",
    "annotations/train/5.png.png",
    "train/masks/cut/5.png",
    "train/mask/5.png",
    "train/cut/masks/5.png",
    "masks/cut/5/0.png",
    "masks/5/0.png",
  ]) {
    const data = await folder(await tree(t, [image], [mask]));
    const found = mask.endsWith("/5/0.png") ? path.posix.dirname(mask) : mask;
    assert.deepEqual(messages(data), [], mask);
    assert.deepEqual(masksOf(data), { [image]: found }, mask);
    assert.deepEqual(data.unused, [], mask);
    assert.equal(countSamples(data).trainAnomalous, 1, mask);
    const folderName = path.posix.dirname(found);
    assert.deepEqual(
      data.warnings,
      [`Masks are taken from ${folderName}/ (1); their usual place is ground_truth/<defect>/.`],
      mask,
    );
  }
});

test("a folder of masks of a kind is not that of an image with the same name", async (t) => {
  const data = await folder(await tree(t, ["test/1/5.png", "test/2/1.png"], ["ground_truth/1/5.png"]));
  assert.deepEqual([messages(data), masksOf(data)], [[], { "test/1/5.png": "ground_truth/1/5.png" }]);
});

test("a folder of masks for each image, good ones too, without folders of defects", async (t) => {
  const root = await tree(
    t,
    ["train/cut/5.png", "train/dent/6.png"],
    ["masks/5/0.png", "masks/6/0.png", "masks/6/1.png"],
  );
  await writeMask(path.join(root, "masks/1/0.png"), { empty: true });
  const data = await folder(root);
  assert.deepEqual([messages(data), data.unused], [[], []]);
  assert.deepEqual(masksOf(data), { "train/cut/5.png": "masks/5", "train/dent/6.png": "masks/6" });
  assert.deepEqual(
    data.normalMasks!.map(({ mask }) => path.relative(root, mask)),
    [path.join("masks", "1")],
  );
  assert.equal((await validateDataset(data)).regime, "full");
});

test("empty masks alone are masks too", async (t) => {
  const root = await tree(t, ["train/cut/5.png"]);
  await writeMask(path.join(root, "train/good/masks/0.png"), { empty: true });
  const data = await folder(root);
  assert.deepEqual([messages(data), data.normalMasks!.length], [[], 1]);
});

test("folders of masks that do not fit are refused, and folders of photos are no folders of masks", async (t) => {
  const lost = await folder(await tree(t, ["train/cut/5.png"], ["masks/cut/5.png", "masks/cut/9.png"]));
  assert.deepEqual(messages(lost), ["masks/cut/9.png is a mask without an image."]);
  const two = await folder(await tree(t, ["train/cut/5.png"], ["masks/cut/5.png", "gt/cut/5.png"]));
  assert.match(
    messages(two).join(),
    /^gt\/, masks\/: several folders of masks\. Move the masks that count to ground_truth/,
  );
  const shared = await folder(await tree(t, ["train/cut/5.png", "train/dent/5.png"], ["masks/5.png"]));
  assert.deepEqual(messages(shared), [
    "train/cut/5.png and train/dent/5.png both match masks/5.png: move the mask to ground_truth/<defect>.",
  ]);

  const root = await tree(t, ["train/cut/5.png"], ["train/label/5.png"]);
  await writePhoto(path.join(root, "train/label/6.png"));
  assert.match(
    messages(await folder(root)).join(),
    /^train\/label\/ is called like a folder of masks, but 1 of its 2 images do not look like masks: train\/label\/6\.png\./,
  );

  const photos = await tree(t, ["train/label/5.png", "labels/5.png"]);
  const data = await folder(photos);
  assert.deepEqual([messages(data), data.warnings, data.unused], [[], [], ["labels/5.png"]]);
  assert.equal(data.samples.at(-1)!.defect, "label");
});

test("a folder that is called like one of masks and fits no image is not used", async (t) => {
  const root = await tree(t, ["train/cut/5.png"], ["mask/roi.png", "mask/cut/ignore.png"]);
  const data = await folder(root);
  assert.deepEqual([messages(data), data.warnings, masksOf(data)], [[], [], {}]);
  assert.deepEqual(data.unused, ["mask/cut/ignore.png", "mask/roi.png"]);

  const renamed = await folder(await tree(t, ["train/cut/5.png"], ["masks/cut/5_GT.png"]));
  assert.deepEqual(messages(renamed), [
    "masks/cut names 1 masks in another way than their images: rename 5_GT.png to 5_mask.png.",
  ]);
});

test("a mask without an image directly in ground_truth does not spoil a data set that needs none", async (t) => {
  const data = await folder(
    await tree(t, ["train/cut/5.png"], ["ground_truth/overview.png", "ground_truth/cut/5.png"]),
  );
  assert.deepEqual([messages(data), data.unused], [[], ["ground_truth/overview.png"]]);
});

test("double extensions: the mask of 5.jpg may be called 5.jpg.png", async (t) => {
  const masks = ["ground_truth/cut/5.jpg.png", "ground_truth/cut/6.jpg_mask.png"];
  const data = await folder(await tree(t, ["train/cut/5.jpg", "train/cut/6.jpg"], masks));
  assert.deepEqual([messages(data), data.warnings], [[], []]);
  assert.deepEqual(Object.values(masksOf(data)), masks);
});

test("a folder of masks for each image: a pixel is defect when any of them says so", async (t) => {
  const images = ["test/good/0.png", "test/logical/0.png", "test/logical/1.png"];
  const root = await tree(t, images, ["ground_truth/logical/0/000.png", "ground_truth/logical/1/000.png"]);
  const second = new Uint8Array(40 * 36).fill(237, 0, 10);
  await sharp(second, { raw: { width: 40, height: 36, channels: 1 } }).toFile(
    path.join(root, "ground_truth/logical/0/001.png"),
  );
  const data = await folder(root);
  assert.deepEqual([messages(data), data.warnings, data.unused], [[], [], []]);
  const [first, merged] = await Promise.all(
    ["ground_truth/logical/1", "ground_truth/logical/0"].map((name) => decodeMask(path.join(root, name))),
  );
  assert.deepEqual(masksOf(data)["test/logical/0.png"], "ground_truth/logical/0");
  const marked = (pixels: Uint8Array): number => pixels.reduce((sum, pixel) => sum + pixel, 0);
  assert.equal(marked(merged!.pixels), marked(first!.pixels) + 10);
  assert.equal((await validateDataset(data)).counts.testSegmented, 2);

  await writeMask(path.join(root, "ground_truth/logical/0/002.png"), { width: 39 });
  await assert.rejects(
    validateDataset(await folder(root)),
    failure("DATASET_INVALID", "its masks differ in size: 000.png is 40 x 36 and 002.png 39 x 36"),
  );
});

/** A JPEG with an EXIF orientation. */
async function writeTurned(file: string, orientation: number, { width = 40, height = 36 } = {}): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * orientation) % 256);
  await sharp(pixels, { raw: { width, height, channels: 3 } })
    .withMetadata({ orientation })
    .toFile(file);
}

test("a mask that EXIF turned away from its image: the orientation and what to do", async (t) => {
  const root = await tree(t, [], ["ground_truth/cut/6.png", "ground_truth/cut/8.png"]);
  await writeTurned(path.join(root, "train/cut/6.jpg"), 6);
  await writeTurned(path.join(root, "train/cut/8.jpg"), 8);
  await writeImage(path.join(root, "train/cut/9.png"));
  await writeTurned(path.join(root, "ground_truth/cut/9.jpg"), 6);
  await assert.rejects(
    validateDataset(await folder(root)),
    failure(
      "DATASET_INVALID",
      /6\.png is 40 x 36 but the image is 36 x 40\. The image is turned by 90 degrees clockwise by its EXIF orientation 6, the mask is not\. Turn the mask the same way, or remove the orientation/,
      /8\.png is 40 x 36 .* 90 degrees counter-clockwise by its EXIF orientation 8/,
      /9\.jpg is 36 x 40 but the image is 40 x 36\. The mask is turned by 90 degrees clockwise by its EXIF orientation 6/,
      "3 problems:",
    ),
  );
});

test("orientations that leave the size as it is: a warning, unless the size tells that all is well", async (t) => {
  const root = await tree(t, [], ["ground_truth/cut/3.png"]);
  await writeTurned(path.join(root, "train/cut/3.jpg"), 3);
  await writeTurned(path.join(root, "train/cut/6.jpg"), 6, { width: 40, height: 40 });
  await writeMask(path.join(root, "ground_truth/cut/6.png"), { width: 40, height: 40 });
  await writeTurned(path.join(root, "train/cut/8.jpg"), 8);
  await writeMask(path.join(root, "ground_truth/cut/8.png"), { width: 36, height: 40 }); // drawn on the turned image
  const { warnings } = await validateDataset(await folder(root), { split: "train", headersOnly: true });
  assert.equal(warnings.length, 1, warnings.join("\n"));
  assert.match(
    warnings[0]!,
    /^2 masks have another EXIF orientation than the image, and the sizes do not tell whether that is right: train\/cut\/3\.jpg \(image 3, turned by 180 degrees, mask none\), train\/cut\/6\.jpg \(image 6, .*mask none\)\. .* turn the mask too, or remove/,
  );
});

test("files that look like masks of others and are called in no known way are named", async (t) => {
  const root = await temporaryFolder(t);
  for (const name of [...GOOD, "test/good/0.png"]) await writeImage(path.join(root, name));
  for (const i of [1, 2, 3]) {
    await writeImage(path.join(root, `test/ng/00${i}.png`), { value: 90 + i });
    await writeMask(path.join(root, `test/ng/00${i}_bw.png`));
    await writeMask(path.join(root, `test/marks/00${i}.png`));
  }
  const { warnings } = await validateDataset(await folder(root));
  const [warning] = warnings.filter((text) => text.includes("look like the masks of others"));
  assert.match(
    warning!,
    /^6 images of defects .*: test\/.* of test\/ng\/001\.png, .*They count as images\. Move masks/,
  );
});

test("names with numbers and words around the mask's are masks too", async (t) => {
  const root = await temporaryFolder(t);
  for (const name of GOOD) await writeImage(path.join(root, name));
  for (const i of [1, 2]) {
    await writeImage(path.join(root, `train/ng/00${i}.png`), { value: 90 + i });
    await writeMask(path.join(root, `train/ng/00${i}_mask1.png`));
    await writeImage(path.join(root, `train/cut/10${i}.png`), { value: 100 + i });
    await writeMask(path.join(root, `train/cut_masks/10${i}.png`));
    await writeImage(path.join(root, `train/full/20${i}.png`), { value: 110 + i });
    await sharp({ create: { width: 40, height: 36, channels: 3, background: "white" } }).toFile(
      path.join(root, `train/full/20${i}_GT.png`),
    );
  }
  const data = await folder(root);
  assert.deepEqual(messages(data), []);
  assert.deepEqual(countSamples(data).trainSegmented, 6);
});
