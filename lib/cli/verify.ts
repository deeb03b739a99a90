import path from "node:path";

import { z } from "zod";

import { Model } from "../models/model.js";
import { verifyOptions } from "../schema/export.js";
import { command, interruptible } from "./command.js";
import { describeModel } from "../models/describe.js";
import { warnIfUntrained } from "./models.js";
import * as rows from "./options.js";
import { output, table } from "./output.js";

const options = z.strictObject({
  model: rows.modelFile,
  onnx: rows.required("FILE", "ONNX file that export wrote."),
  ...rows.dataset,
  ...verifyOptions.omit({ signal: true, onProgress: true }).shape,
});

export const verify = command({
  name: "verify",
  description:
    "Runs an exported ONNX file in onnxruntime-node beside the engine, on the images of a data set: scores, maps, verdicts and I-AUROC of both. Exit code 1 where they differ by more than the bound of an export.",
  options,
  examples: ["supersimplenet verify --model model.safetensors --onnx model.onnx --data data/bottle"],
  async run({ model: given, onnx, data, kind, category, fold, ignoreClass, ...settings }) {
    const { datasets } = await import("../datasets/index.js");
    const { verifyOnnx } = await import("../export/verify.js");
    const file = path.resolve(given);
    const dataset = await datasets.open(data, { kind, category, fold, ignoreClass });
    const model = await Model.load(file);
    warnIfUntrained(model.config.backbone);
    const onProgress = (done: number, total: number): void => output.progress(`comparing ${done}/${total}`);
    const result = await interruptible((signal) =>
      verifyOnnx(model, path.resolve(onnx), dataset, { ...settings, signal, onProgress }),
    );
    output.done();
    if (result.thresholdsChanged)
      output.warn("the model's thresholds are not those of the ONNX file: export it again for the verdicts.");
    const { imageAuroc, difference, bound, otherVerdicts, withinBound } = result;
    const fixed = (value: number): string => value.toFixed(4);
    output.result(
      table([
        ["image", "engine", "ONNX", "map differs by", "verdict", "of ONNX"],
        ...result.images.map(({ id, engine, graph, mapDifference }) => [
          id,
          fixed(engine.score),
          fixed(graph.score),
          mapDifference.toExponential(1),
          engine.verdict,
          graph.verdict,
        ]),
        ["I-AUROC", ...[imageAuroc.engine, imageAuroc.graph].map((value) => (value === null ? "-" : fixed(value)))],
      ]),
    );
    output.result(
      `scores differ by ${difference.logit.toExponential(1)}, maps by ${difference.map.toExponential(1)} of the largest (allowed: ${bound}); other verdicts: ${otherVerdicts}`,
    );
    output.document({ model: describeModel(file, model.config), onnx: path.resolve(onnx), ...result });
    if (result.inconsistentVerdicts > 0)
      output.warn(
        `${result.inconsistentVerdicts} verdicts of the file are not those of its own scores and maps: export it again.`,
      );
    return withinBound && result.inconsistentVerdicts === 0 ? 0 : 1;
  },
});
