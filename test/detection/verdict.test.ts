import assert from "node:assert/strict";
import path from "node:path";
import { before, test } from "node:test";

import { summarise } from "../../lib/calibration/drift.js";
import { type Dataset, type Detection, Detector, type DetectorOptions, evaluate, Model } from "../../lib/index.js";
import type { Calibration, Thresholds } from "../../lib/models/config.js";
import { failure } from "../datasets/files.js";
import { supersimplenet } from "../cli/run.js";
import { scratchFolder, smallDataset, tinier, train } from "../training/support.js";

const folder = scratchFolder();
const at = (name: string): string => path.join(folder, name);
let data: Dataset;
/** Of every image: 13 of the training, 6 of the test. */
let files: string[];
let seen: Detection[];
/** Thresholds by which some parts are good, some unsure and some defects, by score and by map. */
let thresholds: Partial<Thresholds>;

before(async () => {
  data = await smallDataset(folder);
  const model = await train(data, { ...tinier, calibration: { method: "holdOut", fraction: 0.4, missRate: 0.1 } });
  await model.save(at("model.safetensors"));
  files = data.samples.map(({ image }) => image);
  const detector = await load();
  seen = await detector.detect(files);
  const quantile = (values: readonly number[], share: number): number =>
    [...values].sort((a, b) => a - b)[Math.floor(share * values.length)]!;
  const logits = seen.map(({ logit }) => logit);
  const peaks = seen.map(({ peak }) => peak);
  thresholds = {
    decision: "either",
    scoreLogit: quantile(logits, 0.8),
    mapLogit: quantile(peaks, 0.8),
    unsure: {
      ...model.config.thresholds.unsure!,
      scoreLogit: quantile(logits, 0.6),
      mapLogit: quantile(peaks, 0.6),
    },
  };
});

async function edited(own: Partial<Thresholds>): Promise<Model> {
  const model = await Model.load(at("model.safetensors"));
  Object.assign(model.config.thresholds, own);
  return model;
}

const load = async (own: Partial<Thresholds> = {}, options: DetectorOptions = {}): Promise<Detector> =>
  Detector.load(await edited(own), { threads: 1, ...options });

interface Told {
  verdict: string;
  decidedBy: readonly string[];
  anomalous: boolean;
  margin: number;
  peak: number;
}
const told = ({ verdict, decidedBy, anomalous, margin, peak }: Told): Told => ({
  verdict,
  decidedBy,
  anomalous,
  margin,
  peak,
});

test("the model on file has thresholds of every decision, its training's images and the scores of good parts", async () => {
  const { config } = await Model.load(at("model.safetensors"));
  const { calibration, decision, unsure } = config.thresholds;
  assert.equal(decision, "score", "with masks");
  assert.ok(calibration!.points.either.rate && calibration!.points.map.rate);
  assert.equal(calibration!.good!.score.n, 4);
  assert.equal(calibration!.good!.map.own, true);
  assert.equal(unsure!.missRate, 0.1);
  const { images, trainNormal, trainAnomalous } = config.training!;
  assert.equal(images!.length, trainNormal + trainAnomalous);
  assert.ok(images!.every((id) => /^[0-9a-f]{16}$/.test(id)) && new Set(images).size === images!.length);
});

test("verdicts follow from logit and peak, by each decision", async () => {
  const { scoreLogit, mapLogit, unsure } = thresholds as Thresholds;
  for (const decision of ["score", "map", "either"] as const) {
    const found = await (await load({ ...thresholds, decision })).detect(files);
    const at = (score: number, map: number, { logit, peak }: Detection): string[] => [
      ...(decision !== "map" && logit >= score ? ["score"] : []),
      ...(decision !== "score" && peak >= map ? ["map"] : []),
    ];
    for (const one of found) {
      const defect = at(scoreLogit, mapLogit, one);
      const between = at(unsure!.scoreLogit, unsure!.mapLogit, one);
      const verdict = defect.length > 0 ? "defect" : between.length > 0 ? "unsure" : "good";
      assert.deepEqual([one.verdict, one.decidedBy], [verdict, defect.length > 0 ? defect : between]);
      assert.equal(one.peak, Math.max(...one.map.data));
      assert.deepEqual([one.margin >= 0, one.mapThreshold], [one.anomalous, mapLogit]);
    }
    assert.equal(new Set(found.map(({ verdict }) => verdict)).size, 3, `${decision}: every verdict occurs`);
  }
});

test("the detector, predict --json and evaluate say the same", async () => {
  await (await edited(thresholds)).save(at("either.safetensors"));
  const detector = await load(thresholds);
  const test = data.samples.filter(({ split }) => split === "test").map(({ image }) => image);
  const expected = (await detector.detect(test)).map(told);

  const evaluation = await evaluate(detector, data);
  assert.deepEqual(evaluation.samples.map(told), expected);
  const { decision, decisions } = evaluation;
  const unsure = evaluation.samples.filter(({ verdict }) => verdict === "unsure");
  assert.equal(decision.source, "either");
  assert.deepEqual(decision.unsure, {
    normal: unsure.filter(({ label }) => label === "normal").length,
    anomalous: unsure.filter(({ label }) => label === "anomalous").length,
  });
  assert.equal(decisions.truePositive + decisions.falsePositive, expected.filter(({ anomalous }) => anomalous).length);

  const done = await supersimplenet(["predict", "--model", at("either.safetensors"), "--json", ...test]);
  assert.equal(done.code, 0, done.stderr);
  const { images } = JSON.parse(done.stdout) as { images: Detection[] };
  assert.deepEqual(images.map(told), expected);
});

test("the metrics of the decision are those of the scores where the score decides", async () => {
  const { metrics, decision } = await evaluate(await load({ ...thresholds, decision: "score" }), data);
  assert.deepEqual(
    [decision.auroc, decision.averagePrecision, decision.f1Max],
    [metrics.imageAuroc, metrics.imageAveragePrecision, metrics.imageF1Max],
  );
  const byMap = await evaluate(await load({ ...thresholds, decision: "map" }), data);
  assert.equal(byMap.decision.auroc, byMap.metrics.segmentedImageAuroc);
});

test("decision and mapThreshold of the detector go before the model's", async () => {
  const either = thresholds.mapLogit!;
  const byMap = await load(thresholds, { decision: "map", mapThreshold: either + 1e6 });
  assert.equal(byMap.decision, "map");
  assert.ok((await byMap.detect(files)).every(({ anomalous, mapThreshold }) => !anomalous && mapThreshold > 1e5));
  assert.ok((await (await load(thresholds, { threshold: 0 })).detect(files)).every(({ anomalous }) => anomalous));
  await assert.rejects(load(thresholds, { decision: "map", threshold: 0.5 }), failure("INVALID_OPTION", "'threshold'"));
  await assert.rejects(
    load(thresholds, { decision: "score", mapThreshold: 0.5 }),
    failure("INVALID_OPTION", "'mapThreshold'"),
  );
  for (const wrong of [{ decision: "both" }, { mapThreshold: NaN }, { mapThreshold: "1" }])
    await assert.rejects(load({}, wrong as DetectorOptions), failure("INVALID_OPTION", Object.keys(wrong)[0]!));
});

test("regions that are left out do not make an image anomalous by its map", async () => {
  const low = Math.min(...seen.map(({ peak }) => peak));
  const own = { ...thresholds, decision: "map", mapLogit: low, pixelLogit: low, unsure: null } as const;
  assert.ok((await (await load(own)).detect(files)).every(({ verdict }) => verdict === "defect"));
  const none = await (await load(own, { minAreaPx: 1e6 })).detect(files);
  for (const { verdict, regions, margin, decidedBy } of none) {
    assert.deepEqual([verdict, regions, decidedBy], ["good", [], []]);
    assert.ok(margin <= -1);
  }
  const strongest = Math.max(...seen.map(({ peak }) => peak));
  const left = (await (await load(own, { minPeak: strongest })).detect(files)).filter(({ anomalous }) => anomalous);
  assert.deepEqual(
    left.map(({ peak }) => peak),
    [strongest],
  );
  const byScore = await (await load({ ...own, decision: "score" }, { minAreaPx: 1e6 })).detect(files);
  assert.deepEqual(
    byScore.map(({ anomalous }) => anomalous),
    seen.map(({ logit }) => logit >= own.scoreLogit!),
  );
});

/** The model's calibration with other scores of good parts. */
async function withGood(shift: number): Promise<Partial<Thresholds>> {
  const { calibration } = (await Model.load(at("model.safetensors"))).config.thresholds;
  const good: Calibration["good"] = {
    score: summarise(
      seen.map(({ logit }) => logit + shift),
      true,
    ),
    map: summarise(
      seen.map(({ peak }) => peak),
      true,
    ),
  };
  return { calibration: { ...calibration!, good } };
}

test("drift: unknown at first, then the same; forgotten by resetDrift", async () => {
  const detector = await load({ ...thresholds, ...(await withGood(0)) });
  assert.deepEqual([detector.drift().n, detector.drift().verdict], [0, "unknown"]);
  await detector.detect(files.slice(0, 2));
  assert.deepEqual([detector.drift().n, detector.drift().verdict], [2, "unknown"], "too few");
  await detector.detect(files.slice(2));
  const { n, verdict, score, map } = detector.drift();
  assert.deepEqual([n, verdict, score!.n, map!.n], [files.length, "same", files.length, files.length]);
  detector.resetDrift();
  assert.deepEqual([detector.drift().n, detector.drift().verdict], [0, "unknown"]);
});

test("drift: changed where the scores lie elsewhere, in a source that decides", async () => {
  for (const [shift, direction] of [
    [-1000, "higher"],
    [1000, "lower"],
  ] as const) {
    const own = { ...thresholds, ...(await withGood(shift)) };
    const detector = await load(own);
    await detector.detect(files);
    const { verdict, score, map } = detector.drift();
    assert.deepEqual([verdict, score!.verdict, map!.verdict], ["changed", direction, "same"]);
    const byMap = await load({ ...own, decision: "map" });
    await byMap.detect(files);
    assert.deepEqual([byMap.drift().verdict, byMap.drift().score], ["same", null]);
  }
});

test("drift: unknown where no scores of good parts are on record", async () => {
  const detector = await load({ ...thresholds, calibration: null });
  await detector.detect(files);
  assert.deepEqual(detector.drift(), { n: files.length, verdict: "unknown", score: null, map: null });
});
