import { realpath, stat } from "node:fs/promises";
import path from "node:path";

import { SuperSimpleNetError } from "../errors.js";
import { LineWriter, type LineWriterOptions, readLines } from "../files/lines.js";
import { makeFolder, replaceFile } from "../write.js";

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
  /** Its folder, as the system tells folders apart. Of a share it changes when that is mounted anew. */
  place?: string;
}

/** What has become of an image's file. "unknown": its folder cannot be asked, or is another one, as where a share is away. */
type Fate = "there" | "replaced" | "gone" | "unknown";

export const keyOf = ({ name, size, mtimeMs }: Arrival): string => `${name}\0${size}\0${mtimeMs}`;

/** Lines that come before the journal is written anew. */
const manyLines = 50_000;
/** After a rewrite that failed. */
const againMs = 60_000;

/**
 * Which images are done, over restarts: one line of JSON for each event, on the disk before what follows from it happens.
 * "started" stands before a result goes to the outputs, "done" when it is there: an image between both may have been told
 * of already.
 */
export class Journal {
  readonly #entries = new Map<string, Entry>();
  #added = 0;
  #rewriting = false;
  #notBefore = -Infinity;
  /** While the file is replaced. */
  #replacing: Promise<void> | undefined;
  /** Of the folder, when it was looked at last. */
  #place: string | undefined;

  private constructor(
    private readonly file: string,
    private readonly folder: string,
    private readonly keepMoved: boolean,
    private readonly writer: LineWriter,
    /** The first line. */
    private readonly head: string,
  ) {}

  /**
   * `keepMoved`: images that were moved are remembered, to be removed one day. Errors: NO_PERMISSION, NO_SPACE, FILE_ERROR
   * (also: the journal of another folder), FILE_CORRUPT.
   */
  static async open(
    file: string,
    folder: string,
    { keepMoved, watcher }: { keepMoved: boolean; watcher: NonNullable<LineWriterOptions["watcher"]> },
  ): Promise<Journal> {
    await makeFolder(path.dirname(file));
    const of = path.relative(await realpath(path.dirname(file)), await realpath(folder));
    const head = JSON.stringify({ journalOf: of });
    const writer = new LineWriter({ watcher, header: head }); // also of a file that is made while this runs
    try {
      const journal = new Journal(file, folder, keepMoved, writer, head);
      let isHead = true;
      for await (const line of readLines(file)) {
        if (isHead) checkHead(line, of, file);
        else journal.#take(parsed(line, file));
        isHead = false;
      }
      await writer.prepare(file);
      await journal.lookAtPlace();
      await journal.#rewrite();
      return journal;
    } catch (error) {
      await writer.close();
      throw error;
    }
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
    const place = this.#place;
    const told = {
      key,
      event,
      name,
      size,
      mtimeMs,
      time: timeOf(event, before),
      ...(place !== undefined && { place }),
    };
    return this.#write({ ...before, ...told, ...more });
  }

  /** The image was removed. */
  forget(entry: Entry): Promise<boolean> {
    return this.#write({ ...entry, event: "removed" });
  }

  /** Writes the journal anew, without images that are not there any more, when so many lines were added since. */
  async compact(most = manyLines): Promise<void> {
    if (this.#rewriting || this.#added <= most || performance.now() < this.#notBefore) return;
    this.#rewriting = true;
    this.#notBefore = performance.now() + againMs; // a disk that is full is not asked after every image
    try {
      await this.#rewrite();
      this.#notBefore = -Infinity;
    } finally {
      this.#rewriting = false;
    }
  }

  async #rewrite(): Promise<void> {
    const entries = [...this.#entries.values()];
    const folders = [...new Set(entries.map((entry) => path.dirname(this.fileOf(entry))))];
    const placesNow = async (): Promise<Map<string, string | undefined>> =>
      new Map(await Promise.all(folders.map(async (folder) => [folder, await placeOf(folder)] as const)));
    const before = await placesNow();
    const fates: Fate[] = [];
    for (const entry of entries) fates.push(await fateOf(this.fileOf(entry), entry));
    const after = await placesNow();
    const sure = entries.flatMap((entry, i) => {
      const folder = path.dirname(this.fileOf(entry));
      const [place, fate] = [before.get(folder), fates[i]!];
      // What came meanwhile stays.
      const isSure = place !== undefined && place === after.get(folder) && this.#entries.get(entry.key) === entry;
      return isSure && fate !== "unknown" ? { entry, fate, place, earlier: `${folder}\0${entry.place}` } : [];
    });
    // An entry is dropped where its file is not in the place that it was in; an empty mount point has no files either. A
    // folder that still has a file from another place is that place, mounted anew: its other entries count as being there
    // from now on, and the next look drops those whose files are gone.
    const mountedAnew = new Set(sure.flatMap(({ fate, earlier }) => (fate === "there" ? earlier : [])));
    for (const { entry, fate, place, earlier } of sure) {
      if (fate !== "there" && entry.place === place) this.#entries.delete(entry.key);
      else if (fate === "there" || (entry.place !== undefined && mountedAnew.has(earlier))) entry.place = place;
    }
    // Looking at all files took its time, in which lines were added: each of them is an entry too.
    this.#replacing = replaceFile(this.file, blocks(this.head, [...this.#entries.values()]), { flush: true });
    try {
      await this.#replacing;
      this.#added = 0;
    } finally {
      this.#replacing = undefined;
    }
  }

  /** Call it before images of the folder are noted, and now and then: the folder may be mounted anew. */
  async lookAtPlace(): Promise<void> {
    this.#place = await placeOf(this.folder);
  }

  /** What comes while the file is replaced goes behind it. */
  async #write(entry: Entry): Promise<boolean> {
    this.#take(entry);
    await this.#replacing?.catch(() => undefined);
    return this.writer.append(this.file, JSON.stringify(entry));
  }

  fileOf({ name, to }: Entry): string {
    return to ?? path.join(this.folder, name);
  }

  /** What has become of the file. */
  async fateOf(entry: Entry): Promise<Fate> {
    const file = this.fileOf(entry);
    const fate = await fateOf(file, entry);
    // An empty mount point has no files either.
    return fate === "gone" && (await placeOf(path.dirname(file))) !== entry.place ? "unknown" : fate;
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
export const isSame = async (file: string, arrival: Arrival): Promise<boolean> =>
  (await fateOf(file, arrival)) === "there";

const fateOf = (file: string, { size, mtimeMs }: Arrival): Promise<Fate> =>
  stat(file).then(
    (found) => (found.size === size && found.mtimeMs === mtimeMs ? "there" : "replaced"),
    (error: NodeJS.ErrnoException) => (error.code === "ENOENT" ? "gone" : "unknown"),
  );

/** What tells a folder from another one with its name. Undefined: it cannot be asked. */
export const placeOf = (folder: string): Promise<string | undefined> =>
  stat(folder).then(
    ({ dev, ino }) => `${dev}:${ino}`,
    () => undefined,
  );

/** The lines of a journal, some at a time: all of them may be more than a string can hold. */
function* blocks(head: string, entries: readonly Entry[]): Generator<string> {
  let block = `${head}\n`;
  for (const entry of entries) {
    block += `${JSON.stringify(entry)}\n`;
    if (block.length < 2 ** 18) continue;
    yield block;
    block = "";
  }
  yield block;
}

/** Its age counts from when it was recorded. */
const timeOf = (event: Event, before: Entry | undefined): string =>
  event === "moved" && before ? before.time : new Date().toISOString();

function parsed(line: string, file: string): Entry {
  const entry = objectIn(line) as Partial<Entry>;
  if (typeof entry.key === "string" && typeof entry.name === "string") return entry as Entry;
  throw noLine(line, file, "Take that line out; without the file, every image in the folder is judged again.");
}

/** Throws FILE_ERROR for the journal of another folder, whose images of the same name this one would leave out. */
function checkHead(line: string, of: string, file: string): void {
  const { journalOf } = objectIn(line) as { journalOf?: unknown };
  if (typeof journalOf !== "string")
    throw noLine(line, file, "Without the file, every image in the folder is judged again.");
  if (journalOf === of) return;
  throw new SuperSimpleNetError("FILE_ERROR", `${file} is the journal of another folder: ${journalOf}.`, {
    path: file,
    fix: "Choose another state folder. If the images have moved to this folder, remove the journal: all are judged again.",
  });
}

function objectIn(line: string): object {
  try {
    return (JSON.parse(line) as object | null) ?? {};
  } catch {
    return {};
  }
}

const noLine = (line: string, file: string, fix: string): SuperSimpleNetError =>
  new SuperSimpleNetError("FILE_CORRUPT", `${file} has a line that is not of a journal: ${line.slice(0, 80)}`, {
    path: file,
    fix,
  });
