import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";

import sharp from "sharp";

import { SuperSimpleNetError } from "../../lib/errors.js";
import { datasets } from "../../lib/datasets/index.js";
import { validateDataset } from "../../lib/datasets/validate.js";
import { failure, temporaryFolder, writeImage, writeMask, writeTree } from "./files.js";

const SHARED = path.resolve(__dirname, "../../../../shared/data");
const GOOD = ["train/good/0.png", "train/good/1.png", "train/cut/0.png", "test/good/0.png", "test/cut/7.png"];

test("a good data set: counts, regime, progress, no warnings", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, GOOD, ["ground_truth/cut/0.png", "ground_truth/cut/7.png"]);
  const progress: string[] = [];
  const { trainingContent, trainingImages, ...result } = await validateDataset(await datasets.folder(root), {
    imageSize: [64, 64],
    onProgress: ({ checked, total }) => progress.push(`${checked}/${total}`),
  });
  assert.deepEqual(result, {
    regime: "full",
    counts: { trainNormal: 2, trainAnomalous: 1, trainSegmented: 1, testNormal: 1, testAnomalous: 1, testSegmented: 1 },
    warnings: [],
    bitDepth: 16,
  });
  assert.deepEqual(progress, ["1/5", "2/5", "3/5", "4/5", "5/5"]);

  // The same for the same training files; test images do not count, masks do.
  const content = async (): Promise<string> => (await validateDataset(await datasets.folder(root))).trainingContent;
  await writeTree(root, ["test/good/1.png"]);
  assert.equal(await content(), trainingContent);
  await writeMask(path.join(root, "ground_truth/cut/0.png"), { value: 1 });
  assert.equal(await content(), trainingContent, "the same pixels in another file");
  await writeImage(path.join(root, "train/good/0.png"), { value: 77 });
  assert.notEqual(await content(), trainingContent);
});

test("one error lists every problem", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, [...GOOD, "test/cut/8.png", "test/cut/9.png", "test/cut/10.png"], ["ground_truth/cut/99.png"]);
  await writeMask(path.join(root, "ground_truth/cut/7.png"), { width: 39 });
  await writeMask(path.join(root, "ground_truth/cut/8.png"), { empty: true });
  await writeFile(path.join(root, "ground_truth/cut/10.png"), "broken");
  await writeFile(
    path.join(root, "train/good/1.png"),
    (await readFile(path.join(root, "train/good/1.png"))).subarray(0, 90),
  );
  await writeFile(path.join(root, "test/good/0.png"), "");
  await writeFile(path.join(root, "test/good/readme.txt"), "x");
  const error = await validateDataset(await datasets.folder(root)).then(
    () => assert.fail("nothing found"),
    (caught: unknown) => caught as SuperSimpleNetError,
  );
  assert.equal(error.code, "DATASET_INVALID");
  for (const expected of [
    /^train\/good\/1\.png: .*damaged or/,
    /^test\/good\/0\.png: .*0 bytes/,
    /^test\/cut\/7\.png: its mask .* is 39 x 36 but the image is 40 x 36/,
    /^test\/cut\/8\.png: its mask .* marks nothing/,
    /^test\/cut\/10\.png: Cannot read image .*ground_truth/,
    /^ground_truth\/cut\/99\.png is a mask without an image/,
    /^test\/good\/readme\.txt is not a supported image/,
  ]) {
    assert.equal(
      error.problems.filter((problem) => expected.test(problem)).length,
      1,
      `${String(expected)} in\n${error.problems.join("\n")}`,
    );
  }
  assert.equal(error.problems.length, 7);
  for (const problem of error.problems) assert.ok(error.message.includes(problem));
});

test("lists made by hand: missing files, double ids, masks on normal images", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, ["a.png", "b.png"], ["m.png"]);
  const image = path.join(root, "a.png");
  const sample = { image, label: "normal", split: "train" } as const;
  const dataset = {
    kind: "own",
    name: "own",
    root,
    samples: [
      { ...sample, id: "a" },
      { ...sample, id: "a" },
      { ...sample, id: "b", mask: path.join(root, "m.png") },
      { id: "c", image, label: "anomalous", split: "train", mask: path.join(root, "gone.png") } as const,
      { ...sample, id: "d", image: path.join(root, "gone too.png") },
    ],
  };
  await assert.rejects(
    validateDataset(dataset),
    failure(
      "DATASET_INVALID",
      "a occurs more than once",
      "b: a normal image has a mask",
      "gone.png: it does not exist",
      "d: Cannot read image",
      "4 problems",
    ),
  );
});

test("too few normal training images, no test images", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, ["train/good/0.png"]);
  const one = await datasets.folder(root);
  await assert.rejects(validateDataset(one), failure("DATASET_INVALID", "only 1 normal image"));
  await assert.rejects(validateDataset({ ...one, samples: [] }), failure("DATASET_INVALID", "no normal image"));
  await assert.rejects(
    validateDataset(one, { split: "test" }),
    failure("DATASET_INVALID", "1 problem:", "no test images to evaluate on"),
  );
  assert.deepEqual((await validateDataset(one, { split: "train" })).warnings, []);
  await assert.rejects(validateDataset(one, { split: "val" as "test" }), failure("INVALID_OPTION", "'split'"));
});

test("the regime decides what is read, and what is missing joins the list", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, GOOD);
  await writeFile(path.join(root, "train/cut/0.png"), "broken");
  const data = await datasets.folder(root);
  const result = await validateDataset(data, { regime: "unsupervised" });
  assert.deepEqual([result.regime, result.counts.trainAnomalous], ["unsupervised", 0]);
  await assert.rejects(
    validateDataset(data, { regime: "full" }),
    failure(
      "DATASET_INVALID",
      "train/cut/0.png: Cannot read",
      "1 of 1 anomalous training images have no mask",
      "2 problems",
    ),
  );
});

test("warnings: leaked test images, small images, one class, no test split", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, ["train/good/0.png", "train/good/1.png", "test/good/0.png"]);
  await copyFile(path.join(root, "train/good/1.png"), path.join(root, "test/good/copy.png"));
  await writeImage(path.join(root, "train/good/tiny.png"), { width: 20, value: 77 });
  const { warnings } = await validateDataset(await datasets.folder(root));
  assert.equal(warnings.length, 3, warnings.join("\n"));
  assert.match(warnings[0]!, /only normal images/);
  assert.match(warnings[1]!, /1 test image is also a training image.*test\/good\/copy\.png = train\/good\/1\.png/);
  assert.match(warnings[2]!, /1 image is smaller than 32 pixels: train\/good\/tiny\.png \(20 x 36\)/);
  const train = await datasets.folder(root);
  const alone = await validateDataset(
    { ...train, samples: train.samples.filter(({ split }) => split === "train") },
    { imageSize: [256, 256] },
  );
  assert.match(alone.warnings[0]!, /no test split/);
  assert.match(alone.warnings[1]!, /3 images are less than half of the model's 256 x 256/);
});

test("a signal cancels it", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, GOOD);
  const controller = new AbortController();
  await assert.rejects(
    validateDataset(await datasets.folder(root), { signal: controller.signal, onProgress: () => controller.abort() }),
    failure("ABORTED"),
  );
});

test(
  "the shared sample data",
  { skip: existsSync(SHARED) ? false : "the shared sample data is not here" },
  async () => {
    for (const [name, regime] of [
      ["hazelnut", "unsupervised"],
      ["magnetic_tile", "full"],
    ] as const) {
      const result = await validateDataset(await datasets.open(path.join(SHARED, name)));
      assert.equal(result.regime, regime);
      assert.deepEqual(result.warnings, []);
    }
  },
);

test("a mask of a normal image may be there, but must be empty", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(
    root,
    ["train/good/0.png", "train/good/1.png", "test/good/0.png", "test/cut/0.png"],
    ["ground_truth/cut/0.png"],
  );
  await writeMask(path.join(root, "ground_truth/good/0_mask.png"), { empty: true });
  await validateDataset(await datasets.folder(root));
  await writeMask(path.join(root, "ground_truth/good/0_mask.png"));
  await assert.rejects(
    validateDataset(await datasets.folder(root)),
    failure("DATASET_INVALID", "ground_truth/good/0_mask.png marks a defect on a normal image"),
  );
});

test("regime unsupervised: says how many anomalous training images it leaves out", async (t) => {
  const root = await temporaryFolder(t);
  const dataset = await datasets.generated(path.join(root, "data"), {
    imageSize: [64, 64],
    trainNormal: 2,
    trainAnomalous: 3,
    testNormal: 1,
    testAnomalous: 1,
  });
  const { warnings } = await validateDataset(dataset, { regime: "unsupervised" });
  assert.deepEqual(warnings, ["Regime 'unsupervised' leaves out the 3 anomalous training images."]);
});

test("one split alone: what is wrong in the other does not count", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, [...GOOD, "train/loose.png"], ["ground_truth/cut/7.png", "ground_truth/train/good/0.png"]);
  await writeMask(path.join(root, "ground_truth/train/cut/0.png"), { width: 39 });
  await writeFile(path.join(root, "train/good/1.png"), "broken");
  const data = await datasets.folder(root);
  const progress: string[] = [];
  const { counts, warnings } = await validateDataset(data, {
    split: "test",
    onProgress: ({ checked, total }) => progress.push(`${checked}/${total}`),
  });
  assert.deepEqual([counts.trainNormal, counts.testNormal, counts.testSegmented, warnings], [0, 1, 1, []]);
  assert.deepEqual(progress, ["1/2", "2/2"]);
  await assert.rejects(
    validateDataset(data, { split: "train" }),
    failure(
      "DATASET_INVALID",
      "4 problems:",
      "train/loose.png lies directly in train/",
      "train/good/1.png: ",
      "is 39 x 36 but",
      "ground_truth/train/good/0.png marks a defect",
    ),
  );
});

test("headersOnly: all but the pixels of images", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, [...GOOD, "test/good/1.png"], ["ground_truth/cut/0.png"]);
  await writeMask(path.join(root, "ground_truth/test/cut/7.png"), { width: 39, empty: true });
  const image = path.join(root, "test/good/0.png");
  await writeFile(image, (await readFile(image)).subarray(0, 90));
  await writeFile(path.join(root, "test/good/1.png"), "broken");
  const data = await datasets.folder(root);
  const problems = [
    "test/good/1.png: Cannot read image",
    "is 39 x 36 but the image is 40 x 36",
    "marks nothing. Remove the mask, or label the image normal.",
  ];
  await assert.rejects(
    validateDataset(data, { headersOnly: true }),
    failure("DATASET_INVALID", "3 problems:", ...problems),
  );
  await assert.rejects(
    validateDataset(data),
    failure("DATASET_INVALID", "4 problems:", "test/good/0.png: Cannot read image", ...problems),
  );
});

test("a warning of masks that mark more than half of the image, unless they were published so", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, [...GOOD, "train/cut/1.png"], ["ground_truth/cut/7.png"]);
  await mkdir(path.join(root, "ground_truth/train/cut"), { recursive: true });
  const grey = (file: string, pixels: Uint8Array): Promise<unknown> =>
    sharp(pixels, { raw: { width: 40, height: 36, channels: 1 } }).toFile(path.join(root, file));
  await grey("ground_truth/train/cut/0.png", new Uint8Array(40 * 36).fill(255).fill(0, 0, 72));
  await grey("ground_truth/train/cut/1.png", new Uint8Array(40 * 36).fill(255, 0, 720)); // half, and no more
  const data = await datasets.folder(root);
  assert.deepEqual((await validateDataset(data)).warnings, [
    "1 mask marks more than half of the image: train/cut/0.png (95 %). What is not black is defect, transparent or not: are they inverted?",
  ]);
  await grey("ground_truth/cut/7.png", new Uint8Array(40 * 36).fill(1));
  assert.match(
    (await validateDataset(data)).warnings[0]!,
    /^2 masks mark more than half of the image: train\/cut\/0\.png \(95 %\), test\/cut\/7\.png \(100 %\)/,
  );
  assert.deepEqual((await validateDataset({ ...data, kind: "visa" })).warnings, []);
});

test("a mask that marks nothing: what its file holds that does not count", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, [...GOOD, "test/cut/8.png"], ["ground_truth/train/cut/0.png"]);
  const pixels = new Uint8Array(40 * 36 * 4);
  for (let i = 3; i < 400; i += 4) pixels[i] = 255;
  await mkdir(path.join(root, "ground_truth/cut"));
  await sharp(pixels, { raw: { width: 40, height: 36, channels: 4 } })
    .png()
    .toFile(path.join(root, "ground_truth/cut/7.png"));
  await sharp(new Uint8Array(40 * 36).fill(1), { raw: { width: 40, height: 36, channels: 1 } })
    .jpeg()
    .toFile(path.join(root, "ground_truth/cut/8.jpg"));
  await assert.rejects(
    validateDataset(await datasets.folder(root)),
    failure(
      "DATASET_INVALID",
      "2 problems:",
      /7\.png marks nothing: its alpha channel, which is not blank, is ignored/,
      /8\.jpg marks nothing: in JPEG, WebP and AVIF only values from 128 count, and its highest is 1\. Save it as PNG/,
    ),
  );
});

test("what is looked at: sizes, places, nothing left, hidden defects, and its part in the content", async (t) => {
  const root = await temporaryFolder(t);
  await writeTree(root, GOOD, ["ground_truth/cut/7.png", "ground_truth/train/cut/0.png", "m/square.png"]);
  const at = (name: string): string => path.join(root, name);
  await writeMask(at("m/small.png"), { width: 39 });
  await writeMask(at("m/empty.png"), { empty: true });
  const full = sharp({ create: { width: 40, height: 36, channels: 3, background: "white" } });
  await writeFile(at("m/full.png"), await full.png().toBuffer());
  await writeFile(at("m/broken.png"), "broken");
  const { samples, ...data } = await datasets.folder(root);
  type Looked = Pick<(typeof samples)[number], "ignore" | "roi">;
  const validated = (changes: Readonly<Record<string, Looked>>) =>
    validateDataset({ ...data, samples: samples.map((sample) => ({ ...sample, ...changes[sample.id] })) });
  const plain = await validated({});

  const square = { x: 4, y: 4, width: 10, height: 10 };
  await assert.rejects(
    validated({
      "train/good/0.png": { ignore: at("m/small.png"), roi: at("m/small.png") },
      "train/good/1.png": { roi: { x: 1, y: 0, width: 40, height: 36 } },
      "train/cut/0.png": { ignore: at("m/full.png") },
      "test/good/0.png": { roi: at("m/empty.png"), ignore: at("m/broken.png") },
      "test/cut/7.png": { roi: { x: 5, y: 5, width: 7, height: 7 }, ignore: at("m/square.png") },
    }),
    (error: unknown) => {
      assert.ok(error instanceof SuperSimpleNetError && error.code === "DATASET_INVALID");
      const expected = [
        /^train\/good\/0.png: its ignore mask .*small.png is 39 x 36 but the image is 40 x 36/,
        /^train\/good\/0.png: its roi mask .*small.png is 39 x 36 but the image is 40 x 36/,
        /^train\/good\/1.png: its roi 1 0 40 36 \(X Y W H\) reaches outside the image of 40 x 36/,
        /^train\/cut\/0.png: its ignore mask .*full.png marks the whole image/,
        /^test\/good\/0.png: .*broken.png/,
        /^test\/cut\/7.png: its ignore mask marks the whole roi/,
      ];
      assert.equal(error.problems.length, expected.length, error.message);
      for (const pattern of expected)
        assert.ok(
          error.problems.some((problem) => pattern.test(problem)),
          String(pattern),
        );
      return true;
    },
  );
  await assert.rejects(
    validated({ "test/good/0.png": { roi: at("m/empty.png") } }),
    failure("DATASET_INVALID", "1 problem:", "its roi mask", "empty.png marks nothing"),
  );

  const hidden = await validated({
    "train/cut/0.png": { ignore: at("m/square.png") },
    "test/cut/7.png": { roi: { x: 20, y: 0, width: 20, height: 36 } },
  });
  assert.match(
    hidden.warnings.join("; "),
    /masks of 2 images lie wholly in pixels that are not looked at.*train\/cut\/0.png, test\/cut\/7.png/,
  );
  const seen = await validated({ "train/cut/0.png": { ignore: at("m/square.png"), roi: square } }).catch(
    (error: unknown) => error,
  );
  assert.ok(!(seen instanceof Error)); // a rim of the roi is left

  // Every way of looking elsewhere at a training image is other content.
  const ways: Looked[] = [{ ignore: at("m/square.png") }, { roi: at("m/square.png") }, { roi: square }, { roi: at("m/full.png") }]; // prettier-ignore
  const contents = await Promise.all(
    ways.map(async (looked) => (await validated({ "train/good/0.png": looked })).trainingContent),
  );
  assert.equal(new Set([plain.trainingContent, ...contents]).size, 5);
  assert.equal((await validated({ "test/good/0.png": { roi: square } })).trainingContent, plain.trainingContent);
});
