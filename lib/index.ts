/**
 * SuperSimpleNet: surface defect detection that trains with whatever labels there are.
 *
 *     const model = await new Trainer().fit(await datasets.open("data/bottle"));
 *     const detector = await Detector.load(model);
 *     const { score, anomalous, map, regions } = await detector.detect("part.png");
 *
 * What stands under "stable" keeps its meaning within a major version; "experimental" may change in any. Types that occur
 * only inside others are reached through them, such as `Detection["map"]` or `Evaluation["samples"]`.
 */

// stable: data
export { datasets } from "./datasets/index.js";
export type { Dataset, Label, Regime, Sample } from "./datasets/dataset.js";
export type { ConvertOptions } from "./datasets/convert.js";
export type { GeneratedOptions } from "./datasets/generated.js";
export type { ValidateOptions } from "./datasets/validate.js";
export type { FolderOptions, ManifestOptions, OpenOptions } from "./schema/datasets.js";
export type { Rectangle } from "./images/rectangle.js";

// stable: training
export { Trainer } from "./training/trainer.js";
export type { EpochEvent, FitOptions, SnapshotEvent, StartEvent, StepEvent } from "./training/events.js";
export type { DistributedOptions, TrainerOptions } from "./schema/types.js";
export { describeView, type DescribeViewOptions, type ViewDescription } from "./training/describe_view.js";
export { mergeOptions } from "./schema/check.js";
export { regimePresets } from "./schema/presets.js";
export { trainerDefaults } from "./schema/training.js";

// stable: models and backbone weights
export { Model } from "./models/model.js";
export { modelFromCheckpoint } from "./models/checkpoint.js";
export type { CalibrateOptions, CalibrationParts } from "./calibration/recalibrate.js";
export { type ModelConfig, modelFormatVersion, type Thresholds } from "./models/config.js";
export type { ModelFromCheckpointOptions } from "./schema/models.js";
export { importWeights } from "./backbones/import.js";
export { listWeights } from "./backbones/catalogue.js";
export { pullWeights, type PullOptions } from "./backbones/pull.js";

// stable: detection
export { Detector } from "./detection/detector.js";
export type { Drift } from "./calibration/drift_watch.js";
export type {
  AnomalyMap,
  DetectEachOptions,
  Detection,
  DetectOptions,
  ImageSource,
  NamedImage,
} from "./detection/types.js";
export type { RawImage } from "./images/source.js";
export type { DetectorOptions } from "./schema/detection.js";
export type { Architecture, Precision, Region, TensorMap } from "./native/binding.js";

// experimental: detection over HTTP
export { createServer, type DetectionServer, type ServerOptions } from "./server/create.js";

// stable: evaluation
export { evaluate, type EvaluateOptions } from "./evaluation/evaluate.js";
export { evaluateMaps, evaluateScores } from "./evaluation/metrics.js";
export type { EvaluatedMap, MapMetrics, ScoreMetrics } from "./evaluation/metrics.js";
export { type MetricId, type Metrics, metricsTable } from "./evaluation/metrics_table.js";
export type { Evaluation } from "./evaluation/evaluate.js";
export type { EvaluateMapsOptions } from "./schema/evaluation.js";

// stable: errors and diagnosis
export { type ErrorCode, SuperSimpleNetError } from "./errors.js";
export { type Diagnosis, diagnose } from "./diagnose.js";
export { type CudaInstallOptions, installCuda } from "./native/cuda_install.js";

// experimental: the paper's experiments
export { experiment } from "./experiments/experiment.js";
export type { ExperimentEvent, ExperimentOptions, ExperimentReport } from "./experiments/experiment.js";
export type { ExperimentTable } from "./experiments/tables.js";
export { type ProtocolName, protocols } from "./experiments/protocols.js";
export { type AblationName, ablations } from "./schema/presets.js";

// experimental: results for other machines
export type { Output, OutputStatus, Result } from "./outputs/output.js";
export { openOutputs, type OutputOptions } from "./outputs/open.js";
export { type Keeper, openKeeper } from "./outputs/keep.js";
export { openTrigger, type Trigger, type TriggerOptions } from "./trigger/open.js";
export { type PartVerdict, TriggerRefused, TriggerSequence, type TriggerState } from "./trigger/sequence.js";
export { watchFolder, type WatchCounts, type WatchOptions } from "./watch/watch.js";

// experimental: speed
export { benchmark, type Benchmark, type BenchmarkOptions } from "./benchmark/benchmark.js";

// experimental: ONNX
export type { ExportOptions, OnnxExport } from "./export/export.js";
export { verifyOnnx, type OnnxVerification, type VerifyOptions } from "./export/verify.js";

// experimental: TensorBoard
export { openTensorboard, type Tensorboard, type TensorboardOptions } from "./tensorboard/tensorboard.js";

// experimental: pictures
export { type ColourRange, colourRange } from "./report/colours.js";
export { npyFile } from "./report/npy.js";
export { contactSheet, heatMapPng, type OverlayInput, overlayPng } from "./report/overlay.js";
