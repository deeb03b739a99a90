import assert from "node:assert/strict";
import { test } from "node:test";

import { bestF1, bestF1OfEither } from "../../lib/calibration/best_f1.js";
import type { CalibrationImage } from "../../lib/calibration/images.js";
import { Random } from "../../lib/random.js";

const image = (anomalous: boolean, logit: number, peak = 0): CalibrationImage => ({ anomalous, logit, peak });
const byLogit = ({ logit }: CalibrationImage): number => logit;

/** F1 by its definition. */
function f1(images: readonly CalibrationImage[], isFound: (image: CalibrationImage) => boolean): number {
  const count = (anomalous: boolean, found: boolean): number =>
    images.filter((one) => one.anomalous === anomalous && isFound(one) === found).length;
  return (2 * count(true, true)) / (2 * count(true, true) + count(false, true) + count(true, false));
}

const ofEither = (images: readonly CalibrationImage[], score: number, map: number): number =>
  f1(images, ({ logit, peak }) => logit >= score || peak >= map);

/** Few images with few different values, so that many are equal. At least one has a defect. */
function drawn(random: Random): CalibrationImage[] {
  const images = Array.from({ length: 1 + random.integer(9) }, () => {
    const anomalous = random.uniform() < 0.4;
    return image(anomalous, random.integer(5) + (anomalous ? 1 : 0), random.integer(5) - (anomalous ? 0 : 1));
  });
  return [...images, image(true, random.integer(6), random.integer(5))];
}

/** Every threshold that splits the values differently. */
const cuts = (values: readonly number[]): number[] => [...new Set(values), Infinity];

test("one source: no threshold has a higher F1", () => {
  const random = new Random(1, "best f1");
  for (let i = 0; i < 500; i++) {
    const images = drawn(random);
    const threshold = bestF1(images, byLogit);
    const best = Math.max(...cuts(images.map(byLogit)).map((cut) => f1(images, ({ logit }) => logit >= cut)));
    assert.equal(
      f1(images, ({ logit }) => logit >= threshold),
      best,
      JSON.stringify(images),
    );
  }
});

test("either: no pair of thresholds has a higher F1, so it is no worse than one source", () => {
  const random = new Random(2, "best f1");
  for (let i = 0; i < 500; i++) {
    const images = drawn(random);
    const { score, map } = bestF1OfEither(images);
    const peaks = cuts(images.map(({ peak }) => peak));
    const best = Math.max(
      ...cuts(images.map(byLogit)).flatMap((logit) => peaks.map((peak) => ofEither(images, logit, peak))),
    );
    assert.equal(ofEither(images, score, map), best, JSON.stringify(images));
  }
});

test("thresholds lie half way down to the next lower value, of all images", () => {
  const images = [image(false, 0, 10), image(false, 1, 20), image(true, 4, 50), image(true, 5, 40)];
  assert.equal(bestF1(images, byLogit), 2.5);
  const random = new Random(3, "best f1");
  for (let i = 0; i < 200; i++) {
    const some = drawn(random);
    const threshold = bestF1(some, byLogit);
    const logits = some.map(byLogit);
    const above = Math.min(...logits.filter((logit) => logit >= threshold));
    const below = Math.max(...logits.filter((logit) => logit < threshold));
    assert.equal(threshold, below === -Infinity ? above : (above + below) / 2);
  }
});

test("either: each source finds the defects that the other does not see", () => {
  const images = [image(false, 0, 0), image(false, 1, 1), image(true, 5, 0), image(true, 0, 7)];
  assert.deepEqual(bestF1OfEither(images), { score: 3, map: 4 });
});

test("either: a source that finds nothing by itself lies one logit above every image", () => {
  const seen = [image(false, 0, 3), image(false, 1, 2), image(true, 5, 1), image(true, 6, 0)];
  assert.deepEqual(bestF1OfEither(seen), { score: 3, map: 4 });
  const mirrored = seen.map(({ anomalous, logit, peak }) => image(anomalous, peak, logit));
  assert.deepEqual(bestF1OfEither(mirrored), { score: 4, map: 3 });
});

test("values that float64 hardly tells apart stay apart", () => {
  const images = [image(false, 1), image(true, 1 + Number.EPSILON)];
  assert.equal(
    f1(images, ({ logit }) => logit >= bestF1(images, byLogit)),
    1,
  );
});

test("all values equal: everything is found", () => {
  const images = [image(false, 2, 3), image(true, 2, 3)];
  assert.equal(bestF1(images, byLogit), 2);
  const { score, map } = bestF1OfEither(images);
  assert.equal(ofEither(images, score, map), 2 / 3);
});
