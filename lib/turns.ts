import { setImmediate as nextTurn } from "node:timers/promises";

import { throwIfAborted } from "./errors.js";

/** What is worked through between two turns of the event loop: a few milliseconds, whatever is done to it. */
const BYTES_PER_TURN = 2 ** 20;

/** Lets the event loop breathe in work over many bytes. Await it after each piece. */
export function turns(): (bytes: number) => Promise<void> | undefined {
  let done = 0;
  return (bytes) => {
    done += bytes;
    if (done < BYTES_PER_TURN) return undefined;
    done = 0;
    return nextTurn();
  };
}

/** Where the pieces of so many bytes begin and end that fit into one turn; no bytes are one piece. */
export function* pieceEnds(bytes: number, most = BYTES_PER_TURN): Generator<[begin: number, end: number]> {
  let at = 0;
  do yield [at, Math.min(bytes, at + most)];
  while ((at += most) < bytes);
}

/** The same bytes in pieces that fit into one turn. */
export function* pieces(bytes: Uint8Array): Generator<Uint8Array> {
  for (const [begin, end] of pieceEnds(bytes.length)) yield bytes.subarray(begin, end);
}

/** Work that yields how many bytes it has passed over since the last time. */
export type Steps<T> = Generator<number, T, void>;

/** Does such work in several turns. Throws ABORTED once the signal has fired. */
export async function inTurns<T>(steps: Steps<T>, signal?: AbortSignal): Promise<T> {
  const breathe = turns();
  for (;;) {
    throwIfAborted(signal);
    const { done, value } = steps.next();
    if (done) return value;
    await breathe(value);
  }
}

/** Does such work at once, for a caller that cannot wait. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** A promise that is awaited later, if something else does not fail first: its rejection until then ends no process. */
export function unheeded<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}
