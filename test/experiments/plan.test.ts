import assert from "node:assert/strict";
import path from "node:path";
import { before, after, test } from "node:test";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";

import { datasets, Trainer } from "../../lib/index.js";
import { experiment } from "../../lib/experiments/experiment.js";
import { decisive, Parts, plan, shardOf, type PlanOptions, type PlannedRun } from "../../lib/experiments/plan.js";
import { type ProtocolName, protocolNames } from "../../lib/experiments/protocols.js";
import { limitTraining } from "../../lib/datasets/regime.js";
import { ablations } from "../../lib/schema/presets.js";
import { failure, writeMask, writeTree } from "../datasets/files.js";

let folder: string;
let own: string;
let mvtec: string;
let sensum: string;

before(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-plan-"));
  [own, mvtec, sensum] = ["own", "mvtec", "sensum"].map((name) => path.join(folder, name)) as [string, string, string];
  await datasets.generated(own, {
    imageSize: [64, 64],
    trainNormal: 20,
    trainAnomalous: 10,
    testNormal: 1,
    testAnomalous: 1,
  });
  const category = (name: string): string[] => [
    `${name}/train/good/0.png`,
    `${name}/test/good/1.png`,
    `${name}/test/bad/2.png`,
  ];
  await writeTree(
    mvtec,
    [...category("bottle"), ...category("cable")],
    ["bottle/ground_truth/bad/2_mask.png", "cable/ground_truth/bad/2_mask.png"],
  );
  const numbers = ["000", "001", "002", "003", "004", "005"];
  const images = ["capsule", "softgel"].flatMap((name) =>
    ["negative", "positive"].flatMap((label) => numbers.map((number) => `${name}/${label}/data/${number}.png`)),
  );
  await writeTree(
    sensum,
    images,
    ["capsule", "softgel"].flatMap((name) => numbers.map((number) => `${name}/positive/annotation/${number}.png`)),
  );
});
after(() => rmSync(folder, { recursive: true, force: true }));

const planned = (
  name: ProtocolName,
  options: Partial<PlanOptions> & Pick<PlanOptions, "data">,
): Promise<PlannedRun[]> => plan(name, { seeds: 1, training: {}, ...options }, new Parts());
const names = (runs: PlannedRun[]): string[] => [...new Set(runs.map(({ condition }) => condition.name))];

test("table2 on SensumSODF: both categories, three folds, every seed; trained on all images with all masks", async () => {
  const runs = await planned("table2", { data: sensum, seeds: 5 });
  assert.equal(runs.length, 2 * 3 * 5);
  assert.equal(new Set(runs.map(({ key }) => key)).size, runs.length);
  assert.equal(runs[0]!.key, "table2/sensum/full/capsule/fold0/seed0");
  const backbone = "wide_resnet50_2"; // the paper's, whatever lies on this machine
  const anomalies = { noiseVectors: "independent" };
  const expected = {
    imageSize: [320, 192],
    pace: "published",
    anomalies,
    backbone,
    calibration: { fraction: 0 },
    regime: "full",
    seed: 0,
  };
  assert.deepEqual(runs[0]!.options, expected);
  assert.deepEqual(runs.at(-1)!.options.imageSize, [144, 144]);
  assert.deepEqual(
    runs.map(({ seed }) => seed),
    [...runs.map(({ seed }) => seed)].sort(),
  );
});

test("several data sets by name; categories can be chosen", async () => {
  const runs = await planned("table4", { data: { mvtec, mine: own }, categories: ["cable"] });
  assert.deepEqual(
    runs.map(({ key }) => key),
    ["table4/mvtec/unsupervised/cable/seed0", "table4/mine/unsupervised/all/seed0"],
  );
  assert.deepEqual(
    runs.map(({ options }) => options.anomalies?.perlinThreshold),
    [0.2, undefined],
  );
});

test("the mixed sweep: published shares on SensumSODF, shares of the masks there are on other data", async () => {
  const published = await planned("fig6", { data: sensum });
  assert.deepEqual(names(published), [
    "unsupervised",
    "weak",
    "masks-0.2",
    "masks-0.4",
    "masks-0.6",
    "masks-0.8",
    "full",
  ]);
  assert.deepEqual(
    published.find(({ condition }) => condition.name === "masks-0.4")!.options.masks?.segmentedRatio,
    0.4,
  );
  const mine = await planned("fig6", { data: own });
  assert.deepEqual(names(mine), ["unsupervised", "weak", "masks-2", "masks-4", "masks-6", "masks-8", "full"]);
  const counts = await Promise.all(mine.map(async (run) => (await new Parts().of(run)).data.counts));
  assert.deepEqual(
    counts.map(({ trainAnomalous, trainSegmented }) => [trainAnomalous, trainSegmented]),
    [
      [0, 0],
      [10, 0],
      [10, 2],
      [10, 4],
      [10, 6],
      [10, 8],
      [10, 10],
    ],
  );
});

test("fig7: the published numbers of masks; a download that has fewer is refused", async () => {
  const ksdd2 = path.join(folder, "ksdd2");
  const images = ["train/10000", "train/10001", "test/20000", "test/20001"];
  await writeTree(
    ksdd2,
    images.map((name) => `${name}.png`),
    images.filter((_, i) => i % 2 === 1).map((name) => `${name}_GT.png`),
  );
  for (const name of images.filter((_, i) => i % 2 === 0))
    await writeMask(path.join(ksdd2, `${name}_GT.png`), { empty: true });
  const runs = await planned("fig7", { data: ksdd2 });
  assert.deepEqual(names(runs), ["unsupervised", "weak", "masks-16", "masks-53", "masks-126", "full"]);
  assert.deepEqual([runs[2]!.options.masks?.segmentedCount, runs[2]!.options.imageSize], [16, [640, 232]]);
  await assert.rejects(new Parts().of(runs[2]!), failure("DATASET_INVALID", "asks for 16 masks, but only 1 of 1"));
});

test("fig12 adds normal images, then anomalous ones, then masks", async () => {
  const runs = await planned("fig12", { data: own });
  const counts = await Promise.all(runs.map(async (run) => (await new Parts().of(run)).data.counts));
  assert.deepEqual(
    counts.map(({ trainNormal, trainAnomalous, trainSegmented }) => [trainNormal, trainAnomalous, trainSegmented]),
    [
      [2, 0, 0],
      [5, 0, 0],
      [10, 0, 0],
      [20, 0, 0],
      [20, 1, 0],
      [20, 3, 0],
      [20, 5, 0],
      [20, 10, 0],
      [20, 10, 2],
      [20, 10, 4],
      [20, 10, 6],
      [20, 10, 8],
      [20, 10, 10],
    ],
  );
  assert.deepEqual(
    [...new Set((await planned("fig12", { data: sensum })).map(({ part }) => part.category))],
    ["softgel"],
  );
});

test("the sweeps end where the labels end", async () => {
  const [unmasked, partly] = [path.join(folder, "unmasked"), path.join(folder, "partly")];
  await datasets.generated(unmasked, {
    imageSize: [64, 64],
    trainNormal: 4,
    trainAnomalous: 2,
    trainSegmented: 0,
    testNormal: 1,
    testAnomalous: 1,
  });
  await datasets.generated(partly, {
    imageSize: [64, 64],
    trainNormal: 4,
    trainAnomalous: 4,
    trainSegmented: 2,
    testNormal: 1,
    testAnomalous: 1,
  });
  assert.deepEqual(names(await planned("fig6", { data: unmasked })), ["unsupervised", "weak"]);
  assert.deepEqual(names(await planned("fig12", { data: unmasked })).slice(-2), ["anomalous-0.5", "weak"]);
  assert.deepEqual(names(await planned("fig6", { data: partly })), ["unsupervised", "weak", "masks-1", "mixed"]);
  for (const protocol of protocolNames) {
    for (const data of [unmasked, partly]) {
      if (protocol === "fig7" || protocol === "table7") continue;
      const keys = (await planned(protocol, { data })).map(({ key }) => key);
      assert.equal(new Set(keys).size, keys.length, protocol);
    }
  }
});

test("less of the training images is always among more of them, and the test split stays", async () => {
  const dataset = await datasets.open(own);
  const ids = (share: number): Set<string> =>
    new Set(limitTraining(dataset, { normalShare: share, anomalousShare: share }).samples.map(({ id }) => id));
  const [few, more, all] = [ids(0.1), ids(0.5), ids(1)];
  assert.deepEqual([few.size, more.size, all.size], [2 + 1 + 2, 10 + 5 + 2, 32]);
  assert.ok([...few].every((id) => more.has(id)));
});

test("fig13 changes one setting at a time, relative to the caller's own", async () => {
  const runs = await planned("fig13", { data: own, training: { epochs: 30, batchSize: 8, backbone: "resnet18" } });
  const [standard, ...others] = runs.map((run) => decisive(run));
  const changed = others.map((options) =>
    Object.keys(options)
      .filter((name) => JSON.stringify(options[name]) !== JSON.stringify(standard![name]))
      .join("+"),
  );
  const times = (name: string, count: number): string[] => Array.from({ length: count }, () => name);
  assert.deepEqual(changed, [
    ...times("batchSize", 3),
    ...times("adaptorLearningRate+headsLearningRate", 4),
    ...times("epochs", 4),
    ...times("perlinThreshold", 3),
    ...times("noiseStd", 4),
  ]);
  assert.deepEqual(runs.map(({ options }) => options.epochs).slice(8, 12), [5, 10, 20, 40]);
  assert.deepEqual(runs.at(-1)!.options.anomalies?.noiseStd, { relative: 1 });
  const trained = await planned("fig13", { data: sensum });
  assert.deepEqual(trained.at(-1)!.options.anomalies?.noiseStd, 0.03);
});

test("table6 on data of one's own: with all labels, and without", async () => {
  const runs = await planned("table6", { data: own });
  assert.equal(runs.length, 8);
  assert.deepEqual(
    [runs[0]!.condition.name, runs[0]!.options.regime, runs[7]!.condition.name, runs[7]!.options.regime],
    ["supervised-wide_resnet50_2", "full", "unsupervised-resnet101", "unsupervised"],
  );
});

test("table5: every ablation where it makes a difference; ours is the first row", async () => {
  const runs = await planned("table5", {
    data: { sensum, mvtec },
    categories: ["capsule", "bottle"],
    training: { epochs: 30 },
  });
  const rows = (kind: string): string[] =>
    names(runs.filter(({ source }) => source.name === kind)).map((name) => name.replace(/^(un)?supervised-/, ""));
  const all = ["ours", ...Object.keys(ablations)];
  assert.deepEqual(
    rows("sensum"),
    all.filter((name) => name !== "simpleNet"),
  );
  assert.deepEqual(
    rows("mvtec"),
    all.filter(
      (name) => !["overlap", "noDistanceWeight", "noSyntheticAnomalies", "simpleNetSupervised"].includes(name),
    ),
  );
  for (const { options, source } of runs)
    assert.equal(options.regime, source.name === "sensum" ? "full" : "unsupervised");
  for (const run of runs) new Trainer(run.options);
  const simpleNet = runs.find(({ condition }) => condition.name === "unsupervised-simpleNet")!;
  assert.equal(simpleNet.options.epochs, 16, "160 of 300, in proportion");
  assert.equal(simpleNet.options.batchSize, 8);
});

test("table10 needs real anomalies to leave the synthetic ones out", async () => {
  assert.deepEqual(names(await planned("table10", { data: own })), ["full", "no-synthetic"]);
  assert.deepEqual(names(await planned("table10", { data: { bottles: mvtec }, categories: ["bottle"] })), [
    "unsupervised",
  ]);
});

test("table8 doubles the size", async () => {
  const runs = await planned("table8", { data: { mine: own }, training: { imageSize: [32, 64] } });
  assert.deepEqual(
    runs.map(({ options }) => options.imageSize),
    [
      [32, 64],
      [64, 128],
    ],
  );
});

test("shards are disjoint and together everything, the same on every machine", async () => {
  const [runs, again] = await Promise.all([
    planned("fig12", { data: sensum, seeds: 2 }),
    planned("fig12", { data: sensum, seeds: 2 }),
  ]);
  assert.deepEqual(
    again.map(({ key }) => key),
    runs.map(({ key }) => key),
  );
  const shards = [1, 2, 3, 4].map((index) => shardOf(runs, { index, count: 4 }));
  assert.deepEqual(
    shards
      .flat()
      .map(({ key }) => key)
      .sort(),
    runs.map(({ key }) => key).sort(),
  );
  for (const shard of shards) assert.ok(Math.abs(shard.length - runs.length / 4) < 1);
  const shard = { index: 5, count: 4 };
  await assert.rejects(
    experiment("fig12", { data: sensum, out: path.join(folder, "none"), shard }),
    failure("INVALID_OPTION", "shard", "index"),
  );
});

test("data that does not fit is refused before any training", async () => {
  await assert.rejects(planned("fig6", { data: mvtec }), failure("INVALID_OPTION", "runs on sensum", "is mvtec"));
  await assert.rejects(
    planned("fig7", { data: own }),
    failure("INVALID_OPTION", "runs on ksdd2 alone", "fig6 does the same"),
  );
  await assert.rejects(
    planned("table4", { data: mvtec, categories: ["screws"] }),
    failure("INVALID_OPTION", "categories of mvtec: bottle"),
  );
  await assert.rejects(
    planned("table4", { data: mvtec, categories: ["screw"] }),
    failure("INVALID_OPTION", "'bottle', 'cable'"),
  );
  await assert.rejects(
    planned("table3", { data: own, categories: ["screw"] }),
    failure("INVALID_OPTION", "no data set here has categories"),
  );
  await assert.rejects(planned("table4", { data: { "a b": own } }), failure("INVALID_OPTION", "a b"));
  await assert.rejects(planned("table4", { data: {} }), failure("INVALID_OPTION", "mvtec, visa"));
  await assert.rejects(planned("table4", { data: path.join(folder, "none") }), failure("FILE_NOT_FOUND"));
  const [run] = await planned("table2", { data: { bottles: mvtec }, categories: ["bottle"] });
  await assert.rejects(new Parts().of(run!), failure("DATASET_INVALID", "needs anomalous training images"));
});
