import { HttpError } from "./errors.js";

export interface AdmissionLimits {
  images: number;
  bytes: number;
}

/** The room that one image has. */
export interface Place {
  /** Gives back what it does not need of the bytes. */
  shrinkTo(bytes: number): void;
  /** Once is enough; more does no harm. */
  leave(): void;
}

interface Waiting {
  bytes: number;
  start: () => void;
}

/** What is let in: images that are not answered yet, and the bytes in which they came. Never more than the limits. */
export class Admission {
  #images = 0;
  #bytes = 0;
  /** Those who wait for room, in the order in which they came. */
  readonly #waiting: Waiting[] = [];

  constructor(readonly limits: AdmissionLimits) {}

  get images(): number {
    return this.#images;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Lets an image in. Throws QUEUE_FULL. `retrySeconds`: when to come again. */
  take(bytes: number, retrySeconds: () => number): Place {
    if (this.#waiting.length === 0 && this.#fits(bytes)) return this.#enter(bytes);
    const { images } = this.limits;
    throw new HttpError("QUEUE_FULL", `The server has as many images as it takes at once (${images}). Try again.`, {
      "retry-after": String(retrySeconds()),
    });
  }

  /** Lets an image in as soon as there is room, for a request that has begun. Rejects with the signal's reason. */
  async takeWhenFree(bytes: number, signal: AbortSignal): Promise<Place> {
    signal.throwIfAborted();
    if (this.#waiting.length === 0 && this.#fits(bytes)) return this.#enter(bytes);
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        bytes,
        start: () => {
          signal.removeEventListener("abort", onAbort);
          resolve(this.#enter(bytes));
        },
      };
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        this.#startWaiting();
        reject(signal.reason as Error);
      };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#waiting.push(waiting);
    });
  }

  /** An image that is larger than all the room is let in alone. */
  #fits(bytes: number): boolean {
    return this.#images === 0 || (this.#images < this.limits.images && this.#bytes + bytes <= this.limits.bytes);
  }

  #enter(bytes: number): Place {
    this.#images++;
    this.#bytes += bytes;
    let held = bytes;
    let inside = true;
    const shrinkTo = (fewer: number): void => {
      this.#bytes -= held - fewer;
      held = fewer;
      this.#startWaiting();
    };
    const leave = (): void => {
      if (!inside) return;
      inside = false;
      this.#images--;
      shrinkTo(0);
    };
    return { shrinkTo, leave };
  }

  #startWaiting(): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#fits(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift();
      next.start();
    }
  }
}
