import type { Label, Sample } from "../datasets/dataset.js";
import type { Detection } from "../detection/types.js";
import { call, option, SuperSimpleNetError, text } from "../errors.js";
import { decodeMask, loadMask } from "../images/mask.js";
import type { BoundedPixelMetrics, NativePixelStatistics } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { evaluateMapsOptions } from "../schema/evaluation.js";
import type { Size } from "../view/mismatch.js";
import { cutMask, type Eye, outlineOf, withoutIgnored } from "../view/open.js";
import { type EvaluatedMap, evaluateMaps, type MapMetrics, mapMetrics } from "./metrics.js";

/** How far from the exact values the pixel metrics can be. */
export type PixelErrorBound = BoundedPixelMetrics["errorBound"];

/** Maps of a whole image each, at the network's input size; all of them are kept, and the metrics are exact. */
export class WholeMaps {
  readonly #images: EvaluatedMap[] = [];

  constructor(private readonly size: Size) {}

  async add({ label, mask }: Sample, { map }: Detection): Promise<void> {
    if (map.height !== this.size.height || map.width !== this.size.width) throw notAtModelSize();
    this.#images.push({
      label,
      map: map.data,
      mask: mask === undefined ? undefined : (await loadMask(mask, this.size)).pixels,
    });
  }

  metrics(): Promise<MapMetrics & { pixelErrorBound?: PixelErrorBound }> {
    return evaluateMaps(this.#images, this.size);
  }
}

/** Maps of any size, of which only what the metrics need is kept. Pixels that are ignored, or not looked at, do not count. */
export class ViewedMaps {
  readonly #statistics: NativePixelStatistics = engine().createPixelStatistics();
  readonly #labels: Label[] = [];
  readonly #maxima: number[] = [];
  readonly #counts = { withMask: 0, withoutMask: 0, emptyMasks: 0, inPixelMetrics: 0 };

  constructor(private readonly eye: Eye) {}

  async add(sample: Sample, { map, peak, width, height }: Detection): Promise<void> {
    this.#labels.push(sample.label);
    this.#maxima.push(peak);
    const { layout, ignored } = await outlineOf(this.eye, { width, height }, sample, sample.image);
    const [plane] = layout.planes;
    if (map.width !== plane.covered.width || map.height !== plane.covered.height) throw notAtModelSize();
    const isDefect = sample.label === "anomalous";
    if (isDefect && sample.mask === undefined) {
      this.#counts.withoutMask++;
      return;
    }
    const mask = isDefect
      ? await cutMask((await decodeMask(sample.mask!)).pixels, layout, plane, plane.covered)
      : undefined;
    const ignore = await ignored(plane, plane.covered);
    if (isDefect) this.#counts.withMask++;
    if (mask && !withoutIgnored(mask.slice(), ignore).includes(1)) this.#counts.emptyMasks++;
    this.#counts.inPixelMetrics++;
    await this.#statistics.addRows(map.data, map.width, map.height, mask, ignore);
    await this.#statistics.endImage();
  }

  async metrics(): Promise<MapMetrics & { pixelErrorBound?: PixelErrorBound }> {
    const pixel = await this.#statistics.metrics(evaluateMapsOptions.shape.fprLimit.parse(undefined));
    this.#statistics.dispose();
    const metrics = await mapMetrics(pixel, this.#maxima, this.#labels, this.#counts);
    return { ...metrics, ...(metrics.pixelAuroc !== null && { pixelErrorBound: pixel.errorBound }) };
  }
}

function notAtModelSize(): SuperSimpleNetError {
  const what = text`${call("evaluate")}: maps are compared at the size at which the network sees the images.`;
  return new SuperSimpleNetError("INVALID_OPTION", what, {
    option: "mapSize",
    fix: text`Load the detector with ${option("mapSize")} 'model'.`,
  });
}
