import { type FileHandle, open, stat } from "node:fs/promises";
import path from "node:path";

import { fileError, SuperSimpleNetError } from "../errors.js";
import { makeFolder, refuseSpecial } from "../write.js";
import { openRegular } from "./input.js";

const BYTES_PER_WRITE = 2 ** 20;
const BYTES_PER_CHUNK = 2 ** 20;
const LINE_END = 10;

/** Of lines that wait for a disk with room. */
const MOST_WAITING_BYTES = 16 * 2 ** 20;

interface Line {
  file: string;
  text: Buffer;
  settle: (kept: boolean) => void;
}

export interface LineWriterOptions {
  /** First line of every file. A file with another one is refused. */
  header?: string;
  /** First pause after a failure; it doubles up to 5 s. */
  retryMs?: number;
  /** Told how each write ended. */
  watcher?: { failed(error: unknown): void; works(): void };
}

/**
 * Appends whole lines to files, one at a time open. What is asked for while a write is under way goes together with the
 * next one: one call of the system (O_APPEND) and one flush for all. A write that fails is taken back and tried again
 * while the lines wait in memory; what a crash left of a line is cut off when the file is opened.
 */
export class LineWriter {
  readonly #header: string | undefined;
  readonly #retryMs: number;
  readonly #watcher: LineWriterOptions["watcher"];
  readonly #lines: Line[] = [];
  #open: { file: string; handle: FileHandle; inode: number } | undefined;
  #waitingBytes = 0;
  #working: Promise<void> | undefined;
  #closing = false;
  #wake = (): void => undefined;
  #error: unknown;
  lost = 0;

  constructor({ header, retryMs = 200, watcher }: LineWriterOptions = {}) {
    this.#header = header;
    this.#watcher = watcher;
    this.#retryMs = retryMs;
  }

  /** Why the last write failed. Undefined: it succeeded. */
  get error(): unknown {
    return this.#error;
  }

  /** Lines that are not yet on the disk. */
  get waiting(): number {
    return this.#lines.length;
  }

  /** Opens a file now, to know at once that it cannot be written. Errors: NO_PERMISSION, NO_SPACE, FILE_ERROR. */
  async prepare(file: string): Promise<void> {
    await this.#opened(file).catch((error: unknown) => Promise.reject(fileError(error, "write", file)));
  }

  /** True once the line is on the disk; false when it was given up, because too many wait or the writer is closed. */
  append(file: string, line: string): Promise<boolean> {
    const text = Buffer.from(`${line}\n`);
    if (this.#closing || this.#waitingBytes + text.length > MOST_WAITING_BYTES) {
      this.lost++;
      return Promise.resolve(false);
    }
    this.#waitingBytes += text.length;
    return new Promise((settle) => {
      this.#lines.push({ file, text, settle });
      this.#working ??= this.#work();
    });
  }

  /** Waits so long at most for what still waits, and gives up the rest. */
  async close(patienceMs = 3000): Promise<void> {
    this.#closing = true;
    this.#wake();
    const timer = setTimeout(() => this.#giveUp(), patienceMs);
    await this.#working;
    clearTimeout(timer);
    this.#giveUp();
    await this.#release();
  }

  async #work(): Promise<void> {
    let pause = this.#retryMs;
    await Promise.resolve(); // what is asked for in the same turn goes together
    while (this.#lines.length > 0) {
      const batch = this.#batch();
      try {
        const handle = await this.#opened(batch[0]!.file);
        await appendWhole(handle, Buffer.concat(batch.map(({ text }) => text)));
      } catch (error) {
        this.#error = fileError(error, "write", batch[0]!.file);
        this.#watcher?.failed(this.#error);
        await this.#release().catch(() => undefined);
        if (this.#closing) break;
        await this.#pause(pause);
        pause = Math.min(2 * pause, 5000);
        continue;
      }
      this.#error = undefined;
      this.#watcher?.works();
      pause = this.#retryMs;
      this.#lines.splice(0, batch.length);
      for (const { text, settle } of batch) {
        this.#waitingBytes -= text.length;
        settle(true);
      }
    }
    this.#working = undefined;
  }

  /** The first lines that go to one file. */
  #batch(): Line[] {
    const { file } = this.#lines[0]!;
    let bytes = 0;
    const end = this.#lines.findIndex(
      (line, i) => i > 0 && (line.file !== file || (bytes += line.text.length) > BYTES_PER_WRITE),
    );
    return end < 0 ? [...this.#lines] : this.#lines.slice(0, end);
  }

  /** The file, open; again if somebody has moved or removed it. */
  async #opened(file: string): Promise<FileHandle> {
    const before = this.#open;
    if (before?.file === file) {
      const inode = await stat(file).then(
        ({ ino }) => ino,
        () => undefined,
      );
      if (inode === before.inode) return before.handle;
    }
    await this.#release();
    await makeFolder(path.dirname(file));
    await refuseSpecial(file);
    const handle = await open(file, "a+");
    try {
      await cutTornLine(handle);
      if (this.#header !== undefined) await checkHeader(handle, file, this.#header);
      const { ino: inode } = await handle.stat();
      this.#open = { file, handle, inode };
      return handle;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  async #release(): Promise<void> {
    const { handle } = this.#open ?? {};
    this.#open = undefined;
    await handle?.close();
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms).unref();
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #giveUp(): void {
    for (const { settle } of this.#lines.splice(0)) {
      this.lost++;
      settle(false);
    }
    this.#waitingBytes = 0;
  }
}

/** Cuts off what follows the last line end: a crash left it. */
async function cutTornLine(handle: FileHandle): Promise<void> {
  const { size } = await handle.stat();
  const chunk = Buffer.alloc(2 ** 16);
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - chunk.length);
    const { bytesRead } = await handle.read(chunk, 0, end - start, start);
    const at = chunk.subarray(0, bytesRead).lastIndexOf(LINE_END);
    if (at >= 0 || start === 0) {
      const whole = at < 0 ? 0 : start + at + 1;
      if (whole < size) await handle.truncate(whole);
      return;
    }
    end = start;
  }
}

async function checkHeader(handle: FileHandle, file: string, header: string): Promise<void> {
  const expected = Buffer.from(`${header}\n`);
  const { size } = await handle.stat();
  if (size === 0) return appendWhole(handle, expected);
  const found = Buffer.alloc(expected.length);
  await handle.read(found, 0, found.length, 0);
  if (found.equals(expected)) return;
  throw new SuperSimpleNetError("FILE_ERROR", `Cannot write ${file}: its first line is not '${header}'.`, {
    path: file,
    fix: "Move the file away: it has other columns.",
  });
}

/** Writes all of it, or leaves the file as it was. */
async function appendWhole(handle: FileHandle, data: Buffer): Promise<void> {
  const { size } = await handle.stat();
  let written = 0;
  try {
    // One call, but where the disk is full: the second one says so then.
    while (written < data.length) written += (await handle.write(data, written)).bytesWritten;
    await handle.datasync();
  } catch (error) {
    // Unless another process has written behind it.
    if (written > 0 && (await handle.stat()).size === size + written) await handle.truncate(size);
    throw error;
  }
}

/**
 * The whole lines of a file, one after another; none where it does not exist. Errors: NO_PERMISSION, FILE_ERROR, and
 * FILE_CORRUPT at a line that is longer than any that was written.
 */
export async function* readLines(file: string): AsyncGenerator<string> {
  let handle: FileHandle | undefined;
  try {
    handle = await openRegular(file);
    yield* linesIn(handle, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw fileError(error, "read", file);
  } finally {
    await handle?.close();
  }
}

async function* linesIn(handle: FileHandle, file: string): AsyncGenerator<string> {
  const chunk = Buffer.allocUnsafe(BYTES_PER_CHUNK);
  let begun = Buffer.alloc(0);
  for (;;) {
    const { bytesRead } = await handle.read(chunk);
    if (bytesRead === 0) return; // a crash left what is begun
    const bytes = Buffer.concat([begun, chunk.subarray(0, bytesRead)]);
    let start = 0;
    for (let end = bytes.indexOf(LINE_END); end >= 0; end = bytes.indexOf(LINE_END, start)) {
      yield bytes.toString("utf8", start, end);
      start = end + 1;
    }
    begun = bytes.subarray(start);
    if (begun.length > MOST_WAITING_BYTES)
      throw new SuperSimpleNetError("FILE_CORRUPT", `${file} has a line of more than ${MOST_WAITING_BYTES} bytes.`, {
        path: file,
        fix: "Move the file away: no such line was written.",
      });
  }
}
