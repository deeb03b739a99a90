import type { Dataset } from "../datasets/dataset.js";
import type { Model } from "../models/model.js";
import type { VerifyOptions as Options } from "../schema/export.js";
import type { Difference, Result } from "./beside.js";

/** Options of verifyOnnx. */
export interface VerifyOptions extends Options {
  /** Called with how many images have been compared. */
  onProgress?: (done: number, total: number) => void;
}

/** An image in both, without its map. */
export interface VerifiedImage {
  id: string;
  engine: Omit<Result, "map">;
  graph: Omit<Result, "map">;
  /** The largest difference of the maps' logits. */
  mapDifference: number;
}

/** An ONNX file beside the model that it was exported from. */
export interface OnnxVerification {
  images: VerifiedImage[];
  /** The largest differences, relative to the engine's largest value, and what they may be. */
  difference: Difference;
  bound: number;
  withinBound: boolean;
  /** Images with another verdict. */
  otherVerdicts: number;
  /** Of the score; null where one class is missing. */
  imageAuroc: { engine: number | null; graph: number | null };
  /** Images whose verdict is not the one of the graph's own score and map: the file was changed. */
  inconsistentVerdicts: number;
  /** The model's thresholds are not those of the file. */
  thresholdsChanged: boolean;
  runtime: string;
}

/**
 * Runs an ONNX file that exportOnnx wrote beside the engine, on a split of a data set. Errors: ONNXRUNTIME_UNUSABLE,
 * FILE_CORRUPT (no such file, or a changed one), CHECKSUM_MISMATCH (of another model), DATASET_INVALID, FILE_NOT_FOUND, those
 * of Detector.load and detector.detect, ABORTED.
 */
export async function verifyOnnx(
  model: Model,
  file: string,
  dataset: Dataset,
  options: VerifyOptions = {},
): Promise<OnnxVerification> {
  const { compareFile } = await import("./compare_file.js"); // with protobufjs
  return compareFile(model, file, dataset, options);
}
