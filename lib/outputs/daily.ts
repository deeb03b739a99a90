import path from "node:path";

import { LineWriter } from "../files/lines.js";
import { columns } from "./columns.js";
import { Health } from "./health.js";
import type { Output, OutputStatus, Result } from "./output.js";
import type { Opening } from "./places.js";

/** How a result becomes a line of a file, and what the files are called. */
interface Format {
  extension: string;
  header?: string;
  line(result: Result): string;
}

const csvCell = (value: string): string => (/[",]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

/** No name may break a line: control characters are written as JSON writes them. */
const oneLine = (text: string): string =>
  text.replace(/[\x00-\x1f\x7f]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);

const csv: Format = {
  extension: "csv",
  header: columns.map(({ name }) => name).join(","),
  line: (result) => columns.map(({ of }) => csvCell(oneLine(String(of(result) ?? "")))).join(","),
};

const jsonl: Format = { extension: "jsonl", line: (result) => JSON.stringify(result) };

/** A folder with one file of lines a day, by the date of the results in UTC. */
class DailyFiles implements Output {
  #written = 0;

  constructor(
    private readonly folder: string,
    private readonly format: Format,
    private readonly writer: LineWriter,
    private readonly health: Health,
  ) {}

  #fileOf(time: string): string {
    return path.join(this.folder, `${time.slice(0, 10)}.${this.format.extension}`);
  }

  /** Errors: NO_PERMISSION, NO_SPACE, FILE_ERROR (other columns). */
  prepare(): Promise<void> {
    return this.writer.prepare(this.#fileOf(new Date().toISOString()));
  }

  async write(result: Result): Promise<boolean> {
    const written = await this.writer.append(this.#fileOf(result.time), this.format.line(result));
    if (written) this.#written++;
    return written;
  }

  status(): OutputStatus[] {
    const { waiting, lost } = this.writer;
    const { output, error } = this.health;
    return [{ output, written: this.#written, waiting, lost, error }];
  }

  close(): Promise<void> {
    return this.writer.close();
  }
}

const opener =
  (format: Format) =>
  async (folder: string, { health, settings }: Opening): Promise<Output> => {
    const { header } = format;
    const retryMs = Math.min(200, settings.retryDelayMs);
    const writer = new LineWriter({ retryMs, watcher: health, ...(header !== undefined && { header }) });
    const files = new DailyFiles(path.resolve(folder), format, writer, health);
    await files.prepare();
    return files;
  };

export const openCsv = opener(csv);
export const openJsonl = opener(jsonl);
