import { SuperSimpleNetError } from "../errors.js";
import { Random } from "../random.js";
import type { Label } from "./dataset.js";

/** One training example: which sample, and how it is flipped: 0 not, 1 vertically, 2 horizontally, 3 both. */
export interface Draw {
  sample: number;
  flip: number;
}

export interface EpochOrderOptions {
  /** Of every training sample, by its index. */
  labels: readonly Label[];
  seed: number;
  /** From 0. */
  epoch: number;
  /** As many normal as anomalous examples in an epoch (supervised regimes). Otherwise every sample once. */
  balanced: boolean;
  /** Every anomalous sample four times: as is and flipped in three ways (supervised regimes). Normal samples never flip. */
  flips: boolean;
}

/**
 * The examples of one epoch, shuffled (docs/method.md, Training). A pure function of its arguments: a resumed run gets the same
 * epochs as an uninterrupted one. Unsupervised training: `balanced` and `flips` off.
 */
export function epochOrder({ labels, seed, epoch, balanced, flips }: EpochOrderOptions): Draw[] {
  const normal: number[] = [];
  const anomalous: number[] = [];
  labels.forEach((label, sample) => (label === "normal" ? normal : anomalous).push(sample));

  const codes = flips ? [0, 1, 2, 3] : [0];
  const examples = anomalous.flatMap((sample) => codes.map((flip) => ({ sample, flip })));
  const drawn = isBalanced(balanced, normal.length, examples.length)
    ? drawNormals(normal.length, examples.length, seed, epoch).map((i) => normal[i]!)
    : normal;
  for (const sample of drawn) examples.push({ sample, flip: 0 });
  return new Random(seed, "order", epoch).shuffled(examples);
}

/** How many examples every epoch has. */
export function examplesPerEpoch({ labels, balanced, flips }: Omit<EpochOrderOptions, "seed" | "epoch">): number {
  const normal = labels.filter((label) => label === "normal").length;
  const anomalous = (labels.length - normal) * (flips ? 4 : 1);
  return anomalous + (isBalanced(balanced, normal, anomalous) ? anomalous : normal);
}

/** Whether as many normal examples are drawn as there are anomalous ones. Throws DATASET_INVALID where none can be. */
function isBalanced(asked: boolean, normal: number, anomalous: number): boolean {
  if (!asked || anomalous === 0) return false;
  if (normal > 0) return true;
  throw new SuperSimpleNetError(
    "DATASET_INVALID",
    "Balanced sampling needs normal training images and there are none.",
  );
}

/**
 * Which `draws` of `count` normal images an epoch shows. With enough images: without replacement, those seen least so far
 * first and ties in random order (SegDecNet's frequency sampling, made strict). Going through one shuffled round of all
 * images after the other does just that, so the only thing to carry from epoch to epoch is what is left of the round; it is
 * recomputed from epoch 0, which costs far less than decoding one image. With too few images: with replacement.
 */
function drawNormals(count: number, draws: number, seed: number, epoch: number): number[] {
  if (draws > count) {
    const random = new Random(seed, "replacement", epoch);
    return Array.from({ length: draws }, () => random.integer(count));
  }
  let left: number[] = [];
  let shown: number[] = [];
  for (let e = 0; e <= epoch; e++) {
    shown = left.splice(0, draws);
    if (shown.length === draws) continue;
    // The round ends within this epoch: those already shown in it wait for a later epoch of the next round.
    const already = new Set(shown);
    for (const image of new Random(seed, "round", e).shuffled(Array(count).keys())) {
      (shown.length < draws && !already.has(image) ? shown : left).push(image);
    }
  }
  return shown;
}
