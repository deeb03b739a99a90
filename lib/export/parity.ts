import { SuperSimpleNetError, throwIfAborted } from "../errors.js";
import type { RgbImage } from "../images/decode.js";
import { networkSettings } from "../models/config.js";
import type { Model } from "../models/model.js";
import { Random } from "../random.js";
import { Beside, type BesideOptions, type Difference, Differences } from "./beside.js";
import type { GraphForm } from "./network.js";
import type { OnnxRuntime } from "./runtime.js";

/** How far scores and maps may lie from the engine's, relative to the largest. */
export const parityBounds = { float32: 1e-4, float16: 1e-2 } as const;

/** How a graph was compared with the engine. */
export interface Parity extends Difference {
  images: number;
  bound: number;
  /** Such as "onnxruntime-node 1.30.0". */
  runtime: string;
}

const fewest = 8;

/** Sides of the compared images in shares of the model's: as they are, and for graphs that resize, others too. */
const shares = {
  normalised: [[1, 1]],
  image: [
    [1, 1],
    [1.6, 1.31],
    [0.61, 0.8],
    [3.3, 2.1],
  ],
} as const;

/**
 * Compares a loaded graph with the engine on generated images. Throws EXPORT_DIFFERS where scores or maps differ by more
 * than the bound, or a verdict is not the one of its score and map.
 */
export async function measureParity(
  model: Model,
  runtime: OnnxRuntime,
  form: GraphForm,
  options: BesideOptions & { onProgress?: ((done: number, total: number) => void) | undefined },
): Promise<Parity> {
  const groups = imageGroups(networkSettings(model.config).imageSize, form);
  const total = groups.reduce((sum, { length }) => sum + length, 0);
  const bound = parityBounds[form.precision];
  const differences = new Differences();
  const beside = await Beside.load(model, runtime, form, options);
  try {
    let done = 0;
    for (const images of groups) {
      throwIfAborted(options.signal);
      const pairs = await beside.run(images, options.signal);
      for (const pair of pairs) {
        differences.add(pair);
        if (pair.graph.verdict !== beside.verdictOf(pair.graph))
          throw differs(`it says ${pair.graph.verdict} where its score and map make ${beside.verdictOf(pair.graph)}`);
      }
      done += images.length;
      options.onProgress?.(done, total);
    }
  } finally {
    beside.close();
  }
  const { logit, map } = differences.relative();
  if (!(logit <= bound && map <= bound)) {
    const [scores, maps] = [logit, map].map((value) => value.toExponential(1));
    throw differs(`scores differ by ${scores} and maps by ${maps} of the largest value, and ${bound} is allowed`);
  }
  return { images: total, logit, map, bound, runtime: `onnxruntime-node ${runtime.version}` };
}

const differs = (how: string): SuperSimpleNetError =>
  new SuperSimpleNetError("EXPORT_DIFFERS", `The exported graph does not compute what the engine does: ${how}.`, {
    fix: "No file was written. With float16, export as float32; else report this with the model.",
  });

/** Images of one size each, as many as the graph takes at once; a graph of any batch gets several sizes of batches. */
function imageGroups([height, width]: readonly [number, number], { batch, input }: GraphForm): RgbImage[][] {
  const sizes = shares[input];
  const counts = batch === "dynamic" ? [1, 3, 2, 2] : new Array<number>(Math.ceil(fewest / batch)).fill(batch);
  // Every size is seen, but for the largest ones of a large batch, which would take gigabytes.
  const most = typeof batch === "number" && batch > fewest ? 2 : sizes.length;
  while (counts.length < Math.min(most, sizes.length)) counts.push(counts[0]!);
  return counts.map((count, group) => {
    const [tall, wide] = sizes[group % sizes.length]!;
    const size = { height: Math.round(height * tall), width: Math.round(width * wide) };
    const images = Array.from({ length: Math.min(count, fewest) }, (_, i) => generatedImage(size, `${group}.${i}`));
    return Array.from({ length: count }, (_, i) => images[i % images.length]!);
  });
}

/** A seeded image: a gradient, some rectangles, and noise. */
function generatedImage({ height, width }: { height: number; width: number }, key: string): RgbImage {
  const random = new Random(0, "parity", key);
  const pixels = new Uint8Array(height * width * 3);
  const corner = [0, 1, 2].map(() => random.uniform(0, 255));
  const slope = [0, 1, 2].map(() => [random.uniform(-90, 90), random.uniform(-90, 90)] as const);
  const noise = random.uniform(2, 40);
  const spots = Array.from({ length: 4 }, () => ({
    top: random.integer(height),
    left: random.integer(width),
    side: 1 + random.integer(Math.max(1, Math.min(height, width) >> 2)),
    colour: [0, 1, 2].map(() => random.uniform(0, 255)),
  }));
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const spot = spots.find(({ top, left, side }) => y >= top && x >= left && y < top + side && x < left + side);
      for (let c = 0; c < 3; c++, at++) {
        const base = spot?.colour[c] ?? corner[c]! + (slope[c]![0] * y) / height + (slope[c]![1] * x) / width;
        pixels[at] = Math.max(0, Math.min(255, base + random.uniform(-noise, noise)));
      }
    }
  return { pixels, height, width };
}
