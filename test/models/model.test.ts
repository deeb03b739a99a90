import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { before, test } from "node:test";

import { importedName } from "../../lib/backbones/catalogue.js";
import { describeThresholds } from "../../lib/calibration/describe.js";
import { readTensors, writeTensors } from "../../lib/files/tensors.js";
import {
  Detector,
  Model,
  type ModelConfig,
  modelFormatVersion,
  modelFromCheckpoint,
  type ModelFromCheckpointOptions,
  type Thresholds,
} from "../../lib/index.js";
import type { NativeTensor, TensorMap } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { failure } from "../datasets/files.js";
import { labelledFor, scratchFolder, smallDataset, tinier, train } from "../training/support.js";

const folder = scratchFolder();
const at = (...parts: string[]): string => path.join(folder, ...parts);
let model: Model;
/** The same with its backbone from a file. */
let onFile: Model;
let tensors: TensorMap;
let metadata: Record<string, string>;
before(async () => {
  const data = labelledFor(await smallDataset(folder), "unsupervised");
  model = await train(data, { ...tinier, calibration: { fraction: 0.4 } });
  await writeTensors(at("resnet18.safetensors"), await engine().randomBackbone("resnet18", 0), {});
  onFile = await train(data, { ...tinier, backboneWeights: at("resnet18.safetensors") });
  await model.save(at("model.safetensors"));
  ({ tensors, metadata } = await readTensors(at("model.safetensors")));
});

/** The model file with something else in it. */
async function written(changed: {
  tensors?: TensorMap;
  metadata?: Record<string, string>;
  config?: (config: ModelConfig & Record<string, unknown>) => void;
}): Promise<string> {
  const config = JSON.parse(metadata["config"]!) as ModelConfig & Record<string, unknown>;
  changed.config?.(config);
  await writeTensors(at("changed.safetensors"), changed.tensors ?? tensors, {
    ...metadata,
    config: JSON.stringify(config),
    ...changed.metadata,
  });
  return at("changed.safetensors");
}

/** A copy of one tensor whose values are changed. */
function altered(name: string, change: (data: Float32Array) => void): TensorMap {
  const data = Float32Array.from(tensors[name]!.data as Float32Array);
  change(data);
  return { ...tensors, [name]: { ...tensors[name]!, data } };
}

/** What files of formats 1 and 2 lack. */
const scoreAlone = { decision: "score", mapLogit: 0, mapMethod: "default", unsure: null } as const;

const grey = { data: new Uint8Array(32 * 32 * 3).fill(90), width: 32, height: 32, channels: 3 } as const;

/** Whether a score just at the model's threshold, and one just below, is a defect by the score alone. */
async function decidedByScore(of: Model): Promise<boolean[]> {
  const { logit } = await (await Detector.load(of)).detect(grey);
  const { thresholds } = of.config;
  const kept = thresholds.scoreLogit;
  const found: boolean[] = [];
  for (const scoreLogit of [logit, logit + 1e-6]) {
    thresholds.scoreLogit = scoreLogit;
    const { anomalous, verdict, decidedBy } = await (await Detector.load(of)).detect(grey);
    assert.deepEqual([verdict, decidedBy], anomalous ? ["defect", ["score"]] : ["good", []]);
    found.push(anomalous);
  }
  thresholds.scoreLogit = kept;
  return found;
}

test("saved, loaded and saved again: the same bytes", async () => {
  const loaded = await Model.load(at("model.safetensors"));
  assert.deepEqual(loaded.config, model.config);
  assert.deepEqual(Object.keys(loaded.heads).sort(), Object.keys(model.heads).sort());
  await loaded.save(at("again.safetensors"));
  assert.ok(readFileSync(at("model.safetensors")).equals(readFileSync(at("again.safetensors"))));
});

test("a file of format 1 loads, keeps its thresholds, and does not claim to know how good they are", async () => {
  const old = {
    scoreLogit: -0.25,
    pixelLogit: 1.5,
    scoreMethod: "normal-quantile",
    pixelMethod: "normal-quantile",
    calibrationNormal: 4,
    calibrationAnomalous: 0,
  } as const;
  const config = (config: ModelConfig): void => void (config.thresholds = old as unknown as Thresholds);
  const loaded = await Model.load(await written({ metadata: { format_version: "1" }, config }));
  assert.deepEqual(loaded.config.thresholds, { ...scoreAlone, ...old, calibration: null });
  assert.deepEqual(describeThresholds(loaded.config.thresholds), [
    "the score decides",
    "  score threshold 0.4378 (logit -0.2500): the 0.99 quantile of 4 good images, set by an older version. It rejects about 21 % of good parts, not 1 %: train again, or set thresholds on new good parts ('supersimplenet calibrate').",
  ]);
  assert.deepEqual(await decidedByScore(loaded), [true, false]);
  await loaded.save(at("renewed.safetensors"));
  assert.deepEqual((await Model.load(at("renewed.safetensors"))).config, loaded.config);
  await assert.rejects(Model.load(await written({ config })), failure("MODEL_INVALID", "thresholds.decision"));
});

test("a file of format 2 loads and decides as before; what it knows of its threshold is that of the score", async () => {
  const falseRejects = { share: 0.01, low: 0.001, high: 0.03 };
  const detected = { count: 2, of: 3, share: 2 / 3, low: 0.2, high: 0.95 };
  const rate = { scoreLogit: 0.75, method: "student-t", falseRejects, detected };
  const f1 = { scoreLogit: 0.25, method: "best-f1", falseRejects: { share: 0, low: 0, high: 0.1 }, detected };
  const known = { method: "crossFit", folds: 5, falseRejectRate: 0.01, objective: "rate", warnings: ["few"] } as const;
  const old = {
    scoreLogit: 0.75,
    pixelLogit: 1.5,
    scoreMethod: "student-t",
    pixelMethod: "best-f1",
    calibrationNormal: 28,
    calibrationAnomalous: 3,
  } as const;
  const loadedWith = async (calibration: unknown, version = "2"): Promise<Model> => {
    const config = (config: ModelConfig): void =>
      void (config.thresholds = { ...old, calibration } as unknown as Thresholds);
    return Model.load(await written({ metadata: { format_version: version }, config }));
  };
  const loaded = await loadedWith({ ...known, rate, f1 });
  const none = { rate: null, f1: null };
  const points = {
    score: {
      rate: { score: { logit: 0.75, method: "student-t" }, map: null, falseRejects, detected },
      f1: { score: { logit: 0.25, method: "best-f1" }, map: null, falseRejects: f1.falseRejects, detected },
    },
    map: none,
    either: none,
  };
  const calibration = { ...known, points, good: null, parts: null, previous: null };
  assert.deepEqual(loaded.config.thresholds, { ...scoreAlone, ...old, calibration });
  assert.deepEqual(await decidedByScore(loaded), [true, false]);
  assert.match(describeThresholds(loaded.config.thresholds).join("\n"), /rate, taken: .*found 2 of 3 defects/);

  const withoutDefects = await loadedWith({ ...known, rate: { ...rate, detected: null }, f1: null });
  assert.equal(withoutDefects.config.thresholds.calibration!.points.score.f1, null);
  assert.equal((await loadedWith(null)).config.thresholds.calibration, null);
  for (const damaged of [3, {}, { ...known, rate: 3, f1: null }, { ...known, rate: { ...rate, scoreLogit: "1" }, f1 }])
    await assert.rejects(loadedWith(damaged), failure("MODEL_INVALID", "thresholds.calibration"));
  await loaded.save(at("renewed.safetensors"));
  assert.deepEqual((await Model.load(at("renewed.safetensors"))).config, loaded.config);
});

test("the header can be read by anything that reads safetensors", () => {
  const bytes = readFileSync(at("model.safetensors"));
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString("utf8")) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  > & { __metadata__: Record<string, string> };
  assert.deepEqual(Object.keys(header.__metadata__).sort(), [
    "config",
    "format",
    "format_version",
    "supersimplenet.checksum",
  ]);
  assert.equal(header.__metadata__["format"], "supersimplenet");
  assert.equal(header.__metadata__["format_version"], String(modelFormatVersion));
  const config = JSON.parse(header.__metadata__["config"]!) as ModelConfig;
  assert.equal(config.backbone.architecture, "resnet18");
  assert.equal(config.backbone.trained, false);
  assert.deepEqual(config.imageSize, [32, 32]);
  assert.equal(config.thresholds.scoreMethod, "student-t");
  assert.equal(config.thresholds.calibrationNormal, 4);
  assert.equal(config.training!.trainNormal, 6);
  assert.ok(!header.__metadata__["config"]!.includes(folder), "no paths of this machine");
  // One tensor by its offsets.
  const { dtype, shape, data_offsets } = header["discriminator.fc_score.weight"]!;
  assert.deepEqual([dtype, shape], ["F32", [1, 258]]);
  const raw = bytes.subarray(8 + length + data_offsets[0], 8 + length + data_offsets[1]);
  assert.deepEqual(new Float32Array(Uint8Array.from(raw).buffer), model.heads["discriminator.fc_score.weight"]!.data);
});

test("the backbone is stored unless every machine can have it, or as asked for", async (t) => {
  assert.equal(model.embedsBackbone, true, "random weights");
  await assert.rejects(
    model.save(at("without.safetensors"), { embedBackbone: false }),
    failure("INVALID_OPTION", "random backbone"),
  );
  await onFile.save(at("without.safetensors"), { embedBackbone: false });
  const without = await Model.load(at("without.safetensors"));
  assert.equal(without.embedsBackbone, false);
  assert.ok(
    Object.keys((await readTensors(at("without.safetensors"))).tensors).every((name) => !name.startsWith("backbone.")),
  );

  const weights = path.join(at("cache"), "weights", importedName("resnet18", "safetensors"));
  mkdirSync(path.dirname(weights), { recursive: true });
  await writeTensors(weights, await engine().randomBackbone("resnet18", 0), {});
  const data = labelledFor(await smallDataset(folder), "unsupervised");
  assert.equal(onFile.embedsBackbone, true, "by path");
  assert.equal(
    (await train(data, { ...tinier, backboneWeights: weights, network: { embedBackbone: false } })).embedsBackbone,
    false,
    "as asked for",
  );
  t.after(() => delete process.env["SUPERSIMPLENET_CACHE"]);
  process.env["SUPERSIMPLENET_CACHE"] = at("cache");
  const cached = await train(data, { ...tinier, backboneWeights: "auto" });
  assert.equal(cached.embedsBackbone, false, "in the cache folder");
  assert.equal(cached.config.backbone.trained, true);
  await cached.save(at("cached.safetensors"));
  await Detector.load(at("cached.safetensors"));
  process.env["SUPERSIMPLENET_CACHE"] = at("no cache");
  await assert.rejects(Detector.load(at("cached.safetensors")), failure("WEIGHTS_MISSING", "resnet18"));
});

test("the model of a detector reads its backbone again when it is saved, from the same file only", async () => {
  await model.save(at("kept.safetensors"));
  const bytes = readFileSync(at("kept.safetensors"));
  const detector = await Detector.load(at("kept.safetensors"));
  await detector.model.save(at("copy.safetensors"));
  assert.deepEqual(readFileSync(at("copy.safetensors")), bytes);
  detector.model.setThresholds({ score: 0.75 });
  await detector.model.save(at("kept.safetensors"));
  assert.notDeepEqual(readFileSync(at("kept.safetensors")), bytes);

  const other = await Detector.load(at("copy.safetensors"));
  await writeTensors(at("resnet18-1.safetensors"), await engine().randomBackbone("resnet18", 1), {});
  const another = await train(labelledFor(await smallDataset(folder), "unsupervised"), {
    ...tinier,
    backboneWeights: at("resnet18-1.safetensors"),
  });
  await another.save(at("copy.safetensors"));
  await assert.rejects(
    other.model.save(at("lost.safetensors")),
    failure("CHECKSUM_MISMATCH", "copy.safetensors", "another model"),
  );
});

test("a model without its backbone: the right weights by path give the same result, others are refused", async () => {
  await onFile.save(at("onfile.safetensors"));
  await onFile.save(at("without.safetensors"), { embedBackbone: false });
  const weights = async (seed: number): Promise<string> => {
    await writeTensors(at(`weights-${seed}.safetensors`), await engine().randomBackbone("resnet18", seed), {});
    return at(`weights-${seed}.safetensors`);
  };
  const image = { data: new Uint8Array(32 * 32 * 3).fill(90), width: 32, height: 32, channels: 3 } as const;
  const whole = await (await Detector.load(at("onfile.safetensors"))).detect(image);
  const parts = await (
    await Detector.load(at("without.safetensors"), { backboneWeights: await weights(0) })
  ).detect(image);
  assert.equal(parts.logit, whole.logit);
  await assert.rejects(
    Detector.load(at("without.safetensors"), { backboneWeights: await weights(1) }),
    failure("CHECKSUM_MISMATCH", "weights-1.safetensors", "resnet18"),
  );
  await assert.rejects(
    Detector.load(at("without.safetensors"), { backboneWeights: at("none.pth") }),
    failure("FILE_NOT_FOUND", "none.pth"),
  );
});

test("a newer format: MODEL_TOO_NEW; no version: MODEL_INVALID", async () => {
  await assert.rejects(
    Model.load(await written({ metadata: { format_version: String(modelFormatVersion + 1) } })),
    failure("MODEL_TOO_NEW", "changed.safetensors", "Upgrade"),
  );
  for (const format_version of ["", "0", "-1", "1.5", "one"])
    await assert.rejects(
      Model.load(await written({ metadata: { format_version } })),
      failure("MODEL_INVALID", "format version"),
      format_version,
    );
});

test("other files", async () => {
  await assert.rejects(Model.load(at("nothing.safetensors")), failure("FILE_NOT_FOUND", "nothing.safetensors"));
  writeFileSync(at("text.safetensors"), "a text");
  writeFileSync(at("empty.safetensors"), "");
  for (const name of ["text", "empty"])
    await assert.rejects(Model.load(at(`${name}.safetensors`)), failure("FILE_CORRUPT", name));
  writeFileSync(at("cut.safetensors"), readFileSync(at("model.safetensors")).subarray(0, 100_000));
  await assert.rejects(Model.load(at("cut.safetensors")), failure("FILE_CORRUPT", "cut.safetensors"));
  await writeTensors(at("weights.safetensors"), await engine().randomBackbone("resnet18", 0), {});
  await assert.rejects(Model.load(at("weights.safetensors")), failure("MODEL_INVALID", "convert"));
  await assert.rejects(Model.load(folder));
});

test("a damaged configuration: MODEL_INVALID says what is missing", async () => {
  for (const config of ["", "{", "null", "[]", "3"])
    await assert.rejects(
      Model.load(await written({ metadata: { config } })),
      failure("MODEL_INVALID", "configuration"),
      config,
    );
  const damage: [string, (config: Record<string, unknown>) => void][] = [
    ["imageSize", (c) => (c["imageSize"] = [32])],
    ["imageSize", (c) => (c["imageSize"] = [32, 1e9])],
    ["layers", (c) => (c["layers"] = "layer2")],
    ["layers", (c) => (c["layers"] = ["layer2", "layer2"])],
    ["variant", (c) => delete c["variant"]],
    ["resize", (c) => (c["resize"] = "cubic")],
    ["thresholds.scoreLogit", (c) => (c["thresholds"] = { decision: "score", scoreLogit: null, pixelLogit: 0 })],
    ["'backbone'", (c) => (c["backbone"] = null)],
    ["backbone.sha256", (c) => (c["backbone"] = { ...(c["backbone"] as object), sha256: "abc" })],
    ["alignCorners", (c) => (c["alignCorners"] = "no")],
    ["imageSize", (c) => (c["imageSize"] = [16, 16])],
    ["thresholds.pixelMethod", (c) => (c["thresholds"] = { ...(c["thresholds"] as object), pixelMethod: "guessed" })],
    ["backbone", (c) => (c["backbone"] = { ...(c["backbone"] as object), architecture: "resnet9" })],
    ["layer7", (c) => (c["layers"] = ["layer7"])],
  ];
  for (const [shown, config] of damage)
    await assert.rejects(Model.load(await written({ config })), failure("MODEL_INVALID", shown), shown);
});

test("damaged thresholds: MODEL_INVALID names the field", async () => {
  type Changed = Record<string, unknown>;
  const counted = { count: 0, of: 4, share: 0, low: 0, high: 0.4 };
  const unsure = { scoreLogit: 0, mapLogit: 0, missRate: 0.1, method: "defects", normal: counted, anomalous: null };
  const inCalibration = (change: (calibration: Changed) => void) => (thresholds: Changed) =>
    change(thresholds["calibration"] as Changed);
  const damage: [string, (thresholds: Changed) => void][] = [
    ["decision", (t) => (t["decision"] = "both")],
    ["decision", (t) => delete t["decision"]],
    ["mapLogit", (t) => (t["mapLogit"] = null)],
    ["mapMethod", (t) => (t["mapMethod"] = "guessed")],
    ["unsure", (t) => delete t["unsure"]],
    ["unsure", (t) => (t["unsure"] = { ...unsure, scoreLogit: "0" })],
    ["unsure", (t) => (t["unsure"] = { ...unsure, missRate: 2 })],
    ["unsure", (t) => (t["unsure"] = { ...unsure, method: "guessed" })],
    ["unsure", (t) => (t["unsure"] = { ...unsure, normal: { ...counted, of: -1 } })],
    ["calibration", inCalibration((c) => delete c["points"])],
    ["calibration", inCalibration((c) => delete (c["points"] as Changed)["either"])],
    ["calibration", inCalibration((c) => ((c["points"] as Changed)["map"] = { rate: {}, f1: null }))],
    ["calibration", inCalibration((c) => (c["method"] = "guessed"))],
    ["calibration", inCalibration((c) => delete c["good"])],
    ["calibration", inCalibration((c) => ((c["good"] as Changed)["score"] = { n: 1, values: [], own: true }))],
    ["calibration", inCalibration((c) => ((c["good"] as Changed)["map"] = { n: 1, values: ["0"], own: true }))],
    ["calibration", inCalibration((c) => ((c["good"] as Changed)["map"] = { n: 2, values: [2, 1], own: true }))],
    ["calibration", inCalibration((c) => ((c["good"] as Changed)["map"] = { n: 1, values: [1, 2], own: true }))],
    ["calibration", inCalibration((c) => (c["warnings"] = "few"))],
    ["calibration", inCalibration((c) => (c["parts"] = { from: null, to: null, normal: [3], anomalous: [] }))],
    ["calibration", inCalibration((c) => (c["previous"] = 3))],
  ];
  for (const [name, change] of damage) {
    const config = (config: Changed): void => change(config["thresholds"] as Changed);
    await assert.rejects(
      Model.load(await written({ config })),
      failure("MODEL_INVALID", `thresholds.${name}`),
      `${name}: ${change.toString()}`,
    );
  }
  await Model.load(await written({ config: (config) => void Object.assign(config.thresholds, { unsure }) }));
});

test("damaged tensors: MODEL_INVALID names the tensor", async () => {
  const name = "discriminator.seg.0.weight";
  for (const value of [NaN, Infinity, -Infinity]) {
    await assert.rejects(
      Model.load(await written({ tensors: altered(name, (data) => (data[77] = value)) })),
      failure("MODEL_INVALID", name, "NaN or infinite"),
    );
  }
  const { [name]: _missing, ...without } = tensors;
  await assert.rejects(Model.load(await written({ tensors: without })), failure("MODEL_INVALID", name));
  await assert.rejects(
    Model.load(await written({ tensors: { ...tensors, [name]: { ...tensors[name]!, shape: [384, 1024, 1, 1] } } })),
    failure("MODEL_INVALID", name),
  );
  const double = { dtype: "float64" as const, shape: [1], data: new Float64Array(1) } satisfies NativeTensor;
  await assert.rejects(
    Model.load(await written({ tensors: { ...tensors, "discriminator.fc_score.bias": double } })),
    failure("MODEL_INVALID", "float64"),
  );
});

test("a negative variance, and stored tensors of another shape with the same bytes: MODEL_INVALID", async () => {
  const variance = "discriminator.seg.1.running_var";
  await assert.rejects(
    Model.load(await written({ tensors: altered(variance, (data) => (data[3] = -1)) })),
    failure("MODEL_INVALID", variance, "negative"),
  );
  const conv = "backbone.layer1.0.conv1.weight";
  await assert.rejects(
    Model.load(await written({ tensors: { ...tensors, [conv]: { ...tensors[conv]!, shape: [64 * 64, 1, 3, 3] } } })),
    failure("MODEL_INVALID", conv),
  );
});

test("a model that a program put together: checked by Detector.load and save", async () => {
  const bias = model.heads["discriminator.seg.0.bias"]!;
  const { "discriminator.seg.0.bias": _bias, ...without } = model.heads;
  const backbone = { tensors: await model.backbone(), embedded: true };
  const wrong: [string, string, Model][] = [
    ["INVALID_OPTION", "imageSize", new Model({ ...model.config, imageSize: [16, 16] }, model.heads, backbone)],
    [
      "INVALID_OPTION",
      "scoreLogit",
      new Model(
        { ...model.config, thresholds: { ...model.config.thresholds, scoreLogit: NaN } },
        model.heads,
        backbone,
      ),
    ],
    ["INVALID_OPTION", "config", new Model(undefined as unknown as ModelConfig, model.heads, backbone)],
    ["MODEL_INVALID", "discriminator.seg.0.bias", new Model(model.config, without, backbone)],
    [
      "MODEL_INVALID",
      "discriminator.seg.0.bias",
      new Model(
        model.config,
        { ...without, "discriminator.seg.0.bias": { ...bias, data: new Float32Array(3) } as NativeTensor },
        backbone,
      ),
    ],
    [
      "MODEL_INVALID",
      "float64",
      new Model(
        model.config,
        { ...without, "discriminator.seg.0.bias": { dtype: "float64", shape: [1024], data: new Float64Array(1024) } },
        backbone,
      ),
    ],
    ["MODEL_INVALID", "backbone.conv1.weight", new Model(model.config, model.heads, { tensors: {}, embedded: true })],
  ];
  for (const [code, shown, bad] of wrong) {
    await assert.rejects(Detector.load(bad), failure(code, shown), shown);
    await assert.rejects(bad.save(at("bad.safetensors")), failure(code, shown), shown);
  }
  (await Detector.load(new Model(model.config, model.heads, backbone))).dispose();
});

test("modelFromCheckpoint: wrong options are refused before anything is read", async () => {
  const good: ModelFromCheckpointOptions = { checkpoint: at("nothing.pth"), backbone: "resnet18", imageSize: [64, 64] };
  const wrong: [string, object][] = [
    ["imageSize", { imageSize: [16, 16] }],
    ["imageSize", { imageSize: undefined }],
    ["alignCorners", { alignCorners: "no" }],
    ["layers", { layers: [] }],
    ["layers", { layers: ["layer4"] }],
    ["backbone", { backbone: "resnet9" }],
    ["resize", { resize: "cubic" }],
    ["variant", { variant: "JIMS" }],
  ];
  for (const [shown, other] of wrong)
    await assert.rejects(modelFromCheckpoint({ ...good, ...other }), failure("INVALID_OPTION", `'${shown}'`), shown);
  await assert.rejects(modelFromCheckpoint(good), failure("FILE_NOT_FOUND", "nothing.pth"));
});

test("one changed bit in the stored backbone: MODEL_INVALID", async () => {
  const name = "backbone.layer2.0.conv1.weight";
  const flipped = altered(name, (data) => (new Uint32Array(data.buffer)[5]! ^= 1));
  await assert.rejects(Model.load(await written({ tensors: flipped })), failure("MODEL_INVALID", "backbone"));
  const { [name]: _missing, ...without } = tensors;
  await assert.rejects(Model.load(await written({ tensors: without })), failure("MODEL_INVALID", "backbone"));
});

test("setThresholds: kept by save, used by the detector, refused as a whole when one is wrong", async () => {
  const loaded = await Model.load(at("model.safetensors"));
  const before = { ...loaded.config.thresholds };
  for (const wrong of [
    { score: 0 },
    { score: 1 },
    { score: 0.3, pixelLogit: NaN },
    { pixelLogit: "1" as unknown as number },
    { score: NaN },
    { scoreLogit: Infinity },
    { score: 0.3, scoreLogit: 2 },
  ])
    assert.throws(() => loaded.setThresholds(wrong), failure("INVALID_OPTION"));
  assert.throws(() => loaded.setThresholds({ pixel: 3 } as object), failure("UNKNOWN_OPTION", "pixelLogit"));
  assert.deepEqual(loaded.config.thresholds, before);

  loaded.setThresholds({ score: 0.8 });
  assert.deepEqual(
    [loaded.config.thresholds.scoreMethod, loaded.config.thresholds.pixelMethod],
    ["manual", "student-t"],
  );
  loaded.setThresholds({ scoreLogit: 40 });
  assert.deepEqual([loaded.config.thresholds.scoreLogit, loaded.config.thresholds.scoreMethod], [40, "manual"]);
  loaded.setThresholds({ score: 0.8 });
  loaded.setThresholds({ pixelLogit: -0.25 });
  await loaded.save(at("set.safetensors"));
  const { config } = await Model.load(at("set.safetensors"));
  assert.ok(Math.abs(config.thresholds.scoreLogit - Math.log(4)) < 1e-12);
  assert.deepEqual(
    [config.thresholds.pixelLogit, config.thresholds.scoreMethod, config.thresholds.pixelMethod],
    [-0.25, "manual", "manual"],
  );
  const { threshold, pixelThreshold } = await (
    await Detector.load(at("set.safetensors"))
  ).detect({ data: new Uint8Array(3), width: 1, height: 1, channels: 3 });
  assert.ok(Math.abs(threshold - 0.8) < 1e-12);
  assert.equal(pixelThreshold, -0.25);
});

test("setThresholds: another decision takes the thresholds that were calibrated for it, but none set by hand", async () => {
  const loaded = await Model.load(at("model.safetensors"));
  const { thresholds } = loaded.config;
  const { either, map } = thresholds.calibration!.points;
  assert.equal(thresholds.decision, "either");
  assert.deepEqual([thresholds.scoreLogit, thresholds.mapLogit], [either.rate!.score!.logit, either.rate!.map!.logit]);
  loaded.setThresholds({ decision: "map" });
  assert.deepEqual([thresholds.decision, thresholds.mapLogit], ["map", map.rate!.map!.logit]);
  loaded.setThresholds({ mapLogit: -7 });
  assert.deepEqual([thresholds.mapLogit, thresholds.mapMethod], [-7, "manual"]);
  loaded.setThresholds({ decision: "either" });
  assert.deepEqual([thresholds.mapLogit, thresholds.scoreLogit], [-7, either.rate!.score!.logit]);
  for (const wrong of [{ decision: "both" }, { mapLogit: NaN }, { mapLogit: "1" }])
    assert.throws(() => loaded.setThresholds(wrong as object), failure("INVALID_OPTION", Object.keys(wrong)[0]!));
  await loaded.save(at("decided.safetensors"));
  assert.deepEqual((await Model.load(at("decided.safetensors"))).config, loaded.config);
});

test("save: into a folder that is missing, onto a folder; unknown options; nothing is left behind", async () => {
  await assert.rejects(model.save(at("missing", "model.safetensors")), failure("FILE_NOT_FOUND", "missing"));
  mkdirSync(at("taken"));
  await assert.rejects(model.save(at("taken")), failure("FILE_ERROR", "folder"));
  await assert.rejects(
    model.save(at("x.safetensors"), { embedBackbones: true } as object),
    failure("UNKNOWN_OPTION", "embedBackbone"),
  );
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.includes(".tmp") || name === "x.safetensors"),
    [],
  );
});

test(
  "save into a folder that may not be written",
  { skip: process.getuid?.() === 0 && "root may write everywhere" },
  async () => {
    mkdirSync(at("locked"), { mode: 0o500 });
    await assert.rejects(model.save(at("locked", "model.safetensors")), failure("NO_PERMISSION", "locked"));
    chmodSync(at("locked"), 0o700);
    assert.deepEqual(readdirSync(at("locked")), []);
  },
);
