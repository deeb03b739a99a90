import type { Dataset, Sample } from "./types.js";

export interface DatasetCounts {
  trainNormal: number;
  trainAnomalous: number;
  /** Anomalous training images with a mask. */
  trainSegmented: number;
  testNormal: number;
  testAnomalous: number;
  testSegmented: number;
}

/** How many samples each split has, without reading a file. */
export function countSamples(dataset: Dataset): DatasetCounts {
  const count = (split: Sample["split"], label: Sample["label"], masked = false): number =>
    dataset.samples.filter(
      (sample) => sample.split === split && sample.label === label && (!masked || sample.mask !== undefined),
    ).length;
  return {
    trainNormal: count("train", "normal"),
    trainAnomalous: count("train", "anomalous"),
    trainSegmented: count("train", "anomalous", true),
    testNormal: count("test", "normal"),
    testAnomalous: count("test", "anomalous"),
    testSegmented: count("test", "anomalous", true),
  };
}
