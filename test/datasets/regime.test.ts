import assert from "node:assert/strict";
import { test } from "node:test";

import { splitCalibration } from "../../lib/datasets/calibration.js";
import { applyRegime, inferRegime } from "../../lib/datasets/regime.js";
import type { Dataset, Regime, Sample } from "../../lib/datasets/dataset.js";
import { failure } from "./files.js";

function sample(id: string, kind: "good" | "bad" | "masked", split: "train" | "test" = "train"): Sample {
  return {
    id,
    image: `/data/${id}`,
    label: kind === "good" ? "normal" : "anomalous",
    split,
    ...(kind === "masked" ? { mask: `/data/mask/${id}` } : {}),
  };
}
const data = (...samples: Sample[]): Dataset => ({ kind: "folder", name: "t", root: "/data", samples });
const tests = [sample("x", "masked", "test"), sample("y", "good", "test")];
const unsupervised = data(sample("a", "good"), ...tests);
const weak = data(sample("a", "good"), sample("b", "bad"), sample("c", "bad"), ...tests);
const mixed = data(sample("a", "good"), sample("b", "bad"), sample("c", "masked"), ...tests);
const full = data(sample("a", "good"), sample("b", "masked"), sample("c", "masked"), ...tests);

test("the training labels alone tell the regime", () => {
  assert.deepEqual([unsupervised, weak, mixed, full].map(inferRegime), ["unsupervised", "weak", "mixed", "full"]);
});

test("a regime that needs less drops labels, of training samples only, on a copy", () => {
  const ids = (dataset: Dataset): string => dataset.samples.map(({ id, mask }) => id + (mask ? "*" : "")).join(" ");
  assert.equal(ids(applyRegime(full, "unsupervised")), "a x* y");
  assert.equal(ids(applyRegime(full, "weak")), "a b c x* y");
  assert.equal(ids(applyRegime(mixed, "weak")), "a b c x* y");
  assert.equal(ids(applyRegime(full, "mixed")), "a b* c* x* y");
  assert.equal(ids(applyRegime(mixed, "auto")), "a b c* x* y");
  assert.equal(inferRegime(applyRegime(full, "weak")), "weak");
  assert.equal(ids(full), "a b* c* x* y");
});

test("a regime that needs more says what is missing", () => {
  assert.throws(
    () => applyRegime(unsupervised, "weak"),
    failure("DATASET_INVALID", "'weak'", "anomalous training images", "'unsupervised'"),
  );
  assert.throws(() => applyRegime(weak, "mixed"), failure("DATASET_INVALID", "masks for some of the 2", "'weak'"));
  assert.throws(() => applyRegime(mixed, "full"), failure("DATASET_INVALID", "1 of 2", "(b)", "'mixed'"));
  assert.throws(() => applyRegime(full, "fulll" as Regime), failure("INVALID_OPTION", "did you mean 'full'"));
});

const many = (normal: number, bad: number, masked: number): Sample[] => [
  ...Array.from({ length: normal }, (_, i) => sample(`n${i}`, "good")),
  ...Array.from({ length: bad }, (_, i) => sample(`b${i}`, "bad")),
  ...Array.from({ length: masked }, (_, i) => sample(`m${i}`, "masked")),
];

test("calibration holds out a share of every kind of image", () => {
  const samples = many(100, 30, 20);
  const { fit, calibration, reason } = splitCalibration(samples, { fraction: 0.2, seed: 5 });
  assert.equal(reason, undefined);
  assert.deepEqual(
    ["n", "b", "m"].map((kind) => calibration.filter(({ id }) => id.startsWith(kind)).length),
    [20, 6, 4],
  );
  assert.deepEqual([...fit, ...calibration].map(({ id }) => id).sort(), samples.map(({ id }) => id).sort());
});

test("calibration depends on ids and seed, not on the order of the files", () => {
  const held = (samples: Sample[], seed: number): string[] =>
    splitCalibration(samples, { seed })
      .calibration.map(({ id }) => id)
      .sort();
  const samples = many(60, 10, 10);
  assert.deepEqual(held(samples, 1), held([...samples].reverse(), 1));
  assert.notDeepEqual(held(samples, 1), held(samples, 2));
});

test("too few images for calibration: everything is fitted, and the reason given", () => {
  const few = splitCalibration(many(20, 2, 0), { fraction: 0.1 });
  assert.equal(few.fit.length, 22);
  assert.deepEqual(few.calibration, []);
  assert.match(few.reason!, /20 normal training images leave only 2/);
  assert.match(splitCalibration(many(100, 0, 0), { fraction: 0 }).reason!, /fraction is 0/);
  // The only image of a kind stays in training.
  assert.ok(splitCalibration(many(100, 1, 1), { fraction: 0.5 }).calibration.every(({ id }) => id.startsWith("n")));
  assert.throws(() => splitCalibration([], { fraction: 0.9 }), failure("INVALID_OPTION", "fraction"));
});
