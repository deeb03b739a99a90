import { fileIdentity } from "../checksum.js";
import { Detector } from "../detection/detector.js";
import type { TrainingSettings } from "./trainings.js";

interface Kept {
  identity: string;
  detector: Detector;
  users: number;
  retired: boolean;
}

/** The model that is looked at: one is in memory, and makes room for the next one when nobody uses it any more. */
export class Detectors {
  #kept: Kept | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly settings: TrainingSettings) {}

  /** Does `work` with the model of a file as it is now. Errors: those of Detector.load. */
  async with<T>(file: string, work: (detector: Detector) => Promise<T>): Promise<T> {
    const kept = await this.#load(file);
    try {
      return await work(kept.detector);
    } finally {
      kept.users--;
      endIfUnused(kept);
    }
  }

  #load(file: string): Promise<Kept> {
    const loaded = this.#turn.then(async () => {
      const identity = `${file} ${await fileIdentity(file)}`;
      if (this.#kept?.identity !== identity) {
        this.#retire();
        const detector = await Detector.load(file, this.settings);
        this.#kept = { identity, detector, users: 0, retired: false };
      }
      this.#kept.users++;
      return this.#kept;
    });
    this.#turn = loaded.catch(() => undefined);
    return loaded;
  }

  #retire(): void {
    const kept = this.#kept;
    this.#kept = undefined;
    if (!kept) return;
    kept.retired = true;
    endIfUnused(kept);
  }

  async close(): Promise<void> {
    await this.#turn;
    this.#retire();
  }
}

function endIfUnused({ retired, users, detector }: Kept): void {
  if (retired && users === 0) detector.dispose();
}
