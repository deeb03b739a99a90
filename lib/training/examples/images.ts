import type { Sample } from "../../datasets/dataset.js";
import { epochOrder, examplesPerEpoch } from "../../datasets/order.js";
import { imageSize, loadImage } from "../../images/decode.js";
import { decodeMask } from "../../images/mask.js";
import { prefetch } from "../../images/pipeline.js";
import type { Target } from "../../native/binding.js";
import { isPlain } from "../../view/layout.js";
import { cutMask, openView, outlineOf } from "../../view/open.js";
import { eyeOf } from "../resolve.js";
import { type Aim, type Examples, type ExamplesOptions, flipped, type Shown, targetsOf } from "./examples.js";

/** Whole images, each in one piece. */
export class Images implements Examples {
  readonly epochByEpoch = false;
  readonly #eye;
  readonly #isPlain;
  #aimed = false;

  constructor(private readonly options: ExamplesOptions) {
    this.#eye = eyeOf(options.settings);
    this.#isPlain = isPlain(this.#eye.view) && options.samples.every(({ roi, ignore }) => !roi && !ignore);
  }

  async begin(): Promise<readonly number[]> {
    if (this.#aimed) return [];
    const { samples, native, settings, signal } = this.options;
    const load = async (sample: Sample, index: number): Promise<Target[]> =>
      targetsOf(settings, await this.#aim(sample, index));
    for await (const targets of prefetch(samples, load, { signal })) await native.setTargets(targets);
    this.#aimed = true;
    return [];
  }

  async #aim(sample: Sample, index: number): Promise<Aim> {
    const anomalous = sample.label === "anomalous";
    const flips = anomalous && this.options.settings.optimizer.balancedSampling ? [0, 1, 2, 3] : [0];
    const keys = flips.map((flip) => keyOf(index, flip));
    const mask = sample.mask === undefined ? undefined : await decodeMask(sample.mask);
    if (this.#isPlain) return { keys, flips, anomalous, mask };
    const size = mask ?? (await imageSize(sample.image));
    const { layout, ignored } = await outlineOf(this.#eye, size, sample, sample.image);
    const [plane] = layout.planes;
    const window = { x: plane.columns[0]!, y: plane.rows[0]!, ...this.#eye.tile };
    return {
      keys,
      flips,
      anomalous,
      mask: mask && { pixels: await cutMask(mask.pixels, layout, plane, window), ...this.#eye.tile },
      ignored: await ignored(plane, window),
    };
  }

  order(epoch: number, places: readonly number[]): readonly number[] {
    const { seed, optimizer } = this.options.settings;
    const balanced = optimizer.balancedSampling;
    return epochOrder({ labels: this.#labels(places), seed, epoch, balanced, flips: balanced }).map(
      ({ sample, flip }) => keyOf(places[sample]!, flip),
    );
  }

  perEpoch(places: readonly number[]): number {
    const balanced = this.options.settings.optimizer.balancedSampling;
    return examplesPerEpoch({ labels: this.#labels(places), balanced, flips: balanced });
  }

  #labels(places: readonly number[]): Sample["label"][] {
    return places.map((place) => this.options.samples[place]!.label);
  }

  normals(): readonly number[] {
    return this.options.samples.flatMap(({ label }, i) => (label === "normal" ? [keyOf(i, 0)] : []));
  }

  async show(key: number): Promise<Shown> {
    const { settings, samples } = this.options;
    const sample = samples[Math.floor(key / 4)]!;
    return { pixels: flipped(await this.#pixels(sample), settings.imageSize, key % 4), once: false };
  }

  close(): void {}

  async #pixels(sample: Sample): Promise<Uint8Array> {
    const { tile, resize, bitDepth } = this.#eye;
    if (this.#isPlain) return (await loadImage(sample.image, { ...tile, resize, bitDepth })).pixels;
    const image = await openView(sample.image, this.#eye, sample);
    try {
      const [plane] = image.layout.planes;
      return await image.tile(plane, plane.columns[0]!, plane.rows[0]!);
    } finally {
      image.close();
    }
  }
}

/** Key of a sample in one of its four flips. */
const keyOf = (sample: number, flip: number): number => sample * 4 + flip;
