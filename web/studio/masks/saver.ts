export type SaveState = { kind: "saved" | "saving" } | { kind: "failed"; reason: string };

/** Calls `store` once at a time. What is asked for meanwhile waits, and is one call however often it was asked for. */
export class Saver {
  readonly #store: () => Promise<void>;
  readonly #onState: (state: SaveState) => void;
  #isRunning = false;
  #isWanted = false;

  /** `store` takes the state of the moment when it is called. */
  constructor(store: () => Promise<void>, onState: (state: SaveState) => void) {
    this.#store = store;
    this.#onState = onState;
  }

  /** Also tries again after a failure. */
  request(): void {
    this.#isWanted = true;
    if (!this.#isRunning) void this.#run();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    let state: SaveState = { kind: "saved" };
    while (this.#isWanted) {
      this.#isWanted = false;
      this.#onState({ kind: "saving" });
      state = await this.#store().then(
        () => ({ kind: "saved" }),
        (error: unknown) => ({ kind: "failed", reason: error instanceof Error ? error.message : String(error) }),
      );
    }
    this.#isRunning = false;
    this.#onState(state);
  }
}
