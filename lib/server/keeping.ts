import type { RawImage } from "../images/source.js";
import { Health } from "../outputs/health.js";
import type { Keeper } from "../outputs/keep.js";
import type { Result } from "../outputs/output.js";

/** Offers images to a keeper beside the answers, which neither wait for it nor fail with it. */
export class Keeping {
  readonly #health: Health;
  #missed = 0;

  /** `onChange`: told once when keeping begins to fail, with why, and once when it works again. */
  constructor(
    private readonly keeper: Keeper,
    onChange: (error: string | undefined) => void,
  ) {
    this.#health = new Health("keep", (_, error) => onChange(error));
  }

  offer(result: Result, image: Uint8Array | RawImage): void {
    const offered = async (): Promise<void> => {
      try {
        if (await this.keeper.offer(result, image)) this.#health.works();
      } catch (error) {
        this.#missed++;
        this.#health.failed(error);
      }
    };
    void offered();
  }

  /** `missed`: images that a rule wanted, and that could not be written. */
  status(): { kept: number; full: boolean; missed: number; failing: boolean } {
    const { kept, full } = this.keeper.status();
    return { kept, full, missed: this.#missed, failing: this.#health.error !== undefined };
  }

  close(): Promise<void> {
    return this.keeper.close();
  }
}
