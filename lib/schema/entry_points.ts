import type { z } from "zod";

import { benchmarkOptions } from "./benchmark.js";
import {
  convertOptions,
  folderOptions,
  generatedOptions,
  manifestOptions,
  openOptions,
  validateOptions,
} from "./datasets.js";
import { detectEachOptions, detectOptions, detectorOptions } from "./detection.js";
import { installCudaOptions, pullOptions } from "./downloads.js";
import { evaluateMapsOptions, evaluateOptions } from "./evaluation.js";
import { exportOptions, verifyOptions } from "./export.js";
import { experimentOptions } from "./experiments.js";
import { calibrateOptions, modelFromCheckpointOptions, saveOptions } from "./models.js";
import { outputOptions } from "./outputs.js";
import { serverOptions } from "./server.js";
import { describeViewOptions, fitOptions, tensorboardOptions, trainerOptions } from "./training.js";
import { triggerOptions } from "./trigger.js";
import { keepOptions, watchOptions } from "./watch.js";

/** Every call of the API that takes options, in the order of docs/reference/options.md. */
export const entryPoints: readonly { call: string; summary: string; schema: z.ZodType }[] = [
  { call: "new Trainer(options)", summary: "How a model is trained.", schema: trainerOptions },
  { call: "trainer.fit(dataset, options)", summary: "One run of a training.", schema: fitOptions },
  {
    call: "describeView(dataset, options)",
    summary: "What the network sees of a data set.",
    schema: describeViewOptions,
  },
  {
    call: "openTensorboard(folder, dataset, options)",
    summary: "Event files of a training.",
    schema: tensorboardOptions,
  },
  { call: "Detector.load(model, options)", summary: "How images are judged.", schema: detectorOptions },
  { call: "detector.detect(images, options)", summary: "One call.", schema: detectOptions },
  { call: "detector.detectEach(images, options)", summary: "A stream of images.", schema: detectEachOptions },
  { call: "createServer(options)", summary: "A server that detects over HTTP.", schema: serverOptions },
  { call: "evaluate(detector, dataset, options)", summary: "Metrics of a detector.", schema: evaluateOptions },
  { call: "evaluateMaps(images, options)", summary: "Metrics of maps from anywhere.", schema: evaluateMapsOptions },
  { call: "datasets.open(root, options)", summary: "A data set of any kind.", schema: openOptions },
  { call: "datasets.folder(root, options)", summary: "A data set by its folders.", schema: folderOptions },
  { call: "datasets.manifest(file, options)", summary: "A data set by a list of files.", schema: manifestOptions },
  { call: "datasets.generated(root, options)", summary: "A drawn data set.", schema: generatedOptions },
  {
    call: "datasets.convert(dataset, out, options)",
    summary: "A manifest and PNG masks of any data set.",
    schema: convertOptions,
  },
  { call: "datasets.validate(dataset, options)", summary: "All that is wrong in a data set.", schema: validateOptions },
  { call: "model.calibrate(parts, options)", summary: "New thresholds from new parts.", schema: calibrateOptions },
  { call: "model.save(file, options)", summary: "The model file.", schema: saveOptions },
  { call: "model.exportOnnx(file, options)", summary: "The network as an ONNX file.", schema: exportOptions },
  {
    call: "verifyOnnx(model, file, dataset, options)",
    summary: "An ONNX file beside the engine.",
    schema: verifyOptions,
  },
  { call: "modelFromCheckpoint(options)", summary: "A PyTorch checkpoint.", schema: modelFromCheckpointOptions },
  { call: "pullWeights(architecture, options)", summary: "Download of backbone weights.", schema: pullOptions },
  { call: "installCuda(options)", summary: "Download of the CUDA build of libtorch.", schema: installCudaOptions },
  { call: "openOutputs(to, options)", summary: "Where results go.", schema: outputOptions },
  { call: "watchFolder(detector, folder, options)", summary: "A folder of images that come.", schema: watchOptions },
  { call: "openTrigger(address, options)", summary: "A PLC that tells of parts.", schema: triggerOptions },
  { call: "openKeeper(options)", summary: "Images for the next training.", schema: keepOptions },
  { call: "benchmark(options)", summary: "Latency, throughput and memory.", schema: benchmarkOptions },
  { call: "experiment(name, options)", summary: "The paper's tables and figures.", schema: experimentOptions },
];
