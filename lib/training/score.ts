import type { CalibrationImage } from "../calibration/images.js";
import type { Sample } from "../datasets/dataset.js";
import { SuperSimpleNetError } from "../errors.js";
import { loadImage } from "../images/decode.js";
import { loadMask } from "../images/mask.js";
import { prefetch } from "../images/pipeline.js";
import { networkConfigOf } from "../models/config.js";
import type { TensorMap } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { sendTensors } from "../native/send.js";
import type { FitCall, TrainingPlan } from "./plan.js";
import { networkOf } from "./resolve.js";

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
    const [height, width] = settings.imageSize;
    const { bitDepth } = settings;
    const { resize } = settings.network;
    const kept = mapsKept(plan.calibration);
    const load = async (sample: Sample) => ({
      sample,
      image: await loadImage(sample.image, { height, width, resize, bitDepth }),
    });
    const images: CalibrationImage[] = [];
    onScored(0);
    for await (const { sample, image } of prefetch(samples, load, { signal })) {
      const { scores, maps } = await detector.detect(image.pixels, 1);
      const logit = scores[0]!;
      const peak = maps.reduce((a, b) => Math.max(a, b), -Infinity);
      if (!Number.isFinite(logit) || !Number.isFinite(peak))
        throw new SuperSimpleNetError(
          "MODEL_INVALID",
          `The network's score of ${sample.image} is ${logit} and its map's maximum ${peak}: the weights that were learned overflow.`,
          { path: sample.image },
        );
      images.push(await withMask(sample, { logit, peak, map: kept.has(sample) ? maps : undefined }, plan));
      onScored(images.length);
    }
    return images;
  } finally {
    detector.dispose();
  }
}

/** With the label and the pixel labels of its sample. */
export async function withMask(
  sample: Sample,
  scored: Pick<CalibrationImage, "logit" | "peak" | "map">,
  { settings: { imageSize } }: TrainingPlan,
): Promise<CalibrationImage> {
  const [height, width] = imageSize;
  const mask =
    sample.mask === undefined || scored.map === undefined
      ? undefined
      : (await loadMask(sample.mask, { height, width })).pixels;
  return { anomalous: sample.label === "anomalous", ...scored, mask };
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
