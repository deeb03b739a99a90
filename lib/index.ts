/**
 * SuperSimpleNet: surface defect detection that trains with whatever labels there are.
 *
 *     const model = await new Trainer().fit(await datasets.open("data/bottle"));
 *     const detector = await Detector.load(model);
 *     const { score, anomalous, map, regions } = await detector.detect("part.png");
 */

// data
export { datasets } from "./datasets/index.js";
export type {
  Dataset,
  DatasetCounts,
  DatasetProblem,
  Defect,
  FolderOptions,
  GeneratedOptions,
  Label,
  ManifestOptions,
  OpenOptions,
  PublishedSettings,
  Regime,
  Sample,
  Split,
  ValidateOptions,
  ValidationResult,
} from "./datasets/index.js";
export type { Mask, RawImage, RgbImage } from "./images/decode.js";

// training
export { Trainer } from "./training/trainer.js";
export type { EpochEvent, FitOptions, StageEvent, StartEvent, StepEvent } from "./training/events.js";
export { mergeOptions } from "./schema/check.js";
export { type Ablation, type AblationName, ablations, publishedNoiseStd, regimePresets } from "./schema/presets.js";
export { trainerDefaults } from "./schema/training.js";
export type { DistributedOptions, RelativeNoise, TrainerOptions } from "./schema/types.js";

// models and backbone weights
export { Model } from "./models/model.js";
export type { ModelFromCheckpointOptions, SaveOptions } from "./schema/models.js";
export { modelFromCheckpoint } from "./models/checkpoint.js";
export { modelFormatVersion } from "./models/config.js";
export type { BackboneInfo, ModelConfig, ThresholdMethod, Thresholds, TrainingInfo } from "./models/config.js";
export { importWeights } from "./backbones/import.js";
export { listWeights } from "./backbones/list.js";
export { pullWeights } from "./backbones/pull.js";
export type { Imported } from "./backbones/import.js";
export type { ListedWeights } from "./backbones/list.js";
export type { Pulled, PullOptions } from "./backbones/pull.js";

// detection
export { Detector } from "./detection/detector.js";
export type { AnomalyMap, Detection, ImageSource, Timings } from "./detection/types.js";
export type { DetectOptions, DetectorOptions } from "./schema/detection.js";

// evaluation
export { evaluate, type EvaluateOptions } from "./evaluation/evaluate.js";
export { evaluateMaps, evaluateScores } from "./evaluation/metrics.js";
export type { EvaluatedMap, MapMetrics, ScoreMetrics } from "./evaluation/metrics.js";
export { type MetricId, type Metrics, metricsTable } from "./evaluation/metrics_table.js";
export type { EvaluatedSample, Evaluation } from "./evaluation/types.js";

export type { EvaluateMapsOptions } from "./schema/evaluation.js";

// the paper's experiments
export { experiment } from "./experiments/experiment.js";
export type { ExperimentEvent, ExperimentOptions, ExperimentReport } from "./experiments/experiment.js";
export type { ExperimentTraining } from "./schema/experiments.js";
export { protocols } from "./experiments/protocols.js";
export type { Condition, MetricName, Protocol, ProtocolName, PublishedKind } from "./experiments/protocols.js";
export type { Misclassification, RunResult } from "./experiments/results.js";
export type { Cell, DatasetTable, ExperimentTable, SummaryCell, SummaryRow, TableRow } from "./experiments/tables.js";

// speed
export { benchmark } from "./benchmark/benchmark.js";
export type { Benchmark, BenchmarkOptions, Latency } from "./benchmark/benchmark.js";

// pictures
export { type ColourRange, colourRange } from "./report/colours.js";
export { npyFile } from "./report/npy.js";
export { contactSheet, heatMapPng, type OverlayInput, overlayPng } from "./report/overlay.js";

// errors and diagnosis
export { type ErrorCode, SuperSimpleNetError } from "./errors.js";
export { type Diagnosis, diagnose, type Problem } from "./diagnose.js";
export {
  type CudaInstalled,
  type CudaInstallOptions,
  type CudaInstallProgress,
  installCuda,
} from "./native/cuda_install.js";
export type {
  Architecture,
  ClassificationHead,
  Compute,
  Loss,
  Precision,
  Region,
  ResizeMethod,
  StepLosses,
  SyntheticAnomalies,
  TensorMap,
  Variant,
} from "./native/binding.js";
