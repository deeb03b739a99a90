import assert from "node:assert/strict";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

import {
  datasets,
  experiment,
  type ExperimentEvent,
  type ExperimentOptions,
  type ExperimentTable,
} from "../../lib/index.js";
import { misclassification } from "../../lib/experiments/experiment.js";
import { tableDocument } from "../../lib/experiments/tables.js";
import { supersimplenet } from "../cli/run.js";
import { failure, writeMask } from "../datasets/files.js";

/** Real runs on tiny images: what is done is kept, what is kept is not done again. */
let folder: string;
let data: string;
const at = (...parts: string[]): string => path.join(folder, ...parts);
const training = {
  backbone: "resnet18",
  backboneWeights: "random",
  imageSize: [64, 64],
  epochs: 1,
  batchSize: 8,
  threads: 1,
} as const satisfies ExperimentOptions["training"];
const flags = [
  "--backbone",
  "resnet18",
  "--backbone-weights",
  "random",
  "--image-size",
  "64",
  "--epochs",
  "1",
  "--batch",
  "8",
  "--threads",
  "1",
];

before(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-experiment-"));
  data = at("tiles");
  await datasets.generated(data, {
    imageSize: [64, 64],
    trainNormal: 6,
    trainAnomalous: 3,
    testNormal: 2,
    testAnomalous: 3,
    seed: 1,
  });
});
after(() => rmSync(folder, { recursive: true, force: true }));

const run = (options: Partial<ExperimentOptions>): ReturnType<typeof experiment> =>
  experiment("table3", { data, out: at("out"), seeds: 1, training: { ...training }, ...options });
const lines = (...file: string[]): string[] =>
  readFileSync(at(...file), "utf8")
    .trim()
    .split("\n");

test("runs are kept and not done again; more seeds are added; other options or data are refused", async () => {
  const events: ExperimentEvent[] = [];
  const first = await run({ onEvent: (event) => events.push(event) });
  assert.deepEqual([...new Set(events.map(({ type }) => type))], ["plan", "run", "epoch", "evaluate", "done"]);
  assert.deepEqual(first.runs, { planned: 1, skipped: 0, diverged: [] });
  const [line] = lines("out", "results.jsonl");
  const result = JSON.parse(line!) as {
    options: { regime: string; calibrationFraction: number };
    data: { counts: unknown };
    metrics: Record<string, number>;
  };
  assert.deepEqual([result.options.regime, result.options.calibrationFraction], ["weak", 0]);
  assert.deepEqual(result.data.counts, {
    trainNormal: 6,
    trainAnomalous: 3,
    trainSegmented: 0,
    testNormal: 2,
    testAnomalous: 3,
    testSegmented: 3,
  });
  assert.ok(!line!.includes(folder), "no path of this machine");

  appendFileSync(at("out", "results.jsonl"), line!.slice(0, 50)); // an interrupted write
  const second = await run({ seeds: 2 });
  assert.deepEqual(second.runs, { planned: 2, skipped: 1, diverged: [] });
  const both = lines("out", "results.jsonl").map((each) => JSON.parse(each) as typeof result);
  assert.equal(JSON.stringify(both[0]), line);
  const cell = second.table.datasets[0]!.rows[0]!.cells.imageAuroc!;
  assert.ok(Math.abs(cell.mean - (both[0]!.metrics["I-AUROC"]! + both[1]!.metrics["I-AUROC"]!) / 2) < 1e-12);
  assert.deepEqual(
    JSON.parse(readFileSync(at("out", "table3.json"), "utf8")),
    JSON.parse(JSON.stringify(tableDocument(second.table))),
  );
  assert.match(readFileSync(at("out", "table3.md"), "utf8"), /^# Table 3: weak supervision\n/);

  await assert.rejects(
    run({ training: { ...training, epochs: 2 } }),
    failure("INVALID_OPTION", "table3/tiles/weak/all/seed0", "epochs 1 instead of 2"),
  );
  await datasets.generated(at("other", "tiles"), {
    imageSize: [64, 64],
    trainNormal: 7,
    trainAnomalous: 3,
    testNormal: 2,
    testAnomalous: 3,
    seed: 1,
  });
  await assert.rejects(run({ data: at("other", "tiles") }), failure("INVALID_OPTION", "other images or labels"));
  assert.equal(lines("out", "results.jsonl").length, 2);
});

test("two shards in two folders give, collected, the table of all; tables are made without data", async () => {
  for (const index of [1, 2]) await run({ seeds: 2, out: at(`shard${index}`), shard: { index, count: 2 } });
  mkdirSync(at("all"));
  for (const index of [1, 2])
    copyFileSync(at(`shard${index}`, `results-${index}-of-2.jsonl`), at("all", `results-${index}-of-2.jsonl`));
  const { table, runs } = await experiment("table3", { out: at("all") });
  assert.deepEqual(runs, { planned: 0, skipped: 0, diverged: [] });
  assert.deepEqual(
    table.datasets,
    (await experiment("table3", { out: at("out") })).table.datasets,
    "the same seeds, the same results",
  );
  assert.equal(table.datasets[0]!.rows[0]!.seeds, 2);
  await assert.rejects(experiment("table2", { out: at("all") }), failure("INVALID_OPTION", "has no results of table2"));
});

test("an abort within a run keeps the runs before it", async () => {
  const controller = new AbortController();
  let done = 0;
  const onEvent = ({ type }: ExperimentEvent): void => {
    if (type === "done") done++;
    if (type === "epoch" && done === 1) controller.abort();
  };
  await assert.rejects(run({ out: at("aborted"), seeds: 3, signal: controller.signal, onEvent }), failure("ABORTED"));
  assert.equal(lines("aborted", "results.jsonl").length, 1);
  assert.ok(existsSync(at("aborted", "table3.md")));
});

test("what cannot run is refused before the first run", async () => {
  const refused = (options: Partial<ExperimentOptions>, ...expected: Parameters<typeof failure>): Promise<void> =>
    assert.rejects(run({ out: at("refused"), ...options }), failure(...expected));
  await refused({ training: { ...training, regime: "full" } as never }, "INVALID_OPTION", "training.regime");
  await refused({ training: { ...training, epochs: 0 } }, "INVALID_OPTION", "epochs");
  await refused({ training: { ...training, precision: "auto" } as never }, "INVALID_OPTION", "precision", "auto");
  await refused({ training: { ...training, backboneWeights: at("none.pth") } }, "FILE_NOT_FOUND", "none.pth");
  await refused({ seeds: 0 }, "INVALID_OPTION", "seeds");
  await refused({ published: at("none.json") }, "FILE_NOT_FOUND", "none.json");
  await assert.rejects(
    experiment("table3", { out: at("out"), seeds: 3 }),
    failure("INVALID_OPTION", "for 'seeds' is given"),
  );
  await refused({ shards: 3 } as never, "UNKNOWN_OPTION", "Did you mean 'shard'");
  await assert.rejects(experiment("table1" as never, { out: at("refused") }), failure("INVALID_OPTION", "table1"));
  await assert.rejects(
    experiment("table6", { data, out: at("refused"), training: { ...training, backboneWeights: at("one.pth") } }),
    failure("INVALID_OPTION", "several backbones"),
  );
  const testless = at("testless");
  await datasets.generated(testless, {
    imageSize: [64, 64],
    trainNormal: 4,
    trainAnomalous: 1,
    testNormal: 0,
    testAnomalous: 0,
  });
  await refused({ data: testless }, "DATASET_INVALID", "no test images");
  assert.ok(!existsSync(at("refused")));
});

test("table10: hits and misses with and without synthetic anomalies", async () => {
  const { table } = await experiment("table10", { data, out: at("out"), seeds: 1, training: { ...training } });
  const rows = table.datasets[0]!.rows;
  assert.deepEqual(
    rows.map(({ condition }) => condition),
    ["full", "no-synthetic"],
  );
  for (const { misclassification: counted } of rows) {
    assert.equal(counted!.truePositive + counted!.falseNegative, 3);
    assert.equal(counted!.trueNegative + counted!.falsePositive, 2);
    assert.ok(counted!.truePositiveArea! > 0 && counted!.truePositiveArea! < 100);
  }
  assert.match(readFileSync(at("out", "table10.md"), "utf8"), /\| TP \| TN \| FP \| FN \| TP area \| FN area \|/);
});

test("misclassification: decisions at the highest F1, and how much of the image the defects are", async () => {
  const mask = at("mask.png");
  await writeMask(mask, { width: 40, height: 36 }); // 7 x 7 pixels
  const sample = (label: "normal" | "anomalous", logit: number, withMask = true) => ({
    id: "",
    image: "",
    defect: null,
    score: 0,
    peak: 0,
    anomalous: false,
    verdict: "good" as const,
    decidedBy: [],
    margin: -1,
    label,
    logit,
    mask: label === "anomalous" && withMask ? mask : null,
  });
  const counted = await misclassification({
    samples: [
      sample("normal", -2),
      sample("normal", 0.5),
      sample("normal", -1),
      sample("anomalous", 3),
      sample("anomalous", 2),
      sample("anomalous", 1, false),
      sample("anomalous", -3),
    ],
  });
  const percent = (100 * 49) / (40 * 36);
  assert.deepEqual(counted, {
    threshold: 1,
    truePositive: 3,
    trueNegative: 3,
    falsePositive: 0,
    falseNegative: 1,
    truePositiveArea: { percentSum: percent * 2, images: 2 },
    falseNegativeArea: { percentSum: percent, images: 1 },
  });
  await assert.rejects(
    misclassification({ samples: [sample("normal", 1)] }),
    failure("METRIC_UNDEFINED", "all test images are normal"),
  );
});

test("the command: one document with --json, tables beside a file of published numbers, Ctrl-C", async () => {
  writeFileSync(
    at("published.json"),
    JSON.stringify({
      weak: { "0": { avg: { ksdd2: { AUPRO: { total: 0.5 } } }, std: { ksdd2: { AUPRO: { total: 0.1 } } } } },
    }),
  );
  const done = await supersimplenet([
    "experiment",
    "table3",
    "--data",
    `tiles=${data}`,
    "--out",
    at("out"),
    "--seeds",
    "2",
    "--published",
    at("published.json"),
    "--json",
    ...flags,
  ]);
  assert.equal(done.code, 0, done.stderr);
  const { table, runs } = JSON.parse(done.stdout) as { table: ExperimentTable; runs: { skipped: number } };
  assert.equal(runs.skipped, 2, "the command makes the runs of the library");
  assert.ok(table.notes.includes("The file of published numbers has none for these rows."));

  let sent = false;
  const stopped = await supersimplenet(
    ["experiment", "table3", "--data", data, "--out", at("stopped"), "--seeds", "50", ...flags],
    {
      onStderr(soFar, kill) {
        if (!sent && soFar.includes("run 2/50")) ((sent = true), kill("SIGINT"));
      },
    },
  );
  assert.equal(stopped.code, 130, stopped.stderr);
  assert.match(stopped.stderr, /run.* new in .*stopped; the same command goes on from there/);
  assert.ok(lines("stopped", "results.jsonl").length >= 1);
});

test("the command: wrong usage", async () => {
  const wrong = async (args: string[], message: RegExp): Promise<void> => {
    const { code, stderr } = await supersimplenet(["experiment", ...args], {
      env: { SUPERSIMPLENET_LIBTORCH: "/nowhere" },
    });
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
  };
  await wrong(["table", "--out", at("x")], /expected one of 'table2', /);
  await wrong(["table9", "--out", at("x")], / benchmark --image-size/);
  await wrong(["--out", at("x")], /NAME, a table or figure of the paper, is missing/);
  await wrong(["table2"], /--out OUT is missing/);
  await wrong(
    ["table2", "--out", at("x"), "--shard", "3/2"],
    /I\/N with I from 1 to N for --shard but received '3\/2'/,
  );
  await wrong(["table2", "--out", at("x"), "--data", "a=x", "--data", "a=y"], /another name for each/);
  await wrong(["table2", "--out", at("x"), "--data", "x", "--data", "y"], /NAME=DIR with another name for each/);
  await wrong(["table2", "--out", path.join(data, "train", "good", "x"), "--data", data], /lies among the images/);
});
