import assert from "node:assert/strict";
import { test } from "node:test";

import { normalUpper } from "../../lib/calibration/distributions.js";
import type { CalibrationImage } from "../../lib/calibration/images.js";
import { unsureBelow } from "../../lib/calibration/unsure.js";
import { defaultThresholds, type Thresholds, type Unsure } from "../../lib/models/config.js";
import { Random } from "../../lib/random.js";

const repetitions = 500;
const repeat = <T>(n: number, draw: () => T): T[] => Array.from({ length: n }, draw);
const good = (logit: number, peak = logit): CalibrationImage => ({ anomalous: false, logit, peak });
const defect = (logit: number, peak = logit): CalibrationImage => ({ anomalous: true, logit, peak });
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

function unsure(
  images: readonly CalibrationImage[],
  missRate: number,
  thresholds: Partial<Thresholds> = {},
): Unsure & { warnings: string[] } {
  const all = { ...defaultThresholds, scoreLogit: 100, mapLogit: 100, ...thresholds };
  const { unsure: found, warnings } = unsureBelow(images, all, missRate);
  return { ...found, warnings };
}

test("by defects: on average a new defect is called good as often as asked for", () => {
  for (const [n, missRate] of [
    [8, 0.1],
    [20, 0.05],
    [60, 0.1],
  ] as const) {
    const random = new Random(1, "miss rate", n);
    const misses = repeat(repetitions, () => {
      const images = [...repeat(20, () => good(random.normal())), ...repeat(n, () => defect(4 + 2 * random.normal()))];
      const { scoreLogit, method } = unsure(images, missRate);
      assert.equal(method, "defects");
      return 1 - normalUpper((scoreLogit - 4) / 2);
    });
    const found = mean(misses);
    assert.ok(found > 0.85 * missRate && found < 1.15 * missRate, `n ${n}: ${found}, asked for ${missRate}`);
  }
});

test("either: each source keeps the miss rate by itself", () => {
  const random = new Random(2, "either");
  const images = [
    ...repeat(10, () => good(random.normal(), random.normal())),
    ...repeat(30, () => defect(4 + random.normal(), 9 + random.normal())),
  ];
  const [either, score, map] = (["either", "score", "map"] as const).map((decision) =>
    unsure(images, 0.05, { decision }),
  );
  assert.equal(either!.scoreLogit, score!.scoreLogit);
  assert.equal(either!.mapLogit, map!.mapLogit);
});

test("with fewer than five defects: a tenth of the good parts, as a share of both sources", () => {
  for (const decision of ["score", "map", "either"] as const) {
    const random = new Random(3, "good parts", decision);
    const shares = repeat(repetitions, () => {
      const images = [...repeat(30, () => good(random.normal(), random.normal())), ...repeat(4, () => defect(50))];
      const { scoreLogit, mapLogit, method } = unsure(images, 0.01, { decision });
      assert.equal(method, "good-parts");
      const [byScore, byMap] = [normalUpper(scoreLogit), normalUpper(mapLogit)];
      return { score: byScore, map: byMap, either: 1 - (1 - byScore) * (1 - byMap) }[decision];
    });
    const found = mean(shares);
    assert.ok(found > 0.09 && found < 0.107, `${decision}: ${found}`);
  }
});

test("never above the thresholds themselves, which leaves no part unsure", () => {
  const images = [
    ...[-3, -2.5, -2, -1.5].map((logit) => good(logit)),
    ...[4, 5, 6, 7, 8].map((logit) => defect(logit)),
  ];
  const low = unsure(images, 0.1, { decision: "either", scoreLogit: -1, mapLogit: -5 });
  assert.deepEqual([low.scoreLogit, low.mapLogit, low.normal.count, low.anomalous!.count], [-1, -5, 0, 0]);
  const random = new Random(4, "never above");
  for (let i = 0; i < 100; i++) {
    const some = [
      ...repeat(4 + random.integer(10), () => good(random.normal(), random.normal())),
      ...repeat(random.integer(10), () => defect(random.normal(), random.normal())),
    ];
    const [scoreLogit, mapLogit] = [random.normal(), random.normal()];
    const found = unsure(some, 0.2, { decision: "either", scoreLogit, mapLogit });
    assert.ok(found.scoreLogit <= scoreLogit && found.mapLogit <= mapLogit);
  }
});

test("unsure parts are counted: those from the lower threshold on, below the upper one", () => {
  const images = [
    ...[-3, -2.5, -2, -1.5, 2.9, 7].map((logit) => good(logit)),
    ...[3, 3, 3, 3, 3, 8].map((logit) => defect(logit)),
  ];
  const flat = images.filter(({ logit }) => logit !== 8);
  const found = unsure(flat, 0.1, { scoreLogit: 6 });
  assert.equal(found.scoreLogit, 3, "equal defects: at their own value");
  assert.deepEqual([found.normal.count, found.normal.of], [0, 6], "2.9 is good, 7 is a defect");
  assert.deepEqual([found.anomalous!.count, found.anomalous!.of], [5, 5]);
  const none = unsure(images.slice(0, 6), 0.1, { scoreLogit: 6 });
  assert.equal(none.anomalous, null);
});

test("warnings: too few defects for any miss rate, or for this one", () => {
  const goods = [-3, -2.5, -2, -1.5, -1].map((logit) => good(logit));
  const beside = (count: number, missRate: number): string[] =>
    unsure([...goods, ...repeat(count, () => 0).map((_, i) => defect(4 + i))], missRate).warnings;
  assert.deepEqual(beside(3, 0.01), [
    "3 defects say nothing about a miss rate of 1 %; 5 are needed. 10 % of the good parts may be unsure instead.",
  ]);
  assert.deepEqual(beside(5, 0.01), [
    "5 defects are too few for a miss rate of 1 %: it takes 9. 5 support 1.7 % at best. Where a part is unsure is a cautious guess.",
  ]);
  assert.deepEqual(beside(9, 0.01), []);
});

test("good parts that are all equal tell nothing: no part is unsure", () => {
  const found = unsure([good(-1), good(-1), good(-1), good(-1), good(-1)], 0.1, { scoreLogit: 2, mapLogit: 3 });
  assert.deepEqual([found.scoreLogit, found.mapLogit, found.normal.count], [2, 3, 0]);
});
