import { existsSync, readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";

import { z } from "zod";

import type { Dataset, Sample } from "../datasets/dataset.js";
import type { Detection } from "../detection/types.js";
import { fileError, option as flagOf, text } from "../errors.js";
import type { Evaluation } from "../evaluation/evaluate.js";
import type { Model } from "../models/model.js";
import type { ReportPictures } from "../report/pictures.js";
import { paperBackbone, pathType } from "../schema/common.js";
import { generatedOptions } from "../schema/datasets.js";
import { option, rowOf } from "../schema/option.js";
import { refuseSpecialFiles, type RunFiles, runFiles, saveMetrics, saveRun } from "../runs/files.js";
import { trainerOptions } from "../schema/training.js";
import { probeFolder, writeWholeFile } from "../write.js";
import { picturesFor, writeReport } from "../runs/report.js";
import { command, interruptible } from "./command.js";
import { evaluationText } from "./evaluation.js";
import { badPath, refuseInDataset, withoutEmptyFolders } from "./guards.js";
import { withDetector } from "./models.js";
import { duration, output, program } from "./output.js";
import { showTraining } from "./progress.js";
import { withWhatIsKept } from "./run_folder.js";

const { epochs, device, threads } = trainerOptions.shape;
const { imageSize, seed } = generatedOptions.shape;

/** Small enough for two CPU cores and two minutes, large enough to learn the defects. */
const options = z.strictObject({
  out: option(pathType.default("quickstart-run"), {
    help: "Folder for everything.",
    placeholder: "DIR",
    expected: "a value that is not empty",
  }),
  imageSize: option(imageSize.unwrap().default([128, 128]), rowOf(imageSize)!),
  epochs: option(epochs.unwrap().default(16), { ...rowOf(epochs)!, defaultText: "16" }),
  seed: option(seed.unwrap().default(0), { ...rowOf(seed)!, help: "Seed of the images and of the training." }),
  device,
  threads,
});

/** Good images, and a few defects with masks: with them few epochs are enough. */
const trainImages = { trainNormal: 60, trainAnomalous: 15 } as const;

/** Louder than the default, which is chosen for trainings of hundreds of epochs (docs/measurements/noise.md). */
const noiseStd = { relative: 1.5 };

/** Pictures of the report: this many defects, of as many kinds as there are, and this many good parts. */
const shownDefects = 6;
const shownGood = 2;

export const quickstart = command({
  name: "quickstart",
  description:
    "Draws a data set of printed surfaces with and without defects, trains on good ones and a few defects with masks, evaluates, and writes the model, metrics.json and pictures. The backbone is the package's own ResNet-18, so nothing has to be downloaded.",
  options,
  examples: ["supersimplenet quickstart", "supersimplenet quickstart --out /tmp/demo --epochs 10"],
  async run(flags) {
    output.worksOn = true;
    const plan = planQuickstart(options.parse(flags));
    return withoutEmptyFolders(plan.out, () =>
      interruptible((signal) => demonstrate(plan, signal)).catch(async (error: unknown) => {
        const { quickstart: marker } = plan.files;
        if (existsSync(marker) && readdirSync(plan.out).length === 1) await rm(marker, { force: true });
        throw error;
      }),
    );
  },
});

interface Plan extends z.output<typeof options> {
  began: number;
  files: RunFiles;
  /** Folder of the images. */
  data: string;
  pictures: string;
}

function planQuickstart(settings: z.output<typeof options>): Plan {
  const out = path.resolve(settings.out);
  refuseOtherFolder(out);
  return {
    ...settings,
    began: performance.now(),
    out,
    files: runFiles(out),
    data: path.join(out, `data-${settings.imageSize.join("x")}-seed${settings.seed}`),
    pictures: path.join(out, "pictures"),
  };
}

/** Running it again starts over, on the same images; it does not write in a folder of anything else. */
function refuseOtherFolder(out: string): void {
  refuseInDataset("out", out);
  let found: string[];
  try {
    found = existsSync(out) ? readdirSync(out) : [];
  } catch (error) {
    throw fileError(error, "list", out);
  }
  if (found.length === 0 || existsSync(runFiles(out).quickstart)) return;
  const fix = text`Give a new or an empty folder: ${flagOf("out")} DIR.`;
  throw badPath("out", out, `${out} holds something that quickstart did not make.`, fix);
}

async function demonstrate(plan: Plan, signal: AbortSignal): Promise<number> {
  const { out, files, began } = plan;
  const { Trainer } = await import("../training/trainer.js");
  const trainer = new Trainer({
    backbone: "resnet18",
    backboneWeights: "distilled",
    imageSize: plan.imageSize,
    epochs: plan.epochs,
    seed: plan.seed,
    device: plan.device,
    threads: plan.threads,
    distributed: false,
    anomalies: { noiseStd },
    // Folds would take several times as long, and what is held out is too little for a rate.
    calibration: { method: "holdOut", objective: "f1" },
  });
  await probeFolder(out);
  await refuseSpecialFiles(files);
  await writeWholeFile(files.quickstart, "{}\n");
  const dataset = await drawImages(plan, signal);
  const { callbacks, started, last } = showTraining(files.log);
  const model = await trainer.fit(dataset, { signal, out, overwrite: true, ...callbacks }).catch((error: unknown) => {
    throw started() ? withWhatIsKept(error, `${program} quickstart (it starts over)`, out) : error;
  });
  await saveRun(files, model);
  output.done();

  const pictures = await picturesFor(dataset, "test", model.config);
  const { evaluation, shown } = await evaluateAndKeep(plan, model, dataset, pictures, signal);
  const metrics = await saveMetrics(files, model, evaluation, dataset);
  const data = { dataset, split: "test" } as const;
  const { model: modelFile, log } = files;
  await writeReport(files.report, { modelFile, config: model.config, evaluation, data, pictures, log });
  const contactSheet = await drawPictures(plan.pictures, shown);
  output.done();
  const seconds = (performance.now() - began) / 1000;
  output.result(`${evaluationText(evaluation)}\n${whatToDoNext(plan, contactSheet, seconds)}`);
  output.document({
    run: out,
    seconds,
    report: files.report,
    contactSheet,
    start: started() ?? null,
    lastEpoch: last() ?? null,
    evaluation: metrics,
  });
  return 0;
}

async function drawImages({ data, imageSize, seed }: Plan, signal: AbortSignal): Promise<Dataset> {
  const { datasets } = await import("../datasets/index.js");
  const dataset = await datasets.generated(data, {
    ...trainImages,
    imageSize,
    seed,
    signal,
    onProgress: ({ written, total }) => output.progress(`drawing images ${written}/${total}`),
  });
  output.done();
  output.log(`images: ${data}`);
  return dataset;
}

interface Shown {
  sample: Sample;
  detection: Detection;
}

/** Metrics on the test images, and the detections of those that are shown. */
async function evaluateAndKeep(
  { device, threads }: Plan,
  model: Model,
  dataset: Dataset,
  pictures: ReportPictures,
  signal: AbortSignal,
): Promise<{ evaluation: Evaluation; shown: Shown[] }> {
  const { Detector } = await import("../detection/detector.js");
  const { evaluate } = await import("../evaluation/evaluate.js");
  const chosen = new Set(chooseShown(dataset.samples));
  const shown: Shown[] = [];
  const evaluation = await withDetector(Detector.load(model, { device, threads }), (detector) =>
    evaluate(detector, dataset, {
      signal,
      onProgress: (done, total) => output.progress(`evaluating ${done}/${total}`),
      async onDetection(sample, detection) {
        if (chosen.has(sample.id)) shown.push({ sample, detection });
        await pictures.add(sample, detection);
      },
    }),
  );
  await pictures.finish();
  return { evaluation, shown };
}

function whatToDoNext({ files, data, pictures }: Plan, contactSheet: string, seconds: number): string {
  return [
    "",
    `Look at       ${files.report}   (in a browser)`,
    `pictures      ${contactSheet}`,
    `one by one    ${pictures}`,
    `model         ${files.model}`,
    `metrics       ${files.metrics}`,
    "",
    `${duration(seconds)} in all. With your own images:`,
    `  ${program} train --data DIR --out runs/first        (DIR/train/good, DIR/test/good, DIR/test/<defect>: docs/guides/data.md)`,
    `  ${program} predict --model ${shorter(files.model)} ${shorter(path.join(data, "test"))}`,
    `  ${program} weights pull ${paperBackbone}        (the paper's backbone, a download; without it train uses the package's own)`,
  ].join("\n");
}

/** Relative to the current folder, where that is shorter. */
function shorter(file: string): string {
  const relative = path.relative(process.cwd(), file);
  return relative.length < file.length ? relative : file;
}

/** Ids of the test images to show: defects of every kind in turn, then some good parts. */
function chooseShown(samples: readonly Sample[]): string[] {
  const test = samples.filter((sample) => sample.split === "test");
  const kinds = new Map<string, Sample[]>();
  for (const sample of test)
    if (sample.label === "anomalous")
      kinds.set(sample.defect ?? "", [...(kinds.get(sample.defect ?? "") ?? []), sample]);
  const defects: Sample[] = [];
  const rounds = Math.max(0, ...[...kinds.values()].map((group) => group.length));
  for (let round = 0; round < rounds; round++)
    for (const group of kinds.values()) if (group[round]) defects.push(group[round]!);
  const good = test.filter((sample) => sample.label === "normal");
  return [...defects.slice(0, shownDefects), ...good.slice(0, shownGood)].map(({ id }) => id);
}

/** One overlay per image and a sheet of all of them; returns the sheet's path. */
async function drawPictures(folder: string, shown: readonly Shown[]): Promise<string> {
  const { colourRange } = await import("../report/colours.js");
  const { contactSheet, overlayPng } = await import("../report/overlay.js");
  const { overlayOf } = await import("../report/overlay.js");
  const { overlaySuffix, pictureNames } = await import("../report/names.js");
  await rm(folder, { recursive: true, force: true });
  const order = [...shown].sort((a, b) => Number(a.sample.label === "normal") - Number(b.sample.label === "normal"));
  const inputs = await Promise.all(order.map(({ sample, detection }) => overlayOf(sample, detection)));
  const range = colourRange(
    inputs.map(({ detection }) => detection.map.data),
    inputs[0]?.detection.pixelThreshold ?? 0,
  );
  const titles = inputs.map(({ title }) => title);
  for (const [i, name] of pictureNames(titles, overlaySuffix).entries())
    await writeWholeFile(path.join(folder, name), await overlayPng(inputs[i]!, range));
  const sheet = path.join(folder, "..", "contact-sheet.png");
  await writeWholeFile(sheet, await contactSheet(inputs, range, "Quickstart: test images"));
  return sheet;
}
