import { stat } from "node:fs/promises";
import { types } from "node:util";

import { leastNormals } from "../datasets/calibration.js";
import { firstOf } from "../datasets/listing.js";
import { Detector } from "../detection/detector.js";
import { invalid, option, SuperSimpleNetError, text } from "../errors.js";
import { type ImageSource, type PlainSource, pathOfSource, plainSource, readImageFile } from "../images/source.js";
import { imageId } from "../images/identity.js";
import { ImageWarnings } from "../images/warnings.js";
import { prefetch } from "../images/pipeline.js";
import type { PartsRecord, Thresholds } from "../models/config.js";
import type { Model } from "../models/model.js";
import { check } from "../schema/check.js";
import type { Decision, Source } from "../schema/decisions.js";
import { sourcesOf } from "../schema/decisions.js";
import { calibrateOptions } from "../schema/models.js";
import type { Settings } from "../schema/types.js";
import { type Drift, DriftWatch } from "./drift_watch.js";
import type { CalibrationImage } from "./images.js";
import { tellRate } from "./operating_points.js";
import { defaultRate } from "./rate.js";
import { calibrateThresholds } from "./thresholds.js";

/** Parts that were seen after the training. */
export interface CalibrationParts {
  /** Good parts, 4 or more. None may be a training image. */
  good: readonly ImageSource[];
  /** Parts with defects. */
  bad?: readonly ImageSource[];
}

/** Options of model.calibrate. */
export interface CalibrateOptions extends Settings<typeof calibrateOptions> {
  onProgress?: (done: number, total: number) => void;
}

const where = "model.calibrate";

/** An image with what tells it again. */
interface Part {
  source: PlainSource;
  name: string;
  anomalous: boolean;
  id: string;
  /** When its file was changed last, in milliseconds; absent where it is no file. */
  changed: number | undefined;
}

/** New thresholds of a model from parts that were seen after its training. model.calibrate has the errors. */
export async function thresholdsFromParts(
  model: Model,
  parts: CalibrationParts,
  options: CalibrateOptions,
): Promise<Thresholds> {
  const settings = check(where, calibrateOptions, options);
  const { device, threads, backboneWeights, signal } = settings;
  const all = await identified(parts, signal);
  refuseBadParts(all, model);
  const { kept, copies } = withoutCopies(all);
  const old = model.config.thresholds;
  const decision = settings.decision ?? old.decision;
  const detector = await Detector.load(model, { device, threads, backboneWeights, mapSize: "none" });
  try {
    const doubts = new ImageWarnings();
    const images = await scored(detector, kept, doubts, options);
    refuseSilentParts(images, decision);
    const drift = driftOf(images, old, decision);
    const warnings = [
      ...copies,
      ...doubts.texts(firstOf),
      ...uncheckedWarnings(model),
      ...changeWarnings(drift, old, settings.acceptChange),
    ];
    const [height, width] = model.config.imageSize;
    const found = await calibrateThresholds(
      images,
      { height, width },
      {
        method: "newParts",
        folds: null,
        falseRejectRate: settings.falseRejectRate ?? old.calibration?.falseRejectRate ?? defaultRate,
        decision,
        objective: objectiveOf(settings, old, images),
        missRate: settings.missRate ?? old.unsure?.missRate,
      },
    );
    return {
      ...found,
      ...ownPixelThreshold(old),
      calibration: {
        ...found.calibration!,
        // Too few parts to compare are too few to compare with.
        good:
          drift.verdict === "unknown" ? (old.calibration?.good ?? found.calibration!.good) : found.calibration!.good,
        parts: recordOf(kept),
        previous: withoutPrevious(old),
        warnings: [...warnings, ...found.calibration!.warnings],
      },
    };
  } finally {
    detector.dispose();
  }
}

/** Who asks for a rate wants it. Else the objective stays, as far as there are defects for it. */
function objectiveOf(
  { objective, falseRejectRate }: { objective?: "rate" | "f1" | undefined; falseRejectRate?: number | undefined },
  { calibration }: Thresholds,
  images: readonly CalibrationImage[],
): "rate" | "f1" | undefined {
  if (objective !== undefined) return objective;
  if (falseRejectRate !== undefined) return "rate";
  return images.some(({ anomalous }) => anomalous) ? calibration?.objective : "rate";
}

/** Model files of older formats, and converted ones, do not list their training images. */
const uncheckedWarnings = ({ config }: Model): string[] =>
  config.training?.images
    ? []
    : ["The model does not list its training images: whether it was trained on these parts was not checked."];

/** What was found on masks, or set by hand, is better than what good parts say of pixels. */
const ownPixelThreshold = ({ pixelLogit, pixelMethod }: Thresholds): Partial<Thresholds> =>
  pixelMethod === "best-f1" || pixelMethod === "manual" ? { pixelLogit, pixelMethod } : {};

/** One step back is kept, not all of them: each holds a list of images. */
const withoutPrevious = (old: Thresholds): Thresholds => ({
  ...old,
  calibration: old.calibration && { ...old.calibration, previous: null },
});

async function identified(parts: CalibrationParts, signal: AbortSignal | undefined): Promise<Part[]> {
  const { good, bad = [] } = (parts ?? {}) as CalibrationParts;
  for (const [name, list] of Object.entries({ good, bad }))
    if (!Array.isArray(list)) throw invalid(where, name, "a list of images", list);
  if (good.length === 0) throw invalid(where, "good", `${leastNormals} good parts or more`, 0);
  const listed = [
    ...good.map((source, i) => ({ source, anomalous: false, name: nameOf(source, "good", i) })),
    ...bad.map((source, i) => ({ source, anomalous: true, name: nameOf(source, "bad", i) })),
  ];
  const identify = async (part: (typeof listed)[number]): Promise<Part> => {
    const source = await plainSource(part.source);
    if (typeof source === "string") {
      const id = await imageId(await readImageFile(source));
      return { ...part, source, id, changed: (await stat(source)).mtimeMs };
    }
    const bytes = types.isUint8Array(source) ? source : source.data;
    return { ...part, source, id: await imageId(bytes), changed: undefined };
  };
  const out: Part[] = [];
  for await (const part of prefetch(listed, identify, { signal })) out.push(part);
  return out;
}

const nameOf = (source: ImageSource, list: string, index: number): string =>
  pathOfSource(source) ?? `${list}[${index}]`;

/** Scores of images that were trained on say nothing of new ones, and an image cannot be both good and bad. */
function refuseBadParts(parts: readonly Part[], model: Model): void {
  const trained = new Set(model.config.training?.images ?? []);
  const known = parts.filter(({ id }) => trained.has(id)).map(({ name }) => name);
  const good = new Map(parts.filter(({ anomalous }) => !anomalous).map(({ id, name }) => [id, name]));
  const both = parts
    .filter(({ anomalous, id }) => anomalous && good.has(id))
    .map(({ id, name }) => `${good.get(id)!} is the same image as ${name}: good and bad.`);
  const problems = [...known.map((name) => `${name} is a training image.`), ...both];
  if (problems.length === 0) return;
  const wrong = [
    ...(known.length > 0 ? [`${known.length} of ${parts.length} were trained on`] : []),
    ...(both.length > 0 ? [`${both.length} are both good and bad`] : []),
  ];
  throw new SuperSimpleNetError("DATASET_INVALID", `These parts cannot set thresholds: ${wrong.join("; ")}.`, {
    problems,
    fix:
      known.length > 0
        ? "The model knows those it was trained on. Give parts that it has not seen."
        : "Leave each image in one of the two.",
  });
}

/** An image that is there twice tells no more than once. */
function withoutCopies(parts: readonly Part[]): { kept: Part[]; copies: string[] } {
  const seen = new Set<string>();
  const kept = parts.filter(({ id }) => !seen.has(id) && seen.add(id));
  const copies = parts.length - kept.length;
  const are = copies === 1 ? "1 image is a copy of another and does" : `${copies} images are copies of others and do`;
  return { kept, copies: copies > 0 ? [`${are} not count.`] : [] };
}

async function scored(
  detector: Detector,
  parts: readonly Part[],
  doubts: ImageWarnings,
  { signal, onProgress }: CalibrateOptions,
): Promise<CalibrationImage[]> {
  const images: CalibrationImage[] = [];
  const sources = parts.map(({ source }) => source);
  for await (const { logit, peak, warnings } of detector.detectEach(sources, { signal })) {
    const { name, anomalous } = parts[images.length]!;
    doubts.add(name, warnings);
    images.push({ anomalous, logit, peak });
    onProgress?.(images.length, parts.length);
  }
  return images;
}

/** A threshold from such parts would be a guess, and the model has a better one. */
function refuseSilentParts(images: readonly CalibrationImage[], decision: Decision): void {
  const normal = images.filter((image) => !image.anomalous);
  const refuse = (why: string): never => {
    throw new SuperSimpleNetError("DATASET_INVALID", why, {
      problems: [why],
      fix: "Give more good parts, each with an image of its own. The model keeps its thresholds.",
    });
  };
  if (normal.length < leastNormals)
    refuse(`${normal.length} different good parts cannot set a threshold; ${leastNormals} are needed.`);
  const silent = sourcesOf(decision).filter((source) => !tellRate(normal, source));
  if (silent.length > 0) refuse(`All ${normal.length} good parts have the same ${named[silent[0]!]}.`);
}

const named: Readonly<Record<Source, string>> = { score: "score", map: "maximum of the map" };

/** The good parts beside those that the old thresholds were set on, by what decided and by what will. */
function driftOf(images: readonly CalibrationImage[], old: Thresholds, decision: Decision): Drift {
  const watch = new DriftWatch(old.calibration, decision === old.decision ? decision : "either");
  for (const { anomalous, logit, peak } of images) if (!anomalous) watch.add({ score: logit, map: peak });
  return watch.report();
}

/** Throws SCORES_CHANGED. */
function changeWarnings(drift: Drift, old: Thresholds, acceptChange: boolean): string[] {
  if (drift.verdict === "same") return [];
  if (drift.verdict === "unknown")
    return [
      old.calibration?.good
        ? "Too few good parts to tell whether their scores are those of the parts that the old thresholds were set on."
        : "The model holds no scores of the parts that its old thresholds were set on: whether camera and light are still the same was not checked.",
    ];
  const told = (["score", "map"] as const).flatMap((source) => {
    const one = drift[source];
    return one && (one.verdict === "higher" || one.verdict === "lower")
      ? [`${named[source]} ${one.verdict} (D ${one.statistic.toFixed(2)}, p ${one.pValue.toPrecision(1)})`]
      : [];
  });
  const what = `The good parts do not score as those that the old thresholds were set on: ${told.join(", ")}, by Kolmogorov and Smirnov's test.`;
  if (acceptChange) return [`${what} This was accepted.`];
  throw new SuperSimpleNetError("SCORES_CHANGED", what, {
    fix: text`Has camera, light or material changed? Then train anew; or accept it with ${option("acceptChange")} and check that defects are still found.`,
  });
}

function recordOf(parts: readonly Part[]): PartsRecord {
  const times = parts.flatMap(({ changed }) => (changed === undefined ? [] : [changed]));
  const date = (time: number): string | null => (times.length === 0 ? null : new Date(time).toISOString());
  const ids = (anomalous: boolean): string[] =>
    parts.filter((part) => part.anomalous === anomalous).map(({ id }) => id);
  const [from, to] = times.reduce(
    ([low, high], time) => [Math.min(low, time), Math.max(high, time)],
    [Infinity, -Infinity],
  );
  return { from: date(from!), to: date(to!), normal: ids(false), anomalous: ids(true) };
}
