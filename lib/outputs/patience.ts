import { setTimeout as sleep } from "node:timers/promises";

const patienceMs = 1000;
const noPatienceMs = 1;

/**
 * Waits for records, but not for a disk that is full: a record that takes longer follows when there is room, and while one
 * is that late the next ones are hardly waited for.
 */
export class Patience {
  readonly #open = new Set<Promise<void>>();
  #late = 0;

  /** Resolves when the record has ended, well or not, or is not waited for any longer. */
  async wait(record: Promise<unknown>): Promise<void> {
    const ended = record.then(
      () => undefined,
      () => undefined,
    );
    this.#open.add(ended);
    void ended.then(() => this.#open.delete(ended));
    if (await inTime(ended, this.#late === 0 ? patienceMs : noPatienceMs)) return;
    this.#late++;
    void ended.then(() => this.#late--);
  }

  /** Waits once more for those that are late, at the end. */
  async last(): Promise<void> {
    await inTime(Promise.all(this.#open), patienceMs);
  }
}

async function inTime(ended: Promise<unknown>, milliseconds: number): Promise<boolean> {
  const timer = new AbortController();
  const late = sleep(milliseconds, false, { signal: timer.signal }).catch(() => true);
  const first = await Promise.race([ended.then(() => true), late]);
  timer.abort();
  return first;
}
