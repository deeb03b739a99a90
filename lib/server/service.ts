import type { RawImage } from "../images/source.js";
import { networkSettings } from "../models/config.js";
import type { Output, Result } from "../outputs/output.js";
import { Patience } from "../outputs/patience.js";
import type { DetectQuery } from "../schema/server.js";
import { type ImageAnswer, answerOf } from "./answers.js";
import { answerTo } from "./errors.js";
import type { Keeping } from "./keeping.js";
import type { Metrics } from "./metrics.js";
import type { Loaded } from "./models.js";
import type { DetectionQueue } from "./queue.js";

/** What a request asks for. */
export interface Asked {
  loaded: Loaded;
  query: DetectQuery;
}

export interface AskedImage extends Asked {
  /** What the answer calls the image. */
  id: string;
  image: Uint8Array | RawImage;
  /** Fires when the answer is no longer wanted; its reason is the error. */
  signal: AbortSignal;
  /** When the request began, as performance.now(). */
  started: number;
}

/** An image in, an answer out: through the queue, the metrics, the output and the keeper. */
export class Service {
  readonly #patience = new Patience();

  constructor(
    private readonly queue: DetectionQueue,
    private readonly metrics: Metrics,
    private readonly output: Output | undefined,
    private readonly keeping: Keeping | undefined,
    private readonly maxPixels: number,
  ) {}

  /** Errors: those of Detector.detect, and the signal's reason. */
  async detect({ loaded, query, id, image, signal, started }: AskedImage): Promise<ImageAnswer> {
    const { detector, name, checksum } = loaded;
    const decoding = { name: `'${id}'`, maxPixels: this.maxPixels, own: true };
    try {
      const { detection, waitMs } = await this.queue.detect(detector, image, decoding, signal);
      const time = new Date().toISOString();
      const { bitDepth } = networkSettings(detector.model.config);
      const answer = await answerOf(detection, id, query, image, { ...decoding, bitDepth });
      const { map: _, overlay: __, ...record } = answer;
      signal.throwIfAborted(); // its client was told otherwise, and may ask again
      const result: Result = { ...record, time, model: { name, checksum } };
      this.keeping?.offer(result, image);
      // Who has an answer need not write it down, unless the disk is full: no answer waits for that.
      if (this.output) await this.#patience.wait(this.output.write(result));
      this.metrics.detected(name, detection, waitMs, performance.now() - started);
      return answer;
    } catch (error) {
      this.metrics.failed(name, answerTo(error).error.code);
      throw error;
    }
  }
}
