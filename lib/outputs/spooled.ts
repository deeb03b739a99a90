import { randomUUID } from "node:crypto";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { LineWriter } from "../files/lines.js";
import type { Health } from "./health.js";
import type { Output, OutputStatus, Result } from "./output.js";
import { Spool, type Taken } from "./spool.js";

/** A result on its way to a receiver. It may come twice: the id tells. */
export interface Delivery {
  id: string;
  result: Result;
}

/** Somebody or something that may be away. */
export interface Receiver {
  /** Most results of one call of `send`. */
  readonly batch: number;
  /** Resolves once they are taken. Throws Refused where trying again is no use, and anything else to try again later. */
  send(deliveries: readonly Delivery[], signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** The receiver will never take this result. */
export class Refused extends Error {}

export interface SpooledOptions {
  folder: string;
  mostBytes: number;
  /** First pause after a failure; it doubles up to a minute. */
  retryDelayMs: number;
  health: Health;
}

const mostDelayMs = 60_000;
const patienceMs = 3000;

/** Sends results in their order, from a queue on the disk: whoever is away gets them later. */
export class SpooledOutput implements Output {
  readonly #stop = new AbortController();
  #delivering: Promise<void>;
  #written = 0;
  #lost = 0;
  #idle = (): void => undefined;

  private constructor(
    private readonly receiver: Receiver,
    private readonly spool: Spool,
    private readonly refusals: LineWriter,
    private readonly options: SpooledOptions,
  ) {
    this.#delivering = this.#deliver();
  }

  /** Errors: NO_PERMISSION, NO_SPACE, FILE_ERROR, FILE_CORRUPT. */
  static async open(receiver: Receiver, options: SpooledOptions): Promise<SpooledOutput> {
    const spool = await Spool.open(options.folder, options.mostBytes, { watcher: onlyFailures(options.health) });
    return new SpooledOutput(receiver, spool, new LineWriter(), options);
  }

  write(result: Result): Promise<boolean> {
    return this.spool.append(JSON.stringify({ id: randomUUID(), result } satisfies Delivery));
  }

  status(): OutputStatus[] {
    const { output, error } = this.options.health;
    const lost = this.spool.lost + this.#lost;
    return [{ output, written: this.#written, waiting: this.spool.waiting, lost, error }];
  }

  async close(): Promise<void> {
    // Whoever is away now is not waited for.
    if (this.spool.waiting > 0 && this.options.health.error === undefined)
      await Promise.race([
        new Promise<void>((resolve) => (this.#idle = resolve)),
        sleep(patienceMs, undefined, { ref: false }),
      ]);
    this.#stop.abort();
    // Together: a refusal that cannot be written down would be waited for.
    await Promise.all([this.#delivering, this.refusals.close()]);
    await this.receiver.close();
    await this.spool.close();
  }

  async #deliver(): Promise<void> {
    const { signal } = this.#stop;
    const { health, retryDelayMs } = this.options;
    let delay = retryDelayMs;
    for (;;) {
      const taken = await this.spool
        .take(this.receiver.batch, signal)
        .catch((error: unknown) => void health.failed(error));
      if (signal.aborted) return;
      const outcome = taken && (await this.#send(taken));
      if (signal.aborted && outcome !== "sent") return;
      if (taken && outcome !== "later") {
        delay = retryDelayMs;
        await this.spool.sent(taken);
        if (this.spool.waiting === 0) this.#idle();
        continue;
      }
      this.#idle(); // nothing more comes of waiting
      await sleep(delay * (0.5 + Math.random() / 2), undefined, { signal, ref: false }).catch(() => undefined);
      delay = Math.min(2 * delay, mostDelayMs);
    }
  }

  async #send(taken: Taken): Promise<"sent" | "refused" | "later"> {
    const { health } = this.options;
    const deliveries = taken.lines.map(readDelivery).filter((delivery) => delivery !== undefined);
    try {
      if (deliveries.length > 0) await this.receiver.send(deliveries, this.#stop.signal);
      this.#written += deliveries.length;
      this.#lost += taken.lines.length - deliveries.length;
      health.works();
      return "sent";
    } catch (error) {
      if (this.#stop.signal.aborted) return "later";
      health.failed(error);
      if (!(error instanceof Refused)) return "later";
      this.#lost += taken.lines.length;
      await this.#keepRefused(deliveries, error);
      return "refused";
    }
  }

  /** Nobody takes these; a person may want to see them. */
  async #keepRefused(deliveries: readonly Delivery[], { message: error }: Refused): Promise<void> {
    const file = path.join(this.options.folder, "refused.jsonl");
    for (const delivery of deliveries) await this.refusals.append(file, JSON.stringify({ error, ...delivery }));
  }
}

/** That the queue can be written does not say that the receiver answers. */
const onlyFailures = (health: Health): { failed(error: unknown): void; works(): void } => ({
  failed: (error) => health.failed(error),
  works: () => undefined,
});

/** A line that is no delivery was not written by us: nothing can be done with it. */
function readDelivery(line: string): Delivery | undefined {
  try {
    return JSON.parse(line) as Delivery;
  } catch {
    return undefined;
  }
}
