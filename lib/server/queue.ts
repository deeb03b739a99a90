import { type Decoded, decodeFor, detectDecoded, type Detector } from "../detection/detector.js";
import type { Detection, ImageSource } from "../detection/types.js";
import { hasCode } from "../errors.js";
import type { DecodeOptions } from "../images/decode.js";

/** What came of an image, and how long it waited beside its own work. */
export interface Detected {
  detection: Detection;
  waitMs: number;
}

interface Item {
  source: ImageSource;
  options: DecodeOptions;
  arrived: number;
  decoded?: Decoded;
  /** Its caller has left, or has its answer. */
  settled: boolean;
  resolve(detected: Detected): void;
  reject(reason: unknown): void;
}

/** The images of one detector. */
class Lane {
  /** Not decoded yet. */
  waiting: Item[] = [];
  decoding = 0;
  /** Decoded, for the next batches. */
  ready: Item[] = [];

  constructor(readonly detector: Detector) {}

  get ahead(): number {
    return this.decoding + this.ready.length;
  }

  get isEmpty(): boolean {
    return this.ahead + this.waiting.length === 0;
  }
}

export interface QueueOptions {
  /** Images of one model that are given to the engine together, at most. */
  batchSize: number;
  /** Called with the number of images of every batch. */
  onBatch?: (detector: Detector, images: number) => void;
}

/**
 * The order of work for one engine. Images are decoded on the pool of threads while the engine works, as many ahead as
 * the next batch needs. Detectors take turns batch by batch, and each has its share of what is decoded ahead, so that many
 * images for one do not keep those of another waiting.
 */
export class DetectionQueue {
  readonly #batchSize: number;
  readonly #ahead: number;
  readonly #onBatch: (detector: Detector, images: number) => void;
  /** In the order of turns: the lane that had one goes to the end. */
  #lanes: Lane[] = [];
  #busy = false;

  constructor({ batchSize, onBatch = () => undefined }: QueueOptions) {
    this.#batchSize = batchSize;
    this.#ahead = Math.max(4, batchSize);
    this.#onBatch = onBatch;
  }

  /** Detects on an image when its turn comes. A signal that fires takes it out of the queue: rejects with the signal's reason. */
  detect(detector: Detector, source: ImageSource, options: DecodeOptions, signal: AbortSignal): Promise<Detected> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      const lane = this.#laneOf(detector);
      const settle = (): void => {
        item.settled = true;
        signal.removeEventListener("abort", onAbort);
      };
      const onAbort = (): void => {
        item.reject(signal.reason);
        lane.waiting = lane.waiting.filter((other) => other !== item);
        // One whose batch has begun is closed by the detector.
        if (lane.ready.includes(item)) item.decoded!.close();
        lane.ready = lane.ready.filter((other) => other !== item);
        this.#goOn();
      };
      const item: Item = {
        source,
        options,
        arrived: performance.now(),
        settled: false,
        resolve: (detected) => (settle(), resolve(detected)),
        reject: (reason) => (settle(), reject(reason as Error)),
      };
      signal.addEventListener("abort", onAbort, { once: true });
      lane.waiting.push(item);
      this.#goOn();
    });
  }

  #laneOf(detector: Detector): Lane {
    const found = this.#lanes.find((lane) => lane.detector === detector);
    if (found) return found;
    const lane = new Lane(detector);
    this.#lanes.push(lane);
    return lane;
  }

  #goOn(): void {
    while (this.#decodeNext());
    void this.#runNext();
    this.#lanes = this.#lanes.filter((lane) => !lane.isEmpty);
  }

  /** Starts to decode for the lane that has the least decoded ahead. */
  #decodeNext(): boolean {
    if (this.#lanes.reduce((sum, lane) => sum + lane.ahead, 0) >= this.#ahead) return false;
    const candidates = this.#lanes.filter((lane) => lane.waiting.length > 0);
    if (candidates.length === 0) return false;
    const lane = candidates.reduce((least, other) => (other.ahead < least.ahead ? other : least));
    const item = lane.waiting.shift()!;
    lane.decoding++;
    void decodeFor(lane.detector, item.source, item.options)
      .then(
        (decoded) => {
          if (item.settled) return decoded.close();
          item.decoded = decoded;
          lane.ready.push(item);
        },
        (error: unknown) => item.settled || item.reject(error),
      )
      .finally(() => {
        lane.decoding--;
        this.#goOn();
      });
    return true;
  }

  /** Gives the engine a batch of the lane whose turn it is. */
  async #runNext(): Promise<void> {
    if (this.#busy) return;
    const lane = this.#lanes.find(({ ready }) => ready.length > 0);
    if (!lane) return;
    this.#busy = true;
    this.#lanes = [...this.#lanes.filter((other) => other !== lane), lane];
    const batch = lane.ready.splice(0, this.#batchSize);
    this.#onBatch(lane.detector, batch.length);
    await this.#run(lane.detector, batch);
    this.#busy = false;
    this.#goOn();
  }

  async #run(detector: Detector, batch: readonly Item[]): Promise<void> {
    const started = performance.now();
    try {
      const decoded = batch.map((item) => item.decoded!);
      const detections = await detectDecoded(detector, decoded);
      batch.forEach((item, i) => {
        if (item.settled) return;
        const waitMs = Math.max(0, started - item.arrived - decoded[i]!.decodeMs);
        item.resolve({ detection: detections[i]!, waitMs });
      });
    } catch (error) {
      // One image on which the network overflows must not cost the others theirs.
      const isWhole = batch.every(({ decoded }) => !decoded!.tiles); // the others are closed by now
      if (batch.length > 1 && isWhole && hasCode(error, "MODEL_INVALID"))
        for (const item of batch) await this.#run(detector, [item]);
      else for (const item of batch) if (!item.settled) item.reject(error);
    }
  }
}
