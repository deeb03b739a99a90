import { hash32 } from "../random.js";
import type { Dataset, Label, Sample } from "../datasets/types.js";

/**
 * Keeps a share of the normal and of the anomalous training images, at least the two normal ones and the anomalous one
 * that a training needs. The choice depends on the ids alone, and a smaller choice lies within every larger one. The test
 * split stays.
 */
export function limitTraining(dataset: Dataset, shares: { normalShare?: number; anomalousShare?: number }): Dataset {
  const keep = (label: Label, share: number, least: number): Set<Sample> => {
    const rank = (sample: Sample): number => hash32(`training\u0000${sample.id}`);
    const all = dataset.samples
      .filter((sample) => sample.split === "train" && sample.label === label)
      .sort((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1));
    return new Set(all.slice(0, Math.max(least, Math.round(share * all.length))));
  };
  const kept = {
    normal: keep("normal", shares.normalShare ?? 1, 2),
    anomalous: keep("anomalous", shares.anomalousShare ?? 1, 1),
  };
  return {
    ...dataset,
    samples: dataset.samples.filter((sample) => sample.split === "test" || kept[sample.label].has(sample)),
  };
}
