import type { CalibrationImage } from "../calibration/images.js";
import type { Sample } from "../datasets/dataset.js";
import { prepare } from "../detection/prepare.js";
import { GatheredMap } from "../detection/map.js";
import { seePieces, seeTiles, type Strip } from "../detection/see.js";
import { SuperSimpleNetError } from "../errors.js";
import { decodeMask } from "../images/mask.js";
import { prefetch } from "../images/pipeline.js";
import { networkConfigOf } from "../models/config.js";
import type { TensorMap } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { sendTensors } from "../native/send.js";
import { turns } from "../turns.js";
import type { Size } from "../view/mismatch.js";
import { cutMask, outlineOf, withoutIgnored } from "../view/open.js";
import type { FitCall, TrainingPlan } from "./plan.js";
import { eyeOf, networkOf } from "./resolve.js";

/** What heads say about images. */
export async function scoreImages(
  plan: TrainingPlan,
  heads: TensorMap,
  samples: readonly Sample[],
  { options: { signal } }: FitCall,
  onScored: (done: number) => void,
): Promise<CalibrationImage[]> {
  const { settings, device, backbone } = plan;
  const network = networkConfigOf(settings.backbone, networkOf(settings));
  const detector = await engine().createDetector(
    { ...network, device, compute: settings.network.heads, precision: "float32", cudaGraphs: 0 },
    await sendTensors(backbone.tensors),
    await sendTensors(heads),
  );
  try {
    const eye = eyeOf(settings);
    const { tile } = eye;
    const kept = mapsKept(plan.calibration);
    // Tiles keep their image open until it was seen; its mask is decoded before the next one is opened.
    const ahead = eye.view.tiles ? 0 : 4;
    const load = async (sample: Sample) => ({ sample, image: await prepare(sample.image, eye, sample) });
    const drop = ({ image }: Awaited<ReturnType<typeof load>>): void => image.close();
    const images: CalibrationImage[] = [];
    onScored(0);
    for await (const { sample, image } of prefetch(samples, load, { ahead, signal, drop })) {
      const { covered } = image.layout.planes[0];
      const map = new GatheredMap(covered);
      const sink = async (strip: Strip): Promise<void> => map.add(strip);
      let logit: number;
      try {
        if (image.tiles)
          ({ logit } = await seeTiles(detector, tile, image.tiles, sink, { batchSize: tilesAtOnce, signal }));
        else {
          const [seen] = await seePieces(detector, tile, [image]);
          ({ logit } = seen!);
          map.add(seen!.strip);
        }
      } finally {
        image.close();
      }
      const { peak } = map;
      if (!Number.isFinite(logit) || !Number.isFinite(peak))
        throw new SuperSimpleNetError(
          "MODEL_INVALID",
          `The network's score of ${sample.image} is ${logit} and its map's maximum ${peak}: the weights that were learned overflow.`,
          { path: sample.image },
        );
      const small = kept.has(sample) ? await pooled(await map.data(), covered, tile) : undefined;
      images.push(await withMask(sample, { logit, peak, map: small }, plan));
      onScored(images.length);
    }
    return images;
  } finally {
    detector.dispose();
  }
}

/** Tiles of a forward pass. */
const tilesAtOnce = 8;

/** With the label and the pixel labels of its sample, which are reduced as the map is. */
export async function withMask(
  sample: Sample,
  scored: Pick<CalibrationImage, "logit" | "peak" | "map">,
  { settings }: Pick<TrainingPlan, "settings">,
): Promise<CalibrationImage> {
  const known = { anomalous: sample.label === "anomalous", ...scored };
  if (sample.mask === undefined || scored.map === undefined) return known;
  const eye = eyeOf(settings);
  const mask = await decodeMask(sample.mask);
  const { layout, ignored } = await outlineOf(eye, mask, sample, sample.image);
  const [plane] = layout.planes;
  const shown = await cutMask(mask.pixels, layout, plane, plane.covered);
  withoutIgnored(shown, await ignored(plane, plane.covered));
  return { ...known, mask: await pooled(shown, plane.covered, eye.tile) };
}

/**
 * A map or a mask at the network's input size, as which the pixel threshold is found: of the pixels that come together the
 * highest value counts.
 */
async function pooled<Values extends Float32Array | Uint8Array>(values: Values, from: Size, to: Size): Promise<Values> {
  if (from.width === to.width && from.height === to.height) return values;
  const out = new (values.constructor as new (length: number) => Values)(to.width * to.height);
  const breathe = turns();
  for (let y = 0; y < to.height; y++) {
    const [top, bottom] = spanOf(y, from.height, to.height);
    await breathe(4 * (bottom - top) * from.width);
    for (let x = 0; x < to.width; x++) {
      const [left, right] = spanOf(x, from.width, to.width);
      let highest = -Infinity;
      for (let row = top; row < bottom; row++)
        for (let column = left; column < right; column++)
          highest = Math.max(highest, values[row * from.width + column]!);
      out[y * to.width + x] = highest;
    }
  }
  return out;
}

/** The pixels of a side that come together in one of a shorter side, or the one that repeats in a longer. */
function spanOf(at: number, from: number, to: number): [first: number, end: number] {
  const first = Math.floor((at * from) / to);
  return [first, Math.max(first + 1, Math.floor(((at + 1) * from) / to))];
}

/** Maps of this many normal images at most are kept, each of them a quarter of a megabyte at 256x256. */
const normalMaps = 200;

/** The images whose maps the pixel threshold needs: those with masks, and beside them normal ones, evenly spread. */
export function mapsKept(calibration: readonly Sample[]): ReadonlySet<Sample> {
  const segmented = calibration.filter((sample) => sample.label === "anomalous" && sample.mask !== undefined);
  if (segmented.length === 0) return new Set();
  const normal = calibration.filter((sample) => sample.label === "normal");
  const every = Math.ceil(normal.length / normalMaps);
  return new Set([...segmented, ...normal.filter((_, i) => i % every === 0)]);
}
