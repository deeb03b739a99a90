import type { Sample } from "../../datasets/dataset.js";
import { type Draw, epochOrder } from "../../datasets/order.js";
import { imageSize } from "../../images/decode.js";
import { decodeMask } from "../../images/mask.js";
import { prefetch } from "../../images/pipeline.js";
import type { Rectangle } from "../../images/rectangle.js";
import { Random } from "../../random.js";
import { tilesPerImage } from "../../schema/view.js";
import type { Layout, Plane } from "../../view/layout.js";
import { mismatch } from "../../view/mismatch.js";
import { cutMask, type Eye, outlineOf, withoutIgnored } from "../../view/open.js";
import { eyeOf, type ResolvedOptions } from "../resolve.js";

/** A place of a sample's plane that a tile lies at. */
export interface Place {
  plane: number;
  x: number;
  y: number;
}

/** An anomalous sample without a mask is a bag: some tile of it has a defect. */
type Kind = "normal" | "masked" | "bag";

export interface TiledSample {
  kind: Kind;
  layout: Layout;
  /** Where detection looks, but for tiles that are ignored as a whole. */
  grid: Place[];
  /** The parts of the grid that lie on one plane each. */
  ofPlanes: { first: number; end: number }[];
  /** The key of the grid's first tile. */
  firstKey: number;
  /** Of a masked sample: places in the grid with a defect, and some pixels of defects, in pixels of each plane. */
  defects: number[];
  defectPixels: (readonly [x: number, y: number])[][];
}

/** Pixels of an image's defects that tiles are laid over. */
const defectPixelsKept = 2048;
/** Which tiles the samples of a training have, and how many of them an epoch shows. */
export class TilePlan {
  private constructor(
    readonly samples: readonly TiledSample[],
    private readonly settings: ResolvedOptions,
  ) {}

  /** Lays tiles over every sample. Errors: VIEW_MISMATCH, those of imageSize and of decodeMask. */
  static async lay(
    samples: readonly Sample[],
    settings: ResolvedOptions,
    signal: AbortSignal | undefined,
  ): Promise<TilePlan> {
    const eye = eyeOf(settings);
    const tiled: TiledSample[] = [];
    let firstKey = 0;
    for await (const sample of prefetch(samples, (each) => tiledSample(each, eye), { signal })) {
      tiled.push({ ...sample, firstKey });
      firstKey += 4 * sample.grid.length;
    }
    return new TilePlan(tiled, settings);
  }

  get perImage(): number {
    return this.settings.tiling.tilesPerImage ?? tilesPerImage;
  }

  get fixed(): boolean {
    return this.settings.tiling.fixedTiles ?? false;
  }

  perEpoch(places: readonly number[]): number {
    return this.draws(0, places).reduce((sum, { sample }) => sum + this.count(this.samples[sample]!), 0);
  }

  /** Tiles that a draw of a sample shows. */
  count(sample: TiledSample): number {
    if (sample.kind === "bag") return 1;
    if (sample.kind === "normal") return this.perNormal;
    const { defective, beside } = this.shares(sample);
    return defective + beside;
  }

  /** The same for all normal samples, whatever their sizes, so that all epochs are equally long. */
  get perNormal(): number {
    return this.samples.reduce((most, { grid }) => Math.max(most, Math.min(this.perImage, grid.length)), 1);
  }

  /** Of a masked sample half of the tiles show defects, at most; as many others lie beside them, as far as there are. */
  shares({ grid, defects }: TiledSample): { defective: number; beside: number } {
    const all = Math.min(this.perImage, grid.length);
    if (defects.length === 0) return { defective: 0, beside: all };
    const half = Math.ceil(all / 2);
    const defective = this.fixed ? Math.min(half, defects.length) : half;
    return { defective, beside: Math.min(defective, all - defective, grid.length - defects.length) };
  }

  /** The samples of an epoch in its order, by their place. */
  draws(epoch: number, places: readonly number[]): Draw[] {
    const { seed, optimizer } = this.settings;
    const balanced = optimizer.balancedSampling;
    const labels = places.map(
      (place) => (this.samples[place]!.kind === "normal" ? "normal" : "anomalous") as Sample["label"],
    );
    return epochOrder({ labels, seed, epoch, balanced, flips: balanced }).map(({ sample, flip }) => ({
      sample: places[sample]!,
      flip,
    }));
  }
}

/** What a tile shows of a mask, without what is ignored; undefined where it shows nothing. */
export async function defectsIn(
  mask: Uint8Array,
  layout: Layout,
  plane: Plane,
  window: Rectangle,
  ignored: Uint8Array | undefined,
): Promise<Uint8Array | undefined> {
  const shown = withoutIgnored(await cutMask(mask, layout, plane, window), ignored);
  return shown.includes(1) ? shown : undefined;
}

async function tiledSample(sample: Sample, eye: Eye): Promise<Omit<TiledSample, "firstKey">> {
  const mask = sample.mask === undefined ? undefined : await decodeMask(sample.mask);
  const { layout, ignored: ignoredOn } = await outlineOf(
    eye,
    mask ?? (await imageSize(sample.image)),
    sample,
    sample.image,
  );
  const { planes } = layout;
  const grid: Place[] = [];
  const ofPlanes: TiledSample["ofPlanes"] = [];
  const defects: number[] = [];
  const defectPixels: (readonly [number, number])[][] = planes.map(() => []);
  for (const [index, plane] of planes.entries()) {
    const random = new Random(0, "defect pixels", sample.id, index);
    let seen = 0;
    const first = grid.length;
    for (const y of plane.rows)
      for (const x of plane.columns) {
        const window = { x, y, ...eye.tile };
        const ignored = await ignoredOn(plane, window);
        if (ignored && !ignored.includes(0)) continue;
        const shown = mask && (await defectsIn(mask.pixels, layout, plane, window, ignored));
        if (shown) {
          defects.push(grid.length);
          // Every defect pixel of the plane has the same chance to be kept.
          for (let i = shown.indexOf(1); i >= 0; i = shown.indexOf(1, i + 1)) {
            const pixel = [x + (i % eye.tile.width), y + Math.floor(i / eye.tile.width)] as const;
            const kept = defectPixels[index]!;
            if (seen++ < defectPixelsKept) kept.push(pixel);
            else {
              const at = random.integer(seen);
              if (at < defectPixelsKept) kept[at] = pixel;
            }
          }
        }
        grid.push({ plane: index, x, y });
      }
    if (grid.length > first) ofPlanes.push({ first, end: grid.length });
  }
  if (grid.length === 0) throw mismatch(sample.image, "every pixel of its tiles is ignored.");
  const kind: Kind = sample.label === "normal" ? "normal" : mask ? "masked" : "bag";
  return { kind, layout, grid, ofPlanes, defects, defectPixels };
}
