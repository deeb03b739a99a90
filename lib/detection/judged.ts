import type { NativeRegionFinder, Rectangle, Region } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { type Layout, mapArea } from "../view/layout.js";
import type { Size } from "../view/mismatch.js";
import { GatheredMap } from "./map.js";
import type { Strip } from "./see.js";
import type { AnomalyMap } from "./types.js";

export interface JudgeSettings {
  minAreaPx: number;
  minPeak?: number | undefined;
  mapSize: "model" | "image" | "none";
}

/** What comes of an image's map, strip by strip: regions, found where the map has all its information, and the map itself. */
export class Judged {
  readonly #size: Size;
  readonly #area: Rectangle;
  readonly #finder: NativeRegionFinder;
  readonly #map: GatheredMap | undefined;
  /** Time that was spent beside the engine. */
  postMs = 0;

  constructor(
    private readonly layout: Layout,
    private readonly settings: JudgeSettings,
    thresholds: readonly [number, number?],
  ) {
    const { width, height } = layout.planes[0].covered;
    this.#size = { width, height };
    this.#area = mapArea(layout);
    // A first sieve in pixels of the map; the area that is reported decides.
    const share = (width * height) / (this.#area.width * this.#area.height);
    const minArea = Math.max(1, Math.floor((settings.minAreaPx - 1) * share));
    const known = thresholds.filter((threshold) => threshold !== undefined);
    this.#finder = engine().createRegionFinder({ width, thresholds: known, minArea });
    this.#map = settings.mapSize === "none" ? undefined : new GatheredMap(this.#size);
  }

  async add(strip: Strip): Promise<void> {
    const start = performance.now();
    await this.#finder.addRows(strip.values, strip.rows, strip.ignored);
    this.#map?.add(strip);
    this.postMs += performance.now() - start;
  }

  /** In pixels of the image; those of the second threshold where there is one. */
  async regions(): Promise<{ peak: number; regions: Region[]; unsureRegions: Region[] | undefined }> {
    const { minAreaPx, minPeak = -Infinity } = this.settings;
    const [found, below] = (await this.#finder.finish()).map(({ peak, regions }) => ({
      peak,
      regions: regions
        .map((region) => scaleRegion(region, this.#size, this.#area, this.layout.size))
        .filter((region) => region.area >= minAreaPx && region.peak >= minPeak),
    }));
    return { ...found!, unsureRegions: below?.regions };
  }

  async map(): Promise<AnomalyMap> {
    const area = this.#area;
    if (!this.#map) return { data: new Float32Array(), width: 0, height: 0, area };
    const { width, height } = this.#size;
    const data = await this.#map.data();
    const [toWidth, toHeight] = [Math.round(area.width), Math.round(area.height)];
    if (this.settings.mapSize === "model" || (toWidth === width && toHeight === height))
      return { data, width, height, area };
    return {
      data: await engine().resizeMap(data, height, width, toHeight, toWidth),
      width: toWidth,
      height: toHeight,
      area,
    };
  }
}

/**
 * A region of a map, which covers an area of an image, in pixels of the image. Edges are multiplied before they are divided:
 * edges that fall on whole pixels are exact then, where a rounded quotient of the sizes would move some to the next one.
 */
export function scaleRegion(region: Region, map: Size, area: Rectangle, image: Size = area): Region {
  const across = (x: number): number => area.x + (x * area.width) / map.width;
  const down = (y: number): number => area.y + (y * area.height) / map.height;
  const left = Math.floor(across(region.x));
  const top = Math.floor(down(region.y));
  const right = Math.ceil(across(region.x + region.width));
  const bottom = Math.ceil(down(region.y + region.height));
  return {
    ...region,
    area: Math.max(1, Math.round((region.area * area.width * area.height) / (map.width * map.height))),
    x: left,
    y: top,
    width: Math.min(image.width, right) - left,
    height: Math.min(image.height, bottom) - top,
    peakX: Math.min(image.width - 1, Math.floor(across(region.peakX + 0.5))),
    peakY: Math.min(image.height - 1, Math.floor(down(region.peakY + 0.5))),
  };
}
