import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";

import { protocols, type PublishedKind } from "../../lib/experiments/protocols.js";
import { checkPublished, publishedValue, readPublished } from "../../lib/experiments/published.js";
import { appendResult, parseResults, readResults, type RunResult } from "../../lib/experiments/results.js";
import { sampleStd, tableMarkdown, tabulate } from "../../lib/experiments/tables.js";
import { failure, temporaryFolder } from "../datasets/files.js";
import { withPace } from "../../lib/training/resolve.js";
import { settled } from "../training/support.js";

interface MadeUp {
  protocol?: string;
  dataset?: PublishedKind;
  condition?: RunResult["condition"];
  order?: number;
  parts?: string[];
  part?: string;
  seed?: number;
  auroc?: number | null;
  aupro?: number;
  epochs?: number;
  misclassification?: RunResult["misclassification"];
}

/** A result with made-up numbers. */
function result({
  protocol = "table2",
  dataset = "sensum",
  condition = { name: "full", title: "all masks", published: ["full", "1"] },
  order = 0,
  parts = ["all"],
  part = parts[0]!,
  seed = 0,
  auroc = 0.5,
  aupro = 0.5,
  epochs = 300,
  misclassification,
}: MadeUp): RunResult {
  return {
    format: 1,
    key: [protocol, dataset, condition.name, part, `seed${seed}`].join("/"),
    protocol,
    dataset,
    published: dataset,
    condition,
    order,
    part,
    category: part === "all" ? null : part.split("/")[0]!,
    seed,
    options: { parts, epochs, seed, backboneWeights: "trained" },
    data: {
      counts: {
        trainNormal: 1,
        trainAnomalous: 1,
        trainSegmented: 1,
        testNormal: 1,
        testAnomalous: 1,
        testSegmented: 1,
      },
      samples: "0",
    },
    metrics: {
      imageAuroc: auroc,
      imageAveragePrecision: 0.5,
      imageF1Max: 0.5,
      f1MaxThreshold: 0.5,
      pixelAuroc: 0.5,
      pixelAveragePrecision: 0.5,
      aupro,
      segmentedImageAuroc: 0.5,
      segmentedImageAveragePrecision: 0.5,
    },
    ...(misclassification && { misclassification }),
    seconds: 1,
    version: "1.2.3",
  };
}

const parts = ["capsule/fold0", "capsule/fold1", "softgel/fold0", "softgel/fold1"];
const published = {
  full: {
    "1": {
      avg: { sensum: { "I-AUROC": { capsule: 0.8, softgel: 0.6, total: 0.7 } } },
      std: { sensum: { "I-AUROC": { capsule: 0.01, softgel: 0.01, total: 0.01 } } },
    },
  },
};

test("per seed the mean over folds and categories, then mean and sample standard deviation over the seeds", () => {
  const values = [
    [0.9, 0.7, 0.6, 0.4],
    [0.8, 0.8, 0.8, 0.8],
  ]; // seed means 0.65 and 0.8
  const results = values.flatMap((folds, seed) =>
    folds.map((auroc, i) => result({ parts, part: parts[i]!, seed, auroc })),
  );
  const [table] = tabulate("table2", results).datasets;
  const [all, capsule, softgel] = table!.rows;
  assert.deepEqual(
    table!.rows.map(({ category }) => category),
    [null, "capsule", "softgel"],
  );
  assert.equal(all!.seeds, 2);
  assert.ok(Math.abs(all!.cells.imageAuroc!.mean - 0.725) < 1e-12);
  assert.ok(Math.abs(all!.cells.imageAuroc!.std! - 0.15 / Math.SQRT2) < 1e-12);
  assert.ok(Math.abs(capsule!.cells.imageAuroc!.mean - 0.8) < 1e-12);
  assert.ok(Math.abs(softgel!.cells.imageAuroc!.mean - 0.65) < 1e-12);
});

test("the standard deviation divides by n - 1; one value has none", () => {
  assert.equal(sampleStd([1, 3]), Math.SQRT2);
  assert.equal(sampleStd([5]), null);
});

test("beside the published numbers: difference in percentage points and its side of the published deviation", () => {
  for (const [auroc, difference, verdict] of [
    [0.72, 2, "above"],
    [0.695, -0.5, "within"],
    [0.68, -2, "below"],
  ] as const) {
    const table = tabulate("table2", [result({ auroc })], published);
    const cell = table.datasets[0]!.rows[0]!.cells.imageAuroc!.published!;
    assert.ok(Math.abs(cell.difference - difference) < 1e-9);
    assert.equal(cell.verdict, verdict);
    assert.match(
      tableMarkdown(table),
      new RegExp(
        `\\| ${(auroc * 100).toFixed(2)} \\| 70\\.00 ± 1\\.00 \\| [+-]${Math.abs(difference).toFixed(2)}, ${verdict} \\|`,
      ),
    );
  }
  const category = tabulate(
    "table2",
    parts.map((part) => result({ parts, part, auroc: 0.6 })),
    published,
  ).datasets[0]!.rows[1]!;
  assert.deepEqual([category.category, category.cells.imageAuroc!.published!.mean], ["capsule", 0.8]);
});

test("without a published file the table has no such columns and says so", () => {
  const text = tableMarkdown(tabulate("table2", [result({})]));
  assert.match(text, /No file of published numbers was given/);
  assert.doesNotMatch(text, /\| published \|/);
});

test("a seed with a missing part is left out and named", () => {
  const results = [
    ...parts.map((part) => result({ parts, part, auroc: 0.6 })),
    result({ parts, part: parts[0]!, seed: 1, auroc: 1 }),
  ];
  const { datasets, notes } = tabulate("table2", results);
  const [all, capsule] = datasets[0]!.rows;
  assert.deepEqual([all!.seeds, capsule!.seeds], [1, 1]);
  assert.ok(Math.abs(all!.cells.imageAuroc!.mean - 0.6) < 1e-12);
  assert.match(notes[0]!, /seed 1: left out of the mean, for 3 of 4 parts are not done \(capsule\/fold1, /);
});

test("a metric that one part does not define has no mean", () => {
  const results = ["brain", "histopathology"].map((part, i) =>
    result({
      protocol: "table7",
      dataset: "bmad",
      parts: ["brain", "histopathology"],
      part,
      auroc: i === 0 ? 0.9 : null,
    }),
  );
  const [all, brain] = tabulate("table7", results).datasets[0]!.rows;
  assert.equal(all!.cells.imageAuroc, undefined);
  assert.equal(brain!.cells.imageAuroc!.mean, 0.9);
});

test("results of different options are not averaged", () => {
  assert.throws(
    () => tabulate("table2", [result({}), result({ seed: 1, epochs: 5 })]),
    failure("INVALID_OPTION", "table2/sensum/full/all/seed1", "epochs 5 instead of 300"),
  );
});

test("the summary: means over the data sets, then differences from the first row", () => {
  const row = (
    group: "supervised" | "unsupervised",
    name: string,
    order: number,
    dataset: PublishedKind,
    auroc: number,
    aupro: number,
  ): RunResult =>
    result({
      protocol: "table6",
      dataset,
      order,
      auroc,
      aupro,
      condition: { name: `${group}-${name}`, title: `${name}, ${group}`, summary: { group, row: name } },
    });
  const { summary } = tabulate("table6", [
    row("supervised", "a", 0, "sensum", 0.8, 0.6),
    row("supervised", "a", 0, "ksdd2", 0.9, 0.8),
    row("unsupervised", "a", 0, "mvtec", 0.7, 0.5),
    row("supervised", "b", 1, "sensum", 0.75, 0.6),
    row("supervised", "b", 1, "ksdd2", 0.85, 0.9),
    row("unsupervised", "b", 1, "mvtec", 0.8, 0.5),
    row("supervised", "c", 2, "sensum", 0.1, 0.1), // not done on ksdd2
  ]);
  const rounded = JSON.parse(
    JSON.stringify(summary, (_, value: unknown) => (typeof value === "number" ? Math.round(value * 1e6) / 1e6 : value)),
  ) as unknown;
  assert.deepEqual(rounded, [
    {
      row: "a",
      supervised: { detection: 85, localisation: 70 },
      unsupervised: { detection: 70, localisation: 50 },
      average: { detection: 77.5, localisation: 60 },
    },
    {
      row: "b",
      supervised: { detection: -5, localisation: 5 },
      unsupervised: { detection: 10, localisation: 0 },
      average: { detection: 2.5, localisation: 2.5 },
    },
    { row: "c", supervised: null, unsupervised: null, average: null },
  ]);
});

test("misclassification: sums over the parts, means over the seeds, areas over the images", () => {
  const counts = (truePositive: number, percentSum: number, images: number): RunResult["misclassification"] => ({
    threshold: 0,
    truePositive,
    trueNegative: 10,
    falsePositive: 1,
    falseNegative: 0,
    truePositiveArea: { percentSum, images },
    falseNegativeArea: { percentSum: 0, images: 0 },
  });
  const two = ["capsule", "softgel"];
  const made = [
    [counts(3, 6, 3), counts(1, 2, 1)],
    [counts(4, 12, 2), counts(2, 0, 0)],
  ];
  const results = made.flatMap((seeds, seed) =>
    seeds.map((misclassification, i) =>
      result({ protocol: "table3", parts: two, part: two[i]!, seed, ...(misclassification && { misclassification }) }),
    ),
  );
  assert.deepEqual(tabulate("table3", results).datasets[0]!.rows[0]!.misclassification, {
    truePositive: 5,
    trueNegative: 20,
    falsePositive: 2,
    falseNegative: 0,
    truePositiveArea: 4,
    falseNegativeArea: null,
  });
});

test("results survive a torn last line, which the next append removes", async (t) => {
  const folder = await temporaryFolder(t);
  const file = path.join(folder, "results.jsonl");
  await appendResult(file, result({}));
  const first = JSON.stringify(result({}));
  await writeFile(file, `${first}\n${first.slice(0, 100)}`);
  assert.deepEqual([...(await readResults(folder)).keys()], ["table2/sensum/full/all/seed0"]);
  await appendResult(file, result({ seed: 1 }));
  await writeFile(path.join(folder, "results-2-of-2.jsonl"), `${JSON.stringify(result({ seed: 2 }))}\n`);
  assert.deepEqual([...(await readResults(folder)).values()].map(({ seed }) => seed).sort(), [0, 1, 2]);
  assert.throws(() => parseResults(`${first}\n{"a":1}\n`, "r.jsonl"), failure("FILE_CORRUPT", "r.jsonl, line 2"));
  assert.throws(() => parseResults(`{"a"\n${first}\n`, "r.jsonl"), failure("FILE_CORRUPT", "line 1"));
  assert.equal((await readResults(path.join(folder, "none"))).size, 0);
});

test("a file of published numbers in another form: the place is named", async (t) => {
  const refused = (value: unknown, ...parts: string[]): void =>
    assert.throws(() => checkPublished(value, "p.json"), failure("FILE_CORRUPT", "p.json", ...parts));
  refused([], "at the top");
  refused({ full: {} }, "at full");
  refused({ full: { "1": { avg: {} } } }, `"avg" and "std" at full > 1`);
  refused(
    { full: { "1": { avg: { sensum: { AUPRO: { total: "0.9" } } }, std: { sensum: { AUPRO: { total: 0 } } } } } },
    "a number at full > 1 > avg > sensum > AUPRO > total",
  );
  refused(
    { full: { "1": { avg: { sensum: { AUPRO: { total: 0.9 } } }, std: { sensum: {} } } } },
    "at full > 1 > std > sensum > AUPRO > total",
  );
  refused({ full: { "1": { avg: { sensum: { AUPRO: { total: 0.9 } } }, std: null } } }, "at full > 1 > std > sensum");
  const folder = await temporaryFolder(t);
  await writeFile(path.join(folder, "broken.json"), "{");
  await assert.rejects(readPublished(path.join(folder, "broken.json")), failure("FILE_CORRUPT", "is not JSON"));
  await assert.rejects(readPublished(path.join(folder, "none.json")), failure("FILE_NOT_FOUND"));
});

const real = path.resolve(__dirname, "../../../../shared/reference/published_results.json");
test(
  "the authors' file: every entry is understood, and every one that a protocol names is in it",
  { skip: !existsSync(real) && "the published results are not beside the checkout" },
  async () => {
    const file = await readPublished(real);
    const used = new Set<string>();
    for (const protocol of Object.values(protocols)) {
      for (const kind of Object.keys(protocol.kinds) as PublishedKind[]) {
        const conditions = protocol.conditions({
          kind,
          labels: { anomalous: 1, segmented: 1 },
          regime: "full",
          base: { ...withPace(settled({}), "published"), epochs: 300 },
        });
        for (const { name, published: entry } of conditions) {
          if (entry === undefined) continue;
          assert.ok(publishedValue(file, entry, kind, "I-AUROC"), `${name} ${kind} ${entry.join(" ")}`);
          used.add([...entry, kind].join());
        }
      }
    }
    const entries = Object.entries(file).flatMap(([regime, keys]) =>
      Object.entries(keys).flatMap(([key, { avg }]) =>
        Object.keys(avg).map((dataset) => [regime, key, dataset].join()),
      ),
    );
    assert.deepEqual([...used].sort(), entries.sort());
  },
);
