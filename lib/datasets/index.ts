import { convertDataset } from "./convert.js";
import { folder } from "./folder.js";
import { generated } from "./generated.js";
import { manifest } from "./manifest.js";
import { publishedSettings } from "./published.js";
import { kinds, open } from "./registry.js";
import { validateDataset } from "./validate.js";

/** Everything that makes or checks a data set. docs/guides/data.md shows the layouts. */
export const datasets = {
  folder,
  manifest,
  generated,
  open,
  /** The kinds that `open` knows. */
  kinds,
  publishedSettings,
  validate: validateDataset,
  convert: convertDataset,
} as const;

export type { ConvertOptions } from "./convert.js";
export type { DatasetCounts } from "./dataset.js";
export type { GeneratedOptions } from "./generated.js";
export type { FolderOptions, ManifestOptions, OpenOptions } from "../schema/datasets.js";
export type { PublishedSettings } from "./published.js";
export type { Defect } from "./surface.js";
export type { Dataset, DatasetProblem, Label, Regime, Sample, Split } from "./dataset.js";
export type { ValidateOptions, ValidationResult } from "./validate.js";
