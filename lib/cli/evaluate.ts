import path from "node:path";

import type { DatasetKind } from "../schema/datasets.js";
import { writeWholeFile } from "../write.js";
import { evaluationDocument, evaluationText, overlayFiles, runEvaluation } from "./evaluation.js";
import { interruptible } from "./interrupt.js";
import { choice, command, text } from "./options.js";
import { output } from "./output.js";
import { refuseExisting, refuseInDataset, refuseInputs } from "./places.js";
import { describeModel, given, shared, warnIfUntrained, withDetector } from "./shared.js";

export const evaluate = command({
  name: "evaluate",
  summary: "metrics of a model on a data set",
  description:
    "Checks the split, then computes I-AUROC, AP-det, P-AUROC, AP-loc, AUPRO, seg-I-AUROC and seg-AP-det (docs/metrics.md), and the decisions at the threshold.",
  options: {
    model: shared.model,
    data: shared.data,
    dataset: shared.dataset,
    category: shared.category,
    fold: shared.fold,
    split: choice(["test", "train"], "which images", { default: "test" }),
    threshold: shared.threshold,
    out: text("FILE", "write what --json prints to this file too"),
    overwrite: shared.overwrite,
    overlays: text("DIR", "write one picture per image: image, mask, heat map, contour"),
    "backbone-weights": shared.backboneWeights,
    device: shared.device,
    threads: shared.threads,
    batch: shared.batch,
    precision: shared.precision,
  },
  examples: [
    "supersimplenet evaluate --model runs/bottle/model.safetensors --data data/bottle",
    "supersimplenet evaluate --model model.safetensors --data samples.csv --overlays pictures --json",
  ],
  async run(values) {
    const { datasets } = await import("../datasets/index.js");
    const { Detector } = await import("../detection/detector.js");
    const file = path.resolve(values.model);
    return interruptible(async (signal) => {
      const dataset = await datasets.open(values.data, {
        kind: values.dataset as DatasetKind | undefined,
        category: values.category,
        fold: values.fold,
      });
      const split = values.split ?? "test";
      const inputs = [
        file,
        values.data,
        values["backbone-weights"],
        ...dataset.samples.flatMap(({ image, mask }) => [image, mask]),
      ];
      if (values.out !== undefined) {
        refuseInDataset("evaluate", "--out", values.out, values.data);
        refuseInputs("evaluate", "--out", [values.out], inputs);
        refuseExisting("evaluate", path.resolve(values.out), values.overwrite);
      }
      if (values.overlays !== undefined) {
        refuseInDataset("evaluate", "--overlays", values.overlays, values.data);
        refuseInputs("evaluate", "--overlays", overlayFiles(values.overlays, dataset, split).values(), inputs);
      }
      const load = Detector.load(
        file,
        given({
          backboneWeights: values["backbone-weights"],
          device: values.device,
          threads: values.threads,
          batchSize: values.batch,
          precision: values.precision,
          threshold: values.threshold,
        }),
      );
      return withDetector(load, async (detector) => {
        warnIfUntrained(detector.model.config.backbone);
        const evaluation = await runEvaluation(detector, dataset, { split, signal, overlays: values.overlays });
        const document = {
          model: describeModel(file, detector.model.config),
          ...evaluationDocument(evaluation, dataset, split),
        };
        if (values.out !== undefined)
          await writeWholeFile(path.resolve(values.out), `${JSON.stringify(document, null, 2)}\n`);
        output.result(evaluationText(evaluation));
        if (values.overlays !== undefined) output.result(`pictures: ${path.resolve(values.overlays)}`);
        output.document(document);
        return 0;
      });
    });
  },
});
