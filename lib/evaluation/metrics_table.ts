/** Every metric of an evaluation, in the order of files and screens: what the paper calls it there, and what it measures. */
export const metricsTable = {
  imageAuroc: { name: "I-AUROC", measures: "Area under the ROC curve of the image scores." },
  imageAveragePrecision: { name: "AP-det", measures: "Average precision of the image scores." },
  imageF1Max: { name: "F1-max", measures: "Highest F1 of the image scores over all thresholds." },
  f1MaxThreshold: {
    name: "F1-max threshold",
    measures:
      "Score (0 to 1) at which F1 is highest on these images. For reports: thresholds are never taken from here.",
  },
  pixelAuroc: { name: "P-AUROC", measures: "Area under the ROC curve of all pixels of the maps." },
  pixelAveragePrecision: { name: "AP-loc", measures: "Average precision of all pixels of the maps." },
  aupro: { name: "AUPRO", measures: "Area under the mean overlap of regions, up to a false-positive rate of 0.3." },
  segmentedImageAuroc: { name: "seg-I-AUROC", measures: "As I-AUROC, with the maximum of the map as the score." },
  segmentedImageAveragePrecision: {
    name: "seg-AP-det",
    measures: "As AP-det, with the maximum of the map as the score.",
  },
} as const;

/** The names of the metrics in the API. */
export type MetricId = keyof typeof metricsTable;

/** The paper's metrics; null where the data cannot define one, `notes` says why. */
export type Metrics = Record<MetricId, number | null>;

export const metricIds = Object.keys(metricsTable) as MetricId[];

/** Values by the paper's names, as files and screens have them. */
export function byPaperName<Value>(values: Partial<Record<MetricId, Value>>): Record<string, Value> {
  const known = metricIds.filter((id) => values[id] !== undefined);
  return Object.fromEntries(known.map((id) => [metricsTable[id].name, values[id]!]));
}

/** The other way round, for what comes from a file. */
export function byIdentifier<Value>(values: Readonly<Record<string, Value>>): Partial<Record<MetricId, Value>> {
  const known = metricIds.filter((id) => Object.hasOwn(values, metricsTable[id].name));
  return Object.fromEntries(known.map((id) => [id, values[metricsTable[id].name]!]));
}
