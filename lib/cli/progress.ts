import { appendFileSync, existsSync } from "node:fs";

import { fileError } from "../errors.js";
import { readRegular } from "../files/input.js";
import { regimePresets } from "../schema/presets.js";
import { fullDepth } from "../schema/common.js";
import type { EpochEvent, FitOptions, StageEvent, StartEvent, StepEvent } from "../training/events.js";
import { sizeOf, type ViewNumbers } from "../view/numbers.js";
import { replaceFile } from "../write.js";
import { duration, output } from "./output.js";

const stages: Record<StageEvent["stage"], string> = {
  validate: "checking images",
  load: "loading the backbone",
  measure: "measuring features",
  crossFit: "cross-fitting",
  calibrate: "setting thresholds",
};

/** Where output is not a terminal, a training prints about this many epochs. */
const plainLines = 20;

/**
 * Shows a training on stderr: one live line on a terminal, else some lines of epochs. `logFile` gets one JSON object per
 * line: the start, then every epoch.
 */
export function showTraining(
  logFile: string,
  balancedSampling?: boolean,
): {
  callbacks: Pick<FitOptions, "onStage" | "onStart" | "onStep" | "onEpoch">;
  started(): StartEvent | undefined;
  last(): EpochEvent | undefined;
} {
  let start: StartEvent | undefined;
  let last: EpochEvent | undefined;
  let images = 0;
  const secondsSoFar: number[] = [];

  const callbacks: FitOptions = {
    onStage(event) {
      const { stage, done, total, fold } = event;
      tellParent({ event: "stage", ...event });
      const which = fold ? `, fold ${fold.fold} of ${fold.folds}:` : "";
      output.progress(`${stages[stage]}${which} ${done}/${total}`);
    },
    async onStart(event) {
      start = event;
      tellParent({ event: "start", ...event });
      images = event.view?.tilesPerEpoch ?? imagesPerEpoch(event, balancedSampling);
      for (const line of startLines(event)) output.log(line);
      for (const warning of event.warnings) output.warn(warning);
      await keepLog(logFile, event.epochsDone);
      append(logFile, { event: "start", ...event });
    },
    onStep(event: StepEvent) {
      const { epoch, epochs, step, steps, total } = event;
      tellParent({ event: "step", ...event });
      output.progress(
        `epoch ${epoch}/${epochs}  step ${step}/${steps}  loss ${total.toFixed(4)}${pace(epochs - epoch + 1 - step / steps)}`,
      );
    },
    onEpoch(event) {
      last = event;
      const first = event.epoch === (start?.epochsDone ?? 0) + 1;
      // Of an epoch that was resumed, only the rest has been timed.
      if (!first || !start?.stepsDone) secondsSoFar.push(event.seconds);
      for (const warning of event.warnings) output.warn(warning);
      append(logFile, { event: "epoch", ...event });
      tellParent({ event: "epoch", ...event });
      const { epoch, epochs, loss } = event;
      const text = `epoch ${epoch}/${epochs}  loss ${loss.toFixed(4)}${pace(epochs - epoch)}`;
      output.progress(text);
      if (!output.isTerminal && (first || epoch === epochs || epoch % Math.ceil(epochs / plainLines) === 0))
        output.log(text);
    },
  };
  return { callbacks, started: () => start, last: () => last };

  /** Speed and time left, from the last epochs: the first one is slower, because it fills the feature cache. */
  function pace(epochsLeft: number): string {
    const recent = secondsSoFar.slice(-5);
    if (recent.length === 0) return "";
    const mean = recent.reduce((sum, s) => sum + s, 0) / recent.length;
    return `  ${(images / Math.max(mean, 1e-6)).toFixed(0)} ${start?.view?.tilesPerEpoch == null ? "images" : "tiles"}/s  ${epochsLeft > 0 ? `${duration(mean * epochsLeft)} left` : "done"}`;
  }
}

/** Tells a program that started this one with a channel, as the studio does (lib/studio/trainings.ts). */
export function tellParent(event: object): void {
  if (process.connected) process.send!(event);
}

function imagesPerEpoch(
  { regime, counts }: StartEvent,
  balancedSampling = regimePresets[regime].optimizer.balancedSampling,
): number {
  // Balanced: every anomalous image in four flips, and as many normal images (docs/method.md, Training).
  return balancedSampling ? 8 * counts.trainAnomalous : counts.trainNormal + counts.trainAnomalous;
}

const counted = (count: number, unit: string): string => `${count} ${unit}${count === 1 ? "" : "s"}`;

function startLines(event: StartEvent): string[] {
  const {
    regime,
    counts,
    backbone,
    noiseStd,
    noise,
    noiseRelative,
    device,
    deviceReason,
    epochs,
    epochsDone,
    stepsPerEpoch,
    ranks,
  } = event;
  const { calibration, init, view, bitDepth, stepsDone, precision, precisionReason } = event;
  const format = precisionReason === null ? precision : `${precision} (${precisionReason})`;
  const used = counts.calibrationNormal + counts.calibrationAnomalous;
  const held = calibration.method === "holdOut" && used > 0 ? `, ${used} more held out for the thresholds` : "";
  return [
    `regime ${regime}: ${counts.trainNormal} normal and ${counts.trainAnomalous} anomalous training images (${counts.trainSegmented} with a mask)${held}`,
    `backbone ${backbone.architecture}, ${backbone.trained ? `weights ${backbone.source}` : `UNTRAINED (${backbone.source})`}${backbone.reason === null ? "" : ` (${backbone.reason})`}; noise ${noiseStd.toPrecision(3)} (${noise}, ${noiseRelative.toPrecision(2)} times the features' standard deviation); device ${device} (${deviceReason}), ${format}`,
    ...(init === null ? [] : [`begins with the heads of ${init} (its thresholds stay)`]),
    ...(view === null ? [] : viewLines(view)),
    ...(bitDepth === fullDepth ? [] : [`16-bit images are read as ${bitDepth} bits`]),
    `${counted(epochs, "epoch")} of ${counted(stepsPerEpoch, "step")}${doneText(epochsDone, stepsDone)}${ranks > 1 ? `; each step shared by ${ranks} processes` : ""}`,
    ...(calibration.folds === null
      ? []
      : [
          `thresholds by cross-fitting: ${calibration.folds} folds of ${used} images make the training ${calibration.timeFactor.toFixed(1)} times as long (--calibration hold-out or none takes no longer)`,
        ]),
  ];
}

/** So many sizes of images have a line. */
const mostLayouts = 3;

/** What a view makes of images, for people. */
export function viewLines({ images, layouts, tilesPerImage, tilesPerEpoch, defects }: ViewNumbers): string[] {
  const told = layouts.slice(0, mostLayouts);
  const known = told.reduce((sum, layout) => sum + layout.images, 0);
  const { least, most } = tilesPerImage;
  const lines = told.map(({ images: alike, width, height, region, planes }) => {
    const whole = region.width === width && region.height === height;
    const part = whole ? "" : `, of which ${sizeText(region)} from ${region.x},${region.y} are looked at`;
    const shown = planes.map((plane) => {
      const { x, y } = plane.scale;
      const scale = x === y ? brief(x) : `${brief(x)} across and ${brief(y)} down`;
      return `${sizeText(plane)} at the scale ${scale} (${counted(plane.tiles, "tile")})`;
    });
    return `view: ${counted(alike, "image")} of ${sizeText({ width, height })}${part}; pixels of the network: ${shown.join(", ")}`;
  });
  if (known < images) lines.push(`view: ${images - known} more images of other sizes or regions`);
  if (most > 1) {
    const perImage = least === most ? String(least) : `${least} to ${most}`;
    lines.push(
      `tiles: ${perImage} per image${tilesPerEpoch === null ? "" : `; a training shows ${tilesPerEpoch} in an epoch`}`,
    );
  }
  if (defects) {
    const { count, images: marked, smallest, small } = defects;
    lines.push(
      `labelled defects: ${count} in ${counted(marked, "image")}; the smallest is ${sizeOf(smallest)}, in ${smallest.image}; of each image's largest the 5th percentile is ${sizeOf(small)}`,
    );
  }
  return lines;
}

const sizeText = ({ width, height }: { width: number; height: number }): string => `${width}x${height}`;
const brief = (scale: number): string => String(Number(scale.toPrecision(3)));

function doneText(epochs: number, steps: number): string {
  const done = [epochs > 0 && counted(epochs, "epoch"), steps > 0 && counted(steps, "step")].filter(Boolean);
  return done.length === 0 ? "" : `; ${done.join(" and ")} done already`;
}

/** Drops what a resumed run will write again: epochs after the checkpoint. A fresh run starts an empty log. */
async function keepLog(file: string, epochsDone: number): Promise<void> {
  try {
    const before = existsSync(file) && epochsDone > 0 ? (await readRegular(file)).toString() : "";
    const lines = before.split("\n").filter((line) => line !== "" && epochOf(line) <= epochsDone);
    await replaceFile(file, lines.map((line) => `${line}\n`).join(""));
  } catch (error) {
    throw fileError(error, "write", file);
  }
}

function epochOf(line: string): number {
  try {
    const entry = JSON.parse(line) as { event?: string; epoch?: number };
    return entry.event === "epoch" ? (entry.epoch ?? Infinity) : 0;
  } catch {
    return Infinity; // the half line of a run that was cut off
  }
}

function append(file: string, entry: object): void {
  try {
    appendFileSync(file, `${JSON.stringify(entry)}\n`);
  } catch (error) {
    throw fileError(error, "write", file);
  }
}
