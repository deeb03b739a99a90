import path from "node:path";

import { z } from "zod";

import type { Parity } from "../export/parity.js";
import { installRuntime } from "../export/runtime.js";
import { Model } from "../models/model.js";
import { exportOptions } from "../schema/export.js";
import { probeFolder } from "../write.js";
import { command, interruptible } from "./command.js";
import { refuseExisting, refuseInDataset, refuseInputs, withoutEmptyFolders } from "./guards.js";
import { describeModel } from "../models/describe.js";
import { warnIfUntrained } from "./models.js";
import * as rows from "./options.js";
import { output } from "./output.js";

const parityText = ({ runtime, images, logit, map, bound }: Parity): string =>
  `verified in ${runtime} on ${images} generated images: scores differ by ${logit.toExponential(1)}, maps by ${map.toExponential(1)} of the largest (allowed: ${bound})`;

const options = z.strictObject({
  model: rows.modelFile,
  out: rows.required("FILE", "ONNX file to write."),
  overwrite: rows.overwrite,
  ...exportOptions.omit({ signal: true, onProgress: true }).shape,
});

export const exportCommand = command({
  name: "export",
  description:
    "Writes a model as an ONNX file that gives score, logit, anomaly map and verdict. Where onnxruntime-node is installed, the file is run beside the engine first, and not written if it computes anything else; without it the file is marked unverified (docs/guides/export.md).",
  options,
  examples: [
    "supersimplenet export --model runs/bottle/model.safetensors --out bottle.onnx",
    "supersimplenet export --model model.safetensors --out model.onnx --input normalised --batch 1",
  ],
  async run({ model: given, out: to, overwrite, ...settings }) {
    const [file, out] = [path.resolve(given), path.resolve(to)];
    refuseInDataset("out", out);
    refuseInputs("out", [out], [file, settings.backboneWeights]);
    refuseExisting("out", out, overwrite);
    return withoutEmptyFolders(path.dirname(out), () =>
      interruptible(async (signal) => {
        await probeFolder(path.dirname(out));
        const model = await Model.load(file);
        warnIfUntrained(model.config.backbone);
        const onProgress = (done: number, total: number): void => output.progress(`comparing ${done}/${total}`);
        const { bytes, parity } = await model.exportOnnx(out, { ...settings, signal, onProgress });
        output.done();
        if (parity === null)
          output.warn(
            `unverified: onnxruntime-node is not installed, so nobody has compared this file with the engine. Install it ('${installRuntime}') and export again.`,
          );
        else output.result(parityText(parity));
        output.result(`ONNX: ${out} (${(bytes / 1e6).toFixed(1)} MB)`);
        output.document({ model: describeModel(file, model.config), onnx: { path: out, bytes }, parity });
        return 0;
      }, "Stopping; no file is written."),
    );
  },
});
