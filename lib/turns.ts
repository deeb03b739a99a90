import { setImmediate as nextTurn } from "node:timers/promises";

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

/** The same bytes in pieces that fit into one turn. */
export function* pieces(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += BYTES_PER_TURN) yield bytes.subarray(at, at + BYTES_PER_TURN);
}
