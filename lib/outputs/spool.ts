import { readdir, rm, stat } from "node:fs/promises";
import path from "node:path";

import { hasCode } from "../errors.js";
import { readRegular } from "../files/input.js";
import { LineWriter, type LineWriterOptions, readLines } from "../files/lines.js";
import { makeFolder, replaceFile } from "../write.js";

interface Segment {
  readonly number: number;
  readonly file: string;
  bytes: number;
  /** Lines that are on the disk. */
  count: number;
  /** Lines that are being written. */
  pending: number;
  /** In memory: of the one that is appended to, and of the one that is read. */
  lines: string[] | undefined;
}

/** Lines that were taken to be sent: `spool.sent` takes them out. */
export interface Taken {
  lines: readonly string[];
  segment: number;
}

const segmentBytes = 2 ** 20;
const cursorFile = "sent.json";

/**
 * A queue of lines on the disk, in files of about 1 MiB, up to a limit: then the oldest file is dropped. What was sent is
 * noted after it was sent, so that a crash between both sends it again.
 */
export class Spool {
  readonly #segments: Segment[] = [];
  /** Lines of the first segment that were sent. */
  #sent = 0;
  #wake = (): void => undefined;
  lost = 0;

  private constructor(
    private readonly folder: string,
    private readonly most: number,
    private readonly writer: LineWriter,
    private readonly watcher: LineWriterOptions["watcher"],
  ) {}

  /** Opens the queue with what an earlier process left in it. Errors: NO_PERMISSION, NO_SPACE, FILE_ERROR, FILE_CORRUPT. */
  static async open(folder: string, mostBytes: number, options: LineWriterOptions): Promise<Spool> {
    await makeFolder(folder);
    const spool = new Spool(folder, mostBytes, new LineWriter(options), options.watcher);
    const numbers = (await readdir(folder))
      .map((name) => /^(\d{12})\.jsonl$/.exec(name)?.[1])
      .filter((n) => n !== undefined);
    const cursor = await readCursor(path.join(folder, cursorFile));
    for (const number of numbers.sort()) await spool.#adopt(Number(number), cursor.segment);
    if (spool.#segments[0]?.number === cursor.segment) spool.#sent = Math.min(cursor.sent, spool.#segments[0].count);
    const last = Math.max(cursor.segment, spool.#segments.at(-1)?.number ?? 0);
    spool.#begin(last + 1);
    await spool.writer.prepare(spool.#segments.at(-1)!.file);
    return spool;
  }

  get waiting(): number {
    return this.#segments.reduce((sum, { count }) => sum + count, 0) - this.#sent + this.writer.waiting;
  }

  /** True once the line is on the disk; false when it was given up because that is full. */
  async append(line: string): Promise<boolean> {
    const bytes = Buffer.byteLength(line) + 1;
    if (this.#segments.at(-1)!.bytes >= Math.min(segmentBytes, this.most / 8))
      this.#begin(this.#segments.at(-1)!.number + 1);
    while (this.#segments.length > 1 && this.#segments[0]!.pending === 0 && this.#bytes() + bytes > this.most)
      this.#drop();
    const segment = this.#segments.at(-1)!;
    segment.bytes += bytes;
    segment.pending++;
    const kept = await this.writer.append(segment.file, line);
    segment.pending--;
    if (kept) {
      segment.count++;
      segment.lines?.push(line);
    } else {
      segment.bytes -= bytes;
      this.lost++;
    }
    this.#wake();
    return kept;
  }

  /** The oldest lines that were not sent; undefined once `signal` fires. */
  async take(most: number, signal: AbortSignal): Promise<Taken | undefined> {
    for (;;) {
      if (signal.aborted) return undefined;
      const first = this.#segments[0]!;
      if (this.#sent < first.count) {
        const lines = await this.#linesOf(first);
        if (first !== this.#segments[0]) continue;
        if (this.#sent < lines.length)
          return { lines: lines.slice(this.#sent, this.#sent + most), segment: first.number };
        if (first.pending > 0) await this.#change(signal);
        else this.#giveUp(first);
        continue;
      }
      if (this.#segments.length > 1 && first.pending === 0) this.#drop();
      else await this.#change(signal);
    }
  }

  /** The lines of a file, read again where those in memory are all sent: fewer than `count` if it was damaged from outside. */
  async #linesOf(segment: Segment): Promise<readonly string[]> {
    if (segment.lines === undefined || segment.lines.length <= this.#sent) {
      const lines: string[] = [];
      try {
        for await (const line of readLines(segment.file)) if (lines.push(line) === segment.count) break;
      } catch (error) {
        if (!hasCode(error, "FILE_CORRUPT")) throw error;
      }
      segment.lines = lines;
    }
    return segment.lines;
  }

  /** Forgets the first file, which does not hold the lines that it should. */
  #giveUp({ file, count }: Segment): void {
    const missing = count - this.#sent;
    this.watcher?.failed(new Error(`${file} was changed from outside: ${missing} lines are missing`));
    if (this.#segments.length === 1) this.#begin(this.#segments[0]!.number + 1);
    this.#drop();
  }

  /** Takes out what was sent. */
  async sent({ lines, segment }: Taken): Promise<void> {
    if (this.#segments[0]!.number !== segment) return; // dropped meanwhile
    this.#sent += lines.length;
    // A failure means that it may be sent again: no reason to stop.
    await this.#note().catch(() => undefined);
  }

  async close(patienceMs?: number): Promise<void> {
    await this.writer.close(patienceMs);
    const done = this.#segments.filter(({ count }, i) => (i > 0 ? count === 0 : count === this.#sent));
    for (const { file } of done) await rm(file, { force: true }).catch(() => undefined);
    await this.#note().catch(() => undefined);
  }

  #note(): Promise<void> {
    const note = JSON.stringify({ segment: this.#segments[0]!.number, sent: this.#sent });
    return replaceFile(path.join(this.folder, cursorFile), note);
  }

  #fileOf(number: number): string {
    return path.join(this.folder, `${String(number).padStart(12, "0")}.jsonl`);
  }

  #bytes(): number {
    return this.#segments.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  #begin(number: number): void {
    const last = this.#segments.at(-1);
    if (last && last !== this.#segments[0]) last.lines = undefined; // read again when its turn comes
    this.#segments.push({ number, file: this.#fileOf(number), bytes: 0, count: 0, pending: 0, lines: [] });
  }

  /** Takes over a file of an earlier process; one before `first` was sent. */
  async #adopt(number: number, first: number): Promise<void> {
    const file = this.#fileOf(number);
    if (number < first) return rm(file, { force: true });
    const { size } = await stat(file);
    let count = 0;
    for await (const _ of readLines(file)) count++;
    this.#segments.push({ number, file, bytes: size, count, pending: 0, lines: undefined });
  }

  /** Forgets the first file, sent or not. */
  #drop(): void {
    const { file, count } = this.#segments.shift()!;
    this.lost += count - this.#sent;
    this.#sent = 0;
    void rm(file, { force: true }).catch(() => undefined);
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#wake = done;
      signal.addEventListener("abort", done, { once: true });
    });
  }
}

/** Where sending has come to; the beginning where that is not known. */
async function readCursor(file: string): Promise<{ segment: number; sent: number }> {
  try {
    const { segment, sent } = JSON.parse(String(await readRegular(file))) as { segment: number; sent: number };
    return Number.isSafeInteger(segment) && Number.isSafeInteger(sent) ? { segment, sent } : { segment: 0, sent: 0 };
  } catch {
    return { segment: 0, sent: 0 };
  }
}
