import { decide, type Limits, limitsOf } from "../detection/decide.js";
import { type Decoded, detectDecoded, Detector, eyeOf } from "../detection/detector.js";
import { prepare } from "../detection/prepare.js";
import type { Detection } from "../detection/types.js";
import type { RgbImage } from "../images/decode.js";
import { networkSettings } from "../models/config.js";
import type { Model } from "../models/model.js";
import { engine } from "../native/engine.js";
import { throwIfAborted } from "../errors.js";
import { plainView } from "../schema/view.js";
import { normalised } from "./image_input.js";
import { type GraphForm, inputName, verdicts } from "./network.js";
import type { Feeds, OnnxRuntime } from "./runtime.js";

/** What one side says of an image. */
export interface Result {
  score: number;
  logit: number;
  /** Logits at the model's size, and their maximum. */
  map: Float32Array;
  peak: number;
  verdict: Detection["verdict"];
}

export interface Pair {
  engine: Result;
  graph: Result;
}

export interface BesideOptions {
  threads: number | undefined;
  backboneWeights: string;
  signal: AbortSignal | undefined;
}

/** A loaded graph beside the engine on the CPU, in float32: both see the same pixels. */
export class Beside {
  readonly #detector: Detector;
  readonly #runtime: OnnxRuntime;
  readonly #form: Pick<GraphForm, "input" | "batch">;
  readonly #limits: Limits;

  private constructor(detector: Detector, runtime: OnnxRuntime, form: Pick<GraphForm, "input" | "batch">) {
    this.#detector = detector;
    this.#runtime = runtime;
    this.#form = form;
    this.#limits = limitsOf("verifyOnnx", detector.model.config.thresholds, { minAreaPx: 0 });
  }

  /** Loads the model into the engine; `runtime` has loaded the graph. Errors: those of Detector.load. */
  static async load(
    model: Model,
    runtime: OnnxRuntime,
    form: Pick<GraphForm, "input" | "batch">,
    { threads, backboneWeights }: BesideOptions,
  ): Promise<Beside> {
    const detector = await Detector.load(model, { device: "cpu", threads, backboneWeights });
    return new Beside(detector, runtime, form);
  }

  /** Runs images of one size through both. A graph with a fixed batch gets the last image as often as it needs. */
  async run(images: readonly RgbImage[], signal: AbortSignal | undefined): Promise<Pair[]> {
    throwIfAborted(signal);
    const decoded = await Promise.all(images.map((image) => this.#whole(image)));
    const detections = await detectDecoded(this.#detector, decoded);
    const missing = typeof this.#form.batch === "number" ? this.#form.batch - images.length : 0;
    const filled = [...images, ...Array.from({ length: missing }, () => images.at(-1)!)];
    const outputs = await this.#runtime.run(await this.#feeds(filled));
    return detections.map(({ score, logit, peak, verdict, map }, i) => {
      const plane = map.data.length;
      const data = outputs.map.subarray(i * plane, (i + 1) * plane);
      const graph: Result = {
        score: outputs.score[i]!,
        logit: outputs.logit[i]!,
        map: data,
        peak: data.reduce((a, b) => Math.max(a, b), -Infinity),
        verdict: verdicts[Number(outputs.verdict[i])]!,
      };
      return { engine: { score, logit, peak, verdict, map: map.data }, graph };
    });
  }

  /** An image in one piece, which the graph sees too: of a model that sees tiles, it is that of a tile. */
  async #whole({ pixels, width, height }: RgbImage): Promise<Decoded> {
    const source = { data: pixels, width, height, channels: 3 } as const;
    return { ...(await prepare(source, { ...eyeOf(this.#detector), view: plainView }, {})), source, decodeMs: 0 };
  }

  /** The verdict that our rule gives for what the graph computed. */
  verdictOf({ logit, peak }: Result): Detection["verdict"] {
    return decide(this.#limits, { logit, peak, regions: [] }).verdict;
  }

  async #feeds(images: readonly RgbImage[]): Promise<Feeds> {
    const { width, height } = images[0]!;
    if (this.#form.input === "image") {
      const data = new Uint8Array(images.length * height * width * 3);
      images.forEach(({ pixels }, i) => data.set(pixels, i * height * width * 3));
      return { [inputName]: { type: "uint8", dims: [images.length, height, width, 3], data } };
    }
    const { imageSize, resize } = networkSettings(this.#detector.model.config);
    const [toHeight, toWidth] = imageSize;
    const plane = toHeight * toWidth;
    const data = new Float32Array(images.length * 3 * plane);
    for (const [i, { pixels }] of images.entries()) {
      const resized = await engine().resizeImage(pixels, height, width, 3, toHeight, toWidth, resize);
      for (let at = 0; at < plane; at++)
        for (let c = 0; c < 3; c++) data[(i * 3 + c) * plane + at] = normalisedByte[c]![resized[3 * at + c]!]!;
    }
    return { [inputName]: { type: "float32", dims: [images.length, 3, toHeight, toWidth], data } };
  }

  close(): void {
    this.#detector.dispose();
  }
}

const normalisedByte = [0, 1, 2].map((c) => Float32Array.from({ length: 256 }, (_, byte) => normalised(byte, c)));

/** The largest differences between both sides, relative to the largest value of the engine on any of the images. */
export interface Difference {
  logit: number;
  map: number;
}

/** Collects the differences image by image. A value that is not finite is an infinite difference. */
export class Differences {
  #logit = 0;
  #largestLogit = 0;
  #map = 0;
  #largestMap = 0;

  /** Returns the image's own largest differences, absolute. */
  add({ engine: ours, graph }: Pair): Difference {
    const logit = distance(ours.logit, graph.logit);
    let map = ours.map.length === graph.map.length ? 0 : Infinity;
    for (let i = 0; i < ours.map.length; i++) {
      map = Math.max(map, distance(ours.map[i]!, graph.map[i]!));
      this.#largestMap = Math.max(this.#largestMap, Math.abs(ours.map[i]!));
    }
    this.#logit = Math.max(this.#logit, logit);
    this.#map = Math.max(this.#map, map);
    this.#largestLogit = Math.max(this.#largestLogit, Math.abs(ours.logit));
    return { logit, map };
  }

  relative(): Difference {
    const share = (difference: number, largest: number): number => (difference === 0 ? 0 : difference / largest);
    return { logit: share(this.#logit, this.#largestLogit), map: share(this.#map, this.#largestMap) };
  }
}

function distance(a: number, b: number): number {
  const difference = Math.abs(a - b);
  return Number.isFinite(difference) ? difference : Infinity;
}
