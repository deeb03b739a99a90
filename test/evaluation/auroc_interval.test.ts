import assert from "node:assert/strict";
import { test } from "node:test";

import { aurocInterval } from "../../lib/evaluation/auroc_interval.js";
import { Random } from "../../lib/random.js";

/** Pair by pair. */
function auroc(positives: readonly number[], negatives: readonly number[]): number {
  let wins = 0;
  for (const p of positives) for (const n of negatives) wins += p > n ? 1 : p === n ? 0.5 : 0;
  return wins / (positives.length * negatives.length);
}

/** Of two normal distributions that are `distance` apart the AUROC is the normal distribution's at distance / sqrt(2). */
const cases = [
  { distance: 0, truth: 0.5 },
  { distance: 1.8124, truth: 0.9 },
  { distance: 2.9044, truth: 0.98 },
];

for (const { distance, truth } of cases)
  for (const [m, n] of [
    [12, 24],
    [60, 60],
  ] as const)
    test(`an AUROC of ${truth} lies in nine of ten intervals, of ${m} defects and ${n} good parts`, () => {
      const random = new Random(1, "auroc", m);
      const normal = (): number =>
        Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
      let inside = 0;
      const times = 1500;
      for (let i = 0; i < times; i++) {
        const seen = auroc(
          Array.from({ length: m }, () => normal() + distance),
          Array.from({ length: n }, normal),
        );
        const [low, high] = aurocInterval(seen, m, n);
        assert.ok(low <= seen && seen <= high);
        if (low <= truth && truth <= high) inside++;
      }
      assert.ok(inside / times > 0.86 && inside / times < 0.97, `${inside / times}`);
    });

test("the interval has a width at 1, grows narrower with images, and is symmetric", () => {
  const [low, high] = aurocInterval(1, 12, 24);
  assert.equal(high, 1);
  assert.ok(low > 0.85 && low < 0.97, `${low}`);
  assert.ok(aurocInterval(1, 120, 240)[0] > low);
  const [a, b] = aurocInterval(0.8, 20, 30);
  const [c, d] = aurocInterval(0.2, 20, 30);
  assert.ok(Math.abs(a - (1 - d)) < 1e-9 && Math.abs(b - (1 - c)) < 1e-9);
  assert.deepEqual(aurocInterval(0.5, 0, 3), [0, 1]);
});
