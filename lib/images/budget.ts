import { SuperSimpleNetError, option, text } from "../errors.js";
import { addressSpaceLeft, collectGarbage, memoryLimit } from "../machine.js";

const MIB = 2 ** 20;
/** Of address space, which threads and allocators take beside the pixels. */
const SPARE = 64 * MIB;

/**
 * Memory that images may take while they are decoded, shared by all calls of this JavaScript thread. What an image needs
 * is known from its header; it waits until the images before it leave room. One that needs more than the whole budget is
 * decoded alone.
 */
export class Budget {
  #limit: number;
  #used = 0;
  /** How many have taken memory and not given it back; what was added does not count. */
  #running = 0;
  readonly #waiting: { bytes: number; start: () => void }[] = [];

  constructor(
    limit: number,
    /** Bytes that can still be allocated at all. */
    private readonly room: () => number = () =>
      Math.min(memoryLimit() - process.memoryUsage.rss(), addressSpaceLeft() - SPARE),
  ) {
    this.#limit = limit;
  }

  get limit(): number {
    return this.#limit;
  }

  set limit(bytes: number) {
    this.#limit = bytes;
    this.#startWaiting();
  }

  /** Bytes that are taken now. */
  get used(): number {
    return this.#used;
  }

  /**
   * Takes memory, after those that asked before. Resolves to what gives it back. Throws OUT_OF_MEMORY for an image that
   * does not fit even when it is alone, before anything is allocated: some allocators end the process where memory ends.
   */
  async take(bytes: number, name: string): Promise<() => void> {
    if (this.#waiting.length > 0 || !this.#fits(bytes))
      await new Promise<void>((resolve) => this.#waiting.push({ bytes, start: resolve }));
    else this.#start(bytes);
    const giveBack = once(() => {
      this.#running--;
      this.#giveBack(bytes);
    });
    if (this.#running === 1 && bytes > this.room()) {
      collectGarbage();
      if (bytes <= this.room()) return giveBack;
      giveBack();
      throw outOfMemory(
        name,
        `it takes about ${mebibytes(bytes)} MiB, and ${mebibytes(Math.max(0, this.room()))} MiB are left`,
      );
    }
    return giveBack;
  }

  /** Takes memory that is in use already, such as that of a frame which had to be copied at once. */
  add(bytes: number): () => void {
    this.#used += bytes;
    return once(() => this.#giveBack(bytes));
  }

  #start(bytes: number): void {
    this.#running++;
    this.#used += bytes;
  }

  #giveBack(bytes: number): void {
    this.#used -= bytes;
    this.#startWaiting();
  }

  #fits(bytes: number): boolean {
    // One always goes on, however much the frames take.
    return this.#running === 0 || (this.#used + bytes <= this.#limit && this.#used + bytes <= this.room());
  }

  #startWaiting(): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#fits(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#start(next.bytes);
      next.start();
    }
  }
}

function once(act: () => void): () => void {
  let done = false;
  return () => {
    if (!done) act();
    done = true;
  };
}

const mebibytes = (bytes: number): number => Math.ceil(bytes / MIB);

/** OUT_OF_MEMORY for an image. */
export const outOfMemory = (name: string, reason: string, cause?: unknown): SuperSimpleNetError =>
  new SuperSimpleNetError("OUT_OF_MEMORY", `There is not enough memory to decode ${name}: ${reason}.`, {
    cause,
    path: name,
    fix: text`Give the process more memory, decode fewer images at once (a lower ${option("memoryMiB")}), or make the image smaller.`,
  });

/** An eighth of what the container or the machine has, and not more than a quarter of the address space. */
export const defaultBudget = (): number =>
  Math.max(64 * MIB, Math.min(2048 * MIB, Math.max(256 * MIB, memoryLimit() / 8), addressSpaceLeft() / 4));

let decoding: Budget | undefined;
let reading: Budget | undefined;

/** The budget of this JavaScript thread for pixels. */
export const decodingBudget = (): Budget => (decoding ??= new Budget(defaultBudget()));

/** That for the files which are read before: as much again at most. */
export const readingBudget = (): Budget => (reading ??= new Budget(decodingBudget().limit));

/** Sets both; without a number they stay as they are. */
export function applyMemory(memoryMiB: number | undefined): void {
  if (memoryMiB === undefined) return;
  for (const budget of [decodingBudget(), readingBudget()]) budget.limit = memoryMiB * MIB;
}
