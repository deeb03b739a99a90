import { existsSync, readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";

import type { Sample } from "../datasets/types.js";
import type { Detection } from "../detection/types.js";
import { fileError, SuperSimpleNetError } from "../errors.js";
import { probeFolder, writeWholeFile } from "../write.js";
import { evaluationDocument, evaluationText } from "./evaluation.js";
import { interruptible } from "./interrupt.js";
import { command, integer, size, text } from "./options.js";
import { duration, output } from "./output.js";
import { refuseInDataset, withoutEmptyFolders } from "./places.js";
import { showTraining } from "./progress.js";
import { describeModel, given, program, shared, withDetector } from "./shared.js";
import { explainEnd, quickstartMarker, runFiles, saveRun } from "./train.js";

/** Small enough for two CPU cores and three minutes, large enough to learn the defects. */
const defaults = { out: "quickstart-run", imageSize: [128, 128], epochs: 16, seed: 0 } as const;

/** Good images, and a few defects with masks: what a random backbone cannot know, the labels tell in few epochs. */
const trainImages = { trainNormal: 60, trainAnomalous: 15 } as const;

/** Louder than the default, which is chosen for runs of hundreds of epochs (docs/noise.md). */
const noiseStd = { relative: 1.5 };

/** Pictures of the report: this many defects, of as many kinds as there are, and this many good parts. */
const shownDefects = 6;
const shownGood = 2;

export const quickstart = command({
  name: "quickstart",
  summary: "see it work in some minutes: generated images, nothing to download",
  description:
    "Draws a data set of printed surfaces with and without defects, trains on good ones and a few defects with masks, evaluates, and writes the model, metrics.json and pictures. The backbone is a ResNet-18 with random weights, so that nothing has to be downloaded: real use wants trained ones.",
  options: {
    out: text("DIR", "folder for everything", { default: defaults.out }),
    "image-size": size("size of the images", { default: defaults.imageSize }),
    epochs: integer("N", "passes over the training images", { min: 1, default: defaults.epochs }),
    seed: integer("N", "of the images and of the training", { min: 0, default: defaults.seed }),
    device: shared.device,
    threads: shared.threads,
  },
  examples: ["supersimplenet quickstart", "supersimplenet quickstart --out /tmp/demo --epochs 10"],
  async run(values) {
    output.worksOn = true;
    const began = performance.now();
    const out = path.resolve(values.out ?? defaults.out);
    const files = runFiles(out);
    const { seed = defaults.seed, epochs = defaults.epochs } = values;
    const imageSize: [number, number] = values["image-size"] ?? [...defaults.imageSize];
    const marker = path.join(out, quickstartMarker);
    checkFolder(out, marker);
    const { datasets } = await import("../datasets/index.js");
    const { Trainer } = await import("../training/trainer.js");
    const { Detector } = await import("../detection/detector.js");

    const trainer = new Trainer(
      given({
        backbone: "resnet18" as const,
        backboneWeights: "random",
        anomalies: { noiseStd },
        imageSize,
        epochs,
        seed,
        device: values.device,
        threads: values.threads,
        distributed: false as const,
      }),
    );
    const run = (): Promise<number> =>
      interruptible(async (signal) => {
        await probeFolder(out);
        await writeWholeFile(marker, "{}\n");
        const folder = path.join(out, `data-${imageSize.join("x")}-seed${seed}`);
        const dataset = await datasets.generated(folder, {
          ...trainImages,
          imageSize,
          seed,
          signal,
          onProgress: ({ written, total }) => output.progress(`drawing images ${written}/${total}`),
        });
        output.done();
        output.log(`images: ${folder}`);
        const progress = showTraining(files.log);
        const again = `${program} quickstart (it starts over)`;
        const model = await trainer
          .fit(dataset, { signal, out, overwrite: true, ...progress.callbacks })
          .catch((error: unknown) =>
            Promise.reject(progress.started() === undefined ? error : explainEnd(error, again, files.checkpoint)),
          );
        await saveRun(out, model);
        output.done();

        const load = Detector.load(model, given({ device: values.device, threads: values.threads }));
        const kept: { sample: Sample; detection: Detection }[] = [];
        const chosen = new Set(choose(dataset.samples));
        const { evaluate } = await import("../evaluation/evaluate.js");
        const evaluation = await withDetector(load, (detector) =>
          evaluate(detector, dataset, {
            signal,
            onProgress: (done, total) => output.progress(`evaluating ${done}/${total}`),
            onDetection: (sample, detection) => {
              if (chosen.has(sample.id)) kept.push({ sample, detection });
            },
          }),
        );
        const metrics = {
          model: describeModel(path.basename(files.model), model.config),
          ...evaluationDocument(evaluation, dataset, "test"),
        };
        await writeWholeFile(files.metrics, `${JSON.stringify(metrics, null, 2)}\n`);
        await rm(path.join(out, "pictures"), { recursive: true, force: true });
        const sheet = await drawPictures(path.join(out, "pictures"), kept);
        output.done();

        const seconds = (performance.now() - began) / 1000;
        output.result(evaluationText(evaluation));
        output.result(
          [
            "",
            `Look at       ${sheet}`,
            `one by one    ${path.join(out, "pictures")}`,
            `model         ${files.model}`,
            `metrics       ${files.metrics}`,
            "",
            `${duration(seconds)} in all. With your own images:`,
            `  ${program} weights pull wide_resnet50_2`,
            `  ${program} train --data DIR --out runs/first        (DIR/train/good, DIR/test/good, DIR/test/<defect>: docs/data.md)`,
            `  ${program} predict --model ${shorter(files.model)} ${shorter(path.join(folder, "test"))}`,
          ].join("\n"),
        );
        output.document({
          run: out,
          seconds,
          contactSheet: sheet,
          start: progress.started() ?? null,
          lastEpoch: progress.last() ?? null,
          evaluation: metrics,
        });
        return 0;
      });
    return withoutEmptyFolders(out, () =>
      run().catch(async (error: unknown) => {
        if (existsSync(marker) && readdirSync(out).length === 1) await rm(marker, { force: true });
        throw error;
      }),
    );
  },
});

/** Running it again starts over, on the same images; in a folder of anything else it does not write. */
function checkFolder(out: string, marker: string): void {
  refuseInDataset("quickstart", "--out", out);
  let found: string[];
  try {
    found = existsSync(out) ? readdirSync(out) : [];
  } catch (error) {
    throw fileError(error, "list", out);
  }
  if (found.length === 0 || existsSync(marker)) return;
  throw new SuperSimpleNetError(
    "INVALID_OPTION",
    `quickstart: ${out} holds something that quickstart did not make. Give a new or an empty folder: --out DIR.`,
    { path: out },
  );
}

/** Relative to the current folder, where that is shorter. */
function shorter(file: string): string {
  const relative = path.relative(process.cwd(), file);
  return relative.length < file.length ? relative : file;
}

/** Ids of the test images to show: defects of every kind in turn, then some good parts. */
function choose(samples: readonly Sample[]): string[] {
  const test = samples.filter((sample) => sample.split === "test");
  const kinds = new Map<string, Sample[]>();
  for (const sample of test)
    if (sample.label === "anomalous")
      kinds.set(sample.defect ?? "", [...(kinds.get(sample.defect ?? "") ?? []), sample]);
  const defects: Sample[] = [];
  for (
    let round = 0;
    defects.length < shownDefects && [...kinds.values()].some((group) => group.length > round);
    round++
  ) {
    for (const group of kinds.values()) if (group[round] && defects.length < shownDefects) defects.push(group[round]!);
  }
  return [...defects, ...test.filter((sample) => sample.label === "normal").slice(0, shownGood)].map(({ id }) => id);
}

/** One overlay per image and a sheet of all of them; returns the sheet's path. */
async function drawPictures(
  folder: string,
  kept: readonly { sample: Sample; detection: Detection }[],
): Promise<string> {
  const { colourRange } = await import("../report/colours.js");
  const { contactSheet, overlayPng } = await import("../report/overlay.js");
  const { overlayOf } = await import("../report/sources.js");
  const { overlaySuffix, pictureNames } = await import("../report/names.js");
  const order = [...kept].sort((a, b) => Number(a.sample.label === "normal") - Number(b.sample.label === "normal"));
  const inputs = await Promise.all(order.map(({ sample, detection }) => overlayOf(sample, detection)));
  const range = colourRange(
    inputs.map(({ detection }) => detection.map.data),
    inputs[0]?.detection.pixelThreshold ?? 0,
  );
  const names = pictureNames(
    inputs.map(({ title }) => title),
    overlaySuffix,
  );
  for (const [i, input] of inputs.entries())
    await writeWholeFile(path.join(folder, names[i]!), await overlayPng(input, range));
  const sheet = path.join(folder, "..", "contact-sheet.png");
  await writeWholeFile(sheet, await contactSheet(inputs, range, "Quickstart: test images"));
  return sheet;
}
