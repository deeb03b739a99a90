import path from "node:path";

import { z } from "zod";

import type { Dataset } from "../datasets/dataset.js";
import { detectorOptions } from "../schema/detection.js";
import { evaluateOptions } from "../schema/evaluation.js";
import { probeFolder, writeJson } from "../write.js";
import { describeModel } from "../models/describe.js";
import { evaluationDocument } from "../runs/files.js";
import { picturesFor } from "../runs/report.js";
import { command, interruptible } from "./command.js";
import { evaluationText, thresholdsText, overlayFiles, runEvaluation } from "./evaluation.js";
import { refuseExisting, refuseInDataset, refuseInputs, withoutEmptyFolders } from "./guards.js";
import { warnIfUntrained, withDetector } from "./models.js";
import * as rows from "./options.js";
import { output } from "./output.js";
import { checkReportPlace, writeLast } from "./report_file.js";

const { split } = evaluateOptions.shape;
const judging = detectorOptions.pick({
  decision: true,
  threshold: true,
  mapThreshold: true,
  pixelThreshold: true,
  minAreaPx: true,
  minPeak: true,
});
const running = detectorOptions.pick({
  backboneWeights: true,
  device: true,
  threads: true,
  batchSize: true,
  precision: true,
});

const options = z.strictObject({
  model: rows.modelFile,
  ...rows.dataset,
  split,
  ...judging.shape,
  out: rows.output("FILE", "Write the JSON document to this file too."),
  overwrite: rows.overwrite,
  overlays: rows.output("DIR", "Draw a picture of every image in this folder: image, mask, heat map and contour."),
  report: rows.report,
  ...running.shape,
});

type Options = z.input<typeof options>;

export const evaluate = command({
  name: "evaluate",
  description:
    "Checks the data set's test split, then computes I-AUROC, AP-det, P-AUROC, AP-loc, AUPRO, seg-I-AUROC and seg-AP-det (docs/reference/metrics.md), and counts the right and wrong decisions at the threshold.",
  options,
  examples: [
    "supersimplenet evaluate --model runs/bottle/model.safetensors --data data/bottle",
    "supersimplenet evaluate --model model.safetensors --data samples.csv --overlays pictures --json",
  ],
  run: (flags) => withoutEmptyFolders(outputFolders(flags), () => interruptible((signal) => run(flags, signal))),
});

/** The folders that are written into. */
const outputFolders = ({ out, overlays, report }: Options): string[] =>
  [...[out, report].map((file) => file && path.dirname(path.resolve(file))), overlays].filter(
    (folder) => folder !== undefined,
  );

async function run(flags: Options, signal: AbortSignal): Promise<number> {
  const { model, data, kind, category, fold, ignoreClass, ...others } = flags;
  const { split: _, out, overwrite, overlays, report, ...settings } = others;
  const { datasets } = await import("../datasets/index.js");
  const { Detector } = await import("../detection/detector.js");
  const split = options.shape.split.parse(flags.split);
  const file = path.resolve(model);
  const dataset = await datasets.open(data, { kind, category, fold, ignoreClass });
  await refuseBadPlaces(flags, dataset, split);
  for (const folder of outputFolders(flags)) await probeFolder(folder);
  return withDetector(Detector.load(file, settings), async (detector) => {
    warnIfUntrained(detector.model.config.backbone);
    const { config } = detector.model;
    const pictures = report === undefined ? undefined : await picturesFor(dataset, split, config);
    const evaluation = await runEvaluation(detector, dataset, { split, signal, overlays, pictures });
    const document = {
      model: describeModel(file, detector.model.config),
      ...evaluationDocument(evaluation, dataset, split),
    };
    if (out !== undefined) await writeJson(path.resolve(out), document);
    output.result(evaluationText(evaluation));
    output.result(`stored in the model: ${thresholdsText(detector.model.config.thresholds)}`);
    if (overlays !== undefined) output.result(`pictures: ${path.resolve(overlays)}`);
    const parts = { data: { dataset, split }, modelFile: file, config, evaluation, pictures };
    const code = report === undefined ? 0 : await writeLast(report, parts);
    output.document(document);
    return code;
  });
}

/** Nothing that is read is written over. */
async function refuseBadPlaces(flags: Options, dataset: Dataset, split: "train" | "test"): Promise<void> {
  const { model, data, out, overwrite, overlays, report } = flags;
  const images = dataset.samples.flatMap(({ image, mask }) => [image, mask]);
  const inputs = [model, data, flags.backboneWeights, ...images];
  if (out !== undefined) {
    refuseInDataset("out", out, data);
    refuseInputs("out", [out], inputs);
    refuseExisting("out", path.resolve(out), overwrite);
  }
  if (report !== undefined) await checkReportPlace("report", report, { data, others: [...inputs, out], overwrite });
  if (overlays !== undefined) {
    refuseInDataset("overlays", overlays, data);
    refuseInputs("overlays", overlayFiles(overlays, dataset, split).values(), inputs);
  }
}
