import { existsSync } from "node:fs";
import path from "node:path";

import { architectures } from "../schema/common.js";
import { SuperSimpleNetError } from "../errors.js";
import { makeFolder } from "../write.js";
import { choice, command, onOff, size, text, type ValueOption } from "./options.js";
import { output } from "./output.js";
import { refuseExisting, refuseInputs } from "./places.js";
import { describeModel, given, shared, warnIfUntrained } from "./shared.js";
import type { Architecture } from "../native/binding.js";
import type { ModelFromCheckpointOptions } from "../schema/models.js";

const backbone: ValueOption<Architecture> & { required: true } = {
  ...choice(architectures, "network that the checkpoint was trained on"),
  required: true,
};

export const convert = command({
  name: "convert",
  summary: "read a PyTorch checkpoint of the authors' code or of anomalib",
  description:
    "Writes a model file from a PyTorch checkpoint. Such checkpoints hold no thresholds: the score threshold is 0.5 until it is set. A backbone that does not come from the cache folder (anomalib's checkpoints hold their own) is stored in the model file.",
  options: {
    checkpoint: text("FILE", ".pth, .pt, .ckpt or .safetensors", { required: true }),
    backbone,
    "backbone-weights": text("FILE", "weights of the backbone", {
      default: "the checkpoint's own, else the cache folder",
    }),
    "image-size": size("size that the network was trained at", { required: true }),
    out: text("FILE", "the model file to write", { required: true }),
    overwrite: shared.overwrite,
    layout: choice(["auto", "authors", "anomalib"], "whose checkpoint it is", { default: "auto" }),
    variant: choice(["jims", "icpr"], "which published network", { default: "jims" }),
    "align-corners": onOff("of the feature upscaling", { default: "true for authors, false for anomalib" }),
    resize: choice(["bilinear", "antialias"], "how images are resized", {
      default: "bilinear for authors, antialias for anomalib",
    }),
    layers: {
      placeholder: "NAME,...",
      help: "layers that feed the heads",
      default: "layer2,layer3",
      parse: (value: string) => value.split(",") as ModelFromCheckpointOptions["layers"] & object,
    },
  },
  examples: [
    "supersimplenet convert --checkpoint weights.pt --backbone wide_resnet50_2 --image-size 256x256 --out model.safetensors",
  ],
  async run(values) {
    const out = path.resolve(values.out);
    refuseInputs("convert", "--out", [out], [values.checkpoint, values["backbone-weights"]]);
    refuseExisting("convert", out, values.overwrite);
    await refuseOwnModel(path.resolve(values.checkpoint));
    const { modelFromCheckpoint } = await import("../models/checkpoint.js");
    const { model, layout } = await modelFromCheckpoint(
      given({
        checkpoint: path.resolve(values.checkpoint),
        backbone: values.backbone,
        backboneWeights: values["backbone-weights"],
        imageSize: values["image-size"],
        layout: values.layout,
        variant: values.variant,
        alignCorners: values["align-corners"],
        resize: values.resize,
        layers: values.layers,
      }),
    );
    await makeFolder(path.dirname(out));
    await model.save(out);
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
  const { engine } = await import("../native/engine.js");
  const { format } = (await engine().readTensors(file, ["no tensor, only the metadata"])).metadata;
  const hints: Record<string, string> = {
    supersimplenet: "a model of this package already: use it with 'predict --model' or 'evaluate --model'.",
    "supersimplenet-checkpoint": "a checkpoint of an unfinished training: continue it with 'train --resume'.",
  };
  if (format !== undefined && Object.hasOwn(hints, format))
    throw new SuperSimpleNetError("INVALID_OPTION", `convert: ${file} is ${hints[format]}`, { path: file });
}
