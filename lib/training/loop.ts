import { abortedError, hasCode, throwIfAborted } from "../errors.js";
import { prefetch } from "../images/pipeline.js";
import type { CacheReport, NativeTrainer, PlannedStep, StepItem, StepLosses, TensorMap } from "../native/binding.js";
import { warningText } from "../native/errors.js";
import { notBegun, type Progress } from "./checkpoint.js";
import type { CheckpointWriter } from "./checkpoint_writer.js";
import type { EpochEvent, FitOptions } from "./events.js";
import type { Session } from "./session.js";

/** So many steps are in the engine's queue at once: the next one is there before the one that runs ends. */
const STEPS_QUEUED = 2;

export interface LoopOptions extends Pick<FitOptions, "onStep" | "onEpoch"> {
  /** What has been done already. Default: nothing. */
  from?: Progress;
  /** Where checkpoints are written. Without it none are. */
  checkpoints?: CheckpointWriter | undefined;
  /** `take` gets the heads after every so many epochs, but for the last one. The training waits for its promise. */
  snapshots?: { every: number; take: (epoch: number, heads: TensorMap) => unknown } | undefined;
}

interface Step extends PlannedStep {
  /** From 0. */
  epoch: number;
  /** The last one of its epoch. */
  last: boolean;
  /** Resolves when the engine is through with it. */
  ended: Promise<void>;
  end: () => void;
}

interface LoadedStep {
  step: Step;
  items: StepItem[];
}

type State = Awaited<ReturnType<NativeTrainer["state"]>>;

/** A step in the engine's queue, with what is queued behind it. */
interface QueuedStep {
  loaded: LoadedStep;
  /** Losses that come to be known, not yet taken out. The first is the step itself. */
  losses: Promise<StepLosses[]>[];
  planned: Promise<void>[];
  /** After the last step of an epoch. */
  report: Promise<CacheReport> | undefined;
  /** The state after the step, where a checkpoint or a snapshot is due. */
  state: Promise<State> | undefined;
  /** A checkpoint is due. */
  keep: boolean;
}

/**
 * Trains the epochs of a session that are left. While a step runs, the next one is in the engine's queue and the images of
 * a third are decoded. Only an image that a step under way computes the features of waits for that step's end. When a
 * training ends early, but not within a step, what it has come to is written as a checkpoint.
 */
export async function trainEpochs(session: Session, options: LoopOptions = {}): Promise<void> {
  await new Loop(session, options).run();
}

class Loop {
  readonly #queue: QueuedStep[] = [];
  /** Known losses that were not reported yet. */
  readonly #unreported: StepLosses[] = [];
  /** Keys whose pixels were given to a step, until it ends: after it their features may be cached. */
  readonly #decoding = new Map<number, Promise<void>>();
  #progress: Progress;
  #plannedEpoch = -1;
  /** Of the epoch that is at work; 0 before the first. */
  #stepsInEpoch = 0;
  /** False once a step has failed half-way. */
  #whole = true;
  #warnings: string[] = [];
  #epochBegan = performance.now();
  /** Since then. */
  #images = 0;

  constructor(
    private readonly session: Session,
    private readonly options: LoopOptions,
  ) {
    this.#progress = options.from ?? notBegun();
  }

  async run(): Promise<void> {
    const { native, signal } = this.session;
    const halt = (): void => native.halt();
    signal?.addEventListener("abort", halt, { once: true });
    try {
      await this.#all();
    } catch (error) {
      await this.#leave();
      throw signal?.aborted && hasCode(error, "ABORTED") ? abortedError(signal) : error;
    } finally {
      signal?.removeEventListener("abort", halt);
    }
  }

  async #all(): Promise<void> {
    const { session, options } = this;
    const { epochsDone, stepsDone } = this.#progress;
    // Interrupted between the last step of an epoch and the news of it.
    if (stepsDone > 0 && stepsDone === session.stepsIn(epochsDone))
      await this.#endEpoch(
        await session.native.cacheReport(),
        this.#snapshotDue(epochsDone) ? await session.native.state() : undefined,
      );
    const { epochByEpoch } = session.examples;
    for (let epoch = this.#progress.epochsDone; epoch < session.epochs; epoch = this.#progress.epochsDone) {
      await session.begin(epoch);
      await this.#stretch(epoch, epochByEpoch ? epoch + 1 : session.epochs);
    }
    if (options.checkpoints) await options.checkpoints.finish(this.#reached, () => session.native.state());
  }

  /** Epochs from `epoch` until `end`, without a pause between them. */
  async #stretch(epoch: number, end: number): Promise<void> {
    const { signal } = this.session;
    for await (const loaded of prefetch(this.#steps(epoch, end), (step) => this.#load(step), { ahead: 1, signal })) {
      this.#queue.push(this.#start(loaded, this.#queue.length > 0));
      if (this.#queue.length === STEPS_QUEUED) await this.#finishStep();
    }
    while (this.#queue.length > 0) {
      await this.#finishStep();
      throwIfAborted(signal);
    }
  }

  *#steps(first: number, end: number): Generator<Step> {
    for (let epoch = first; epoch < end; epoch++) {
      const batches = this.#stepsLeft(epoch);
      for (const [i, batch] of batches.entries()) {
        let end!: () => void;
        const ended = new Promise<void>((resolve) => (end = resolve));
        yield { ...batch, epoch, last: i === batches.length - 1, ended, end };
      }
    }
  }

  /** Steps of an epoch that were not made before the loop began. */
  #stepsLeft(epoch: number): PlannedStep[] {
    const { epochsDone, stepsDone } = this.options.from ?? notBegun();
    return this.session.batches(epoch).slice(epoch === epochsDone ? stepsDone : 0);
  }

  async #load(step: Step): Promise<LoadedStep> {
    const missing = new Set(this.session.native.missing(step.keys));
    const items = step.keys.map((key) => (missing.has(key) ? this.#decoded(key, step) : { key }));
    return { step, items: await Promise.all(items) };
  }

  /** Waits for a step that is under way with the same image: its features may be cached then. */
  async #decoded(key: number, step: Step): Promise<StepItem> {
    const before = this.#decoding.get(key);
    this.#decoding.set(key, step.ended);
    if (before === undefined || before === step.ended) return this.session.decoded(key);
    await before;
    return this.session.item(key);
  }

  #start(loaded: LoadedStep, chained: boolean, keep = this.options.checkpoints?.claim() ?? false): QueuedStep {
    const { native } = this.session;
    const { epoch, index, share, last } = loaded.step;
    const planned = this.#plan(epoch);
    const settings = { ...this.session.learningRates(epoch), noiseScale: this.session.noiseScale(index) };
    const made = native.step({ index, items: loaded.items, ...(share && { share }), ...settings, chained });
    const losses = [made];
    // Plan the next epoch before waiting for the losses: a GPU is then waited for once.
    if (last && !this.session.examples.epochByEpoch) planned.push(...this.#plan(epoch + 1));
    if (last || keep) losses.push(...this.#finishSteps());
    const report = last ? native.cacheReport() : undefined;
    const state = keep || (last && this.#snapshotDue(epoch)) ? native.state() : undefined;
    made.finally(loaded.step.end).catch(() => undefined);
    // Heard when their turn comes, or not at all when a step before has failed.
    for (const promise of [...planned, ...losses, report, state]) promise?.catch(() => undefined);
    return { loaded, losses, planned, report, state, keep };
  }

  #plan(epoch: number): Promise<void>[] {
    if (this.#plannedEpoch === epoch || epoch >= this.session.epochs) return [];
    this.#plannedEpoch = epoch;
    return [this.session.native.plan(this.#stepsLeft(epoch))];
  }

  /** Twice: the losses before a divergence come first, then its error. */
  #finishSteps(): Promise<StepLosses[]>[] {
    return [this.session.native.finishSteps(), this.session.native.finishSteps()];
  }

  /** Waits for the first step in the queue and tells what is known. */
  async #finishStep(): Promise<void> {
    try {
      await this.#take(this.#queue[0]!, { tell: true });
    } catch (error) {
      if (!hasCode(error, "FILE_CORRUPT")) throw error;
      await this.#startAgain();
      await this.#take(this.#queue[0]!, { tell: true });
    }
    const { loaded, planned, report, state, keep } = this.#queue.shift()!;
    const { step } = loaded;
    for (const key of step.keys) if (this.#decoding.get(key) === step.ended) this.#decoding.delete(key);
    await Promise.all(planned);
    this.#images += step.share?.total ?? step.keys.length;
    if (report) await this.#endEpoch(await report, await state, keep);
    else if (state) this.options.checkpoints?.write(this.#reached, await state);
    this.options.checkpoints?.check();
  }

  /** Takes the losses out of a queued step, in order, and tells them at once: an error may come behind them. */
  async #take({ losses }: QueuedStep, { tell }: { tell: boolean }): Promise<void> {
    for (let next = losses[0]; next !== undefined; next = losses[0]) {
      try {
        this.#unreported.push(...(await next));
      } catch (error) {
        // Without other ranks ABORTED means that the step was not begun. Nothing has happened with FILE_CORRUPT either.
        if (this.session.ranks || !hasCode(error, "ABORTED", "FILE_CORRUPT")) this.#whole = false;
        throw error;
      } finally {
        losses.shift();
      }
      if (tell) await this.#report();
    }
  }

  /** What is left of it, whatever it has come to. */
  async #takeAll(queued: QueuedStep): Promise<void> {
    while (queued.losses.length > 0) await this.#take(queued, { tell: false }).catch(() => undefined);
  }

  /** Queues the steps once more, the first with all its pixels: features in the cache file have become unreadable. */
  async #startAgain(): Promise<void> {
    const queued = this.#queue.splice(0);
    for (const each of queued) {
      await this.#takeAll(each);
      if (each.report) this.#warnings.push(...(await each.report).warnings.map(warningText));
    }
    const { step } = queued[0]!.loaded;
    const items = await Promise.all(step.keys.map((key) => this.session.decoded(key)));
    for (const [i, { loaded, keep }] of queued.entries())
      this.#queue.push(this.#start(i === 0 ? { step, items } : loaded, i > 0, keep));
  }

  async #report(): Promise<void> {
    const { onStep } = this.options;
    const { epochs } = this.session;
    for (let losses = this.#unreported.shift(); losses !== undefined; losses = this.#unreported.shift()) {
      const { epoch, steps } = this.#count(losses);
      await onStep?.({ ...losses, epoch: epoch + 1, epochs, step: this.#progress.stepsDone, steps });
    }
  }

  #count(losses: StepLosses): { epoch: number; steps: number } {
    const { epochsDone: epoch, stepsDone, losses: sum } = this.#progress;
    if (stepsDone === 0 || this.#stepsInEpoch === 0) this.#stepsInEpoch = this.session.stepsIn(epoch);
    const steps = this.#stepsInEpoch;
    const names = Object.keys(sum) as (keyof StepLosses)[];
    const means = Object.fromEntries(names.map((name) => [name, sum[name] + losses[name] / steps])) as StepLosses &
      object;
    this.#progress = { epochsDone: epoch, stepsDone: stepsDone + 1, losses: means };
    return { epoch, steps };
  }

  /** The progress as a checkpoint has it. */
  get #reached(): Progress {
    return this.#progress.stepsDone === 0 ? this.#progress : { ...this.#progress, tiles: this.session.tiles };
  }

  /** After an epoch, from 0. */
  #snapshotDue(epoch: number): boolean {
    const { every = Infinity } = this.options.snapshots ?? {};
    return (epoch + 1) % every === 0 && epoch + 1 < this.session.epochs;
  }

  async #endEpoch({ warnings, ...counts }: CacheReport, state?: State, keep = false): Promise<void> {
    const { session, options } = this;
    const { epochsDone: epoch, losses } = this.#progress;
    const { total: loss, ...others } = losses;
    this.#progress = { ...notBegun(), epochsDone: epoch + 1 };
    if (state && keep) options.checkpoints?.write(this.#reached, state);
    const seconds = (performance.now() - this.#epochBegan) / 1000;
    this.#epochBegan = performance.now();
    const event: EpochEvent = {
      epoch: epoch + 1,
      epochs: session.epochs,
      loss,
      ...others,
      ...session.learningRates(epoch),
      features: session.featuresSince(counts),
      warnings: [...this.#warnings.splice(0), ...warnings.map(warningText)],
      seconds,
      images: this.#images,
    };
    this.#images = 0;
    await options.onEpoch?.(event);
    if (state && this.#snapshotDue(epoch)) await options.snapshots?.take(epoch + 1, state.heads);
  }

  /** Waits for the step that runs, drops the one behind it, and keeps what has been done, if the engine's state is whole. */
  async #leave(): Promise<void> {
    const { session, options } = this;
    session.native.halt();
    for (const queued of this.#queue) await this.#takeAll(queued);
    if (!options.checkpoints) return;
    await options.checkpoints.settled();
    if (!this.#whole) return;
    try {
      for (const known of await Promise.all(this.#finishSteps())) this.#unreported.push(...known);
      for (const losses of this.#unreported.splice(0)) this.#count(losses);
      await options.checkpoints.finish(this.#reached, () => session.native.state());
    } catch {
      // What the training ended with tells more.
    }
  }
}
