import { types } from "node:util";

import type { z } from "zod";

import { sigmoid } from "../calibration/describe.js";
import { type Drift, DriftWatch } from "../calibration/drift_watch.js";
import { weightsFile } from "../backbones/load.js";
import { call, invalid, SuperSimpleNetError, text, throwIfAborted } from "../errors.js";
import { applyMemory } from "../images/budget.js";
import { type DecodeOptions, type LoadedImage, loadImage } from "../images/decode.js";
import { prefetch } from "../images/pipeline.js";
import { pathOfSource } from "../images/source.js";
import { newestOf, readyBatches } from "../images/stream.js";
import { isUnreadable } from "../images/unreadable.js";
import { imageWarnings } from "../images/warnings.js";
import { computeFor, networkSettings } from "../models/config.js";
import { checkInTurns, Model, openBackboneOf, openModel, releaseBackbone } from "../models/model.js";
import type { NativeDetector, Region, ResizeMethod } from "../native/binding.js";
import { type ChosenDevice, applyThreads, checkPrecision, resolveDevice } from "../native/device.js";
import { engine, openEngine } from "../native/engine.js";
import { lendTensors, sendTensors } from "../native/send.js";
import { check, checkNames } from "../schema/check.js";
import type { Decision } from "../schema/decisions.js";
import {
  detectEachOptions,
  type DetectOptions,
  detectOptions,
  type DetectorOptions,
  detectorOptions,
} from "../schema/detection.js";
import { unheeded } from "../turns.js";
import { decide, type Limits, limitsOf } from "./decide.js";
import type { AnomalyMap, DetectEachOptions, Detection, ImageSource, NamedImage } from "./types.js";

const where = "Detector.load";

type Source = ImageSource | NamedImage;

/** An image at a detector's size, on its way to the engine. */
export interface Decoded {
  source: Source;
  image: LoadedImage;
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
  /** Of the network; the model's own configuration may be changed meanwhile. */
  readonly #size: { readonly height: number; readonly width: number };
  readonly #resize: ResizeMethod;
  readonly #bitDepth: number;
  #disposed = false;

  static {
    decodeFor = (detector, source, options) => detector.#decode(source, options);
    detectDecoded = (detector, batch) => detector.#run(batch);
  }

  private constructor(model: Model, chosen: ChosenDevice, native: NativeDetector, settings: Settings, limits: Limits) {
    this.model = model;
    this.device = chosen.device;
    this.deviceReason = chosen.reason;
    this.#native = native;
    this.#settings = settings;
    const { thresholds } = model.config;
    const { imageSize, resize, bitDepth } = networkSettings(model.config);
    this.#size = { height: imageSize[0], width: imageSize[1] };
    this.#resize = resize;
    this.#bitDepth = bitDepth;
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
    const { signal } = check("detector.detect", detectOptions, options);
    const many = Array.isArray(source);
    const out: Detection[] = [];
    for await (const detection of this.detectEach(many ? source : [source as Source], { signal })) out.push(detection);
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
    const { batchSize } = this.#settings;
    const load = (source: Source): Promise<Decoded | Unread> =>
      this.#decode(source).catch((failure: unknown) => ({ source, failure }));
    // Enough decoded ahead for the next batch, so that the engine need not wait where the cores allow.
    const ahead = Math.max(4, batchSize);
    const decoded = !live
      ? batchesOf(prefetch(sources, load, { ahead, signal }), batchSize)
      : latestOnly
        ? readyBatches(newestOf(sources), load, { ahead: 1, batch: 1, signal })
        : readyBatches(sources, load, { ahead, batch: batchSize, signal });
    for await (const items of decoded) {
      let batch: Decoded[] = [];
      for (const item of items) {
        if ("image" in item) {
          batch.push(item);
          continue;
        }
        yield* this.#results(batch, signal);
        batch = [];
        if (!options.onUnreadable || !isUnreadable(item.failure)) throw item.failure;
        await options.onUnreadable(item.failure, item.source);
      }
      yield* this.#results(batch, signal);
    }
  }

  async #decode(source: Source, options?: DecodeOptions): Promise<Decoded> {
    const start = performance.now();
    const [resize, bitDepth] = [this.#resize, this.#bitDepth];
    const image = await loadImage(imageOf(source), { ...options, ...this.#size, resize, bitDepth });
    return { source, image, decodeMs: performance.now() - start };
  }

  async *#results(
    batch: readonly Decoded[],
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Detection, void, undefined> {
    if (batch.length === 0) return;
    for (const detection of await this.#run(batch)) {
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

  async #run(batch: readonly Decoded[]): Promise<Detection[]> {
    this.#assertUsable();
    const { height, width } = this.#size;
    const bytes = height * width * 3;
    let pixels = batch[0]!.image.pixels;
    if (batch.length > 1) {
      pixels = new Uint8Array(batch.length * bytes);
      batch.forEach(({ image }, i) => pixels.set(image.pixels, i * bytes));
    }
    const start = performance.now();
    const { scores, maps } = await this.#native.detect(pixels, batch.length);
    const engineMs = (performance.now() - start) / batch.length;
    const plane = height * width;
    return Promise.all(
      batch.map(async ({ source, image, decodeMs }, i) => {
        const logit = scores[i]!;
        if (!Number.isFinite(logit))
          throw new SuperSimpleNetError(
            "MODEL_INVALID",
            `The network's score is ${logit}: this model's weights overflow.`,
          );
        // A copy: a slice would keep the whole batch's maps alive as long as one of them.
        const data = batch.length === 1 ? maps : maps.slice(i * plane, (i + 1) * plane);
        const postStart = performance.now();
        const { sourceWidth, sourceHeight } = image;
        const { peak, regions } = await this.#regions(data, sourceWidth, sourceHeight, this.#pixelThreshold);
        const { byRegions, unsure } = this.#limits;
        const unsureRegions =
          byRegions && unsure
            ? (await this.#regions(data, sourceWidth, sourceHeight, Math.min(unsure.map, this.#pixelThreshold))).regions
            : undefined;
        if (!Number.isFinite(peak))
          throw new SuperSimpleNetError(
            "MODEL_INVALID",
            `The network's map has ${peak}: this model's weights overflow.`,
          );
        this.#drift.add({ score: logit, map: peak });
        const map = await this.#map(data, image.sourceWidth, image.sourceHeight);
        const postMs = performance.now() - postStart;
        return {
          ...(isNamed(source) && { id: source.id }),
          path: pathOfSource(imageOf(source)),
          score: sigmoid(logit),
          logit,
          peak,
          ...decide(this.#limits, { logit, peak, regions, unsureRegions }),
          threshold: this.#threshold,
          mapThreshold: this.#limits.defect.map,
          pixelThreshold: this.#pixelThreshold,
          map,
          regions,
          width: image.sourceWidth,
          height: image.sourceHeight,
          warnings: imageWarnings(image, this.#bitDepth),
          timings: { decodeMs, engineMs, postMs, totalMs: decodeMs + engineMs + postMs },
        };
      }),
    );
  }

  /** Found at model size, where the map has all its information; given in pixels of the image. */
  async #regions(
    map: Float32Array,
    imageWidth: number,
    imageHeight: number,
    threshold: number,
  ): Promise<{ peak: number; regions: Region[] }> {
    const { height, width } = this.#size;
    // A first sieve in pixels of the map; the area that is reported decides.
    const minArea = Math.max(
      1,
      Math.floor(((this.#settings.minAreaPx - 1) * width * height) / (imageWidth * imageHeight)),
    );
    const found = await engine().regions(map, height, width, threshold, minArea);
    const scaled = found.regions.map((region) =>
      scaleRegion(region, { height, width }, { height: imageHeight, width: imageWidth }),
    );
    const { minAreaPx, minPeak = -Infinity } = this.#settings;
    const regions = scaled.filter(({ area, peak }) => area >= minAreaPx && peak >= minPeak);
    return { peak: found.peak, regions };
  }

  async #map(data: Float32Array, imageWidth: number, imageHeight: number): Promise<AnomalyMap> {
    const { height, width } = this.#size;
    if (this.#settings.mapSize === "model" || (imageWidth === width && imageHeight === height))
      return { data, width, height };
    return {
      data: await engine().resizeMap(data, height, width, imageHeight, imageWidth),
      width: imageWidth,
      height: imageHeight,
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

function imageOf(source: Source): ImageSource {
  if (!isNamed(source)) return source;
  checkNames("named image", source, ["id", "image"]);
  if (typeof source.id !== "string" || source.id === "")
    throw invalid("named image", "id", "a non-empty string", source.id);
  return source.image;
}

/** Batches that are full, but for the last one and what comes before an image that cannot be read. */
async function* batchesOf(
  items: AsyncIterable<Decoded | Unread>,
  size: number,
): AsyncGenerator<(Decoded | Unread)[], void, undefined> {
  let batch: (Decoded | Unread)[] = [];
  for await (const item of items) {
    batch.push(item);
    if (batch.length < size && "image" in item) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

interface Size {
  height: number;
  width: number;
}

/**
 * A region of a map in pixels of its image. Edges are multiplied before they are divided: edges that fall on whole pixels
 * are exact then, where a rounded quotient of the sizes would move some to the next one.
 */
export function scaleRegion(region: Region, map: Size, image: Size): Region {
  const left = Math.floor((region.x * image.width) / map.width);
  const top = Math.floor((region.y * image.height) / map.height);
  const right = Math.ceil(((region.x + region.width) * image.width) / map.width);
  const bottom = Math.ceil(((region.y + region.height) * image.height) / map.height);
  return {
    ...region,
    area: Math.max(1, Math.round((region.area * image.width * image.height) / (map.width * map.height))),
    x: left,
    y: top,
    width: Math.min(image.width, right) - left,
    height: Math.min(image.height, bottom) - top,
    peakX: Math.min(image.width - 1, Math.floor(((region.peakX + 0.5) * image.width) / map.width)),
    peakY: Math.min(image.height - 1, Math.floor(((region.peakY + 0.5) * image.height) / map.height)),
  };
}
