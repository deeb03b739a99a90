import path from "node:path";

import { checkStructure, type Dataset, type Sample } from "../datasets/dataset.js";
import { Detector } from "../detection/detector.js";
import type { Detection } from "../detection/types.js";
import { byPaperName, type Metrics } from "../evaluation/metrics_table.js";
import { networkSettings } from "../models/config.js";
import type { Model } from "../models/model.js";
import { colourRange } from "../report/colours.js";
import { overlayOf, overlayPng } from "../report/overlay.js";
import { pictureMap } from "../report/reduce.js";
import { check, checkPath } from "../schema/check.js";
import { tensorboardOptions } from "../schema/training.js";
import type { EpochEvent, FitOptions, SnapshotEvent, StartEvent } from "../training/events.js";
import { probeFolder } from "../write.js";
import type { EventWriter } from "./events.js";

const where = "openTensorboard";

/** Options of openTensorboard. */
export interface TensorboardOptions {
  /**
   * Called when the folder can no longer be written, and when the pictures fail: once for each. The training goes on without
   * them.
   */
  onFailure?: (error: Error) => void;
}

/** Event files of one training. Its functions never fail: see `onFailure`. */
export interface Tensorboard {
  /** For trainer.fit. */
  readonly callbacks: Required<Pick<FitOptions, "onStart" | "onEpoch" | "onSnapshot">>;
  /** Adds pictures of the trained model, and the metrics on the test split if they are given. */
  finish(model: Model, evaluation?: { metrics: Metrics }): Promise<void>;
}

/**
 * Opens a folder for TensorBoard: a new file gets losses, learning rates and speed of every epoch, and pictures of maps of
 * six images of the test split, or of the training split where there is no other. Errors: INVALID_OPTION, NO_PERMISSION,
 * NO_SPACE, FILE_ERROR.
 */
export async function openTensorboard(
  folder: string,
  data: Dataset,
  options: TensorboardOptions = {},
): Promise<Tensorboard> {
  checkPath(where, "folder", folder);
  checkStructure(where, data);
  check(where, tensorboardOptions, options);
  await probeFolder(folder);
  const { EventWriter } = await import("./events.js"); // with protobufjs
  return new Board(new EventWriter(path.resolve(folder)), shownSamples(data), options.onFailure);
}

class Board implements Tensorboard {
  readonly callbacks = {
    onStart: (event: StartEvent): Promise<void> => this.#begin(event),
    onEpoch: (event: EpochEvent): Promise<void> => this.#add((events) => events.scalars(event.epoch, scalarsOf(event))),
    onSnapshot: ({ epoch, model }: SnapshotEvent): Promise<void> => this.#draw(epoch, model),
  };
  /** Undefined: it has failed. */
  #events: EventWriter | undefined;
  #shown: readonly Sample[];
  #device = "auto";

  constructor(
    events: EventWriter,
    shown: readonly Sample[],
    private readonly onFailure: ((error: Error) => void) | undefined,
  ) {
    this.#events = events;
    this.#shown = shown;
  }

  async finish(model: Model, evaluation?: { metrics: Metrics }): Promise<void> {
    const step = model.config.training?.epochs ?? 0;
    if (evaluation) await this.#add((events) => events.scalars(step, metricScalars(evaluation.metrics)));
    await this.#draw(step, model);
  }

  async #begin({ device, epochsDone }: StartEvent): Promise<void> {
    this.#device = device;
    await this.#add((events) => events.restart(epochsDone + 1));
  }

  async #add(write: (events: EventWriter) => void): Promise<void> {
    if (!this.#events) return;
    write(this.#events);
    try {
      await this.#events.flush();
    } catch (error) {
      this.#events = undefined;
      this.onFailure?.(error as Error);
    }
  }

  async #draw(step: number, model: Model): Promise<void> {
    if (!this.#events || this.#shown.length === 0) return;
    try {
      const pictures = await mapPictures(model, this.#shown, this.#device);
      await this.#add((events) => pictures.forEach(({ id, png }) => events.image(step, `maps/${id}`, png)));
    } catch (error) {
      this.#shown = [];
      this.onFailure?.(error as Error);
    }
  }
}

function scalarsOf(event: EpochEvent): Record<string, number> {
  const { loss, l1Normal, l1Anomalous, focalMap, focalScore, gradientNorm } = event;
  return {
    "loss/total": loss,
    "loss/l1Normal": l1Normal,
    "loss/l1Anomalous": l1Anomalous,
    "loss/focalMap": focalMap,
    "loss/focalScore": focalScore,
    "learning_rate/adaptor": event.adaptorLearningRate,
    "learning_rate/heads": event.headsLearningRate,
    "training/gradientNorm": gradientNorm,
    "training/imagesPerSecond": event.images / event.seconds,
  };
}

/** Without those that the data cannot define. */
function metricScalars(metrics: Metrics): Record<string, number> {
  const named = Object.entries(byPaperName<number | null>(metrics));
  return Object.fromEntries(named.flatMap(([name, value]) => (value === null ? [] : [[`test/${name}`, value]])));
}

/** Four with defects and two without, each spread over their list, so that they show several kinds. */
function shownSamples({ samples }: Dataset): Sample[] {
  const split = samples.some((sample) => sample.split === "test") ? "test" : "train";
  const spread = (label: Sample["label"], count: number): Sample[] => {
    const all = samples.filter((sample) => sample.split === split && sample.label === label);
    return all.filter((_, i) => Math.floor((i * count) / all.length) > Math.floor(((i - 1) * count) / all.length));
  };
  return [...spread("anomalous", 4), ...spread("normal", 2)];
}

/** Overlays of the images, all in one range of colours. */
async function mapPictures(
  model: Model,
  samples: readonly Sample[],
  device: string,
): Promise<{ id: string; png: Buffer }[]> {
  const detector = await Detector.load(model, { device, cudaGraphs: 0 });
  try {
    const detections: Detection[] = [];
    const seen = samples.map(({ image, roi, ignore }) => ({ image, roi, ignore }));
    for await (const detection of detector.detectEach(seen))
      detections.push({ ...detection, map: await pictureMap(detection.map) });
    const maps = detections.map(({ map }) => map.data);
    const range = colourRange(maps, detections[0]!.pixelThreshold);
    const { bitDepth } = networkSettings(model.config);
    const pictures: { id: string; png: Buffer }[] = [];
    for (const [i, sample] of samples.entries()) {
      const png = await overlayPng(await overlayOf(sample, detections[i]!, bitDepth), range);
      pictures.push({ id: sample.id, png });
    }
    return pictures;
  } finally {
    detector.dispose();
  }
}
