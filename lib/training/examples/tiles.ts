import type { Sample } from "../../datasets/dataset.js";
import { epochOrder } from "../../datasets/order.js";
import { decodingBudget } from "../../images/budget.js";
import { imageSize } from "../../images/decode.js";
import { eyeFor } from "../../detection/prepare.js";
import { networkSettings } from "../../models/config.js";
import { decodeMask } from "../../images/mask.js";
import { prefetch } from "../../images/pipeline.js";
import type { Rectangle } from "../../images/rectangle.js";
import type { Target } from "../../native/binding.js";
import { Random } from "../../random.js";
import { tilesPerImage } from "../../schema/view.js";
import type { Plane } from "../../view/layout.js";
import { cutMask, type Eye, openView, type Outline, outlineOf, type ViewedImage } from "../../view/open.js";
import { networkOf } from "../resolve.js";
import { type Examples, type ExamplesOptions, flipped, type Shown, targetsOf } from "./examples.js";

/** A place of a sample's plane that a tile lies at. */
interface Place {
  plane: number;
  x: number;
  y: number;
}

/** An anomalous sample without a mask is a bag: some tile of it has a defect. */
type Kind = "normal" | "masked" | "bag";

interface TiledSample {
  kind: Kind;
  outline: Outline;
  /** Where detection looks, but for tiles that are ignored as a whole. */
  grid: Place[];
  /** The key of the grid's first tile. */
  firstKey: number;
  /** Of a masked sample: places in the grid with a defect, and some pixels of defects, in pixels of each plane. */
  defects: number[];
  defectPixels: (readonly [x: number, y: number])[][];
}

/** An example of an epoch. */
interface Tile extends Place {
  sample: number;
  flip: number;
}

/** Pixels of an image's defects that tiles are laid over. */
const defectPixelsKept = 2048;
/** Tiles that are scored at once to choose one of a bag. */
const scoredAtOnce = 16;
/** Keys of tiles that come in one epoch only begin here. */
const onceFrom = 2 ** 40;

/**
 * Tiles of images (docs/guides/large-images.md, Training). Tiles of good images are good; of a defective image with a mask,
 * those that show some of it are defective with what they show; of one without, the tile that the classification head holds
 * the most likely defect stands for the image, and trains no map.
 */
export class Tiles implements Examples {
  readonly epochByEpoch = true;
  readonly #eye;
  readonly #images: OpenImages;
  /** Examples of the epoch at hand, by key. */
  #shown = new Map<number, Tile>();
  #order: number[] = [];
  /** Keys of fixed tiles whose targets the engine has. */
  #aimed = new Set<number>();

  private constructor(
    private readonly options: ExamplesOptions,
    private readonly tiled: readonly TiledSample[],
  ) {
    this.#eye = eyeFor(networkSettings(networkOf(options.settings)));
    this.#images = new OpenImages(options.samples, this.#eye);
  }

  static async open(options: ExamplesOptions): Promise<Tiles> {
    const eye = eyeFor(networkSettings(networkOf(options.settings)));
    const tiled: TiledSample[] = [];
    let firstKey = 0;
    for await (const sample of prefetch(options.samples, (each) => tiledSample(each, eye), {
      signal: options.signal,
    })) {
      tiled.push({ ...sample, firstKey });
      firstKey += 4 * sample.grid.length;
    }
    return new Tiles(options, tiled);
  }

  get choosesByScore(): boolean {
    return this.tiled.some(({ kind }) => kind === "bag");
  }

  get #perImage(): number {
    return this.options.settings.tiling.tilesPerImage ?? tilesPerImage;
  }

  get #fixed(): boolean {
    return this.options.settings.tiling.fixedTiles ?? false;
  }

  perEpoch(places: readonly number[]): number {
    return this.#draws(0, places).reduce((sum, { sample }) => sum + this.#count(this.tiled[sample]!), 0);
  }

  /** Tiles that a draw of a sample shows. */
  #count(sample: TiledSample): number {
    if (sample.kind === "bag") return 1;
    if (sample.kind === "masked") {
      const { defective, beside } = this.#shares(sample);
      return defective + beside;
    }
    return Math.min(this.#perImage, sample.grid.length);
  }

  /** Of a masked sample half of the tiles show defects, at most; as many others lie beside them, as far as there are. */
  #shares({ grid, defects }: TiledSample): { defective: number; beside: number } {
    const all = Math.min(this.#perImage, grid.length);
    if (defects.length === 0) return { defective: 0, beside: all };
    const half = Math.ceil(all / 2);
    const defective = this.#fixed ? Math.min(half, defects.length) : half;
    return { defective, beside: Math.min(defective, all - defective, grid.length - defects.length) };
  }

  #draws(epoch: number, places: readonly number[]): { sample: number; flip: number }[] {
    const { seed, optimizer } = this.options.settings;
    const balanced = optimizer.balancedSampling;
    const labels = places.map(
      (place) => (this.tiled[place]!.kind === "normal" ? "normal" : "anomalous") as Sample["label"],
    );
    return epochOrder({ labels, seed, epoch, balanced, flips: balanced }).map(({ sample, flip }) => ({
      sample: places[sample]!,
      flip,
    }));
  }

  async begin(epoch: number, places: readonly number[], kept?: readonly number[]): Promise<readonly number[]> {
    const { native, settings } = this.options;
    const bags = places.filter((place) => this.tiled[place]!.kind === "bag");
    const chosen = kept?.length === bags.length ? kept : await this.#choose(bags);
    const tileOf = new Map(bags.map((place, i) => [place, chosen[i]!]));
    if (!this.#fixed) {
      await native.clearTargets();
      this.#aimed.clear();
    }
    this.#shown = new Map();
    this.#order = [];
    const tiles: [key: number, tile: Tile][] = [];
    const draws = this.#draws(epoch, places);
    for (const [i, { sample, flip }] of draws.entries())
      tiles.push(...this.#tilesOf(sample, flip, new Random(settings.seed, "tiles", epoch, i), tileOf.get(sample)));
    let next = onceFrom;
    for (const [fixedKey, tile] of tiles) {
      const key = fixedKey >= 0 ? fixedKey : next++;
      this.#shown.set(key, tile);
      this.#order.push(key);
    }
    this.#order = new Random(settings.seed, "tile order", epoch).shuffled(this.#order);
    await this.#aim();
    return chosen;
  }

  /** The tiles of one draw, with their keys; -1 where they lie elsewhere in each epoch. */
  #tilesOf(index: number, flip: number, random: Random, ofBag: number | undefined): [number, Tile][] {
    const sample = this.tiled[index]!;
    const { kind, grid, defects } = sample;
    const fixed = (place: number, turned: number): [number, Tile] => [
      sample.firstKey + 4 * place + turned,
      { sample: index, flip: turned, ...grid[place]! },
    ];
    if (kind === "bag") return [fixed(ofBag!, flip)];
    const { defective, beside } =
      kind === "masked" ? this.#shares(sample) : { defective: 0, beside: this.#count(sample) };
    if (this.#fixed) {
      const isDefect = new Set(defects);
      const others = [...grid.keys()].filter((place) => !isDefect.has(place));
      return [
        ...random
          .shuffled(defects)
          .slice(0, defective)
          .map((place) => fixed(place, flip)),
        ...random
          .shuffled(others)
          .slice(0, beside)
          .map((place) => fixed(place, 0)),
      ];
    }
    const elsewhere = (place: Place, turned: number): [number, Tile] => [-1, { sample: index, flip: turned, ...place }];
    return [
      ...Array.from({ length: defective }, () => elsewhere(this.#overDefect(sample, random), flip)),
      ...Array.from({ length: beside }, (_, i) => elsewhere(this.#anywhere(sample, i, random), 0)),
    ];
  }

  /** Planes take turns: a coarse one has few tiles. */
  #anywhere({ outline }: TiledSample, turn: number, random: Random): Place {
    const { planes } = outline.layout;
    const index = turn % planes.length;
    const { width, height, columns, rows } = planes[index]!;
    const { tile } = this.#eye;
    const place = (length: number, side: number, edges: readonly number[]): number =>
      edges.length === 1 ? edges[0]! : random.integer(length - side + 1);
    return { plane: index, x: place(width, tile.width, columns), y: place(height, tile.height, rows) };
  }

  /** A tile that shows a pixel of a defect, anywhere in it. */
  #overDefect({ outline, defectPixels }: TiledSample, random: Random): Place {
    const { planes } = outline.layout;
    const known = [...planes.keys()].filter((plane) => defectPixels[plane]!.length > 0);
    const index = random.pick(known);
    const { width, height, columns, rows } = planes[index]!;
    const [x, y] = random.pick(defectPixels[index]!);
    const { tile } = this.#eye;
    const place = (at: number, length: number, side: number, edges: readonly number[]): number =>
      edges.length === 1 ? edges[0]! : Math.max(0, Math.min(length - side, at - random.integer(side)));
    return { plane: index, x: place(x, width, tile.width, columns), y: place(y, height, tile.height, rows) };
  }

  /** The tile of each bag that the heads hold the most likely defect, as its place in the grid. */
  async #choose(bags: readonly number[]): Promise<number[]> {
    const { native, signal, ranks } = this.options;
    if (bags.length === 0) return [];
    const chosen: number[] = [];
    for (const bag of bags) {
      const { grid, firstKey } = this.tiled[bag]!;
      const scores: number[] = [];
      const load = async (place: number) => {
        const key = firstKey + 4 * place;
        if (native.missing([key]).length === 0) return { key };
        return { key, pixels: await this.#pixels({ sample: bag, flip: 0, ...grid[place]! }) };
      };
      let items: Awaited<ReturnType<typeof load>>[] = [];
      for await (const item of prefetch(grid.keys(), load, { ahead: scoredAtOnce, signal })) {
        items.push(item);
        if (items.length < scoredAtOnce && scores.length + items.length < grid.length) continue;
        scores.push(...(await native.scores(items)));
        items = [];
      }
      chosen.push(scores.indexOf(Math.max(...scores)));
    }
    return ranks ? ranks.fromFirst(chosen) : chosen;
  }

  /** Tells the engine what the examples of the epoch are trained towards, as far as it does not know. */
  async #aim(): Promise<void> {
    const { native, settings, samples, signal } = this.options;
    const bySample = new Map<number, [key: number, tile: Tile][]>();
    for (const [key, tile] of this.#shown) {
      if (this.#aimed.has(key)) continue;
      bySample.set(tile.sample, [...(bySample.get(tile.sample) ?? []), [key, tile]]);
      this.#aimed.add(key);
    }
    const load = async ([index, tiles]: [number, [number, Tile][]]): Promise<Target[]> => {
      const { kind, outline } = this.tiled[index]!;
      const { mask: file } = samples[index]!;
      const mask = kind === "masked" ? await decodeMask(file!) : undefined;
      const targets: Target[] = [];
      for (const [key, { plane: at, x, y, flip }] of tiles) {
        const plane = outline.layout.planes[at]!;
        const window = { x, y, ...this.#eye.tile };
        const ignored = await outline.ignored(plane, window);
        const shown = mask && (await defectsIn(mask.pixels, outline, plane, window, ignored));
        const anomalous = kind === "bag" || shown !== undefined;
        const aim = { keys: [key], flips: [flip], anomalous, ignored };
        targets.push(...(await targetsOf(settings, { ...aim, mask: shown && { pixels: shown, ...this.#eye.tile } })));
      }
      return targets;
    };
    for await (const targets of prefetch(bySample, load, { signal })) await native.setTargets(targets);
  }

  order(): readonly number[] {
    return this.#order;
  }

  normals(): readonly number[] {
    const keys: number[] = [];
    this.tiled.forEach(({ kind, grid, firstKey }, index) => {
      if (kind !== "normal") return;
      const random = new Random(this.options.settings.seed, "noise tiles", index);
      for (const place of random.shuffled(grid.keys()).slice(0, this.#perImage)) {
        const key = firstKey + 4 * place;
        this.#shown.set(key, { sample: index, flip: 0, ...grid[place]! });
        keys.push(key);
      }
    });
    return keys;
  }

  async show(key: number): Promise<Shown> {
    const tile = this.#shown.get(key)!;
    // Bags are looked at in every epoch; other tiles only where they are fixed.
    const once = !this.#fixed && this.tiled[tile.sample]!.kind !== "bag";
    return { pixels: await this.#pixels(tile), once };
  }

  async #pixels({ sample, plane: index, x, y, flip }: Tile): Promise<Uint8Array> {
    const image = await this.#images.open(sample);
    const pixels = await image.tile(image.layout.planes[index]!, x, y);
    return flipped(pixels, this.options.settings.imageSize, flip);
  }
}

/** What a tile shows of a mask, without what is ignored; undefined where it shows nothing. */
async function defectsIn(
  mask: Uint8Array,
  { layout }: Outline,
  plane: Plane,
  window: Rectangle,
  ignored: Uint8Array | undefined,
): Promise<Uint8Array | undefined> {
  const shown = await cutMask(mask, layout, plane, window);
  if (ignored) shown.forEach((_, i) => ignored[i] !== 0 && (shown[i] = 0));
  return shown.includes(1) ? shown : undefined;
}

async function tiledSample(sample: Sample, eye: Eye): Promise<Omit<TiledSample, "firstKey">> {
  const mask = sample.mask === undefined ? undefined : await decodeMask(sample.mask);
  const outline = await outlineOf(eye, mask ?? (await imageSize(sample.image)), sample, sample.image);
  const { planes } = outline.layout;
  const grid: Place[] = [];
  const defects: number[] = [];
  const defectPixels: (readonly [number, number])[][] = planes.map(() => []);
  for (const [index, plane] of planes.entries()) {
    const random = new Random(0, "defect pixels", sample.id, index);
    let seen = 0;
    for (const y of plane.rows)
      for (const x of plane.columns) {
        const window = { x, y, ...eye.tile };
        const ignored = await outline.ignored(plane, window);
        if (ignored && !ignored.includes(0)) continue;
        const shown = mask && (await defectsIn(mask.pixels, outline, plane, window, ignored));
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
  }
  const kind: Kind = sample.label === "normal" ? "normal" : mask ? "masked" : "bag";
  return { kind, outline, grid, defects, defectPixels };
}

/** Decoded images, as many as fit into half of the memory for images; those that were not used for long go. */
class OpenImages {
  readonly #open = new Map<number, { image: Promise<ViewedImage>; bytes: number }>();
  #bytes = 0;

  constructor(
    private readonly samples: readonly Sample[],
    private readonly eye: Eye,
  ) {}

  open(index: number): Promise<ViewedImage> {
    const known = this.#open.get(index) ?? { image: this.#decode(index), bytes: 0 };
    this.#open.delete(index);
    this.#open.set(index, known);
    known.image.catch(() => this.#open.delete(index));
    return known.image;
  }

  async #decode(index: number): Promise<ViewedImage> {
    const sample = this.samples[index]!;
    const image = await openView(sample.image, this.eye, sample);
    image.close(); // from here on it counts among these
    const own = this.#open.get(index);
    if (!own) return image; // gone before it was decoded
    own.bytes = image.bytes;
    this.#bytes += image.bytes;
    for (const [oldest, { bytes }] of this.#open) {
      if (this.#bytes <= decodingBudget().limit / 2 || oldest === index) break;
      this.#open.delete(oldest);
      this.#bytes -= bytes;
    }
    return image;
  }
}
