import type { StudioEvent, TrainingProgress } from "./types.js";

/** Steps whose time is looked at. */
const window = 20;
/** A page need not know more often. */
const tellMs = 200;

interface Told {
  event: string;
  stage?: TrainingProgress["stage"];
  done?: number;
  total?: number;
  epoch?: number;
  epochs?: number;
  epochsDone?: number;
  step?: number;
  steps?: number;
  stepsPerEpoch?: number;
}

/** Where a training is and how fast, by what it tells. */
export class Pace {
  readonly #progress: TrainingProgress;
  /** When the last steps were done. */
  #times: number[] = [];
  #toldAt = -Infinity;

  constructor(
    run: string,
    private readonly batchSize: number,
    private readonly tell: (event: StudioEvent) => void,
  ) {
    this.#progress = {
      run,
      stage: "starting",
      done: 0,
      total: 0,
      epoch: 0,
      epochs: 0,
      secondsPerStep: null,
      imagesPerSecond: null,
      secondsLeft: null,
    };
  }

  get event(): StudioEvent {
    return { event: "progress", progress: { ...this.#progress } };
  }

  get secondsPerStep(): number | null {
    return this.#progress.secondsPerStep;
  }

  take(told: Told, now = performance.now()): void {
    const progress = this.#progress;
    const before = progress.stage;
    if (told.event === "stage" || told.event === "evaluate") {
      const stage = told.event === "evaluate" ? "evaluate" : told.stage!;
      Object.assign(progress, { stage, done: told.done!, total: told.total! });
    } else if (told.event === "start") {
      Object.assign(progress, {
        stage: "train",
        epochs: told.epochs!,
        epoch: told.epochsDone!,
        done: 0,
        total: told.stepsPerEpoch!,
      });
      this.#times = [now];
    } else if (told.event === "step") {
      this.#step(told as Required<Told>, now);
    } else return;
    if (now - this.#toldAt < tellMs && progress.stage === before) return;
    this.#toldAt = now;
    this.tell(this.event);
  }

  #step({ epoch, epochs, step, steps }: Required<Told>, now: number): void {
    const progress = this.#progress;
    this.#times = [...this.#times.slice(-window), now];
    Object.assign(progress, { stage: "train", epoch, epochs, done: step, total: steps });
    // The first one computes features and warms up.
    if (this.#times.length < 3) return;
    const [first, last] = [this.#times[1]!, this.#times.at(-1)!];
    const seconds = (last - first) / 1000 / (this.#times.length - 2);
    progress.secondsPerStep = seconds;
    progress.imagesPerSecond = seconds > 0 ? this.batchSize / seconds : null;
    progress.secondsLeft = seconds * ((epochs - epoch) * steps + (steps - step));
  }
}
