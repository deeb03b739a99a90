import { stat } from "node:fs/promises";
import path from "node:path";

import { SuperSimpleNetError } from "../errors.js";
import { LineWriter, type LineWriterOptions, readLines } from "../files/lines.js";
import { replaceFile } from "../write.js";

/** A file as it was when it was complete: another image of the same name differs in size or time. */
export interface Arrival {
  name: string;
  size: number;
  mtimeMs: number;
}

type Event = "started" | "done" | "unreadable" | "moved" | "removed";

/** What the journal knows of an image. */
export interface Entry extends Arrival {
  /** Of the image as it arrived. */
  key: string;
  event: Event;
  /** Of the last event: ISO 8601. */
  time: string;
  verdict?: string;
  /** Where it was moved to. `size` and `mtimeMs` are those of the file there. */
  to?: string;
}

export const keyOf = ({ name, size, mtimeMs }: Arrival): string => `${name}\0${size}\0${mtimeMs}`;

/** Lines that come before the journal is written anew. */
const manyLines = 50_000;

/**
 * Which images are done, over restarts: one line of JSON for each event, on the disk before what follows from it happens.
 * "started" stands before a result goes to the outputs, "done" when it is there: an image between both may have been told
 * of already.
 */
export class Journal {
  readonly #entries = new Map<string, Entry>();
  #added = 0;
  #compacting: Promise<void> | undefined;

  private constructor(
    private readonly file: string,
    private readonly folder: string,
    private readonly keepMoved: boolean,
    private readonly writer: LineWriter,
  ) {}

  /**
   * `keepMoved`: images that were moved are remembered, to be removed one day. Errors: NO_PERMISSION, NO_SPACE, FILE_ERROR,
   * FILE_CORRUPT.
   */
  static async open(
    file: string,
    folder: string,
    { keepMoved, watcher }: { keepMoved: boolean; watcher: NonNullable<LineWriterOptions["watcher"]> },
  ): Promise<Journal> {
    const journal = new Journal(file, folder, keepMoved, new LineWriter({ watcher }));
    await journal.writer.prepare(file);
    for (const line of await readLines(file)) journal.#take(parsed(line, file));
    await journal.compact(0);
    return journal;
  }

  get entries(): Iterable<Entry> {
    return this.#entries.values();
  }

  /** Whether nothing more is to be done about an image in the folder. One that comes back there is new. */
  isDone(arrival: Arrival): boolean {
    const event = this.#entries.get(keyOf(arrival))?.event;
    return event === "done" || event === "unreadable";
  }

  /** Whether the outputs may have been told of it already. */
  wasStarted(arrival: Arrival): boolean {
    return this.#entries.get(keyOf(arrival))?.event === "started";
  }

  /** True once it is on the disk. */
  note(event: Event, arrival: Arrival, more: Partial<Entry> = {}): Promise<boolean> {
    const { name, size, mtimeMs } = arrival;
    const key = keyOf(arrival);
    const before = this.#entries.get(key);
    const entry: Entry = { ...before, key, event, name, size, mtimeMs, time: timeOf(event, before), ...more };
    return this.#write(entry);
  }

  /** The image was removed. */
  forget(entry: Entry): Promise<boolean> {
    return this.#write({ ...entry, event: "removed" });
  }

  /** Writes the journal anew, without images that are not there any more, when so many lines were added since. */
  async compact(most = manyLines): Promise<void> {
    if (this.#compacting || this.writer.waiting > 0 || this.#added <= most) return;
    this.#compacting = this.#rewrite().finally(() => (this.#compacting = undefined));
    await this.#compacting;
  }

  async #rewrite(): Promise<void> {
    for (const entry of [...this.#entries.values()]) if (!(await this.isThere(entry))) this.#entries.delete(entry.key);
    const lines = [...this.#entries.values()].map((entry) => `${JSON.stringify(entry)}\n`);
    await replaceFile(this.file, lines.join(""), { flush: true });
    this.#added = 0;
  }

  /** What comes while the file is written anew goes behind it. */
  async #write(entry: Entry): Promise<boolean> {
    this.#take(entry);
    await this.#compacting?.catch(() => undefined);
    return this.writer.append(this.file, JSON.stringify(entry));
  }

  fileOf({ name, to }: Entry): string {
    return to ?? path.join(this.folder, name);
  }

  /** Whether the file is there, and still the same image. */
  isThere(entry: Entry): Promise<boolean> {
    return isSame(this.fileOf(entry), entry);
  }

  close(): Promise<void> {
    return this.writer.close();
  }

  #take(entry: Entry): void {
    this.#added++;
    const gone = entry.event === "removed" || (entry.event === "moved" && !this.keepMoved);
    if (gone) this.#entries.delete(entry.key);
    else this.#entries.set(entry.key, entry);
  }
}

/** Whether a file is there, and still as it was seen. */
export const isSame = (file: string, { size, mtimeMs }: Arrival): Promise<boolean> =>
  stat(file).then(
    (found) => found.size === size && found.mtimeMs === mtimeMs,
    () => false,
  );

/** Its age counts from when it was recorded. */
const timeOf = (event: Event, before: Entry | undefined): string =>
  event === "moved" && before ? before.time : new Date().toISOString();

function parsed(line: string, file: string): Entry {
  try {
    const entry = JSON.parse(line) as Entry;
    if (typeof entry.key === "string" && typeof entry.name === "string") return entry;
  } catch {
    // As below.
  }
  throw new SuperSimpleNetError("FILE_CORRUPT", `${file} has a line that is not of a journal: ${line.slice(0, 80)}`, {
    path: file,
    fix: "Take that line out; without the file, every image in the folder is judged again.",
  });
}
