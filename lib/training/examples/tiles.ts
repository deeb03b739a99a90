import type { Sample } from "../../datasets/dataset.js";
import { decodingBudget } from "../../images/budget.js";
import { decodeMask } from "../../images/mask.js";
import { prefetch } from "../../images/pipeline.js";
import type { Target } from "../../native/binding.js";
import { Random } from "../../random.js";
import type { Layout } from "../../view/layout.js";
import { type Eye, openView, outlineOf, type ViewedImage } from "../../view/open.js";
import { eyeOf } from "../resolve.js";
import { type Examples, type ExamplesOptions, flipped, type Shown, targetsOf } from "./examples.js";
import { defectsIn, type Place, type TiledSample, type TilePlan } from "./tile_plan.js";

/** An example of an epoch. */
interface Tile extends Place {
  sample: number;
  flip: number;
}

/** Tiles that are scored at once to choose one of a bag. */
const scoredAtOnce = 16;
/**
 * Tiles are shuffled over all images that come to no more bytes than this, as RGB; those of other images come before or
 * after them, so that an image is decoded once in an epoch. The same on every machine, for it decides the order. Tests lower it.
 */
export const grouping = { bytes: 512 * 2 ** 20 };
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

  constructor(
    private readonly options: ExamplesOptions,
    private readonly plan: TilePlan,
  ) {
    this.#eye = eyeOf(options.settings);
    this.#images = new OpenImages(options.samples, this.#eye);
  }

  perEpoch(places: readonly number[]): number {
    return this.plan.perEpoch(places);
  }

  async begin(epoch: number, places: readonly number[], kept?: readonly number[]): Promise<readonly number[]> {
    const { native, settings } = this.options;
    const bags = places.filter((place) => this.plan.samples[place]!.kind === "bag");
    const isKept =
      kept?.length === bags.length && kept.every((tile, i) => tile < this.plan.samples[bags[i]!]!.grid.length);
    const chosen = isKept ? kept : await this.#choose(bags);
    const tileOf = new Map(bags.map((place, i) => [place, chosen[i]!]));
    if (!this.plan.fixed) {
      await native.clearTargets();
      this.#aimed.clear();
    }
    this.#shown = new Map();
    const tiles: [key: number, tile: Tile][] = [];
    const draws = this.plan.draws(epoch, places);
    for (const [i, { sample, flip }] of draws.entries())
      tiles.push(...this.#tilesOf(sample, flip, new Random(settings.seed, "tiles", epoch, i), tileOf.get(sample)));
    const groupOf = this.#groups(draws.map(({ sample }) => sample));
    const groups: number[][] = [];
    let next = onceFrom;
    for (const [fixedKey, tile] of tiles) {
      const key = fixedKey >= 0 ? fixedKey : next++;
      this.#shown.set(key, tile);
      (groups[groupOf.get(tile.sample)!] ??= []).push(key);
    }
    const random = new Random(settings.seed, "tile order", epoch);
    this.#order = groups.flatMap((group) => random.shuffled(group));
    await this.#aim();
    return chosen;
  }

  /** In which group the tiles of each sample come: one after the other, as many samples as a group holds. */
  #groups(samples: readonly number[]): Map<number, number> {
    const groupOf = new Map<number, number>();
    let [group, bytes] = [0, 0];
    for (const sample of new Set(samples)) {
      const { width, height } = this.plan.samples[sample]!.layout.size;
      const own = width * height * 3;
      if (bytes > 0 && bytes + own > grouping.bytes) [group, bytes] = [group + 1, 0];
      bytes += own;
      groupOf.set(sample, group);
    }
    return groupOf;
  }

  /** The tiles of one draw, with their keys; -1 where they lie elsewhere in each epoch. */
  #tilesOf(index: number, flip: number, random: Random, ofBag: number | undefined): [number, Tile][] {
    const sample = this.plan.samples[index]!;
    const { kind, grid, defects } = sample;
    const fixed = (place: number, turned: number): [number, Tile] => [
      sample.firstKey + 4 * place + turned,
      { sample: index, flip: turned, ...grid[place]! },
    ];
    if (kind === "bag") return [fixed(ofBag!, flip)];
    const { defective, beside } =
      kind === "masked" ? this.plan.shares(sample) : { defective: 0, beside: this.plan.count(sample) };
    if (this.plan.fixed) {
      const isDefect = new Set(defects);
      const others = [...grid.keys()].filter((place) => !isDefect.has(place));
      const taken = (places: readonly number[], count: number): number[] =>
        inTurns(random.shuffled(places), (place) => grid[place]!.plane, count);
      return [
        ...taken(defects, defective).map((place) => fixed(place, flip)),
        ...taken(others, beside).map((place) => fixed(place, 0)),
      ];
    }
    const elsewhere = (place: Place, turned: number): [number, Tile] => [-1, { sample: index, flip: turned, ...place }];
    return [
      ...Array.from({ length: defective }, () => elsewhere(this.#overDefect(sample, random), flip)),
      ...Array.from({ length: beside }, (_, i) => elsewhere(this.#anywhere(sample, i, random), 0)),
    ];
  }

  /**
   * A tile beside one that detection looks at: so the edges come as often as there, and what is ignored as a whole hardly ever.
   * Planes take turns: a coarse one has few tiles.
   */
  #anywhere({ layout, grid, ofPlanes }: TiledSample, turn: number, random: Random): Place {
    const { first, end } = ofPlanes[turn % ofPlanes.length]!;
    const { plane, x, y } = grid[first + random.integer(end - first)]!;
    const { width, height } = this.#eye.tile;
    return this.#within(
      layout,
      plane,
      x + random.integer(width) - (width >> 1),
      y + random.integer(height) - (height >> 1),
    );
  }

  /** A tile that shows a pixel of a defect, anywhere in it. */
  #overDefect({ layout, defectPixels }: TiledSample, random: Random): Place {
    const index = random.pick([...layout.planes.keys()].filter((plane) => defectPixels[plane]!.length > 0));
    const [x, y] = random.pick(defectPixels[index]!);
    const { width, height } = this.#eye.tile;
    return this.#within(layout, index, x - random.integer(width), y - random.integer(height));
  }

  /** The tile at this place, or at the nearest that the plane has. */
  #within({ planes }: Layout, index: number, x: number, y: number): Place {
    const { width, height, columns, rows } = planes[index]!;
    const { tile } = this.#eye;
    const place = (at: number, length: number, side: number, edges: readonly number[]): number =>
      edges.length === 1 ? edges[0]! : Math.max(0, Math.min(length - side, at));
    return { plane: index, x: place(x, width, tile.width, columns), y: place(y, height, tile.height, rows) };
  }

  /** The tile of each bag that the heads hold the most likely defect, as its place in the grid. */
  async #choose(bags: readonly number[]): Promise<number[]> {
    const { native, signal, ranks } = this.options;
    if (bags.length === 0) return [];
    const chosen: number[] = [];
    for (const bag of bags) {
      const { grid, firstKey } = this.plan.samples[bag]!;
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
      // Not Math.max of all: a bag may have more tiles than a call takes arguments.
      chosen.push(scores.reduce((best, score, at) => (score > scores[best]! ? at : best), 0));
    }
    return ranks ? ranks.fromFirst(chosen) : chosen;
  }

  /** Tells the engine what the examples of the epoch are trained towards, as far as it does not know. */
  async #aim(): Promise<void> {
    const { native, settings, samples, signal } = this.options;
    const bySample = new Map<number, [key: number, tile: Tile][]>();
    for (const [key, tile] of this.#shown) {
      if (this.#aimed.has(key)) continue;
      const known = bySample.get(tile.sample);
      if (known) known.push([key, tile]);
      else bySample.set(tile.sample, [[key, tile]]);
      this.#aimed.add(key);
    }
    const load = async ([index, tiles]: [number, [number, Tile][]]): Promise<Target[]> => {
      const { kind, layout } = this.plan.samples[index]!;
      const sample = samples[index]!;
      const outline = await outlineOf(this.#eye, layout.size, sample, sample.image);
      const mask = kind === "masked" ? await decodeMask(sample.mask!) : undefined;
      const targets: Target[] = [];
      for (const [key, { plane: at, x, y, flip }] of tiles) {
        const plane = layout.planes[at]!;
        const window = { x, y, ...this.#eye.tile };
        const ignored = await outline.ignored(plane, window);
        const shown = mask && (await defectsIn(mask.pixels, layout, plane, window, ignored));
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
    this.plan.samples.forEach(({ kind, grid, firstKey }, index) => {
      if (kind !== "normal") return;
      const random = new Random(this.options.settings.seed, "noise tiles", index);
      for (const place of random.shuffled(grid.keys()).slice(0, this.plan.perImage)) {
        const key = firstKey + 4 * place;
        this.#shown.set(key, { sample: index, flip: 0, ...grid[place]! });
        keys.push(key);
      }
    });
    return keys;
  }

  close(): void {
    this.#images.close();
  }

  async show(key: number): Promise<Shown> {
    const tile = this.#shown.get(key)!;
    // Bags are looked at in every epoch; other tiles only where they are fixed.
    const once = !this.plan.fixed && this.plan.samples[tile.sample]!.kind !== "bag";
    return { pixels: await this.#pixels(tile), once };
  }

  async #pixels({ sample, plane: index, x, y, flip }: Tile): Promise<Uint8Array> {
    const pixels = await this.#images.use(sample, (image) => image.tile(image.layout.planes[index]!, x, y));
    return flipped(pixels, this.options.settings.imageSize, flip);
  }
}

/** So many of the items, of one kind after the other: a coarse plane has few tiles. Those of a kind with too few come again. */
function inTurns<T>(items: readonly T[], kindOf: (item: T) => number, count: number): T[] {
  const byKind = new Map<number, T[]>();
  for (const item of items) byKind.set(kindOf(item), [...(byKind.get(kindOf(item)) ?? []), item]);
  const kinds = [...byKind.values()];
  return Array.from({ length: kinds.length === 0 ? 0 : count }, (_, i) => {
    const kind = kinds[i % kinds.length]!;
    return kind[Math.floor(i / kinds.length) % kind.length]!;
  });
}

interface Kept {
  image: Promise<ViewedImage>;
  bytes: number;
  /** Tiles that are being cut. */
  users: number;
}

/** Open images, as many as fit into half of the memory for images; those that were not used for long go. */
class OpenImages {
  readonly #open = new Map<number, Kept>();
  #bytes = 0;

  constructor(
    private readonly samples: readonly Sample[],
    private readonly eye: Eye,
  ) {}

  async use<R>(index: number, use: (image: ViewedImage) => Promise<R>): Promise<R> {
    const kept = this.#open.get(index) ?? { image: this.#decode(index), bytes: 0, users: 0 };
    this.#open.delete(index);
    this.#open.set(index, kept);
    kept.users++;
    try {
      const image = await kept.image;
      if (kept.bytes === 0) this.#bytes += kept.bytes = image.bytes;
      return await use(image);
    } catch (error) {
      if (kept.bytes === 0) this.#open.delete(index);
      throw error;
    } finally {
      kept.users--;
      this.#shrink();
    }
  }

  async #decode(index: number): Promise<ViewedImage> {
    const sample = this.samples[index]!;
    const image = await openView(sample.image, this.eye, sample);
    image.release(); // from here on it counts among these
    return image;
  }

  #shrink(): void {
    for (const [index, kept] of this.#open) {
      if (this.#bytes <= decodingBudget().limit / 2 || this.#open.size === 1) return;
      if (kept.users === 0) this.#close(index, kept);
    }
  }

  #close(index: number, { image, bytes }: Kept): void {
    this.#open.delete(index);
    this.#bytes -= bytes;
    image.then(
      ({ close }) => close(),
      () => undefined,
    );
  }

  /** Closes all; nobody uses one any more. */
  close(): void {
    for (const [index, kept] of this.#open) this.#close(index, kept);
  }
}
