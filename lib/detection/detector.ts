import { types } from "node:util";

import type { z } from "zod";

import { sigmoid } from "../calibration/describe.js";
import { type Drift, DriftWatch } from "../calibration/drift_watch.js";
import { weightsFile } from "../backbones/load.js";
import { call, invalid, SuperSimpleNetError, text, throwIfAborted } from "../errors.js";
import { applyMemory } from "../images/budget.js";
import type { DecodeOptions } from "../images/decode.js";
import { prefetch } from "../images/pipeline.js";
import { pathOfSource } from "../images/source.js";
import { newestOf, readyBatches } from "../images/stream.js";
import { isUnreadable } from "../images/unreadable.js";
import { imageWarnings } from "../images/warnings.js";
import { computeFor, networkSettings } from "../models/config.js";
import { isPath } from "../schema/common.js";
import { checkInTurns, Model, openBackboneOf, openModel, releaseBackbone } from "../models/model.js";
import type { NativeDetector } from "../native/binding.js";
import { type ChosenDevice, applyThreads, checkPrecision, resolveDevice } from "../native/device.js";
import { engine, openEngine } from "../native/engine.js";
import { lendTensors, sendTensors } from "../native/send.js";
import { isRectangle } from "../images/rectangle.js";
import { check, checkNames, checkPath } from "../schema/check.js";
import type { Decision } from "../schema/decisions.js";
import { detectEachOptions, detectOptions, type DetectorOptions, detectorOptions } from "../schema/detection.js";
import { unheeded } from "../turns.js";
import type { Eye, OwnView } from "../view/open.js";
import { decide, type Limits, limitsOf } from "./decide.js";
import { eyeFor, prepare, type Prepared } from "./prepare.js";
import { Judged } from "./judged.js";
import { type Seen, seePieces, seeTiles, type Sink } from "./see.js";
import type { DetectEachOptions, Detection, DetectOptions, ImageSource, NamedImage } from "./types.js";

const where = "Detector.load";

type Source = ImageSource | NamedImage;

/** An image on its way to the engine. */
export interface Decoded extends Prepared {
  source: Source;
  decodeMs: number;
}

interface Unread {
  source: Source;
  failure: unknown;
}

/**
 * The two halves of Detector.detect, for who gathers images of several callers into batches. Errors of the first: those of
 * loadImage.
 */
export let decodeFor: (detector: Detector, source: ImageSource, options?: DecodeOptions) => Promise<Decoded>;

/** The second half: one forward pass, whatever the detector's batch size. */
export let detectDecoded: (detector: Detector, batch: readonly Decoded[]) => Promise<Detection[]>;

/** What a detector feeds the network with. */
export let eyeOf: (detector: Detector) => Eye;

type Settings = z.output<typeof detectorOptions>;

/** Images in, decisions out. Load once, use often; calls may overlap, and take turns in the engine batch by batch. */
export class Detector {
  readonly model: Model;
  /** "cpu", "cuda:0", ... */
  readonly device: string;
  /** Why that device. */
  readonly deviceReason: string;
  readonly #native: NativeDetector;
  readonly #settings: Settings;
  readonly #limits: Limits;
  readonly #drift: DriftWatch;
  readonly #threshold: number;
  readonly #pixelThreshold: number;
  /** The model's own configuration may be changed meanwhile. */
  readonly #eye: Eye;
  #disposed = false;

  static {
    decodeFor = (detector, source, options) => detector.#decode(source, options);
    detectDecoded = (detector, batch) => detector.#run(batch, {});
    eyeOf = (detector) => detector.#eye;
  }

  private constructor(model: Model, chosen: ChosenDevice, native: NativeDetector, settings: Settings, limits: Limits) {
    this.model = model;
    this.device = chosen.device;
    this.deviceReason = chosen.reason;
    this.#native = native;
    this.#settings = settings;
    const { thresholds } = model.config;
    this.#eye = eyeFor(networkSettings(model.config));
    this.#limits = limits;
    this.#drift = new DriftWatch(thresholds.calibration, limits.decision);
    this.#threshold = settings.threshold ?? sigmoid(limits.defect.score);
    this.#pixelThreshold = settings.pixelThreshold ?? thresholds.pixelLogit;
  }

  /**
   * Loads a model file, or takes a model.
   *
   * Errors: INVALID_OPTION, UNKNOWN_OPTION, DEVICE_UNAVAILABLE, those of Model.load and model.check, FILE_NOT_FOUND for
   * `backboneWeights`, and WEIGHTS_MISSING or CHECKSUM_MISMATCH when the model file does not hold its backbone.
   */
  static async load(source: string | Model, options: DetectorOptions = {}): Promise<Detector> {
    const settings = check(where, detectorOptions, options);
    // The model file is read while libtorch is opened, and the engine lays out the weights while they are verified.
    const reading = typeof source === "string" ? unheeded(openModel(source, settings.device)) : undefined;
    await openEngine(settings.device);
    const chosen = resolveDevice(where, settings.device);
    checkPrecision(where, settings.precision, chosen.device);
    const { value: model, verified } = (await reading) ?? { value: source as Model, verified: undefined };
    if (!(model instanceof Model)) throw invalid(where, "source", "a model file's path or a Model", typeof source);
    if (model === source) await checkInTurns(model, where);
    const limits = limitsOf(where, model.config.thresholds, settings);
    const compute = computeFor(where, "heads", model.config, settings.heads);
    await applyThreads(where, settings.threads);
    applyMemory(settings.memoryMiB);
    // The file may not be needed, but a wrong name is a mistake all the same.
    if (settings.backboneWeights !== "auto" && settings.backboneWeights !== "random")
      weightsFile(where, model.config.backbone.architecture, settings.backboneWeights);
    const backbone = await openBackboneOf(model, settings.backboneWeights);
    const { precision, cudaGraphs } = settings;
    const config = { ...model.networkConfig, device: chosen.device, compute, precision, cudaGraphs };
    const [made, checked] = await Promise.allSettled([
      model === source
        ? engine().createDetector(config, await sendTensors(backbone.value), await sendTensors(model.heads))
        : lendTensors([backbone.value, model.heads], (weights, heads) =>
            engine().createDetector(config, weights!, heads!),
          ),
      Promise.all([verified, backbone.verified]),
    ]);
    if (checked.status === "rejected") {
      if (made.status === "fulfilled") made.value.dispose();
      throw checked.reason;
    }
    if (made.status === "rejected") throw made.reason;
    const native = made.value;
    if (model !== source) releaseBackbone(model);
    return new Detector(model, chosen, native, settings, limits);
  }

  /**
   * One image, or several in the order given. The pixels or bytes of one image are copied at once; those of several must stay as they
   * are until the promise is settled.
   *
   * Errors: IMAGE_UNREADABLE, FILE_NOT_FOUND, NO_PERMISSION (naming the image), ABORTED.
   */
  detect(source: ImageSource | NamedImage, options?: DetectOptions): Promise<Detection>;
  detect(sources: readonly (ImageSource | NamedImage)[], options?: DetectOptions): Promise<Detection[]>;
  detect(
    sources: ImageSource | NamedImage | readonly (ImageSource | NamedImage)[],
    options?: DetectOptions,
  ): Promise<Detection | Detection[]>;
  async detect(source: Source | readonly Source[], options: DetectOptions = {}): Promise<Detection | Detection[]> {
    check("detector.detect", detectOptions, options);
    const many = Array.isArray(source);
    const out: Detection[] = [];
    for await (const detection of this.detectEach(many ? source : [source as Source], options)) out.push(detection);
    return many ? out : out[0]!;
  }

  /**
   * The same as a stream: results come in order while later images are being decoded. At an image that cannot be read, the
   * results before it still come, then its error, unless `onUnreadable` takes it.
   *
   * An async iterable, such as a camera's frames, is asked for the next image when there is room for it; a result does not
   * wait for the images after it. Then a batch is what is decoded by the time that the engine is free.
   */
  async *detectEach(
    sources: Iterable<ImageSource | NamedImage> | AsyncIterable<ImageSource | NamedImage>,
    options: DetectEachOptions = {},
  ): AsyncGenerator<Detection, void, undefined> {
    const { signal, latestOnly } = check("detector.detectEach", detectEachOptions, options);
    const live = isAsync(sources);
    if (!live && !isList(sources))
      throw invalid("detector.detectEach", "sources", "a list or an async iterable of images", sources);
    if (latestOnly && !live)
      throw invalid("detector.detectEach", "latestOnly", "false for a list of images", latestOnly);
    this.#assertUsable();
    // Images that are seen in tiles stay open, and keep their place in the memory for images, until their turn is over. So
    // none is opened before its turn: who has the result before it in hands may need that memory for other images.
    const inTiles = this.#eye.view.tiles !== null;
    const batchSize = inTiles ? 1 : this.#settings.batchSize;
    const load = (source: Source): Promise<Decoded | Unread> =>
      this.#decode(source).catch((failure: unknown) => ({ source, failure }));
    // Enough decoded ahead for the next batch, so that the engine need not wait where the cores allow.
    const ahead = inTiles ? 0 : Math.max(4, batchSize);
    const drop = (left: Decoded | Unread): void => ("close" in left ? left.close() : undefined);
    const decoded = !live
      ? batchesOf(prefetch(sources, load, { ahead, signal, drop }), batchSize)
      : latestOnly
        ? readyBatches(newestOf(sources), load, { ahead: Math.min(1, ahead), batch: 1, signal, drop })
        : readyBatches(sources, load, { ahead, batch: batchSize, signal, drop });
    for await (const items of decoded) {
      let batch: Decoded[] = [];
      for (const item of items) {
        if (!("failure" in item)) {
          batch.push(item);
          continue;
        }
        yield* this.#results(batch, options);
        batch = [];
        if (!options.onUnreadable || !isUnreadable(item.failure)) throw item.failure;
        await options.onUnreadable(item.failure, item.source);
      }
      yield* this.#results(batch, options);
    }
  }

  async #decode(source: Source, options?: DecodeOptions): Promise<Decoded> {
    const start = performance.now();
    const { image, own } = partsOf(source);
    const prepared = await prepare(image, this.#eye, own, options);
    return { ...prepared, source, decodeMs: performance.now() - start };
  }

  async *#results(batch: readonly Decoded[], options: DetectOptions): AsyncGenerator<Detection, void, undefined> {
    const { signal } = options;
    if (batch.length === 0) return;
    for (const detection of await this.#run(batch, options)) {
      throwIfAborted(signal);
      yield detection;
    }
  }

  #assertUsable(): void {
    if (this.#disposed)
      throw new SuperSimpleNetError(
        "INVALID_OPTION",
        text`${call("detector.detect")}: this detector was disposed. Load it again.`,
      );
  }

  async #run(batch: readonly Decoded[], { signal, onTiles }: DetectOptions): Promise<Detection[]> {
    try {
      this.#assertUsable();
      const pieces = await seePieces(
        this.#native,
        this.#eye.tile,
        batch.filter(({ piece }) => piece),
      );
      const out: Promise<Detection>[] = [];
      for (const decoded of batch) {
        const judged = new Judged(decoded.layout, this.#settings, this.#thresholds());
        if (decoded.tiles) {
          const options = { batchSize: this.#settings.batchSize, signal, onTiles };
          const sink: Sink = (strip) => judged.add(strip);
          const seen = await seeTiles(this.#native, this.#eye.tile, decoded.tiles, sink, options);
          out.push(unheeded(this.#detection(decoded, seen, judged)));
        } else {
          const { strip, ...seen } = pieces.shift()!;
          out.push(unheeded(judged.add(strip).then(() => this.#detection(decoded, seen, judged))));
        }
      }
      return await Promise.all(out);
    } finally {
      for (const decoded of batch) decoded.close();
    }
  }

  /** Of pixels that belong to a region: the lower one where parts can be unsure by their regions. */
  #thresholds(): [number, number?] {
    const { byRegions, unsure } = this.#limits;
    const own = this.#pixelThreshold;
    return byRegions && unsure ? [own, Math.min(unsure.map, own)] : [own];
  }

  async #detection({ source, facts, layout, decodeMs }: Decoded, seen: Seen, judged: Judged): Promise<Detection> {
    const { logit, scales, engineMs } = seen;
    if (!Number.isFinite(logit))
      throw new SuperSimpleNetError("MODEL_INVALID", `The network's score is ${logit}: this model's weights overflow.`);
    const postStart = performance.now();
    const { peak, regions, unsureRegions } = await judged.regions();
    if (!Number.isFinite(peak))
      throw new SuperSimpleNetError("MODEL_INVALID", `The network's map has ${peak}: this model's weights overflow.`);
    this.#drift.add({ score: logit, map: peak });
    const map = await judged.map();
    const postMs = judged.postMs + performance.now() - postStart;
    const { id, image } = partsOf(source);
    return {
      ...(id !== undefined && { id }),
      path: pathOfSource(image),
      score: sigmoid(logit),
      logit,
      peak,
      ...(scales.length > 1 && { scales }),
      ...decide(this.#limits, { logit, peak, regions, unsureRegions }),
      threshold: this.#threshold,
      mapThreshold: this.#limits.defect.map,
      pixelThreshold: this.#pixelThreshold,
      map,
      regions,
      width: layout.size.width,
      height: layout.size.height,
      warnings: imageWarnings(facts, this.#eye.bitDepth),
      timings: { decodeMs, engineMs, postMs, totalMs: decodeMs + engineMs + postMs },
    };
  }

  /** Which evidence decides. */
  get decision(): Decision {
    return this.#limits.decision;
  }

  /**
   * How the scores of all images since loading, or since resetDrift, compare with those of the good parts that the thresholds
   * were set on (docs/guides/line.md, Drift).
   */
  drift(): Drift {
    return this.#drift.report();
  }

  /** Forgets the scores so far: for a new shift, or a new lot. */
  resetDrift(): void {
    this.#drift.reset();
  }

  /**
   * Frees the network now instead of at the next garbage collection. The detector cannot be used afterwards: calls fail with
   * INVALID_OPTION, those that are running at their next batch.
   */
  dispose(): void {
    this.#disposed = true;
    this.#native.dispose();
  }
}

/** Whether these are images that come over time. */
const isAsync = (sources: Iterable<Source> | AsyncIterable<Source>): sources is AsyncIterable<Source> =>
  typeof (sources as AsyncIterable<Source> | null | undefined)?.[Symbol.asyncIterator] === "function";

/** Strings and buffers are iterable, but not over images. */
const isList = (sources: Iterable<Source>): boolean =>
  typeof sources !== "string" && !types.isUint8Array(sources) && typeof sources?.[Symbol.iterator] === "function";

/** No form of an image has a member of this name. */
const isNamed = (source: Source): source is NamedImage =>
  typeof source === "object" && source !== null && Object.hasOwn(source, "image");

/** A source and what is known of it. */
function partsOf(source: Source): { image: ImageSource; id: string | undefined; own: OwnView } {
  if (!isNamed(source)) return { image: source, id: undefined, own: {} };
  checkNames("named image", source, ["id", "image", "roi", "ignore"]);
  const { id, image, roi, ignore } = source;
  if (id !== undefined && (typeof id !== "string" || id === ""))
    throw invalid("named image", "id", "a non-empty string", id);
  if (roi !== undefined && !isPath(roi) && !isRectangle(roi))
    throw invalid("named image", "roi", "{ x, y, width, height } in whole pixels, or a mask's path", roi);
  if (ignore !== undefined) checkPath("named image", "ignore", ignore, "a mask's path");
  return { image, id, own: { roi, ignore } };
}

/** Batches that are full, but for the last one and what comes before an image that cannot be read. */
async function* batchesOf(
  items: AsyncIterable<Decoded | Unread>,
  size: number,
): AsyncGenerator<(Decoded | Unread)[], void, undefined> {
  let batch: (Decoded | Unread)[] = [];
  for await (const item of items) {
    batch.push(item);
    if (batch.length < size && !("failure" in item)) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}
