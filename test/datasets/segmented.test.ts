import assert from "node:assert/strict";
import { test } from "node:test";

import { applyRegime, inferRegime, limitSegmented } from "../../lib/datasets/regime.js";
import type { Dataset, Sample } from "../../lib/datasets/dataset.js";
import { failure } from "./files.js";

/** 20 normal, 50 anomalous training images with masks, 5 anomalous test images with masks. */
const samples: Sample[] = [
  ...Array.from({ length: 20 }, (_, i): Sample => ({
    id: `train/good/${i}.png`,
    image: `/d/good/${i}`,
    label: "normal",
    split: "train",
  })),
  ...Array.from({ length: 50 }, (_, i): Sample => ({
    id: `train/bad/${i}.png`,
    image: `/d/bad/${i}`,
    mask: `/d/mask/${i}`,
    label: "anomalous",
    split: "train",
  })),
  ...Array.from({ length: 5 }, (_, i): Sample => ({
    id: `test/bad/${i}.png`,
    image: `/d/test/${i}`,
    mask: `/d/testmask/${i}`,
    label: "anomalous",
    split: "test",
  })),
];
const full: Dataset = { kind: "folder", name: "t", root: "/d", samples };
const kept = (dataset: Dataset): Set<string> =>
  new Set(
    dataset.samples
      .filter((sample) => sample.split === "train" && sample.mask !== undefined)
      .map((sample) => sample.id),
  );

test("a share or a number of masks is kept; labels, order and test masks stay", () => {
  const mixed = limitSegmented(full, { segmentedRatio: 0.4 });
  assert.equal(kept(mixed).size, 20);
  assert.equal(inferRegime(mixed), "mixed");
  assert.deepEqual(
    mixed.samples.map(({ id, label }) => [id, label]),
    samples.map(({ id, label }) => [id, label]),
  );
  assert.equal(mixed.samples.filter((sample) => sample.split === "test" && sample.mask).length, 5);
  assert.equal(kept(full).size, 50);
  assert.deepEqual(kept(limitSegmented(full, { segmentedCount: 20 })), kept(mixed));
  assert.equal(inferRegime(limitSegmented(full, { segmentedRatio: 0 })), "weak");
  assert.equal(inferRegime(limitSegmented(full, { segmentedRatio: 1 })), "full");
  assert.equal(limitSegmented(full, {}), full);
});

test("every choice lies within the next larger one", () => {
  for (let n = 0; n < 50; n++) {
    const larger = kept(limitSegmented(full, { segmentedCount: n + 1 }));
    const smaller = kept(limitSegmented(full, { segmentedCount: n }));
    assert.equal(smaller.size, n);
    for (const id of smaller) assert.ok(larger.has(id), `${id} of ${n} is not among ${n + 1}`);
  }
});

test("the choice depends on the ids alone, is spread over them, and is always the same", () => {
  const reversed = {
    ...full,
    root: "/elsewhere",
    samples: [...samples].reverse().map((sample) => ({ ...sample, image: `/x${sample.image}` })),
  };
  const ten = kept(limitSegmented(full, { segmentedCount: 10 }));
  assert.deepEqual([...kept(limitSegmented(reversed, { segmentedCount: 10 }))].sort(), [...ten].sort());
  assert.notDeepEqual(
    [...ten],
    samples.slice(20, 30).map(({ id }) => id),
  );
  // Part of the package's reproducibility: a change here changes what published runs trained on.
  assert.deepEqual(
    [...kept(limitSegmented(full, { segmentedCount: 3 }))],
    ["train/bad/4.png", "train/bad/43.png", "train/bad/46.png"],
  );
  // Choosing again from what was chosen changes nothing.
  const mixed = limitSegmented(full, { segmentedRatio: 0.3 });
  assert.deepEqual(kept(limitSegmented(mixed, { segmentedRatio: 0.3 })), kept(mixed));
  assert.deepEqual(kept(limitSegmented(mixed, { segmentedCount: 10 })), ten);
});

test("a published choice goes before ours, and another number is refused", () => {
  const chosen: Dataset = { ...full, segmented: { file: "split_weakly_53.pyb", count: 53 } };
  assert.equal(limitSegmented(chosen, { segmentedCount: 53 }), chosen);
  assert.throws(
    () => limitSegmented(chosen, { segmentedCount: 16 }),
    failure("INVALID_OPTION", "'segmentedCount' 53", "split_weakly_53.pyb", "'segmentedCount' 16"),
  );
  assert.throws(
    () => limitSegmented(chosen, { segmentedRatio: 0.5 }),
    failure("INVALID_OPTION", "'segmentedRatio' 0.5"),
  );
});

test("impossible requests say why", () => {
  assert.throws(
    () => limitSegmented(full, { segmentedCount: 51 }),
    failure("DATASET_INVALID", "51 masks", "only 50 of 50"),
  );
  assert.throws(
    () => limitSegmented(applyRegime(full, "unsupervised"), { segmentedRatio: 0.2 }),
    failure("DATASET_INVALID", "there are none"),
  );
  assert.throws(
    () => limitSegmented(limitSegmented(full, { segmentedCount: 5 }), { segmentedRatio: 0.2 }),
    failure("DATASET_INVALID", "10 masks", "only 5 of 50"),
  );
  assert.throws(
    () => limitSegmented(full, { segmentedRatio: 1.5 }),
    failure("INVALID_OPTION", "segmentedRatio", "1.5"),
  );
  assert.throws(
    () => limitSegmented(full, { segmentedCount: 2.5 }),
    failure("INVALID_OPTION", "segmentedCount", "2.5"),
  );
  assert.throws(
    () => limitSegmented(full, { segmentedRatio: 0.1, segmentedCount: 5 }),
    failure("INVALID_OPTION", "exclude each other"),
  );
  assert.throws(
    () => applyRegime(limitSegmented(full, { segmentedRatio: 0.4 }), "full"),
    failure("DATASET_INVALID", "30 of 50", "have no mask"),
  );
});
