import path from "node:path";

import { fileSha256 } from "../checksum.js";
import type { Dataset, Split } from "../datasets/dataset.js";
import type { Evaluation } from "../evaluation/evaluate.js";
import { type ModelConfig, networkSettings } from "../models/config.js";
import { packageVersion, pinned } from "../native/locate.js";
import type { ReportPictures } from "../report/pictures.js";
import type { FactGroup } from "../report/types.js";
import { writeWholeFile } from "../write.js";
import { readLog } from "./log.js";

/** Collects the pictures of a report while the images are evaluated. */
export async function picturesFor(dataset: Dataset, split: Split, config: ModelConfig): Promise<ReportPictures> {
  const { ReportPictures } = await import("../report/pictures.js");
  const count = dataset.samples.filter((sample) => sample.split === split).length;
  return new ReportPictures(count, config.thresholds.pixelLogit, networkSettings(config).bitDepth);
}

export interface ReportParts {
  modelFile: string;
  config: ModelConfig;
  /** Undefined where nothing was evaluated. */
  evaluation: Pick<Evaluation, "metrics" | "samples" | "decisions" | "decision" | "notes"> | undefined;
  /** What was evaluated. */
  data: { dataset: Pick<Dataset, "kind" | "name">; split: Split } | undefined;
  /** Undefined: the report has none. */
  pictures: ReportPictures | undefined;
  /** Log of the training. */
  log?: string;
  /** More to say. */
  notes?: readonly string[];
}

/** Writes the report. Errors: NO_PERMISSION, NO_SPACE, FILE_ERROR. */
export async function writeReport(file: string, parts: ReportParts): Promise<void> {
  const { modelFile, config, evaluation, data, pictures, log, notes = [] } = parts;
  const { modelFacts, reportEvaluation } = await import("../report/document.js");
  const { reportHtml } = await import("../report/html.js");
  const { decision, decisions } = evaluation ?? {};
  const mapThreshold = pictures?.mapThreshold ?? config.thresholds.mapLogit;
  const html = await reportHtml({
    title: data?.dataset.name ?? path.basename(modelFile),
    made: new Date().toISOString(),
    facts: [
      ...dataFacts(parts),
      ...modelFacts(path.basename(modelFile), await fileSha256(modelFile), config),
      {
        name: "Software",
        facts: [
          ["supersimplenet", packageVersion],
          ["libtorch", pinned.version],
        ],
      },
    ],
    evaluation:
      evaluation && decision && decisions
        ? reportEvaluation(
            evaluation,
            { decision: decision.source, threshold: decisions.threshold, mapThreshold },
            pictures?.pictures,
          )
        : null,
    training: log === undefined ? null : ((await readLog(log))?.epochs ?? null),
    notes: [
      ...(evaluation?.notes ?? []),
      ...notes,
      ...(pictures && pictures.failed > 0 ? [`${pictures.failed} images could not be drawn.`] : []),
    ],
  });
  await writeWholeFile(path.resolve(file), html);
}

function dataFacts({ data, evaluation, config: { training } }: ReportParts): FactGroup[] {
  const facts: [string, string][] = [];
  if (training) {
    const { trainNormal, trainAnomalous, trainSegmented } = training;
    facts.push(
      ["trained on", `${trainNormal} good, ${trainAnomalous} defective (${trainSegmented} with a mask)`],
      ["epochs", String(training.epochs)],
      ["seed", String(training.seed)],
    );
  }
  if (data) facts.push(["data set", `${data.dataset.name} (${data.dataset.kind})`]);
  if (data && evaluation) {
    const defective = evaluation.samples.filter(({ label }) => label === "anomalous").length;
    facts.push([
      "evaluated on",
      `${data.split}: ${evaluation.samples.length - defective} good, ${defective} defective`,
    ]);
  }
  return facts.length === 0 ? [] : [{ name: "Data", facts }];
}
