import path from "node:path";

import { z } from "zod";

import { invalid, SuperSimpleNetError } from "../errors.js";
import { detectorOptions } from "../schema/detection.js";
import { triggerAddress, triggerOptions } from "../schema/trigger.js";
import { keepOptions, watchOptions } from "../schema/watch.js";
import { describeModel } from "../models/describe.js";
import type { Keeper } from "../outputs/keep.js";
import type { Output } from "../outputs/output.js";
import type { Trigger } from "../trigger/open.js";
import { command, interruptible } from "./command.js";
import { refuseInDataset } from "./guards.js";
import { warnIfUntrained, withDetector } from "./models.js";
import * as rows from "./options.js";
import { errorDocument, output, printable } from "./output.js";
import {
  checkFlagged,
  closeFlagged,
  openFlagged,
  outputFlags,
  splitOutputFlags,
  thenClose,
  toldChange,
} from "./outputs.js";
import { resultLine } from "./results.js";

const watching = watchOptions.omit({
  signal: true,
  onReady: true,
  onResult: true,
  onUnreadable: true,
  onTrouble: true,
});

const options = z.strictObject({
  model: rows.modelFile,
  ...outputFlags,
  ...watching.shape,
  ...keepOptions.shape,
  trigger: triggerAddress,
  ...triggerOptions.omit({ mqttPasswordFile: true, onChange: true }).shape,
  ...detectorOptions.omit({ heads: true }).shape,
});

export const watch = command({
  name: "watch",
  description:
    "Judges the images of a folder as they become complete, each once, over restarts. It runs until SIGTERM or Ctrl-C, finishes what it is at, and ends with exit code 0. Folders below are left out. An image that cannot be read for some seconds is reported, and the others go on.",
  positionals: { usage: "DIR", min: 1, max: 1, what: "DIR (a folder)" },
  options,
  examples: [
    "supersimplenet watch --model model.safetensors camera --to csv:results --move-to judged",
    "supersimplenet watch --model model.safetensors /mnt/share --poll-ms 500 --to mqtt://broker/line/3 --keep unsure,defect --keep-dir kept",
    "supersimplenet watch --model model.safetensors camera --to csv:results --trigger mqtt://broker/line/3",
  ],
  async run(flags, [folder]) {
    output.worksOn = true;
    return interruptible((signal) => watchAll(flags, folder!, signal), "Stopping after the images at work.");
  },
});

type Flags = z.input<typeof options>;

async function watchAll(flags: Flags, folder: string, signal: AbortSignal): Promise<number> {
  const { outputs: given, others } = splitOutputFlags(flags);
  await checkFlagged(given);
  const { model, keep, keepDir, keepMiB, pollMs, settleMs, moveTo, removeAfterDays, minFreeMiB, ...rest } = others;
  const { trigger: address, timeoutMs, tokenFile, ...settings } = rest;
  const toTrigger = { timeoutMs, tokenFile, mqttPasswordFile: given.mqttPasswordFile };
  for (const [name, dir] of Object.entries({ moveTo, keepDir })) if (dir !== undefined) refuseInDataset(name, dir);
  if (keepDir !== undefined && path.resolve(keepDir) === path.resolve(folder))
    throw invalid("watch", "keepDir", "another folder than the one that is watched", keepDir);
  const stateDir = given.stateDir ?? path.join(folder, ".supersimplenet");
  const { openKeeper } = await import("../outputs/keep.js");
  const { openTrigger } = await import("../trigger/open.js");
  const { watchFolder } = await import("../watch/watch.js");
  const { Detector } = await import("../detection/detector.js");
  return withDetector(Detector.load(model, settings), async (detector) => {
    warnIfUntrained(detector.model.config.backbone);
    let keeper: Keeper | undefined;
    let outputs: Output | undefined;
    let trigger: Trigger | undefined;
    const work = async (): Promise<void> => {
      keeper = await openKeeper({ keep, keepDir, keepMiB });
      outputs = await openFlagged({ ...given, stateDir });
      output.finished = { model: describeModel(model, detector.model.config), folder };
      if (address !== undefined) trigger = await openTrigger(address, { ...toTrigger, onChange: toldChange });
      const images = await watchFolder(detector, folder, {
        ...{ stateDir, pollMs, settleMs, moveTo, removeAfterDays, minFreeMiB, signal, outputs, keeper },
        trigger: trigger?.sequence,
        modelName: path.basename(model),
        onReady: () => output.log(`watching ${printable(folder)}${trigger ? `, trigger at ${trigger.address}` : ""}`),
        onResult: (result) => output.result(resultLine(result.path!, result)),
        onUnreadable: (error) => output.warn(printable(error.message)),
        onTrouble: (error) => output.warn(messageOf(error)),
      });
      output.finished = { ...output.finished, images };
    };
    await thenClose(
      work(),
      () => trigger?.close(),
      () => closeFlagged(outputs),
      () => keeper?.close(),
    );
    output.document({ ...output.finished, outputs: outputs?.status() ?? [], kept: keeper?.status().kept ?? 0 });
    return 0;
  });
}

const messageOf = (error: unknown): string =>
  error instanceof SuperSimpleNetError ? String(errorDocument(error)["message"]) : (error as Error).message;
