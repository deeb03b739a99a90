import { evaluate } from "../evaluation/evaluate.js";
import { fileIdentity } from "../checksum.js";
import { deviations } from "../detection/decide.js";
import { recordOf } from "../detection/record.js";
import type { Detection, NamedImage } from "../detection/types.js";
import { hasCode, SuperSimpleNetError } from "../errors.js";
import type { RawImage } from "../images/source.js";
import { imageSize } from "../images/decode.js";
import { pngOf } from "../images/png.js";
import type { ModelConfig } from "../models/config.js";
import { Model } from "../models/model.js";
import { type ColourRange, colourRange } from "../report/colours.js";
import { reportEvaluation } from "../report/document.js";
import { heatOverImagePng } from "../report/overlay.js";
import { runFiles, saveMetrics } from "../runs/files.js";
import { picturesFor, writeReport } from "../runs/report.js";
import { readRecorded, type Recorded } from "../runs/recorded.js";
import type { ThresholdOptions } from "../schema/models.js";
import { HttpError } from "../server/errors.js";
import type { Detectors } from "./detectors.js";
import { changedMs, type Project, type ProjectImage } from "./project.js";
import { markedPixels } from "./placed.js";
import { rankForLabels, type Seen, seenOf } from "./suggest.js";
import type { Trainings } from "./trainings.js";
import type { Judgement, StudioDetection, StudioEvent, Suggestions } from "./types.js";

interface Size {
  width: number;
  height: number;
}

/** What models say: of the test images, of images that nobody has labelled, and of any that is asked for. */
export class Judge {
  #suggestions: Suggestions | null = null;
  readonly #sizes = new Map<string, Size>();
  readonly #configs = new Map<string, { identity: string; config: ModelConfig }>();
  /** Works through many images one after another, so that a click is answered meanwhile. */
  #work: { run: string; controller: AbortController; ended: Promise<void> } | undefined;

  constructor(
    private readonly project: Project,
    private readonly trainings: Trainings,
    private readonly detectors: Detectors,
    private readonly tell: (event: StudioEvent) => void,
  ) {}

  get suggestions(): Suggestions | null {
    return this.#suggestions;
  }

  /** A run's results on the test images, with the addresses of their pictures. */
  async judgement(run: string): Promise<Judgement> {
    const { config, recorded } = await this.#recorded(run);
    const notes = [...(recorded?.evaluation.notes ?? [])];
    if (!recorded) return { run, evaluation: null, isCurrent: false, notes };
    const { evaluation } = recorded;
    const { decision, decisions } = evaluation;
    const { mapLogit } = config.thresholds;
    const limits = { decision: decision.source, threshold: decisions.threshold, mapThreshold: mapLogit };
    const shown = reportEvaluation(evaluation, limits, undefined);
    shown.withoutPictures = null;
    const versions = new Map(this.project.images.map((image) => [image.shown.id, image]));
    for (const image of shown.images) {
      const found = versions.get(image.id);
      const size = found && (await this.#sizeOf(found));
      if (!size) continue;
      const { version, mask } = found.shown;
      const addressed = (of: string): string => `id=${encodeURIComponent(image.id)}&v=${encodeURIComponent(of)}`;
      image.picture = {
        image: `/api/v1/thumbnail?${addressed(version)}`,
        heat: `/api/v1/runs/${run}/heat?${addressed(version)}`,
        ...(mask !== null && { mask: `/api/v1/thumbnail?${addressed(mask)}&mask=1` }),
        ...size,
      };
    }
    return { run, evaluation: shown, isCurrent: recorded.isCurrent && this.#isSameTest(recorded), notes };
  }

  /** Undefined: it cannot be read. */
  async #sizeOf({ file, shown }: ProjectImage): Promise<Size | undefined> {
    const key = `${file} ${shown.version}`;
    const known = this.#sizes.get(key);
    if (known) return known;
    const size = await imageSize(file).catch(leftOut);
    if (size) this.#sizes.set(key, size);
    return size;
  }

  /** The same images with the same labels and as many masks, and none of their files is newer than the results. */
  #isSameTest({ evaluation: { samples, counts }, writtenMs }: Recorded): boolean {
    const now = this.project.images.filter(({ sample }) => sample?.split === "test");
    const then = new Map(samples.map(({ id, label }) => [id, label]));
    // A clock that goes before, as of a camera, tells nothing.
    const isOlder = (ms: number): boolean => ms <= writtenMs || ms > Date.now();
    const isSame = ({ sample, shown: { version, mask } }: ProjectImage): boolean =>
      then.get(sample!.id) === sample!.label && [version, mask].every((of) => isOlder(changedMs(of ?? "")));
    const masks = now.filter(({ mask }) => mask !== undefined).length;
    return now.length === then.size && masks === (counts?.withMask ?? masks) && now.every(isSame);
  }

  async #recorded(run: string): Promise<{ config: ModelConfig; recorded: Recorded | undefined }> {
    const config = await this.#configOf(this.trainings.modelFile(run));
    return { config, recorded: await readRecorded(runFiles(this.trainings.folderOf(run)).metrics, config) };
  }

  /** Kept while the file is the same: a gallery asks for it with each of its pictures. */
  async #configOf(file: string): Promise<ModelConfig> {
    const identity = await fileIdentity(file);
    const known = this.#configs.get(file);
    if (known?.identity === identity) return known.config;
    const { config } = await Model.load(file);
    this.#configs.set(file, { identity, config });
    return config;
  }

  /** Judges the test images again and keeps metrics and report beside the model. */
  async evaluate(run: string): Promise<void> {
    const file = this.trainings.modelFile(run);
    await this.project.settle();
    const { dataset } = this.project;
    if (!dataset?.samples.some(({ split }) => split === "test"))
      throw new HttpError(
        "CONFLICT",
        "There are no test images. Put some good parts and some defects into the test images.",
      );
    await this.#begin("judging", run, async (signal) => {
      await this.detectors.with(file, async (detector) => {
        const { model } = detector;
        const files = runFiles(this.trainings.folderOf(run));
        const pictures = await picturesFor(dataset, "test", model.config);
        const evaluation = await evaluate(detector, dataset, {
          signal,
          onProgress: (done, total) => this.tell({ event: "judging", run, done, total }),
          onDetection: (sample, detection) => pictures.add(sample, detection),
        });
        await pictures.finish();
        signal.throwIfAborted();
        await saveMetrics(files, model, evaluation, dataset);
        const data = { dataset, split: "test" } as const;
        await writeReport(files.report, {
          modelFile: files.model,
          config: model.config,
          evaluation,
          data,
          pictures,
          log: files.log,
        });
      });
    });
  }

  /**
   * Sets the threshold of what the model decides by, as a value on the axis of the judgement, and judges the test images
   * again. Errors: CONFLICT where nothing was judged, those of model.setThresholds and model.save.
   */
  async setThreshold(run: string, value: number): Promise<void> {
    const file = this.trainings.modelFile(run);
    const { evaluation } = await this.judgement(run);
    if (!evaluation) throw new HttpError("CONFLICT", "The run has no results yet: judge its test images first.");
    const { recorded } = await this.#recorded(run);
    // The value counts from the thresholds of the results.
    if (!recorded?.isCurrent)
      throw new HttpError("CONFLICT", "The thresholds have changed since these results: judge the test images again.");
    const model = await Model.load(file);
    model.setThresholds(thresholdsAt(evaluation.axis.kind, value, model.config.thresholds));
    await model.save(file);
    await this.trainings.tellRuns();
    await this.evaluate(run);
  }

  /** Looks at every image without a label, and orders them by what a label would teach. */
  async suggest(run: string): Promise<void> {
    const file = this.trainings.modelFile(run);
    const images = this.project.images.filter(({ sample }) => !sample);
    await this.#begin("suggesting", run, async (signal) => {
      await this.detectors.with(file, async (detector) => {
        const seen: Seen[] = [];
        for (const [i, { file: image, shown }] of images.entries()) {
          signal.throwIfAborted();
          const detection = await detector.detect(image).catch(leftOut);
          if (detection) seen.push(seenOf(shown, detection));
          this.tell({ event: "suggesting", run, done: i + 1, total: images.length });
        }
        this.#suggestions = { run, images: rankForLabels(seen) };
        this.tell({ event: "suggestions", suggestions: this.#suggestions });
      });
    });
  }

  /** What a model says of an image of the project. */
  detect(run: string, id: string): Promise<StudioDetection> {
    const image = viewedImage(this.project.image(id));
    return this.detectors.with(this.trainings.modelFile(run), async (detector) =>
      shownDetection(await detector.detect(image), id),
    );
  }

  /** What a model says of an image that is sent. */
  detectImage(run: string, image: Uint8Array | RawImage, id: string): Promise<StudioDetection> {
    return this.detectors.with(this.trainings.modelFile(run), async (detector) =>
      shownDetection(await detector.detect(image), id),
    );
  }

  /** A heat map, in the colours of all maps of the run. */
  async heat(run: string, id: string): Promise<Buffer> {
    const image = viewedImage(this.project.image(id));
    const range = await this.#range(run);
    return this.detectors.with(this.trainings.modelFile(run), async (detector) => {
      const detection = await detector.detect(image);
      const own = (): ColourRange => colourRange([detection.map.data], detection.pixelThreshold);
      return heatOverImagePng(detection, range ?? own());
    });
  }

  /** Equal colours are equal logits: as far from the pixel threshold as the peaks of nearly all test images. */
  async #range(run: string): Promise<ColourRange | undefined> {
    const { config, recorded } = await this.#recorded(run);
    if (!recorded) return undefined;
    const { pixelLogit } = config.thresholds;
    const reaches = recorded.evaluation.samples.map(({ peak }) => Math.abs(peak - pixelLogit)).sort((a, b) => a - b);
    const reach = Math.max(0.1, reaches[Math.floor(0.95 * (reaches.length - 1))] ?? 0.1);
    return { low: pixelLogit - reach, high: pixelLogit + reach };
  }

  /** Where the map reaches the pixel threshold, as a mask of the image's size. */
  async proposal(run: string, id: string): Promise<Buffer> {
    const { file, ...image } = this.project.image(id);
    return this.detectors.with(this.trainings.modelFile(run), async (detector) => {
      const { map, pixelThreshold } = await detector.detect(viewedImage({ file, ...image }));
      const { width, height } = await imageSize(file);
      const data = markedPixels(map, pixelThreshold, { width, height });
      return pngOf({ data, width, height, channels: 1 });
    });
  }

  /** Begins work on many images; what was under way is given up first. */
  async #begin(
    kind: "judging" | "suggesting",
    run: string,
    work: (signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    // At once: of two requests the later one is done.
    const before = this.#work;
    before?.controller.abort();
    const controller = new AbortController();
    const ended = (before?.ended ?? Promise.resolve()).then(() => work(controller.signal));
    // However it ended, nobody waits for it any more.
    const settled = ended.catch(() => undefined).then(() => this.tell({ event: kind, run, done: 0, total: 0 }));
    this.#work = { run, controller, ended: settled };
    await ended.catch((error: unknown) => {
      if (hasCode(error, "ABORTED") || controller.signal.aborted)
        throw new HttpError("CONFLICT", "It was given up for other work.");
      throw error;
    });
  }

  /** `run`: only what is done for that one. */
  async stop(run?: string): Promise<void> {
    if (run !== undefined && this.#work?.run !== run) return;
    this.#work?.controller.abort();
    await this.#work?.ended;
  }
}

/** An image with what the data set says of the pixels that count in it. */
const viewedImage = ({ file, sample }: ProjectImage): NamedImage => ({
  image: file,
  roi: sample?.roi,
  ignore: sample?.ignore,
});

/** An image that cannot be read has no place in the order; 'validate' names it. */
function leftOut(error: unknown): undefined {
  if (error instanceof SuperSimpleNetError) return undefined;
  throw error;
}

async function shownDetection(detection: Detection, id: string): Promise<StudioDetection> {
  const { score, logit, peak, verdict, decidedBy, threshold, mapThreshold, width, height, regions, warnings, timings } =
    recordOf(detection, { id }) as Detection & { id: string };
  const heat = await heatOverImagePng(detection, colourRange([detection.map.data], detection.pixelThreshold));
  return {
    id,
    score,
    logit,
    peak,
    verdict,
    decidedBy: [...decidedBy],
    threshold,
    mapThreshold,
    width,
    height,
    regions: regions.map(({ x, y, width: w, height: h, area, peak: highest }) => ({
      x,
      y,
      width: w,
      height: h,
      area,
      peak: highest,
    })),
    warnings: [...warnings],
    totalMs: timings.totalMs,
    heat: `data:image/png;base64,${heat.toString("base64")}`,
  };
}

/** The thresholds that put the model's decision at a value of the axis. */
function thresholdsAt(
  kind: "score" | "map" | "margin",
  value: number,
  { scoreLogit, mapLogit, calibration, decision }: Model["config"]["thresholds"],
): ThresholdOptions {
  if (kind === "score") return { scoreLogit: value };
  if (kind === "map") return { mapLogit: value };
  // Both move by the same number of standard deviations of good parts: the unit of the margin.
  const { score, map } = deviations(calibration);
  return {
    ...(decision !== "map" && { scoreLogit: scoreLogit + value * score }),
    ...(decision !== "score" && { mapLogit: mapLogit + value * map }),
  };
}
