import type { Sample } from "../../datasets/dataset.js";
import type { NativeTrainer, Target, TargetOptions } from "../../native/binding.js";
import { engine } from "../../native/engine.js";
import type { Ranks } from "../ranks.js";
import type { ResolvedOptions } from "../resolve.js";
import { networkConfigOf } from "../../models/config.js";
import { networkOf } from "../resolve.js";

/** The network's input for one example. */
export interface Shown {
  pixels: Uint8Array;
  /** The example comes in this epoch only. */
  once: boolean;
}

/**
 * What the steps of a training show: images, or tiles of them, each in one of its flips. An example has a key, by which the
 * engine knows its features and its target.
 */
export interface Examples {
  /** What an epoch shows is settled by `begin`, after the epoch before it has ended. */
  readonly epochByEpoch: boolean;
  /** Gets an epoch ready. `places`: the samples that it shows. `kept`: what `begin` returned for this epoch before. */
  begin(epoch: number, places: readonly number[], kept?: readonly number[]): Promise<readonly number[]>;
  /** The examples of the epoch, shuffled. */
  order(epoch: number, places: readonly number[]): readonly number[];
  /** How many that are. */
  perEpoch(places: readonly number[]): number;
  /** Some examples of each normal sample, for the scale of the noise. */
  normals(): readonly number[];
  show(key: number): Promise<Shown>;
  /** Closes what is open. Nothing is shown afterwards. */
  close(): void;
}

export interface ExamplesOptions {
  native: NativeTrainer;
  settings: ResolvedOptions & { seed: number };
  samples: readonly Sample[];
  ranks: Ranks | undefined;
  signal: AbortSignal | undefined;
}

/** A sample or a tile that is trained towards something. */
export interface Aim {
  /** Of the example in each flip. */
  keys: readonly number[];
  flips: readonly number[];
  anomalous: boolean;
  /** 0/1, with its size; absent: the whole is normal, or it is not known where the defect is. */
  mask?: { pixels: Uint8Array; height: number; width: number } | undefined;
  /** Of the mask's size, or of the network's input without one. */
  ignored?: Uint8Array | undefined;
}

/** Targets at the size of the features, in every flip (docs/method.md, Targets and distance weight). */
export async function targetsOf(settings: ResolvedOptions, aim: Aim): Promise<Target[]> {
  const { keys, flips, anomalous, ignored } = aim;
  const label = anomalous ? 1 : 0;
  const segmented = !anomalous || aim.mask !== undefined;
  const [imageHeight, imageWidth] = settings.imageSize;
  if (!aim.mask && !ignored) return keys.map((key) => ({ key, label, segmented }));
  const mask = aim.mask ?? { pixels: new Uint8Array(imageHeight * imageWidth), height: imageHeight, width: imageWidth };
  const targets = await engine().trainingTargets(
    mask.pixels,
    mask.height,
    mask.width,
    { ...targetOptions(settings), flips: [...flips] },
    ignored,
  );
  return targets.map((target, i) => ({ key: keys[i]!, label, segmented, ...target }));
}

function targetOptions(settings: ResolvedOptions): Omit<TargetOptions, "flips"> {
  const { imageSize, masks, network, backbone } = settings;
  const shape = engine().featureShape(networkConfigOf(backbone, networkOf(settings)));
  return {
    imageHeight: imageSize[0],
    imageWidth: imageSize[1],
    featureHeight: shape.height,
    featureWidth: shape.width,
    // The preliminary version downsamples masks with half-pixel centres (docs/method.md, Targets and distance weight).
    alignCorners: network.alignCorners && network.variant === "jims",
    dilation: masks.dilation,
    distanceWeight: masks.distanceWeight === false ? null : masks.distanceWeight,
  };
}

/** An example in a flip, as the engine is to see it. */
export const flipped = (pixels: Uint8Array, [height, width]: readonly [number, number], flip: number): Uint8Array =>
  flip === 0 ? pixels : engine().flipImage(pixels, height, width, 3, flip);
