import { existsSync } from "node:fs";
import path from "node:path";

import { z } from "zod";

import { modelFromCheckpointOptions } from "../schema/models.js";
import { probeFolder } from "../write.js";
import { describeModel } from "../models/describe.js";
import { command, wrongUsage } from "./command.js";
import { refuseExisting, refuseInputs, withoutEmptyFolders } from "./guards.js";
import { warnIfUntrained } from "./models.js";
import * as rows from "./options.js";
import { output } from "./output.js";

const { checkpoint, backbone, imageSize, ...others } = modelFromCheckpointOptions.shape;

const options = z.strictObject({
  checkpoint,
  backbone,
  imageSize,
  out: rows.required("FILE", "Model file to write."),
  overwrite: rows.overwrite,
  ...others,
});

export const convert = command({
  name: "convert",
  description:
    "Writes a model file from a PyTorch checkpoint. Such checkpoints hold no thresholds: the score threshold is 0.5 until you set another. A backbone that comes from neither the cache folder nor the package is stored in the model file; anomalib's checkpoints hold their own.",
  options,
  examples: [
    "supersimplenet convert --checkpoint weights.pt --backbone wide_resnet50_2 --image-size 256x256 --out model.safetensors",
  ],
  async run({ out: file, overwrite, checkpoint: source, ...settings }) {
    const [out, checkpoint] = [path.resolve(file), path.resolve(source)];
    refuseInputs("out", [out], [checkpoint, settings.backboneWeights]);
    refuseExisting("out", out, overwrite);
    await refuseOwnModel(checkpoint);
    const { modelFromCheckpoint } = await import("../models/checkpoint.js");
    const { model, layout } = await withoutEmptyFolders(path.dirname(out), async () => {
      await probeFolder(path.dirname(out));
      const converted = await modelFromCheckpoint({ checkpoint, ...settings });
      await converted.model.save(out);
      return converted;
    });
    const { alignCorners, resize, variant } = model.config;
    warnIfUntrained(model.config.backbone);
    output.result(`model: ${out}`);
    output.log(
      `read as ${layout}, ${variant}, align-corners ${alignCorners}, resize ${resize}; thresholds are not calibrated`,
    );
    output.document({ model: describeModel(out, model.config), layout, alignCorners, resize });
    return 0;
  },
});

/** Files of this package hold the same tensors as the authors' checkpoints, and need no conversion. */
async function refuseOwnModel(file: string): Promise<void> {
  if (path.extname(file).toLowerCase() !== ".safetensors" || !existsSync(file)) return;
  const { readMetadata } = await import("../files/tensors.js");
  const { format } = await readMetadata(file);
  const hints: Record<string, string> = {
    supersimplenet: "a model of this package already: use it with 'predict --model' or 'evaluate --model'.",
    "supersimplenet-checkpoint": "a checkpoint of an unfinished training: continue it with 'train --resume'.",
  };
  if (format !== undefined && Object.hasOwn(hints, format))
    throw wrongUsage(`${file} is ${hints[format]}`, { option: "checkpoint", value: file, path: file });
}
