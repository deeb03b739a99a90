import { accessSync, constants, realpathSync } from "node:fs";
import path from "node:path";

import { z } from "zod";

import { fileError, option as flagOf, SuperSimpleNetError, text } from "../errors.js";
import { Model } from "../models/model.js";
import { calibrateOptions } from "../schema/models.js";
import { pathType } from "../schema/common.js";
import { option } from "../schema/option.js";
import { probeFolder } from "../write.js";
import { describeModel, shortThresholds } from "../models/describe.js";
import { command, interruptible, wrongUsage } from "./command.js";
import { thresholdsText } from "./evaluation.js";
import { refuseDataset, refuseExisting, refuseInDataset, refuseInputs, withoutEmptyFolders } from "./guards.js";
import { imageFiles, type Skipped, tellSkipped } from "./images.js";
import { warnIfUntrained } from "./models.js";
import * as rows from "./options.js";
import { output } from "./output.js";

const parts = (help: string): z.ZodOptional<typeof pathType> =>
  option(pathType.optional(), { expected: "a value that is not empty", placeholder: "DIR", help });

const options = z.strictObject({
  model: rows.modelFile,
  good: parts("Folder of good parts, 4 or more, that the model was not trained on."),
  bad: parts("Folder of parts with defects."),
  out: rows.output("FILE", "Write the model here instead of into its own file."),
  overwrite: rows.overwrite,
  undo: option(z.boolean().default(false), {
    help: "Put back the thresholds before the last calibrate; takes no parts.",
    switch: true,
  }),
  ...calibrateOptions.shape,
});

type Options = z.input<typeof options>;

export const calibrate = command({
  name: "calibrate",
  description:
    "Sets a model's thresholds on good parts that it was not trained on, in a minute and without training. It refuses training images, and parts that score otherwise than those before: then camera, light or material have changed. The model file keeps the thresholds before (--undo) and which parts set the new ones.",
  options,
  examples: [
    "supersimplenet calibrate --model runs/bottle/model.safetensors --good photos/today",
    "supersimplenet calibrate --model model.safetensors --good photos/good --bad photos/scratched --false-reject 0.005 --out new.safetensors",
    "supersimplenet calibrate --model model.safetensors --undo",
  ],
  async run(flags) {
    output.worksOn = true;
    const { model, good, bad, out, overwrite, undo, ...settings } = flags;
    const file = path.resolve(model);
    const to = out === undefined ? ownFile(file) : path.resolve(out);
    if (out !== undefined) {
      refuseInDataset("out", out);
      refuseInputs("out", [to], [file, settings.backboneWeights]);
      refuseExisting("out", to, overwrite);
    }
    if (undo) {
      const [other] = Object.entries({ good, bad, ...settings }).flatMap(([name, value]) =>
        value === undefined ? [] : [name],
      );
      if (other !== undefined)
        throw wrongUsage(text`${flagOf("undo")} takes nothing else: leave ${flagOf(other)} away.`, { option: other });
      return withoutEmptyFolders(path.dirname(to), () => undoCalibration(file, to));
    }
    if (good === undefined) throw wrongUsage(text`${flagOf("good")} DIR is missing.`, { option: "good" });
    return withoutEmptyFolders(path.dirname(to), () =>
      interruptible(
        (signal) => calibrateOn({ file, to, good, bad }, settings, signal),
        "Stopping; the model file stays as it is.",
      ),
    );
  },
});

/**
 * The file behind a link, which is replaced, not the link. Throws NO_PERMISSION or FILE_ERROR for one that may not be
 * written.
 */
function ownFile(file: string): string {
  let real: string;
  try {
    real = realpathSync(file);
  } catch (error) {
    throw fileError(error, "open model", file);
  }
  try {
    accessSync(real, constants.W_OK);
    return real;
  } catch (error) {
    const failed = fileError(error, "write model", file);
    throw failed instanceof SuperSimpleNetError
      ? failed.advising(text`Or give ${flagOf("out")} FILE, and the model is written there.`)
      : failed;
  }
}

interface Plan {
  /** The model that is read and the one that is written. */
  file: string;
  to: string;
  good: string;
  bad: string | undefined;
}

async function calibrateOn(
  { file, to, good, bad }: Plan,
  settings: Partial<Options>,
  signal: AbortSignal,
): Promise<number> {
  await probeFolder(path.dirname(to));
  for (const [name, folder] of Object.entries({ good, bad })) if (folder !== undefined) refuseDataset(name, folder);
  const found = await imageFiles([good]);
  const defects = bad === undefined ? { files: [], skipped: [] as Skipped[] } : await imageFiles([bad]);
  refuseInputs(to === file ? "model" : "out", [to], [...found.files, ...defects.files]);
  const skipped = [...found.skipped, ...defects.skipped];
  await tellSkipped(skipped);
  const model = await Model.load(file);
  warnIfUntrained(model.config.backbone);
  const before = model.config.thresholds;
  const thresholds = await model.calibrate(
    { good: found.files, bad: defects.files },
    { ...settings, signal, onProgress: (done, total) => output.progress(`scoring ${done}/${total}`) },
  );
  output.done();
  await model.save(to);
  const { parts: set, warnings = [] } = thresholds.calibration ?? {};
  output.result(`before: ${thresholdsText({ ...before, calibration: null })}`);
  output.result(`now: ${thresholdsText(thresholds)}`);
  if (set?.from) {
    const [from, to] = [set.from.slice(0, 10), set.to!.slice(0, 10)];
    output.result(from === to ? `parts of ${from}` : `parts of ${from} to ${to}`);
  }
  output.result(`model: ${to}`);
  output.document({ model: describeModel(to, model.config), before: shortThresholds(before), skipped, warnings });
  return 0;
}

async function undoCalibration(file: string, to: string): Promise<number> {
  await probeFolder(path.dirname(to));
  const model = await Model.load(file);
  const before = model.config.thresholds;
  model.undoCalibration();
  await model.save(to);
  const { thresholds } = model.config;
  output.result(`put back: ${thresholdsText(thresholds)}`);
  output.result(`model: ${to}`);
  output.document({
    model: describeModel(to, model.config),
    before: shortThresholds(before),
    skipped: [],
    warnings: [],
  });
  return 0;
}
