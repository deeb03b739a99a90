import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { Detector } from "../detection/detector.js";
import type { Detection } from "../detection/types.js";
import { fileError, hasCode, invalid, SuperSimpleNetError } from "../errors.js";
import { holdFolder } from "../files/hold.js";
import { isFolder } from "../files/input.js";
import { Health } from "../outputs/health.js";
import type { Keeper } from "../outputs/keep.js";
import type { Output, Result } from "../outputs/output.js";
import { Patience } from "../outputs/patience.js";
import { resultsOf } from "../outputs/result.js";
import type { Attempt, TriggerSequence } from "../trigger/sequence.js";
import { check } from "../schema/check.js";
import { watchOptions, type WatchSettings } from "../schema/watch.js";
import { probeFolder } from "../write.js";
import { Arrivals } from "./arrivals.js";
import { moveImage, removeImages } from "./images.js";
import { type Arrival, isSame, Journal, keyOf } from "./journal.js";

/** Options of watchFolder. */
export interface WatchOptions extends WatchSettings {
  /** What the model is called in the results. */
  modelName?: string | undefined;
  /** Where results go: openOutputs. */
  outputs?: Output | undefined;
  /** Keeps images for the next training: openKeeper. */
  keeper?: Keeper | undefined;
  /** Tells which part comes next, and takes its verdict: `sequence` of openTrigger, or one of your own. */
  trigger?: TriggerSequence | undefined;
  /** Called once the folder is being watched. */
  onReady?: (() => void) | undefined;
  /** Called with each result, before it goes to the outputs. */
  onResult?: ((result: Result) => void) | undefined;
  /** Called for an image that could not be read for some seconds. */
  onUnreadable?: ((error: SuperSimpleNetError, file: string) => void) | undefined;
  /** Called with what does not stop the work: a folder that cannot be listed now, a disk without room for the journal. */
  onTrouble?: ((error: unknown) => void) | undefined;
}

/** What has become of the images so far. */
export interface WatchCounts {
  good: number;
  unsure: number;
  defect: number;
  unreadable: number;
  removed: number;
}

/** For so long an image that cannot be read may still be on its way. */
const unreadableMs = 5000;
const removalMs = 60_000;

/**
 * Judges the images of a folder as they become complete, each once, until `signal` fires; then it resolves. Which ones are
 * done is in a journal, over restarts. An image whose record was cut off by a crash is judged again, and its result says so
 * (`repeated`): one at most, where the disks have room.
 *
 * Errors: INVALID_OPTION, FILE_NOT_FOUND, NO_PERMISSION, NO_SPACE, FILE_ERROR (also: another process watches the folder with
 * this journal), FILE_CORRUPT (the journal), those of the detector that are not about one image.
 */
export async function watchFolder(
  detector: Detector,
  folder: string,
  { modelName, outputs, keeper, trigger, ...options }: WatchOptions = {},
): Promise<WatchCounts> {
  const where = "watchFolder";
  const settings = check(where, watchOptions, options);
  if (!(await isFolder(folder)))
    throw new SuperSimpleNetError("FILE_NOT_FOUND", `${folder} is no folder.`, { path: folder });
  const { moveTo, signal } = settings;
  if (moveTo !== undefined && path.resolve(moveTo) === path.resolve(folder))
    throw invalid(where, "moveTo", "another folder than the one that is watched", moveTo);
  const stateDir = path.join(settings.stateDir ?? path.join(folder, ".supersimplenet"), "watch");
  await probeFolder(stateDir);
  if (moveTo !== undefined) await probeFolder(moveTo);
  const release = await holdFolder(stateDir);
  try {
    const trouble = options.onTrouble ?? (() => undefined);
    const keepMoved = settings.removeAfterDays !== undefined || settings.minFreeMiB !== undefined;
    const file = path.join(stateDir, "journal.jsonl");
    const watcher = new Health(file, (_, error) => void (error !== undefined && trouble(new Error(error))));
    const resultOf = await resultsOf(detector.model, modelName); // it may fail
    const journal = await Journal.open(file, folder, { keepMoved, watcher });
    const watching = new Watching(detector, folder, journal, resultOf, {
      ...options,
      settings,
      outputs,
      keeper,
      trigger,
    });
    return await watching.run(signal ?? new AbortController().signal).finally(() => journal.close());
  } finally {
    await release();
  }
}

type Parts = WatchOptions & { settings: ReturnType<typeof watchOptions.parse> };

/** An image, and whose it is. */
interface Taken extends Arrival {
  attempt?: Attempt;
}

class Watching {
  readonly #arrivals: Arrivals;
  /** At work, or judged but not recorded in this process. */
  readonly #taken = new Map<string, Taken>();
  readonly #unread = new Map<string, number>();
  readonly #counts: WatchCounts = { good: 0, unsure: 0, defect: 0, unreadable: 0, removed: 0 };
  /** The next image waits for the record of the one before. */
  readonly #patience = new Patience();
  /** Ends what runs beside the images. */
  readonly #ended = new AbortController();
  /** Of what nobody awaits, such as a callback of the caller. */
  #failure: { error: unknown } | undefined;

  constructor(
    private readonly detector: Detector,
    private readonly folder: string,
    private readonly journal: Journal,
    private readonly resultOf: Awaited<ReturnType<typeof resultsOf>>,
    private readonly parts: Parts,
  ) {
    const { settleMs, pollMs } = parts.settings;
    this.#arrivals = new Arrivals(folder, {
      settleMs,
      pollMs,
      isKnown: (arrival) => this.#taken.has(keyOf(arrival)) || journal.isDone(arrival),
      onTrouble: (error) => parts.onTrouble?.(error),
    });
  }

  async run(until: AbortSignal): Promise<WatchCounts> {
    const signal = AbortSignal.any([until, this.#ended.signal]);
    let housekeeping = Promise.resolve();
    let recording = Promise.resolve();
    try {
      await this.#finishMoves(signal);
      this.parts.trigger?.begin(() => this.#arrivals.lookAround());
      this.parts.onReady?.();
      housekeeping = this.#heeded(this.#housekeeping(signal));
      const images = this.#images(signal);
      const onUnreadable = async (error: SuperSimpleNetError, { id }: { id: string }): Promise<void> => {
        await recording;
        await this.#unreadable(error, this.#taken.get(id)!);
      };
      const options = { signal, onUnreadable: onUnreadable as (error: SuperSimpleNetError) => Promise<void> };
      for await (const detection of this.detector.detectEach(images, options)) {
        await recording; // while the next one was judged
        recording = this.#heeded(this.#record(detection, this.#taken.get(detection.id!)!));
      }
    } catch (error) {
      if (!hasCode(error, "ABORTED")) throw error;
    } finally {
      this.#ended.abort();
      await recording;
      this.parts.trigger?.end();
      await this.#patience.wait(housekeeping); // it may wait for a disk that is full
      await this.#patience.last();
    }
    if (this.#failure) throw this.#failure.error;
    return this.#counts;
  }

  /** Work beside the images: if it fails, the watch ends with its error. */
  #heeded(work: Promise<void>): Promise<void> {
    return work.catch((error: unknown) => {
      this.#failure ??= { error };
      this.#ended.abort();
    });
  }

  /** The same, waited for as long as the disks have room. */
  #soon(work: Promise<void>): Promise<void> {
    return this.#patience.wait(this.#heeded(work));
  }

  async *#images(signal: AbortSignal): AsyncGenerator<{ id: string; image: string }> {
    for await (const { early, ...arrival } of this.#arrivals.watch(signal)) {
      const attempt = early ? undefined : this.parts.trigger?.claim();
      this.#taken.set(keyOf(arrival), { ...arrival, ...(attempt && { attempt }) });
      yield { id: keyOf(arrival), image: this.#fileOf(arrival) };
    }
  }

  #fileOf({ name }: Arrival): string {
    return path.join(this.folder, name);
  }

  /** What fails is tried again, or told. */
  async #record(detection: Detection, arrival: Taken): Promise<void> {
    const file = this.#fileOf(arrival);
    await this.journal.lookAtPlace();
    // It was being written after all, or it is gone.
    if (!(await isSame(file, arrival))) return this.#again(arrival);
    const repeated = this.journal.wasStarted(arrival);
    await this.#patience.wait(this.journal.note("started", arrival));
    const { id: _, ...told } = this.resultOf(detection, { path: file });
    const { attempt } = arrival;
    const result: Result = { ...told, ...(attempt && { part: attempt.part }), ...(repeated && { repeated }) };
    this.#counts[result.verdict]++;
    if (attempt) this.parts.trigger!.judged(attempt, result);
    this.parts.onResult?.(result);
    const written = this.parts.outputs?.write(result) ?? Promise.resolve(true);
    await this.#soon(this.#finish(written, result, arrival));
  }

  /** What comes once the result is where it belongs. Without that, the image is judged again after the next start. */
  async #finish(written: Promise<boolean>, result: Result, arrival: Arrival): Promise<void> {
    if (!(await written)) return;
    const file = this.#fileOf(arrival);
    const isStill = (): Promise<boolean> => isSame(file, arrival);
    await this.#trying(async () => void (await this.parts.keeper?.offer(result, file, isStill)));
    const done = this.journal.note("done", arrival, { verdict: result.verdict });
    await this.#moved(done, arrival, result.verdict);
    this.#taken.delete(keyOf(arrival));
    await this.#trying(() => this.journal.compact());
  }

  /** Moves an image once that is noted which says so. */
  async #moved(noted: Promise<boolean>, arrival: Arrival, folder: string): Promise<void> {
    const { moveTo } = this.parts.settings;
    if (!(await noted) || moveTo === undefined) return;
    await this.#trying(async () => {
      const moved = await moveImage(this.journal, this.#fileOf(arrival), arrival, path.join(moveTo, folder));
      if (!moved) this.#arrivals.again(arrival.name); // the camera uses the name again
    });
  }

  async #unreadable(error: SuperSimpleNetError, arrival: Taken): Promise<void> {
    const [key, file] = [keyOf(arrival), this.#fileOf(arrival)];
    if (!(await isSame(file, arrival))) return this.#again(arrival);
    const first = this.#unread.get(key) ?? performance.now();
    if (performance.now() - first < unreadableMs) {
      this.#unread.set(key, first);
      return this.#again(arrival, { delayMs: this.parts.settings.settleMs, unreadable: true });
    }
    this.#taken.delete(key);
    this.#unread.delete(key);
    if (arrival.attempt) this.parts.trigger!.unreadable(arrival.attempt);
    this.#counts.unreadable++;
    this.parts.onUnreadable?.(error, file);
    const noted = this.journal.note("unreadable", arrival);
    await this.#soon(this.#moved(noted, arrival, "unreadable"));
  }

  /** Images whose record was finished and whose move was not, when the process before this one ended. */
  async #finishMoves(signal: AbortSignal): Promise<void> {
    if (this.parts.settings.moveTo === undefined) return;
    for (const entry of [...this.journal.entries]) {
      if (signal.aborted) return;
      const folder = entry.event === "done" ? entry.verdict! : entry.event === "unreadable" ? "unreadable" : undefined;
      if (folder !== undefined && (await this.journal.fateOf(entry)) === "there")
        await this.#soon(this.#moved(Promise.resolve(true), entry, folder));
    }
  }

  async #housekeeping(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const trouble = (error: unknown): void => this.#trouble(error);
      this.#counts.removed += await removeImages(this.journal, this.parts.settings, trouble);
      await sleep(removalMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Looks at an image anew. If it was a part's, that part waits for it, or for another one. */
  #again({ attempt, ...arrival }: Taken, { delayMs = 0, unreadable = false } = {}): void {
    const { trigger } = this.parts;
    this.#taken.delete(keyOf(arrival));
    const isAwaited = attempt !== undefined && trigger!.release(attempt, unreadable);
    this.#arrivals.again(arrival.name, { delayMs, early: trigger !== undefined && !isAwaited });
  }

  async #trying(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#trouble(error);
    }
  }

  #trouble(error: unknown): void {
    this.parts.onTrouble?.(fileError(error, "write in", this.folder));
  }
}
