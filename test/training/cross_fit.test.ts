import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { before, test } from "node:test";

import { crossFitFolds } from "../../lib/datasets/calibration.js";
import { readTensors, writeTensors } from "../../lib/files/tensors.js";
import {
  type Dataset,
  Detector,
  type FitOptions,
  type Model,
  type Sample,
  type StartEvent,
  Trainer,
  type TrainerOptions,
} from "../../lib/index.js";
import { settleCalibration } from "../../lib/calibration/method.js";
import { foldFile } from "../../lib/training/checkpoint.js";
import type { StageEvent } from "../../lib/training/events.js";
import { failure } from "../datasets/files.js";
import { bytesOf, filesUnder, labelledFor, scratchFolder, smallDataset, tinier } from "./support.js";

const folder = scratchFolder();
let full: Dataset;
let data: Dataset;
before(async () => {
  full = await smallDataset(folder);
  data = labelledFor(full, "unsupervised");
});

const { calibration: _, ...shared } = tinier;
const options = { ...shared, epochs: 2, calibration: { method: "crossFit", folds: 3 } } satisfies TrainerOptions;
const train = (dataset: Dataset, more: TrainerOptions = {}, fit: FitOptions = {}): Promise<Model> =>
  new Trainer({ ...options, ...more }).fit(dataset, fit);
let runs = 0;
const newRun = (): string => path.join(folder, `run-${runs++}`);

test("folds: every image once, each kind spread evenly, by ids and seed alone", () => {
  const kind = (id: string): Sample => ({
    id,
    image: `/${id}`,
    label: id.startsWith("n") ? "normal" : "anomalous",
    split: "train",
    ...(id.startsWith("m") && { mask: `/mask/${id}` }),
  });
  const numbered = (name: string, count: number): Sample[] =>
    Array.from({ length: count }, (_, i) => kind(`${name}${i}`));
  const samples = [...numbered("n", 14), ...numbered("b", 4), ...numbered("m", 2)];
  const folds = crossFitFolds(samples, { folds: 4, seed: 1 });
  const ids = (list: readonly Sample[], folds: number[][]): string[][] =>
    folds.map((fold) => fold.map((place) => list[place]!.id).sort());
  assert.deepEqual(
    folds.flat().sort((a, b) => a - b),
    [...samples.keys()],
  );
  assert.deepEqual(
    folds.map((fold) => fold.length),
    [5, 5, 5, 5],
  );
  for (const fold of ids(samples, folds)) {
    assert.ok(fold.filter((id) => id.startsWith("b")).length === 1);
    assert.ok(fold.filter((id) => id.startsWith("m")).length <= 1);
  }
  const reversed = [...samples].reverse();
  assert.deepEqual(ids(reversed, crossFitFolds(reversed, { folds: 4, seed: 1 })), ids(samples, folds));
  assert.notDeepEqual(ids(samples, crossFitFolds(samples, { folds: 4, seed: 2 })), ids(samples, folds));
  // The only defect is learned from in every fold.
  const rare = [...numbered("n", 6), ...numbered("b", 1)];
  assert.deepEqual(crossFitFolds(rare, { folds: 3, seed: 0 }).flat().includes(6), false);
});

test("how the thresholds are set goes by the images", () => {
  const chosen = (normal: number, anomalous = 0, asked: TrainerOptions["calibration"] = {}, processes = 1): unknown => {
    const { calibration } = new Trainer({ calibration: asked }).options;
    const { method, folds, fraction } = settleCalibration(calibration, { normal, anomalous, processes }).calibration;
    return { method, folds, fraction };
  };
  const crossFit = (folds: number): object => ({ method: "crossFit", folds, fraction: undefined });
  const holdOut = (fraction: number): object => ({ method: "holdOut", folds: undefined, fraction });
  assert.deepEqual(
    [4, 28, 50, 199].map((n) => chosen(n)),
    [4, 5, 3, 3].map(crossFit),
  );
  assert.deepEqual(chosen(200), holdOut(0.1));
  assert.deepEqual([chosen(1000, 20), chosen(1000, 100)], [crossFit(3), holdOut(0.1)]);
  assert.deepEqual(chosen(28, 0, { fraction: 0.2 }), holdOut(0.2));
  assert.deepEqual(chosen(1000, 0, { folds: 7 }), crossFit(7));
  assert.deepEqual(chosen(28, 0, {}, 2), holdOut(0.1), "several processes");
  for (const none of [{ method: "none" }, { fraction: 0 }] as const)
    assert.equal((chosen(28, 0, none) as { method: string }).method, "none");
  assert.throws(() => chosen(5, 0, { folds: 6 }), failure("INVALID_OPTION", "calibration.folds", "at most 5"));
  assert.throws(() => chosen(28, 0, { method: "crossFit" }, 2), failure("INVALID_OPTION", "several processes"));
  const { warnings } = settleCalibration(new Trainer().options.calibration, { normal: 1, anomalous: 0, processes: 1 });
  assert.match(warnings.join(), /^1 normal training images are too few .* 4 are needed/);
});

test("options that exclude each other: INVALID_OPTION", () => {
  for (const calibration of [
    { method: "crossFit", fraction: 0.1 },
    { method: "holdOut", fraction: 0 },
    { method: "none", fraction: 0.1 },
    { method: "holdOut", folds: 3 },
    { folds: 3, fraction: 0.1 },
  ] as const)
    assert.throws(
      () => new Trainer({ calibration }),
      failure("INVALID_OPTION", "calibration."),
      JSON.stringify(calibration),
    );
  new Trainer({ calibration: { method: "none", fraction: 0 } });
});

test("cross-fitting leaves the heads as they are without, and scores every image out of its fold", async () => {
  const starts: StartEvent[] = [];
  const stages: StageEvent[] = [];
  const none = await train(data, { calibration: { method: "none" } });
  const model = await train(data, {}, { onStart: (e) => void starts.push(e), onStage: (e) => void stages.push(e) });
  assert.deepEqual(model.heads, none.heads);
  const { thresholds, training } = model.config;
  assert.equal(thresholds.decision, "either");
  const { score, map } = thresholds.calibration!.points.either.rate!;
  assert.deepEqual([thresholds.scoreLogit, thresholds.mapLogit], [score!.logit, map!.logit]);
  assert.deepEqual([training!.trainNormal, thresholds.calibrationNormal, thresholds.calibrationAnomalous], [10, 10, 0]);
  assert.deepEqual(
    [thresholds.calibration!.method, thresholds.calibration!.folds, thresholds.calibration!.warnings.length],
    ["crossFit", 3, 1],
  );
  assert.match(thresholds.calibration!.warnings[0]!, /^10 good images .* 1 %: it takes 19, as score and map share it/);
  assert.equal(training!.images!.length, 10);
  // 10 images: each fold trains on 6 or 7 of them, 20 in all.
  assert.deepEqual(starts[0]!.calibration, { method: "crossFit", folds: 3, timeFactor: 3, falseRejectRate: 0.01 });
  const steps = stages.filter(({ stage }) => stage === "crossFit");
  assert.deepEqual(
    steps.map(({ done }) => done),
    [...steps.keys()].map((i) => i + 1),
  );
  assert.ok(
    steps.every(({ total }) => total === 12),
    "2 epochs of 2 steps in each fold",
  );
  assert.deepEqual([...new Set(steps.map(({ fold }) => fold?.fold))], [1, 2, 3]);
  assert.ok(stages.filter(({ stage }) => stage === "validate").every(({ fold }) => fold === null));
});

test("the threshold is what heads trained without the images say", async () => {
  // A fold's model is the model of a training on the other images alone, noise apart, which is measured on all.
  const settled = { anomalies: { noiseStd: 0.1 } } as const;
  const out = newRun();
  await train(data, settled, { out });
  const training = data.samples.filter(({ split }) => split === "train");
  const held = crossFitFolds(training, { folds: 3, seed: 0 })[1]!;
  const others = training.filter((_, place) => !held.includes(place));
  const alone = await train({ ...data, samples: others }, { ...settled, calibration: { method: "none" } });
  const { tensors } = await readTensors(foldFile(out, 2));
  const detector = await Detector.load(alone, { threads: 1 });
  const detections = await detector.detect(held.map((place) => training[place]!.image));
  assert.deepEqual(
    [...(tensors["logits"]!.data as Float32Array)],
    detections.map(({ logit }) => logit),
  );
});

test("the same training gives the same file; so does one resumed in the middle of the folds", async () => {
  for (const dataset of [data, full]) {
    const whole = await bytesOf(await train(dataset, {}, { out: newRun() }), folder);
    assert.ok(whole.equals(await bytesOf(await train(dataset), folder)), "without a folder");

    const out = newRun();
    const controller = new AbortController();
    const onStage = ({ fold, stage }: StageEvent): void => {
      if (stage === "crossFit" && fold?.fold === 2) controller.abort();
    };
    await assert.rejects(train(dataset, {}, { out, signal: controller.signal, onStage }), { code: "ABORTED" });
    assert.deepEqual(filesUnder(path.join(out, "checkpoint")), ["fold-1.safetensors", "last.safetensors"]);

    const folds = new Set<number | undefined>();
    const onEpoch = (): never => assert.fail("the epochs were done");
    const resumed = await train(
      dataset,
      {},
      { out, resume: true, onEpoch, onStage: ({ fold }) => void (fold && folds.add(fold.fold)) },
    );
    assert.ok(whole.equals(await bytesOf(resumed, folder)));
    assert.deepEqual([...folds], [2, 3], "the first fold is not repeated");
  }
});

test("with defects: they are scored out of fold too, and the map's threshold goes by their masks", async () => {
  const { thresholds, training } = (await train(full)).config;
  assert.deepEqual(
    [training!.trainAnomalous, thresholds.calibrationNormal, thresholds.calibrationAnomalous],
    [3, 10, 3],
  );
  const { objective, points } = thresholds.calibration!;
  const { rate, f1 } = points.score;
  assert.deepEqual([thresholds.decision, objective], ["score", "rate"]);
  assert.deepEqual([f1!.score!.method, thresholds.pixelMethod], ["best-f1", "best-f1"]);
  assert.equal(thresholds.scoreLogit, rate!.score!.logit);
  assert.equal(rate!.detected!.of, 3);
});

test("aborted while a fold is scored: nothing of that fold is kept", async () => {
  const out = newRun();
  const controller = new AbortController();
  const onStage = ({ stage, done }: StageEvent): void =>
    void (stage === "calibrate" && done === 2 && controller.abort());
  await assert.rejects(train(data, {}, { out, signal: controller.signal, onStage }), { code: "ABORTED" });
  assert.ok(!existsSync(foldFile(out, 1)));
});

test("a damaged fold: FILE_CORRUPT; a fold of another training: CHECKPOINT_MISMATCH", async () => {
  const out = newRun();
  await train(full, {}, { out });
  const file = foldFile(out, 2);
  const whole = readFileSync(file);
  const resumed = (): Promise<unknown> => train(full, {}, { out, resume: true });
  writeFileSync(file, whole.subarray(0, whole.length - 3));
  await assert.rejects(resumed(), failure("FILE_CORRUPT", file));
  writeFileSync(file, whole);
  const { tensors, metadata } = await readTensors(file);
  for (const name of ["logits", "peaks", "maps"]) {
    const data = Float32Array.from(tensors[name]!.data as Float32Array).fill(NaN, 0, 1);
    await writeTensors(file, { ...tensors, [name]: { ...tensors[name]!, data } }, metadata);
    await assert.rejects(resumed(), failure("FILE_CORRUPT", name), name);
    const { [name]: _, ...others } = tensors;
    await writeTensors(file, others, metadata);
    await assert.rejects(resumed(), failure("FILE_CORRUPT", name), `no ${name}`);
  }
  await writeTensors(file, tensors, { ...metadata, fingerprint: '{"seed":1}' });
  await assert.rejects(resumed(), failure("CHECKPOINT_MISMATCH", "seed 1"));
  await writeTensors(file, tensors, { ...metadata, format: "supersimplenet-checkpoint" });
  await assert.rejects(resumed(), failure("FILE_CORRUPT", "fold"));
});

test("steps instead of epochs: so many steps in all, in each fold too, and the same when resumed", async () => {
  // 10 images are 3 steps an epoch, the folds' 6 or 7 are 2.
  const { epochs: __, ...withoutEpochs } = options;
  const trainer = new Trainer({ ...withoutEpochs, steps: 4 });
  let [steps, inFolds, warned] = [0, 0, ""];
  const fit: FitOptions = {
    onStart: ({ epochs, stepsPerEpoch, warnings }) => {
      assert.deepEqual([epochs, stepsPerEpoch], [2, 3]);
      warned = warnings.join("\n");
    },
    onStep: () => void steps++,
    onStage: ({ stage, total }) => {
      if (stage !== "crossFit") return;
      assert.equal(total, 12);
      inFolds++;
    },
  };
  const whole = await trainer.fit(data, fit);
  assert.deepEqual([steps, inFolds], [4, 12]);
  assert.match(warned, /4 steps in all, too few to learn much: give it 100, which are 34 epochs/);
  const { training } = whole.config;
  assert.deepEqual([training!.epochs, training!.options["steps"], training!.options["epochs"]], [2, 4, undefined]);

  const out = newRun();
  const controller = new AbortController();
  const onEpoch = (): void => controller.abort();
  await assert.rejects(trainer.fit(data, { out, signal: controller.signal, onEpoch }), { code: "ABORTED" });
  const resumed = await trainer.fit(data, { out, resume: true });
  assert.ok((await bytesOf(whole, folder)).equals(await bytesOf(resumed, folder)));
  assert.throws(() => new Trainer({ steps: 4, epochs: 1 }), failure("INVALID_OPTION", "'epochs' and 'steps'"));
});

test("three good images: a model with the default threshold, and a warning before the training", async () => {
  const training = data.samples.filter(({ split }) => split === "train").slice(0, 3);
  let warnings: string[] = [];
  const { calibration: _, ...auto } = options;
  const model = await new Trainer(auto).fit(
    { ...data, samples: training },
    { onStart: (event) => void (warnings = event.warnings) },
  );
  assert.equal(model.config.thresholds.scoreMethod, "default");
  assert.match(warnings.join("\n"), /3 normal training images are too few/);
});
