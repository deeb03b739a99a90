import type { PassThrough } from "node:stream";

import type { StudioEvent } from "./types.js";

/** Proxies and browsers give up a connection on which nothing comes. */
const beatMs = 15_000;
/** A page that does not read is left behind; it asks for everything when it comes back. */
const mostWaiting = 2 ** 20;

/** Of a burst of changes to the project pages hear so often: each time they ask for all of it. */
const projectMs = 500;

/** Tells all open pages what happens. */
export class Events {
  readonly #streams = new Set<PassThrough>();
  readonly #timer = setInterval(() => this.#write(": \n\n"), beatMs).unref();

  #projectTimer: NodeJS.Timeout | undefined;
  #isProjectDue = false;

  add(stream: PassThrough): void {
    this.#streams.add(stream);
  }

  remove(stream: PassThrough): void {
    this.#streams.delete(stream);
    stream.destroy();
  }

  tell(event: StudioEvent): void {
    this.#write(`data: ${JSON.stringify(event)}\n\n`);
  }

  tellOne(stream: PassThrough, event: StudioEvent): void {
    stream.write(`data: ${JSON.stringify(event)}\n\n`);
  }

  /** Tells of a change to the project, at once where the last one was some time ago. */
  projectChanged(): void {
    this.#isProjectDue = true;
    if (!this.#projectTimer) this.#tellProject();
  }

  #tellProject(): void {
    this.#projectTimer = undefined;
    if (!this.#isProjectDue) return;
    this.#isProjectDue = false;
    this.tell({ event: "project" });
    this.#projectTimer = setTimeout(() => this.#tellProject(), projectMs).unref();
  }

  close(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#projectTimer);
    for (const stream of this.#streams) stream.end();
    this.#streams.clear();
  }

  #write(text: string): void {
    for (const stream of this.#streams)
      if (stream.writableLength > mostWaiting) this.remove(stream);
      else stream.write(text);
  }
}
