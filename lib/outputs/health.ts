import { shownUrl } from "../errors.js";

/** Whether an output works, told once for each change. */
export class Health {
  #error: string | undefined;

  constructor(
    readonly output: string,
    private readonly onChange: (output: string, error: string | undefined) => void,
  ) {}

  get error(): string | undefined {
    return this.#error;
  }

  failed(error: unknown): void {
    const before = this.#error;
    this.#error = shownUrl(error instanceof Error ? error.message || error.name : String(error));
    if (before === undefined) this.onChange(this.output, this.#error);
  }

  works(): void {
    if (this.#error === undefined) return;
    this.#error = undefined;
    this.onChange(this.output, undefined);
  }
}
