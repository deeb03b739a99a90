import assert from "node:assert/strict";
import { copyFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { before, test } from "node:test";

import { writeTensors } from "../../lib/files/tensors.js";
import {
  type Dataset,
  type FitOptions,
  mergeOptions,
  Model,
  type StartEvent,
  Trainer,
  trainerDefaults,
  type TrainerOptions,
} from "../../lib/index.js";
import { engine } from "../../lib/native/engine.js";
import { tensorsSha256 } from "../../lib/backbones/check.js";
import { StageReporter } from "../../lib/training/events.js";
import { loadInit } from "../../lib/training/init.js";
import { type FitCall, planTraining } from "../../lib/training/plan.js";
import { trainEpochs } from "../../lib/training/loop.js";
import { Session } from "../../lib/training/session.js";
import { failure } from "../datasets/files.js";
import { bytesOf, headsOf, labelledFor, scratchFolder, smallDataset, tinier, train } from "./support.js";

const folder = scratchFolder();
const at = (name: string): string => path.join(folder, name);
let good: Dataset;
let all: Dataset;
let first: Model;
const init = at("first.safetensors");

before(async () => {
  const data = await smallDataset(folder);
  [good, all] = [labelledFor(data, "unsupervised"), labelledFor(data, "weak")];
  first = await train(good, tinier);
  first.setThresholds({ decision: "either", score: 0.7 });
  Object.assign(first.config.thresholds, { mapLogit: -0.25, mapMethod: "student-t", calibrationNormal: 10 });
  await first.save(init);
});

/** Only what a training with init may be given. */
const { batchSize, threads } = tinier;
const on = (data: Dataset, more: TrainerOptions = {}, fit: FitOptions = {}): Promise<Model> =>
  new Trainer(mergeOptions<TrainerOptions>({ init, batchSize, threads, epochs: 1 }, more)).fit(data, fit);
let runs = 0;
const newRun = (): string => at(`run-${runs++}`);

/** What the training settled on; it is stopped before its first step. */
async function startOf(data: Dataset, more: TrainerOptions = {}): Promise<StartEvent> {
  const controller = new AbortController();
  let start: StartEvent | undefined;
  const onStart = (event: StartEvent): void => {
    start = event;
    controller.abort();
  };
  await assert.rejects(on(data, more, { onStart, signal: controller.signal }), { code: "ABORTED" });
  return start!;
}

test("the training begins with the heads of the model, and leaves those as they are", async () => {
  const still = { optimizer: { adaptorLearningRate: 1e-12, headsLearningRate: 1e-12 }, steps: 1, epochs: undefined };
  const before = await tensorsSha256((await Model.load(init)).heads);
  const model = await new Trainer({ init, batchSize, threads, ...still }).fit(good);
  const random = await new Trainer({ ...tinier, seed: 1, ...still }).fit(good);
  const [own, same, other] = [first, model, random].map(headsOf) as [
    Record<string, Float32Array>,
    Record<string, Float32Array>,
    Record<string, Float32Array>,
  ];
  const largest = (a: Float32Array, b: Float32Array): number =>
    a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);
  const learned = Object.keys(own).filter((name) => !name.includes("running_") && own[name]!.length > 1024);
  assert.ok(learned.length >= 3);
  for (const name of learned) {
    assert.ok(largest(own[name]!, same[name]!) < 1e-9, name);
    assert.ok(largest(own[name]!, other[name]!) > 1e-3, `${name}: other heads would be seen`);
  }
  assert.equal(await tensorsSha256((await Model.load(init)).heads), before);
  assert.equal(model.config.training?.init?.headsSha256, before);
  assert.equal(random.config.training?.init, null);
});

test("the first state, and that after starting over, are the model's heads bit for bit", async () => {
  const options = { init, batchSize, threads, epochs: 1 };
  const loaded = await loadInit(init, options);
  const call: FitCall = { options: {}, ranks: undefined, stages: new StageReporter(undefined) };
  const session = await Session.open(await planTraining(loaded.options, loaded, good, call), call);
  const heads = async (): Promise<string> => tensorsSha256((await session.native.state()).heads);
  try {
    assert.equal(await heads(), loaded.headsSha256);
    await session.begin(0);
    await session.settleNoise(() => undefined);
    await trainEpochs(session);
    assert.notEqual(await heads(), loaded.headsSha256);
    await session.startOver([0]);
    assert.equal(await heads(), loaded.headsSha256);
  } finally {
    session.native.dispose();
  }
});

test("the same training twice: the same bytes; from random heads or with another model: others", async () => {
  const bytes = await bytesOf(await on(good), folder);
  assert.ok(bytes.equals(await bytesOf(await on(good), folder)));
  const again = at("again.safetensors");
  copyFileSync(init, again);
  assert.ok(bytes.equals(await bytesOf(await on(good, { init: again }), folder)), "the file's name decides nothing");
  const heads = async (model: Model): Promise<string> => tensorsSha256(model.heads);
  assert.notEqual(await heads(await on(good)), await heads(first));
  assert.notEqual(await heads(await on(good)), await heads(await train(good, { ...tinier, epochs: 2 })));
});

test("resumed after an abort: the bytes of a training without interruption", async () => {
  const options = { epochs: 3 };
  const whole = await bytesOf(await on(good, options), folder);
  const out = newRun();
  const controller = new AbortController();
  const stop: FitOptions = { out, signal: controller.signal, onEpoch: () => controller.abort() };
  await assert.rejects(on(good, options, stop), { code: "ABORTED" });
  let start: StartEvent | undefined;
  const resumed = await on(good, options, { out, resume: true, onStart: (event) => void (start = event) });
  assert.equal(start?.epochsDone, 1);
  assert.ok(whole.equals(await bytesOf(resumed, folder)));
});

test("resumed with another first model, or without one: CHECKPOINT_MISMATCH", async () => {
  const out = newRun();
  await on(good, {}, { out });
  const other = at("other.safetensors");
  await (await train(good, { ...tinier, seed: 7, backboneWeights: "random" })).save(other);
  const differing = new Model(first.config, (await Model.load(other)).heads, {
    tensors: await first.backbone(),
    embedded: true,
  });
  await differing.save(other);
  const resume = { out, resume: true };
  await assert.rejects(on(good, { init: other }, resume), failure("CHECKPOINT_MISMATCH", "initSha256"));
  const plain = new Trainer({ ...tinier, calibration: { method: "none" } });
  await assert.rejects(plain.fit(good, resume), failure("CHECKPOINT_MISMATCH", "initSha256", "now nothing"));
  const without = newRun();
  await train(good, tinier, { out: without });
  await assert.rejects(on(good, {}, { out: without, resume: true }), { code: "CHECKPOINT_MISMATCH" });
});

test("network, input and backbone come from the model", async () => {
  const file = at("unusual.safetensors");
  const network = { layers: ["layer3"], resize: "antialias", variant: "icpr", alignCorners: false } as const;
  const ablation = { upscale: false, classificationHead: "complex", mapInput: false } as const;
  const { calibration: _, ...shared } = tinier;
  const unusual = await new Trainer({ ...shared, network, ablation, calibration: { method: "none" } }).fit(good);
  await unusual.save(file);
  const { config } = await on(good, { init: file });
  const decisive = ({ backbone, thresholds, training, createdBy, ...others }: Model["config"]): object => ({
    ...others,
    sha256: backbone.sha256,
  });
  assert.deepEqual(decisive(config), decisive(unusual.config));
  assert.deepEqual(
    [config.layers, config.imageSize, config.classificationHead, config.mapInput],
    [["layer3"], [32, 32], "complex", false],
  );
  // Said again it is no contradiction.
  const { imageSize, backbone } = tinier;
  await startOf(good, { init: file, imageSize, backbone, backboneWeights: "random", network, ablation });
});

test("an option that is otherwise in the model: INVALID_OPTION with both values", async () => {
  const cases: [TrainerOptions, ...(string | RegExp)[]][] = [
    [{ imageSize: [64, 64] }, "'imageSize' is [64, 64]", "[32, 32]"],
    [{ imageSize: trainerDefaults.imageSize }, "'imageSize' is [256, 256]"],
    [{ backbone: "resnet34" }, "'backbone' is 'resnet34'", "'resnet18'"],
    [{ backboneWeights: "distilled" }, "'backboneWeights' is 'distilled'", "random, seed 0"],
    [{ backboneWeights: at("any.safetensors") }, "'backboneWeights' is", "random, seed 0"],
    [{ network: { layers: ["layer3"] } }, "'network.layers' is ['layer3']", /'layer2', 'layer3'/],
    [{ network: { resize: "antialias" } }, "'network.resize'"],
    [{ network: { variant: "icpr" } }, "'network.variant'"],
    [{ network: { alignCorners: false } }, "'network.alignCorners' is false, but true"],
    [{ ablation: { upscale: false } }, "'ablation.upscale'"],
    [{ ablation: { classificationHead: "complex" } }, "'ablation.classificationHead' is 'complex', but 'standard'"],
    [{ ablation: { mapInput: false } }, "'ablation.mapInput'"],
  ];
  for (const [options, ...parts] of cases)
    await assert.rejects(on(good, options), failure("INVALID_OPTION", init, /Leave .* away/, ...parts));
  await assert.rejects(on(good, { network: { embedBackbone: false } }), failure("INVALID_OPTION", "random backbone"));
});

test("a backbone from a file: the model's own, or a file that holds the same", async () => {
  const weights = async (name: string, seed: number): Promise<string> => {
    await writeTensors(at(name), await engine().randomBackbone("resnet18", seed), {});
    return at(name);
  };
  const [own, other] = [await weights("own.safetensors", 3), await weights("foreign.safetensors", 4)];
  const model = await train(good, { ...tinier, backboneWeights: own });
  const [whole, light] = [at("whole.safetensors"), at("light.safetensors")];
  await model.save(whole);
  await model.save(light, { embedBackbone: false });
  const { sha256 } = model.config.backbone;
  const embeds = async (options: TrainerOptions): Promise<boolean> => {
    const next = await on(good, { steps: undefined, ...options });
    assert.equal(next.config.backbone.sha256, sha256);
    assert.equal(next.config.backbone.source, "own.safetensors");
    return next.embedsBackbone;
  };
  assert.equal(await embeds({ init: whole }), true);
  assert.equal(await embeds({ init: light, backboneWeights: own }), false);
  for (const file of [whole, light])
    await assert.rejects(on(good, { init: file, backboneWeights: other }), failure("CHECKSUM_MISMATCH", "foreign"));
  await assert.rejects(on(good, { init: whole, backboneWeights: "random" }), failure("INVALID_OPTION", "own.safe"));
  await assert.rejects(on(good, { init: whole, backboneWeights: at("none.pth") }), { code: "FILE_NOT_FOUND" });
});

test("the noise is as strong as in the training before, unless another is asked for", async () => {
  const file = at("noise.safetensors");
  const noiseSchedule = { from: 3, to: 0.5, over: 1 }; // the last steps count
  const model = await train(good, { ...tinier, anomalies: { noiseStd: { relative: 5 }, noiseSchedule } });
  await model.save(file);
  assert.equal((await on(good, { init: file })).config.training!.noiseRelative, 2.5);
  const other = await on(good, { init: file, anomalies: { noiseStd: 0.3 } });
  assert.deepEqual([other.config.training!.noiseRelative, other.config.training!.noiseStd], [null, 0.3]);
});

test("a note says when the scores have shifted beyond the thresholds", async () => {
  const file = at("shifted.safetensors");
  const { calibration: _, ...shared } = tinier;
  const model = await new Trainer({ ...shared, calibration: { folds: 2 } }).fit(good);
  const notes = async (scoreLogit: number): Promise<string> => {
    Object.assign(model.config.thresholds, { scoreLogit, mapLogit: 100 });
    await model.save(file);
    return (await on(good, { init: file })).config.thresholds.calibration!.warnings.join(" ");
  };
  assert.equal(await notes(100), "");
  assert.match(await notes(-100), /10 of 10 good training images reach the thresholds of shifted\.safetensors/);
});

test("the thresholds stay, with where they are from", async () => {
  const { thresholds } = (await on(all)).config;
  assert.deepEqual(thresholds, {
    ...first.config.thresholds,
    scoreMethod: "manual",
    mapMethod: "inherited",
    pixelMethod: "default",
  });
  assert.deepEqual([thresholds.decision, thresholds.mapLogit], ["either", -0.25]);
  const calibrated = at("calibrated.safetensors");
  const { calibration: _, ...shared } = tinier;
  const model = await new Trainer({ ...shared, calibration: { folds: 2 } }).fit(good);
  await model.save(calibrated);
  assert.ok(model.config.thresholds.calibration && model.config.thresholds.scoreMethod !== "default");
  for (const calibration of [undefined, { method: "none" }, { fraction: 0 }] as const) {
    const next = (await on(all, { init: calibrated, ...(calibration && { calibration }) })).config.thresholds;
    // What was asked for goes on; what was known is not known of this model.
    const { falseRejectRate, points, good: scores } = next.calibration!;
    assert.deepEqual([falseRejectRate, points.either, scores], [0.01, { rate: null, f1: null }, null]);
    assert.equal(next.pixelMethod, model.config.thresholds.pixelMethod);
    assert.deepEqual([next.scoreLogit, next.scoreMethod], [model.config.thresholds.scoreLogit, "inherited"]);
  }
});

test("what sets thresholds is refused with init, and only with it", () => {
  const refused: [string, TrainerOptions["calibration"]][] = [
    ["method", { method: "crossFit" }],
    ["method", { method: "holdOut" }],
    ["folds", { folds: 3 }],
    ["fraction", { fraction: 0.1 }],
    ["falseRejectRate", { falseRejectRate: 0.05 }],
    ["objective", { objective: "rate" }],
    ["missRate", { missRate: 0.1 }],
    ["decision", { decision: "map" }],
  ];
  for (const [name, calibration] of refused) {
    const parts = [`'calibration.${name}' is`, "'supersimplenet calibrate'"];
    assert.throws(() => new Trainer({ init, calibration }), failure("INVALID_OPTION", ...parts), name);
    new Trainer({ calibration });
  }
  for (const calibration of [{ method: "auto" }, { method: "none" }, { fraction: 0 }] as const)
    new Trainer({ init, calibration });
});

test("30 epochs by default, else as many as are asked for", async () => {
  assert.equal(new Trainer({ init }).options.epochs, 30);
  assert.equal(new Trainer({ pace: "published" }).options.epochs, 300);
  assert.equal(new Trainer({ init, epochs: 7 }).options.epochs, 7);
  assert.equal((await startOf(good, { epochs: undefined })).epochs, 1, "mergeOptions keeps what is there");
  const controller = new AbortController();
  let epochs = 0;
  const onStart = (event: StartEvent): void => {
    ({ epochs } = event);
    controller.abort();
  };
  const fit = new Trainer({ init, batchSize, threads }).fit(good, { onStart, signal: controller.signal });
  await assert.rejects(fit, { code: "ABORTED" });
  assert.equal(epochs, 30);
});

test("the start says what the training begins with, and that the thresholds stay; short is no fault", async () => {
  const start = await startOf(all);
  assert.equal(start.init, "first.safetensors");
  assert.equal(start.regime, "weak", "by the labels that are there now");
  assert.match(start.warnings.join("\n"), /thresholds stay those of first\.safetensors.*supersimplenet calibrate/);
  assert.doesNotMatch(start.warnings.join("\n"), /too few to learn/);
  assert.deepEqual([start.calibration.method, start.calibration.timeFactor], ["none", 1]);
});

test("the images that the model has seen: first those of the training before, each once", async () => {
  const before = first.config.training!.images!;
  assert.equal(before.length, 10);
  const { images } = (await on(all)).config.training!;
  assert.deepEqual(images!.slice(0, 10), before);
  assert.equal(images!.length, 13);
  assert.equal(new Set(images).size, 13);
  const added: Dataset = { ...all, samples: all.samples.filter(({ label }) => label === "anomalous") };
  const some = {
    ...added,
    samples: [...added.samples, ...good.samples.filter(({ split }) => split === "train").slice(0, 2)],
  };
  const later = (await on(some)).config.training!;
  assert.deepEqual(later.images!.slice(0, 10), before, "also those that are not in the data set any more");
  assert.equal(later.images!.length, 13);
  assert.deepEqual([later.trainNormal, later.trainAnomalous], [2, 3]);
});

test("no file, no model, a damaged one: what Model.load throws", async () => {
  await assert.rejects(on(good, { init: at("absent.safetensors") }), failure("FILE_NOT_FOUND", "absent"));
  const text = at("text.safetensors");
  writeFileSync(text, "no model");
  await assert.rejects(on(good, { init: text }), { code: "FILE_CORRUPT" });
  const tensors = at("tensors.safetensors");
  await writeTensors(tensors, first.heads, {});
  await assert.rejects(on(good, { init: tensors }), failure("MODEL_INVALID", "not written by supersimplenet"));
});
