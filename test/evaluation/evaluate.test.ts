import assert from "node:assert/strict";
import { cpSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { before, test } from "node:test";

import sharp from "sharp";

import {
  type Dataset,
  datasets,
  Detector,
  evaluate,
  evaluateMaps,
  evaluateScores,
  type EvaluatedMap,
} from "../../lib/index.js";
import { loadMask } from "../../lib/images/mask.js";
import { failure, writeMask } from "../datasets/files.js";
import { scratchFolder, smallDataset, tinier, train } from "../training/support.js";

const folder = scratchFolder();
let data: Dataset;
let detector: Detector;
before(async () => {
  data = await smallDataset(folder);
  detector = await Detector.load(await train(data, tinier), { threads: 1, batchSize: 4 });
});

const tests = () => data.samples.filter(({ split }) => split === "test");
const size = { height: 32, width: 32 };

test("with masks: the metrics of its own scores and of the detector's maps", async () => {
  const found = await evaluate(detector, data);
  assert.deepEqual(
    found.samples.map(({ image }) => image),
    tests().map(({ image }) => image),
  );
  assert.deepEqual(found.counts, { normal: 3, anomalous: 3, withMask: 3 });

  const scores = await evaluateScores(
    found.samples.map(({ score }) => score),
    found.samples.map(({ label }) => label),
  );
  for (const name of ["imageAuroc", "imageAveragePrecision", "imageF1Max"] as const)
    assert.equal(found.metrics[name], scores[name]);
  assert.ok(Math.abs(found.metrics.f1MaxThreshold! - scores.f1MaxThreshold!) < 1e-6);

  const images: EvaluatedMap[] = [];
  for (const sample of tests()) {
    const { map } = await detector.detect(sample.image);
    images.push({
      label: sample.label,
      map: map.data,
      mask: sample.mask === undefined ? undefined : (await loadMask(sample.mask, size)).pixels,
    });
  }
  const maps = await evaluateMaps(images, size);
  for (const name of [
    "pixelAuroc",
    "pixelAveragePrecision",
    "aupro",
    "segmentedImageAuroc",
    "segmentedImageAveragePrecision",
  ] as const) {
    assert.equal(typeof found.metrics[name], "number");
    assert.equal(found.metrics[name], maps[name], name);
  }

  const { threshold, truePositive, trueNegative, falsePositive, falseNegative } = found.decisions;
  assert.equal(threshold, 0.5);
  const count = (label: string, anomalous: boolean): number =>
    found.samples.filter((sample) => sample.label === label && sample.score >= 0.5 === anomalous).length;
  assert.deepEqual(
    [truePositive, trueNegative, falsePositive, falseNegative],
    [count("anomalous", true), count("normal", false), count("normal", true), count("anomalous", false)],
  );
});

test("without masks: pixel metrics are null and the notes say why; image metrics are the same", async () => {
  const withMasks = await evaluate(detector, data);
  const without = await evaluate(detector, {
    ...data,
    samples: data.samples.map((sample) => ({ ...sample, mask: undefined })),
  });
  for (const name of ["pixelAuroc", "pixelAveragePrecision", "aupro"] as const)
    assert.equal(without.metrics[name], null);
  for (const name of [
    "imageAuroc",
    "imageAveragePrecision",
    "segmentedImageAuroc",
    "segmentedImageAveragePrecision",
  ] as const)
    assert.equal(without.metrics[name], withMasks.metrics[name]);
  assert.equal(without.counts.withMask, 0);
  assert.ok(without.notes.some((note) => note.includes("no masks")));
});

test("one class only: null with a reason", async () => {
  const found = await evaluate(detector, { ...data, samples: tests().filter(({ label }) => label === "normal") });
  assert.equal(found.metrics.imageAuroc, null);
  assert.equal(found.metrics.f1MaxThreshold, null);
  assert.ok(found.notes.some((note) => note.includes("all test images are normal")));
});

test("an empty split, an unknown one, an unknown option", async () => {
  const none = { ...data, samples: data.samples.filter(({ split }) => split === "train") };
  await assert.rejects(evaluate(detector, none), failure("DATASET_INVALID", "no test images"));
  await assert.rejects(evaluate(detector, data, { split: "val" as "test" }), failure("INVALID_OPTION", "split"));
  await assert.rejects(
    evaluate(detector, data, { onDetecton: () => undefined } as object),
    failure("UNKNOWN_OPTION", "Did you mean 'onDetection'?"),
  );
  assert.equal((await evaluate(detector, none, { split: "train" })).samples.length, 13);
});

test("onDetection comes in the data's order and is waited for; its error ends the evaluation", async () => {
  const events: string[] = [];
  await evaluate(detector, data, {
    onDetection: async ({ id }) => {
      events.push(`begin ${id}`);
      await new Promise((resolve) => setImmediate(resolve));
      events.push(`end ${id}`);
    },
    onProgress: (done, total) => events.push(`${done}/${total}`),
  });
  assert.deepEqual(
    events,
    tests().flatMap(({ id }, i) => [`begin ${id}`, `end ${id}`, `${i + 1}/6`]),
  );

  const thrown = new Error("on purpose");
  const error: unknown = await evaluate(detector, data, { onDetection: () => Promise.reject(thrown) }).catch(
    (e: unknown) => e,
  );
  assert.equal(error, thrown);
});

test("abort", async () => {
  const controller = new AbortController();
  await assert.rejects(
    evaluate(detector, data, { signal: controller.signal, onProgress: (done) => done === 2 && controller.abort() }),
    failure("ABORTED"),
  );
});

test("maps at the images' own size cannot be compared with masks at model size", async () => {
  const large = await Detector.load(detector.model, { mapSize: "image", threads: 1 });
  await assert.rejects(evaluate(large, data), failure("INVALID_OPTION", "mapSize"));
});

test("what is wrong in the split is an error before the first image, all of it at once; the other split does not count", async () => {
  const root = path.join(folder, "wrong");
  cpSync(data.root, root, { recursive: true });
  const masks = tests().flatMap(({ mask }) =>
    mask === undefined ? [] : [path.join(root, path.relative(data.root, mask))],
  );
  await writeMask(masks[0]!, { width: 64, height: 63 });
  renameSync(masks[1]!, masks[1]!.replace("_mask.png", "_GT.png"));
  await writeMask(masks[2]!, { width: 64, height: 64, empty: true });
  await writeMask(path.join(root, "ground_truth/test/good/000.png"), { width: 64, height: 64 });
  writeFileSync(path.join(root, "test/good/notes.txt"), "");
  writeFileSync(path.join(root, "test/good/001.png"), "broken");
  writeFileSync(path.join(root, "train/good/notes.txt"), "");
  let detections = 0;
  await assert.rejects(
    evaluate(detector, await datasets.folder(root), { onDetection: () => void detections++ }),
    failure(
      "DATASET_INVALID",
      "6 problems:",
      "is 64 x 63 but the image is 64 x 64",
      /rename \d+_GT\.png to \d+_mask\.png/,
      "marks nothing",
      "ground_truth/test/good/000.png marks a defect on a normal image",
      "test/good/notes.txt is not a supported image",
      "test/good/001.png: Cannot read image",
    ),
  );
  assert.equal(detections, 0);
});

test("what looks wrong in the split is a note", async () => {
  const root = path.join(folder, "inverted");
  mkdirSync(root);
  cpSync(path.join(data.root, "test"), path.join(root, "test"), { recursive: true });
  const { id, defect } = tests().find(({ label }) => label === "anomalous")!;
  const { pixels } = await loadMask(data.samples.find((sample) => sample.id === id)!.mask!, { height: 64, width: 64 });
  mkdirSync(path.join(root, "ground_truth", defect!), { recursive: true });
  await sharp(
    pixels.map((value) => 255 * (1 - value)),
    { raw: { width: 64, height: 64, channels: 1 } },
  ).toFile(path.join(root, "ground_truth", defect!, path.basename(id)));
  const { notes } = await evaluate(detector, await datasets.folder(root));
  assert.match(notes[0]!, /^1 mask marks more than half of the image: /);
  assert.ok(notes[0]!.includes(id));
  assert.ok((await evaluate(detector, data)).notes.every((note) => !note.includes("more than half")));
});
