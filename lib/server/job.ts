import { setMaxListeners } from "node:events";

import type { FastifyReply, FastifyRequest } from "fastify";

import { orAborted } from "../images/stream.js";
import { endUnlessTaken, whenOver } from "./connections.js";
import { HttpError } from "./errors.js";

/** From the deadline on, for a client to take its answer: until then it keeps its place. */
const graceMs = 5000;

/** What a request for detections has while it runs: a deadline, an end when its client goes away, and room to give back. */
export class Job {
  readonly started = performance.now();
  readonly #controller = new AbortController();
  #atEnd: (() => void)[] = [];
  #closed = false;
  #begun = false;
  #running = 0;

  constructor(request: FastifyRequest, reply: FastifyReply, most: number) {
    setMaxListeners(0, this.signal); // one for each image of the request
    const timeoutMs = Math.min(most, askedTimeout(request.headers["request-timeout-ms"]) ?? most);
    const timer = setTimeout(() => {
      const arrived = request.raw.complete;
      const error = arrived
        ? new HttpError("DEADLINE_EXCEEDED", `There was no answer within ${timeoutMs} ms.`)
        : new HttpError("REQUEST_TIMEOUT", `The request did not arrive within ${timeoutMs} ms.`, {
            connection: "close",
          });
      this.#controller.abort(error);
      // Nobody else answers while the body is being read.
      if (!this.#begun && !reply.sent) void reply.send(error);
      endUnlessTaken(request, reply, graceMs);
    }, timeoutMs);
    whenOver(request, reply, () => {
      clearTimeout(timer);
      this.#closed = true;
      if (!reply.raw.writableFinished)
        this.#controller.abort(new HttpError("CLIENT_GONE", "The client went away before it was answered."));
      this.#endIfOver();
    });
  }

  /** Fires at the deadline and when the client goes away; its reason is an HttpError. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** As `race`; what the request holds is held until the work has ended all the same. */
  run<T>(work: Promise<T>): Promise<T> {
    this.#running++;
    const ended = (): void => {
      this.#running--;
      this.#endIfOver();
    };
    work.then(ended, ended);
    return this.race(work);
  }

  /** The result of `work`, or the signal's reason as soon as it fires. */
  race<T>(work: Promise<T>): Promise<T> {
    this.#begun = true;
    return orAborted(work, this.signal, ({ reason }) => reason as Error);
  }

  /** Calls `act` when the request is answered or given up, and its work has ended. */
  atEnd(act: () => void): void {
    this.#atEnd.push(act);
    this.#endIfOver();
  }

  #endIfOver(): void {
    if (!this.#closed || this.#running > 0) return;
    const acts = this.#atEnd;
    this.#atEnd = [];
    for (const act of acts) act();
  }
}

function askedTimeout(written: string | string[] | undefined): number | undefined {
  if (written === undefined) return undefined;
  if (typeof written === "string" && /^[1-9]\d{0,8}$/.test(written)) return Number(written);
  throw new HttpError("BAD_REQUEST", "Request-Timeout-Ms is a whole number of milliseconds from 1 on.");
}
