import assert from "node:assert/strict";
import { test } from "node:test";

import { epochOrder, examplesPerEpoch } from "../../lib/datasets/order.js";
import type { Label } from "../../lib/datasets/dataset.js";
import { failure } from "./files.js";

const labels = (normal: number, anomalous: number): Label[] => [
  ...Array<Label>(normal).fill("normal"),
  ...Array<Label>(anomalous).fill("anomalous"),
];
const key = ({ sample, flip }: { sample: number; flip: number }): string => `${sample}/${flip}`;

test("unsupervised: every image once, unflipped, in an order of its own in every epoch", () => {
  const options = { labels: labels(50, 0), seed: 1, balanced: false, flips: false };
  const orders = [0, 1, 2].map((epoch) => epochOrder({ ...options, epoch }).map(key));
  for (const order of orders) assert.deepEqual([...order].sort(), [...orders[0]!].sort());
  assert.equal(new Set(orders.map(String)).size, 3);
  assert.equal(new Set(orders[0]).size, 50);
  assert.ok(orders[0]!.every((name) => name.endsWith("/0")));
  assert.deepEqual(epochOrder({ ...options, epoch: 1 }).map(key), orders[1]);
  assert.notDeepEqual(epochOrder({ ...options, epoch: 1, seed: 2 }).map(key), orders[1]);
});

test("the number of examples is that of the order", () => {
  for (const [normal, anomalous] of [
    [5, 3],
    [0, 3],
    [5, 0],
    [100, 6],
  ] as const)
    for (const balanced of [false, true])
      for (const flips of [false, true]) {
        if (balanced && normal === 0) continue;
        const options = { labels: labels(normal, anomalous), balanced, flips };
        assert.equal(examplesPerEpoch(options), epochOrder({ ...options, seed: 1, epoch: 2 }).length);
      }
  assert.throws(
    () => examplesPerEpoch({ labels: labels(0, 3), balanced: true, flips: true }),
    failure("DATASET_INVALID", "Balanced sampling needs normal training images"),
  );
});

test("without balancing every sample comes once", () => {
  const order = epochOrder({ labels: labels(5, 3), seed: 0, epoch: 0, balanced: false, flips: false });
  assert.deepEqual(
    order.map(key).sort(),
    Array.from({ length: 8 }, (_, i) => `${i}/0`),
  );
});

test("supervised: every anomalous image in four flips, and as many normal ones, which are not flipped", () => {
  const order = epochOrder({ labels: labels(100, 6), seed: 4, epoch: 9, balanced: true, flips: true });
  const anomalous = order.filter(({ sample }) => sample >= 100);
  const normal = order.filter(({ sample }) => sample < 100);
  assert.equal(new Set(anomalous.map(key)).size, 24);
  assert.equal(anomalous.length, 24);
  assert.equal(normal.length, 24);
  assert.equal(new Set(normal.map(({ sample }) => sample)).size, 24);
  assert.ok(normal.every(({ flip }) => flip === 0));
  // Shuffled together: neither kind keeps to one half.
  const early = order.slice(0, 24).filter(({ sample }) => sample < 100).length;
  assert.ok(early > 4 && early < 20, String(early));
  assert.equal(epochOrder({ labels: labels(100, 6), seed: 4, epoch: 9, balanced: true, flips: false }).length, 12);
});

for (const [normal, anomalous] of [
  [100, 6],
  [24, 6],
  [25, 6],
  [47, 6],
  [13, 3],
] as const) {
  test(`${normal} normal images for ${anomalous * 4} places: those seen least come first`, () => {
    const seen = new Array<number>(normal).fill(0);
    for (let epoch = 0; epoch < 40; epoch++) {
      const drawn = new Set<number>();
      for (const { sample } of epochOrder({
        labels: labels(normal, anomalous),
        seed: 2,
        epoch,
        balanced: true,
        flips: true,
      })) {
        if (sample >= normal) continue;
        assert.ok(!drawn.has(sample), "drawn twice in one epoch");
        drawn.add(sample);
      }
      assert.equal(drawn.size, anomalous * 4);
      const others = seen.filter((_, i) => !drawn.has(i));
      const most = Math.max(...[...drawn].map((i) => seen[i]!));
      assert.ok(
        others.every((count) => count >= most),
        `epoch ${epoch} passed over an image seen less often`,
      );
      for (const i of drawn) seen[i]!++;
    }
    assert.ok(Math.max(...seen) - Math.min(...seen) <= 1);
  });
}

test("ties are broken anew in every round and by the seed", () => {
  const first = (seed: number, epoch: number): string =>
    epochOrder({ labels: labels(40, 5), seed, epoch, balanced: true, flips: true })
      .map(({ sample }) => sample)
      .filter((s) => s < 40)
      .sort()
      .join();
  // 20 of 40 in an epoch: epochs 0 and 2 begin a round.
  assert.notEqual(first(0, 0), first(0, 2));
  assert.notEqual(first(0, 0), first(1, 0));
});

test("too few normal images are drawn with replacement", () => {
  const order = epochOrder({ labels: labels(3, 5), seed: 0, epoch: 0, balanced: true, flips: true });
  const normal = order.filter(({ sample }) => sample < 3);
  assert.equal(normal.length, 20);
  assert.equal(new Set(normal.map(({ sample }) => sample)).size, 3);
  assert.notDeepEqual(epochOrder({ labels: labels(3, 5), seed: 0, epoch: 1, balanced: true, flips: true }), order);
});

test("balancing without a normal image is refused; without an anomalous one it is a plain shuffle", () => {
  assert.throws(
    () => epochOrder({ labels: labels(0, 2), seed: 0, epoch: 0, balanced: true, flips: true }),
    failure("DATASET_INVALID", "normal"),
  );
  assert.equal(epochOrder({ labels: labels(7, 0), seed: 0, epoch: 0, balanced: true, flips: true }).length, 7);
});
