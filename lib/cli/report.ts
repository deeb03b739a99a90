import { existsSync } from "node:fs";
import path from "node:path";

import { z } from "zod";

import { option, text } from "../errors.js";
import type { ModelConfig } from "../models/config.js";
import { runFiles } from "../runs/files.js";
import { readRecorded } from "../runs/recorded.js";
import { detectorOptions } from "../schema/detection.js";
import { probeFolder } from "../write.js";
import { picturesFor, type ReportParts, writeReport } from "../runs/report.js";
import { command, interruptible, wrongUsage } from "./command.js";
import { runEvaluation } from "./evaluation.js";
import { badPath, withoutEmptyFolders } from "./guards.js";
import { withDetector } from "./models.js";
import * as rows from "./options.js";
import { output } from "./output.js";
import { checkReportPlace } from "./report_file.js";

const { device, threads, backboneWeights } = detectorOptions.shape;

const options = z.strictObject({
  data: rows.output("DIR", "The data set of the training: its test images are judged again, for the pictures."),
  ...rows.source,
  out: rows.output("FILE", "Write the report here instead of to report.html in RUN."),
  overwrite: rows.overwrite,
  device,
  threads,
  backboneWeights,
});

type Options = z.input<typeof options>;

export const report = command({
  name: "report",
  description:
    "Writes a report of a training: one HTML file with its results, its course and a threshold to move, which opens from disk. With --data it shows the test images; without, it has the numbers that the training left in RUN.",
  positionals: { usage: "RUN", min: 1, max: 1, what: "RUN (the folder of a training)" },
  options,
  examples: [
    "supersimplenet report runs/bottle --data data/bottle",
    "supersimplenet report runs/bottle --out bottle.html --overwrite",
  ],
  async run(flags, [run]) {
    const files = runFiles(path.resolve(run!));
    if (!existsSync(files.model))
      throw badPath("RUN", run!, `${run} has no model.safetensors.`, "Give the folder of a training that has ended.");
    const out = path.resolve(flags.out ?? files.report);
    const { data, overwrite, out: _, ...judging } = flags;
    const [useless] = Object.entries(judging).flatMap(([name, value]) => (value === undefined ? [] : [name]));
    if (data === undefined && useless !== undefined)
      throw wrongUsage(text`${option(useless)} needs ${option("data")}, whose images are judged.`, { option: useless });
    const { report: own, ...others } = files;
    await checkReportPlace("out", out, {
      data,
      others: [...Object.values(others), data, flags.backboneWeights],
      overwrite,
    });
    return withoutEmptyFolders(path.dirname(out), () =>
      interruptible(async (signal) => {
        await probeFolder(path.dirname(out));
        const { Model } = await import("../models/model.js");
        const model = await Model.load(files.model);
        const evaluated =
          data === undefined ? await recorded(files.metrics, model.config) : await judged(flags, files.model, signal);
        await writeReport(out, { modelFile: files.model, config: model.config, log: files.log, ...evaluated });
        output.result(`report: ${out}`);
        output.document({ report: out });
        return 0;
      }),
    );
  },
});

type Evaluated = Pick<ReportParts, "evaluation" | "data" | "pictures" | "notes">;

/** Judges the test images. */
async function judged(flags: Options, model: string, signal: AbortSignal): Promise<Evaluated> {
  const { data: root, kind, category, fold, ignoreClass, device, threads, backboneWeights } = flags;
  const { datasets } = await import("../datasets/index.js");
  const { Detector } = await import("../detection/detector.js");
  const dataset = await datasets.open(root!, { kind, category, fold, ignoreClass });
  return withDetector(Detector.load(model, { device, threads, backboneWeights }), async (detector) => {
    const pictures = await picturesFor(dataset, "test", detector.model.config);
    const evaluation = await runEvaluation(detector, dataset, { signal, pictures });
    return { evaluation, data: { dataset, split: "test" }, pictures };
  });
}

/** What the training has left of its evaluation. */
async function recorded(file: string, config: ModelConfig): Promise<Evaluated> {
  const found = await readRecorded(file, config);
  if (!found) return { evaluation: undefined, data: undefined, pictures: undefined };
  const { evaluation, dataset, split, isCurrent } = found;
  const changed = ["The model's thresholds were changed after these results: they are those of before."];
  return { evaluation, data: { dataset, split }, pictures: undefined, notes: isCurrent ? [] : changed };
}
