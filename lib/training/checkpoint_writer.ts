import type { NativeTrainer } from "../native/binding.js";
import { type Fingerprint, type Progress, writeCheckpoint } from "./checkpoint.js";

/**
 * How often a checkpoint is written while a training runs: at most every so many seconds, and so rarely that the time
 * between two of them is so many times what one takes. Not an option; tests shorten it.
 */
export const checkpointPace = { leastSeconds: 10, timesItsCost: 50 };

type State = Awaited<ReturnType<NativeTrainer["state"]>>;

/** Writes the checkpoints of one training, while its steps go on. */
export class CheckpointWriter {
  #writing: Promise<void> | undefined;
  #failure: unknown;
  #last = performance.now();
  #cost = 0;
  #saved: Progress;

  /** `saved`: what the file in `out` holds, if there is one. */
  constructor(
    private readonly out: string,
    private readonly threads: number,
    private readonly fingerprint: Fingerprint,
    saved: Progress,
  ) {
    this.#saved = saved;
  }

  /** Whether it is time. Then `write` must follow: until that has ended, this is false. */
  claim(): boolean {
    const least = Math.max(checkpointPace.leastSeconds * 1000, checkpointPace.timesItsCost * this.#cost);
    if (performance.now() - this.#last < least) return false;
    this.#last = Infinity;
    return true;
  }

  /** Begins to write. `check` and `finish` tell of a failure. */
  write(progress: Progress, state: State): void {
    const began = performance.now();
    const { out, threads, fingerprint } = this;
    this.#writing = writeCheckpoint(out, { ...progress, ...state, threads }, fingerprint).then(
      () => {
        this.#saved = progress;
        this.#last = performance.now();
        this.#cost = this.#last - began;
      },
      (error: unknown) => void (this.#failure = error),
    );
  }

  /** Waits until nothing is being written. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  /** Throws what writing has met: NO_SPACE, NO_PERMISSION, FILE_ERROR. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /**
   * Writes the last checkpoint, if the file does not have that already, also after a failure: there may be room again.
   * Throws what `check` throws.
   */
  async finish(progress: Progress, state: () => Promise<State>): Promise<void> {
    await this.#writing;
    this.#failure = undefined;
    const { epochsDone, stepsDone } = this.#saved;
    if (epochsDone === progress.epochsDone && stepsDone === progress.stepsDone) return;
    this.write(progress, await state());
    await this.#writing;
    this.check();
  }
}
