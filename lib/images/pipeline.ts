import assert from "node:assert/strict";

import { throwIfAborted } from "../errors.js";
import { orAborted } from "./stream.js";

export interface PrefetchOptions<R> {
  /**
   * How many items are loaded or being loaded beyond the one in the caller's hands. Default 4: libuv's pool size. With 0 an
   * item is loaded when the caller asks for it.
   */
  ahead?: number;
  signal?: AbortSignal | undefined;
  /** Gets what was loaded and never came into the caller's hands. */
  drop?: ((result: R) => void) | undefined;
}

/**
 * Loads items ahead of the consumer, several at a time, and yields the results in the order of the items.
 *
 * The first failure in that order is thrown where its result was due; loads that were already running then end unheard.
 * Leaving the loop early starts nothing more. When `signal` fires, ABORTED is thrown at once, even if a load hangs.
 */
export async function* prefetch<T, R>(
  items: Iterable<T>,
  load: (item: T, index: number) => Promise<R>,
  { ahead = 4, signal, drop }: PrefetchOptions<R> = {},
): AsyncGenerator<R, void, undefined> {
  assert(Number.isInteger(ahead) && ahead >= 0, "ahead is a count of items");
  throwIfAborted(signal);
  const source = items[Symbol.iterator]();
  const running: Promise<R>[] = [];
  let due: Promise<R> | undefined;
  let started = 0;
  let exhausted = false;

  // What the source itself fails with has its place in the order too: what came before is still loaded.
  const step = (): Promise<R> | undefined => {
    try {
      const next = source.next();
      if (!next.done) {
        const index = started++;
        return (async () => load(next.value, index))();
      }
    } catch (error) {
      exhausted = true;
      return Promise.reject(error as Error);
    }
    exhausted = true;
    return undefined;
  };

  const fill = (most: number): void => {
    while (!exhausted && running.length < most) {
      const result = step();
      if (result === undefined) return;
      result.catch(() => undefined); // heard when its turn comes, or not at all when the consumer has left
      running.push(result);
    }
  };

  try {
    for (;;) {
      if (running.length === 0) fill(Math.max(1, ahead));
      due = running.shift();
      if (due === undefined) return;
      fill(ahead);
      const result = await orAborted(due, signal);
      due = undefined;
      yield result;
      throwIfAborted(signal);
    }
  } finally {
    if (!exhausted) source.return?.();
    if (drop) for (const left of due ? [due, ...running] : running) left.then(drop, () => undefined);
  }
}
