import { abortedError, throwIfAborted } from "../errors.js";
import { unheeded } from "../turns.js";

export interface StreamOptions<R> {
  /** How many items are loaded or being loaded beyond those in the caller's hands. With 0 one is loaded when the caller asks. */
  ahead: number;
  /** Most items of a batch. */
  batch: number;
  signal?: AbortSignal | undefined;
  /** Gets what was loaded and never came into the caller's hands. */
  drop?: ((result: R) => void) | undefined;
}

/** A load under way. `loaded`: it has ended well. */
interface Load<R> {
  result: Promise<R>;
  loaded: boolean;
}

/** The promise's result, or ABORTED, or another `reason`, as soon as the signal fires. Leaves no listener on the signal. */
export function orAborted<R>(
  promise: Promise<R>,
  signal: AbortSignal | undefined,
  reason: (signal: AbortSignal) => Error = abortedError,
): Promise<R> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(reason(signal));
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/**
 * Loads what a source gives as it comes, and yields it in order, in batches of what is loaded by then: one that waits for a
 * source that is silent does not keep the item before it waiting. The source is asked for an item when there is room for
 * it, and for one at a time.
 *
 * The first failure in order is thrown where its result was due. When `signal` fires, ABORTED is thrown at once, even if the
 * source hangs. Leaving the loop early ends the source.
 */
export async function* readyBatches<T, R>(
  items: AsyncIterable<T>,
  load: (item: T) => Promise<R>,
  { ahead, batch: most, signal, drop }: StreamOptions<R>,
): AsyncGenerator<R[], void, undefined> {
  throwIfAborted(signal);
  const source = items[Symbol.asyncIterator]();
  const loads: Load<R>[] = [];
  let due: Promise<R> | undefined;
  let asking: Promise<void> | undefined;
  let ended = false;
  const begin = (result: Promise<R>): void => {
    const one: Load<R> = { result: unheeded(result), loaded: false };
    result.then(
      () => (one.loaded = true),
      () => undefined,
    );
    loads.push(one);
  };
  const ask = (): void => {
    if (ended || asking || loads.length >= Math.max(1, ahead)) return;
    asking = (async () => source.next())()
      .then(
        (next) => {
          if (next.done) ended = true;
          else if (!ended) begin((async () => load(next.value))());
        },
        (error: unknown) => {
          ended = true;
          begin(Promise.reject(error as Error));
        },
      )
      .then(() => {
        asking = undefined;
        ask();
      });
  };

  try {
    for (;;) {
      ask();
      while (loads.length === 0 && asking) await orAborted(asking, signal);
      due = loads.shift()?.result;
      if (due === undefined) return;
      const batch = [await orAborted(due, signal)];
      due = undefined;
      while (batch.length < most && loads[0]?.loaded) batch.push(await loads.shift()!.result);
      if (ahead > 0) ask();
      yield batch;
      throwIfAborted(signal);
    }
  } finally {
    const left = loads.map(({ result }) => result);
    if (drop) for (const result of due ? [due, ...left] : left) result.then(drop, () => undefined);
    if (!ended) {
      ended = true;
      const closed = unheeded((async () => source.return?.())());
      // A generator that waits for its next item answers only when that has come.
      if (!asking) await closed;
    }
  }
}

/** Of a source that may be faster than its reader: the newest item at the time of asking. Older ones are dropped. */
export async function* newestOf<T>(items: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  const source = items[Symbol.asyncIterator]();
  let newest: { item: T } | undefined;
  let failed: { error: unknown } | undefined;
  let ended = false;
  let wake = (): void => undefined;
  const readAll = async (): Promise<void> => {
    try {
      while (!ended) {
        const next = await source.next();
        if (next.done) break;
        newest = { item: next.value };
        wake();
      }
    } catch (error) {
      failed = { error };
    }
    ended = true;
    wake();
  };
  void readAll();
  try {
    for (;;) {
      while (!newest && !ended) await new Promise<void>((resolve) => (wake = resolve));
      if (newest) {
        const { item } = newest;
        newest = undefined;
        yield item;
      } else if (failed) throw failed.error;
      else return;
    }
  } finally {
    if (!ended) {
      ended = true;
      unheeded((async () => source.return?.())());
    }
  }
}
