import assert from "node:assert/strict";
import { copyFileSync, readFileSync } from "node:fs";
import path from "node:path";
import { before, test } from "node:test";

import { imageId } from "../../lib/images/identity.js";
import { type Dataset, datasets, Detector, Model, SuperSimpleNetError, Trainer } from "../../lib/index.js";
import type { ScoreSummary, Thresholds } from "../../lib/models/config.js";
import { supersimplenet } from "../cli/run.js";
import { failure } from "../datasets/files.js";
import { bytesOf, labelledFor, scratchFolder, smallDataset, tiny } from "../training/support.js";

const folder = scratchFolder();
const at = (name: string): string => path.join(folder, name);
let data: Dataset;
let good: string[];
let bad: string[];
const file = at("model.safetensors");

/** 12 good and 6 defective parts that the model was not trained on. */
before(async () => {
  data = labelledFor(await smallDataset(folder), "unsupervised");
  const fresh = await datasets.generated(at("fresh"), {
    imageSize: [64, 64],
    trainNormal: 2,
    testNormal: 12,
    testAnomalous: 6,
    seed: 9,
  });
  const test = fresh.samples.filter(({ split }) => split === "test");
  good = test.filter(({ label }) => label === "normal").map(({ image }) => image);
  bad = test.filter(({ label }) => label === "anomalous").map(({ image }) => image);
  const model = await new Trainer({ ...tiny, calibration: { method: "crossFit", folds: 2 } }).fit(data);
  await model.save(file);
});

const load = (): Promise<Model> => Model.load(file);

/** The scores on record as if the good parts had scored lower by `shift`. */
function shifted({ calibration }: Thresholds, shift: number): void {
  for (const summary of Object.values(calibration!.good!) as ScoreSummary[])
    summary.values = summary.values.map((value) => value - shift);
}

test("new thresholds: those of the new parts, their record, and the old ones", async () => {
  const model = await load();
  const before = structuredClone(model.config.thresholds);
  const progress: number[] = [];
  const thresholds = await model.calibrate({ good }, { onProgress: (done) => progress.push(done), acceptChange: true });
  assert.equal(model.config.thresholds, thresholds);
  assert.deepEqual(
    progress,
    [...good.keys()].map((i) => i + 1),
  );
  assert.deepEqual([thresholds.calibrationNormal, thresholds.calibrationAnomalous], [12, 0]);
  const { method, falseRejectRate, parts, previous, good: scores } = thresholds.calibration!;
  assert.deepEqual([method, falseRejectRate, thresholds.decision], ["newParts", 0.01, "either"]);
  assert.deepEqual(parts!.normal, await Promise.all(good.map((image) => imageId(readFileSync(image)))));
  assert.ok(parts!.from! <= parts!.to! && !Number.isNaN(Date.parse(parts!.from!)));
  assert.deepEqual(previous, before);

  // The scores on record are the model's own on these parts.
  const detector = await Detector.load(file);
  const logits = (await detector.detect(good)).map(({ logit }) => logit).sort((a, b) => a - b);
  detector.dispose();
  assert.equal(scores!.score.own, true);
  scores!.score.values.forEach((value, i) => assert.ok(Math.abs(value - logits[i]!) < 1e-4));

  // Saved and loaded it is the same; undone it is the model before, byte for byte.
  await model.save(at("again.safetensors"));
  const again = await Model.load(at("again.safetensors"));
  assert.deepEqual(again.config.thresholds, thresholds);
  again.undoCalibration();
  assert.deepEqual(again.config.thresholds, before);
  assert.deepEqual(await bytesOf(again, folder), readFileSync(file));
  assert.throws(() => again.undoCalibration(), failure("INVALID_OPTION", "nothing to undo"));
});

test("a second calibration keeps one step back", async () => {
  const model = await load();
  const first = structuredClone(await model.calibrate({ good }, { acceptChange: true }));
  await model.calibrate({ good: good.slice(0, 8) }, { falseRejectRate: 0.1 });
  const { previous } = model.config.thresholds.calibration!;
  assert.equal(previous!.calibration!.previous, null);
  assert.equal(previous!.scoreLogit, first.scoreLogit);
  // The rate that was asked for last goes on.
  const third = await model.calibrate({ good });
  assert.equal(third.calibration!.falseRejectRate, 0.1);
});

test("with defects both operating points are known, and the miss rate turns on unsure", async () => {
  const model = await load();
  const { calibration, unsure } = await model.calibrate(
    { good, bad },
    { acceptChange: true, decision: "score", missRate: 0.1 },
  );
  assert.equal(calibration!.points.score.rate!.detected!.of, 6);
  assert.ok(calibration!.points.map.f1 && calibration!.points.either.f1);
  assert.equal(unsure!.method, "defects");
  assert.ok(unsure!.scoreLogit <= model.config.thresholds.scoreLogit);
});

test("who gives a rate gets the rate; else the objective stays, as far as there are defects", async () => {
  const model = await load();
  const objective = async (...[parts, options]: Parameters<Model["calibrate"]>): Promise<string> =>
    (await model.calibrate(parts, { acceptChange: true, ...options })).calibration!.objective;
  const many = [...bad, ...good.slice(8)]; // 10: enough for the best F1
  const parts = { good: good.slice(0, 8), bad: many };
  model.config.thresholds.calibration = null;
  assert.equal(await objective(parts, {}), "f1");
  assert.equal(await objective(parts, { falseRejectRate: 0.2 }), "rate");
  assert.equal(await objective(parts, {}), "rate", "as before");
  assert.equal(await objective(parts, { objective: "f1" }), "f1");
  assert.equal(await objective({ good }, {}), "rate", "without defects");
});

test("too few parts to compare leave the scores on record, so that small steps add up", async () => {
  const model = await load();
  const { good: record } = structuredClone(model.config.thresholds.calibration!);
  const { calibration, calibrationNormal } = await model.calibrate({ good: good.slice(0, 4) });
  assert.equal(calibrationNormal, 4);
  assert.match(calibration!.warnings.join(" "), /Too few good parts to tell/);
  assert.deepEqual(calibration!.good, record);
  shifted(model.config.thresholds, 10);
  await assert.rejects(model.calibrate({ good: good.slice(1) }), failure("SCORES_CHANGED"));
});

test("scores are compared by what decided and by what will", async () => {
  const model = await load();
  await model.calibrate({ good }, { acceptChange: true, decision: "score" });
  const { map } = model.config.thresholds.calibration!.good!;
  map.values = map.values.map((value) => value - 10);
  await assert.rejects(model.calibrate({ good }, { decision: "map" }), failure("SCORES_CHANGED", "maximum of the map"));
  await model.calibrate({ good });
});

test("a model that does not list its training images says that nothing was checked", async () => {
  const model = await load();
  delete model.config.training!.images;
  const { calibration } = await model.calibrate({ good }, { acceptChange: true });
  assert.match(calibration!.warnings.join(" "), /does not list its training images/);
  Object.assign(model.config.training!, { images: { a: 1 } });
  assert.throws(() => model.check(), failure("INVALID_OPTION", "training.images"));
});

test("images in memory are parts too", async () => {
  const model = await load();
  const fromFiles = await (await load()).calibrate({ good }, { acceptChange: true });
  const { scoreLogit, calibration } = await model.calibrate(
    { good: good.map((image) => readFileSync(image)) },
    { acceptChange: true },
  );
  assert.equal(scoreLogit, fromFiles.scoreLogit);
  assert.deepEqual(calibration!.parts!.normal, fromFiles.calibration!.parts!.normal);
  assert.deepEqual([calibration!.parts!.from, calibration!.parts!.to], [null, null]);
});

test("a pixel threshold that masks or a person gave stays", async () => {
  const model = await load();
  model.setThresholds({ pixelLogit: 1.25 });
  const { pixelLogit, pixelMethod } = await model.calibrate({ good }, { acceptChange: true });
  assert.deepEqual([pixelLogit, pixelMethod], [1.25, "manual"]);
});

test("what cannot set thresholds is refused, and the old ones stay", async (t) => {
  const model = await load();
  const before = structuredClone(model.config.thresholds);
  const copy = at("copy.png");
  const trained = data.samples.find(({ split }) => split === "train")!.image;
  copyFileSync(trained, copy);
  const refused = (
    name: string,
    ...[parts, code, ...words]: [Parameters<Model["calibrate"]>[0], string, ...string[]]
  ) => t.test(name, () => assert.rejects(model.calibrate(parts, { acceptChange: true }), failure(code, ...words)));

  await refused(
    "a training image under another name",
    { good: [...good, copy] },
    "DATASET_INVALID",
    "1 of 13 were trained on",
  );
  await refused("good and bad", { good, bad: [good[3]!] }, "DATASET_INVALID", "good and bad");
  await refused("none", { good: [] }, "INVALID_OPTION", "good");
  await refused("one", { good: good.slice(0, 1) }, "DATASET_INVALID", "4 are needed");
  await refused("one, four times", { good: Array<string>(4).fill(good[0]!) }, "DATASET_INVALID", "4 are needed");
  await refused("a file that is not there", { good: [...good, at("none.png")] }, "FILE_NOT_FOUND", "none.png");
  await refused("no list", { good: "folder" as never }, "INVALID_OPTION", "a list of images");
  await refused("no image", { good: [1, 2, 3, 4] as never }, "INVALID_OPTION", "Expected an image as a path");
  await t.test("a constant network", async () => {
    const flat = await load();
    for (const [name, { data }] of Object.entries(flat.heads))
      if (/fc_score\.weight|seg\.3\.weight/.test(name)) (data as Float32Array).fill(0);
    await assert.rejects(
      flat.calibrate({ good }, { acceptChange: true }),
      failure("DATASET_INVALID", "All 12 good parts have the same score"),
    );
  });
  for (const falseRejectRate of [0, 0.6])
    await assert.rejects(model.calibrate({ good }, { falseRejectRate }), failure("INVALID_OPTION", "falseRejectRate"));
  await assert.rejects(
    model.calibrate({ good }, { signal: AbortSignal.abort() }),
    failure("ABORTED"),
    "before anything is read",
  );
  const controller = new AbortController();
  const stopped = model.calibrate({ good }, { signal: controller.signal, onProgress: () => controller.abort() });
  await assert.rejects(stopped, failure("ABORTED"));
  assert.deepEqual(model.config.thresholds, before);
});

test("good parts that score otherwise are refused by name, unless the change is accepted", async () => {
  const model = await load();
  shifted(model.config.thresholds, 10);
  const { scoreLogit } = model.config.thresholds;
  await assert.rejects(
    model.calibrate({ good }),
    failure("SCORES_CHANGED", "score higher", "maximum of the map higher", "Kolmogorov", "acceptChange"),
  );
  assert.equal(model.config.thresholds.scoreLogit, scoreLogit);
  const { calibration } = await model.calibrate({ good }, { acceptChange: true });
  assert.match(calibration!.warnings[0]!, /This was accepted/);

  // Scores of folds lie higher than the model's own: lower ones are no change then.
  const lower = await load();
  shifted(lower.config.thresholds, -10);
  await lower.calibrate({ good });
  for (const summary of Object.values(lower.config.thresholds.calibration!.good!) as ScoreSummary[])
    summary.values = summary.values.map((value) => value + 10);
  await assert.rejects(lower.calibrate({ good }), failure("SCORES_CHANGED", "score lower"));
});

test("a model without scores on record says that nothing was compared", async () => {
  const model = await load();
  model.config.thresholds.calibration = null;
  const { calibration } = await model.calibrate({ good });
  assert.match(calibration!.warnings.join(" "), /was not checked/);
});

test("defects that score below every good part are named", async () => {
  const model = await load();
  const flipped = await model.calibrate({ good, bad }, { acceptChange: true });
  assert.doesNotMatch(flipped.calibration!.warnings.join(" "), /mixed up/);
  const detector = await Detector.load(file);
  const scores = await detector.detect([...good, ...bad]);
  detector.dispose();
  const byScore = scores
    .map(({ logit, path: image }) => ({ logit, image: image! }))
    .sort((a, b) => b.logit - a.logit)
    .map(({ image }) => image);
  const { calibration } = await (
    await load()
  ).calibrate({ good: byScore.slice(0, 10), bad: byScore.slice(10) }, { acceptChange: true, decision: "score" });
  assert.match(calibration!.warnings.join(" "), /Every defect scores below every good part \(8 and 10\)/);
});

test("the command: into the model's own file, undone, and to another file", async () => {
  const own = at("own.safetensors");
  copyFileSync(file, own);
  const fresh = path.join(at("fresh"), "test", "good");
  const calibrate = (...more: string[]) => supersimplenet(["calibrate", "--model", own, ...more]);
  const first = await calibrate("--good", fresh, "--accept-change", "--false-reject", "0.05", "--json");
  assert.equal(first.code, 0, first.stderr);
  const document = JSON.parse(first.stdout) as {
    model: { thresholds: { calibration: { parts: { normal: number }; good?: unknown } } };
    before: { calibrationNormal: number };
  };
  assert.equal(document.model.thresholds.calibration.parts.normal, 12);
  assert.equal(document.model.thresholds.calibration.good, undefined);
  assert.equal(document.before.calibrationNormal, 10);
  assert.equal((await Model.load(own)).config.thresholds.calibration!.falseRejectRate, 0.05);

  const undone = await calibrate("--undo");
  assert.match(undone.stdout, /^put back: /);
  assert.deepEqual(readFileSync(own), readFileSync(file));

  const other = await calibrate("--good", fresh, "--accept-change", "--out", at("out/other.safetensors"));
  assert.match(other.stdout, /set on new parts, on 12 good images/);
  assert.deepEqual(readFileSync(own), readFileSync(file), "the model itself stays");
  assert.equal((await Model.load(at("out/other.safetensors"))).config.thresholds.calibration!.method, "newParts");

  const wrong = await calibrate("--good", path.join(data.root, "train", "good"));
  assert.deepEqual([wrong.code, /DATASET_INVALID.*trained on/.test(wrong.stderr)], [1, true]);
  assert.deepEqual(readFileSync(own), readFileSync(file));
  for (const [more, word] of [
    [["--undo", "--good", fresh], "--undo takes nothing else: leave --good away"],
    [["--undo", "--miss-rate", "0.1"], "leave --miss-rate away"],
    [["--good", at("fresh")], "is a data set"],
    [[], "--good DIR is missing"],
    [["--good", fresh, "--out", at("out/other.safetensors")], "exists already"],
  ] as const) {
    const { code, stderr } = await calibrate(...more);
    assert.equal(code, 2, stderr);
    assert.ok(stderr.includes(word), stderr);
  }
});

test("the errors are this package's", async () => {
  const error: unknown = await (await load()).calibrate(null as never).catch((thrown: unknown) => thrown);
  assert.ok(error instanceof SuperSimpleNetError);
});
