import { type FSWatcher, watch } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import path from "node:path";

import { isSystemName } from "../datasets/listing.js";
import { fileError } from "../errors.js";
import { isImageFile } from "../images/formats.js";
import { isPictureName } from "../report/names.js";
import { type Arrival, placeOf } from "./journal.js";
import { endsWhole } from "./whole.js";

export interface ArrivalOptions {
  settleMs: number;
  pollMs: number | undefined;
  /** Whether an image is done, or at work. */
  isKnown: (arrival: Arrival) => boolean;
  /** Why the folder cannot be listed or watched now. */
  onTrouble: (error: unknown) => void;
}

/** Also where the system tells of new files: an event may be lost. */
const rescanMs = 30_000;
const troubleMs = 1000;

/** An image that is complete. */
export interface Seen extends Arrival {
  /** It was in the folder when somebody asked what was there. */
  early: boolean;
}

interface Candidate extends Arrival {
  /** When it was first seen like this, or is to be looked at again; of performance.now(). */
  since: number;
}

/**
 * The images of a folder as they become complete: the file ends as its format ends, or size and time have stayed the same
 * for `settleMs`, or it was complete for so long before it was renamed into the folder. The oldest first. Not of folders
 * below.
 */
export class Arrivals {
  readonly #candidates = new Map<string, Candidate>();
  /** Complete, and not given yet, by name; and those of them that are early. */
  readonly #ready = new Map<string, Arrival>();
  readonly #readyEarly = new Map<string, Arrival>();
  readonly #told = new Set<string>();
  readonly #early = new Set<string>();
  #asked: (() => void)[] = [];
  #wake = (): void => undefined;
  #scanned = -Infinity;
  #troubled = false;
  #ended = false;
  #watcher: FSWatcher | undefined;
  /** Of the folder that is watched. */
  #place: string | undefined;

  constructor(
    private readonly folder: string,
    private readonly options: ArrivalOptions,
  ) {}

  /** Looks at all that is in the folder now. What comes after the promise is resolved is not `early`. */
  lookAround(): Promise<void> {
    if (this.#ended) return Promise.resolve();
    return new Promise((resolve) => {
      this.#asked.push(resolve);
      this.#wake();
    });
  }

  /** Looks at an image again, in `delayMs` at the earliest. */
  again(name: string, { delayMs = 0, early = false }: { delayMs?: number; early?: boolean } = {}): void {
    if (early) this.#early.add(name);
    this.#candidates.set(name, { name, size: -1, mtimeMs: -1, since: performance.now() + delayMs });
    this.#wake();
  }

  /** Until `signal` fires. */
  async *watch(signal: AbortSignal): AsyncGenerator<Seen, void, undefined> {
    const stop = (): void => this.#wake();
    signal.addEventListener("abort", stop);
    try {
      while (!signal.aborted) {
        // Also while many wait: a part that a PLC tells of does not wait for them.
        await this.#lookFor(this.#asked.splice(0));
        const next = this.#next();
        if (next) yield next;
        else if (!signal.aborted) await this.#pause();
      }
    } finally {
      this.#ended = true;
      for (const resolve of this.#asked.splice(0)) resolve();
      signal.removeEventListener("abort", stop);
      this.#watcher?.close();
    }
  }

  /** Looks, and tells those who have asked before, if the folder could be listed. */
  async #lookFor(asked: (() => void)[]): Promise<void> {
    if (asked.length > 0) this.#scanned = -Infinity;
    const seen = await this.#look();
    if (asked.length === 0) return;
    if (this.#troubled) return void this.#asked.unshift(...asked);
    // What came while all that was looked at.
    const later = (await this.#list()).filter((name) => !seen.has(name) && isImageFile(name));
    for (const name of [...this.#candidates.keys(), ...later]) this.#early.add(name);
    for (const name of later) this.#told.add(name);
    for (const [name, arrival] of this.#ready) this.#readyEarly.set(name, arrival);
    this.#ready.clear();
    for (const resolve of asked) resolve();
  }

  /** The oldest one; those that were not there when somebody asked go first. */
  #next(): Seen | undefined {
    for (const waiting of [this.#ready, this.#readyEarly])
      for (const [name, arrival] of waiting) {
        waiting.delete(name);
        if (!this.options.isKnown(arrival)) return { ...arrival, early: waiting === this.#readyEarly };
      }
    return undefined;
  }

  /** Has the system tell of the folder; anew where another folder has its name by now. */
  async #watchFolder(): Promise<void> {
    if (this.options.pollMs !== undefined) return;
    const place = await placeOf(this.folder);
    if (place === undefined || (place === this.#place && this.#watcher)) return;
    this.#watcher?.close();
    try {
      const watcher = watch(this.folder, (_, name) => {
        if (name === null) this.#scanned = -Infinity;
        else this.#told.add(name);
        this.#wake();
      });
      watcher.on("error", (error) => {
        watcher.close();
        if (this.#watcher === watcher) this.#watcher = undefined;
        this.options.onTrouble(error);
      });
      this.#watcher = watcher;
      this.#place = place;
    } catch (error) {
      this.#watcher = undefined;
      this.options.onTrouble(fileError(error, "watch folder", this.folder));
    }
  }

  /** Names of files that were looked at. */
  async #look(): Promise<ReadonlySet<string>> {
    const now = performance.now();
    const names = new Set([...this.#told, ...this.#candidates.keys()]);
    this.#told.clear();
    if (now - this.#scanned >= (this.options.pollMs ?? rescanMs)) {
      await this.#watchFolder(); // before it is listed: what comes in between is told of
      for (const name of await this.#list()) names.add(name);
    }
    const found: Arrival[] = [];
    for (const name of names) {
      const candidate = this.#candidates.get(name);
      if (candidate && candidate.since > now) continue;
      const arrival = await this.#examine(name, now);
      if (arrival) found.push(arrival);
    }
    found.sort((a, b) => a.mtimeMs - b.mtimeMs || (a.name < b.name ? -1 : 1));
    for (const arrival of found) {
      const { name } = arrival;
      this.#readyEarly.delete(name);
      this.#ready.delete(name);
      (this.#early.delete(name) ? this.#readyEarly : this.#ready).set(name, arrival);
    }
    return names;
  }

  async #list(): Promise<string[]> {
    this.#scanned = performance.now();
    try {
      const names = await readdir(this.folder);
      this.#troubled = false;
      return names;
    } catch (error) {
      this.#scanned = performance.now() - (this.options.pollMs ?? rescanMs) + troubleMs;
      if (!this.#troubled) this.options.onTrouble(fileError(error, "list folder", this.folder));
      this.#troubled = true;
      return [];
    }
  }

  /** The image, if it is complete. */
  async #examine(name: string, now: number): Promise<Arrival | undefined> {
    const before = this.#candidates.get(name);
    this.#candidates.delete(name);
    if (name.startsWith(".") || isSystemName(name) || !isImageFile(name) || isPictureName(name)) return undefined;
    const file = path.join(this.folder, name);
    const found = await stat(file).catch(() => undefined);
    if (!found?.isFile()) {
      this.#early.delete(name);
      return undefined;
    }
    const { size, mtimeMs, ctimeMs } = found;
    const arrival: Arrival = { name, size, mtimeMs };
    if (this.options.isKnown(arrival)) return undefined;
    const again = before?.size === -1;
    const unchanged = before?.size === size && before.mtimeMs === mtimeMs;
    const since = unchanged ? before.since : now;
    const settled = now - since >= this.options.settleMs;
    // Both are times of the file system's clock: a name that is newer than the content.
    const renamed = ctimeMs - mtimeMs >= this.options.settleMs;
    const isNew = !unchanged && !again;
    if (size > 0 && (settled || renamed || (isNew && (await endsWhole(file))))) return arrival;
    this.#candidates.set(name, { ...arrival, since });
    return undefined;
  }

  /** Until there may be something to see. */
  #pause(): Promise<void> {
    if (this.#told.size > 0 || (this.#asked.length > 0 && !this.#troubled)) return Promise.resolve();
    const now = performance.now();
    const { pollMs = rescanMs, settleMs } = this.options;
    let until = this.#scanned + pollMs;
    // A file that stays empty is looked at again by the next event or scan.
    for (const { since, size } of this.#candidates.values())
      if (size !== 0) until = Math.min(until, Math.max(since, now) + settleMs / 4);
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.max(1, until - now));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
