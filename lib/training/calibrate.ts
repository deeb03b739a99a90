import type { Sample } from "../datasets/dataset.js";
import { calibrateThresholds, type CalibrationImage } from "../detection/thresholds.js";
import { loadImage, loadMask } from "../images/decode.js";
import { prefetch } from "../images/pipeline.js";
import { defaultThresholds, networkConfigOf, type Thresholds } from "../models/config.js";
import type { NativeDetector, TensorMap } from "../native/binding.js";
import { engine } from "../native/engine.js";
import type { FitCall, TrainingPlan } from "./plan.js";
import { networkOf } from "./resolve.js";

/** Sets the thresholds on the images held out for that; the first rank does, for all. */
export async function calibrate(plan: TrainingPlan, heads: TensorMap, call: FitCall): Promise<Thresholds> {
  const { ranks } = call;
  if (plan.calibration.length === 0) return { ...defaultThresholds };
  const own = (ranks?.first ?? true) ? await calibrateHere(plan, heads, call) : undefined;
  return ranks ? ranks.fromFirst(own) : own!;
}

async function calibrateHere(plan: TrainingPlan, heads: TensorMap, call: FitCall): Promise<Thresholds> {
  const { settings, device, backbone } = plan;
  const network = networkConfigOf(settings.backbone, networkOf(settings));
  const detector = await engine().createDetector(
    { ...network, device, compute: settings.network.heads, precision: "float32", cudaGraphs: 0 },
    backbone.tensors,
    heads,
  );
  try {
    const [height, width] = settings.imageSize;
    return await calibrateThresholds(await detectAll(detector, plan, call), { height, width });
  } finally {
    detector.dispose();
  }
}

async function detectAll(
  detector: NativeDetector,
  { settings, calibration }: TrainingPlan,
  { stages, options: { signal } }: FitCall,
): Promise<CalibrationImage[]> {
  const [height, width] = settings.imageSize;
  const { resize } = settings.network;
  const load = async (sample: Sample) => ({ sample, image: await loadImage(sample.image, { height, width, resize }) });
  const images: CalibrationImage[] = [];
  stages.report("calibrate", 0, calibration.length);
  for await (const { sample, image } of prefetch(calibration, load, { signal })) {
    const { scores, maps } = await detector.detect(image.pixels, 1);
    const mask = sample.mask === undefined ? undefined : (await loadMask(sample.mask, { height, width })).pixels;
    images.push({ anomalous: sample.label === "anomalous", logit: scores[0]!, map: maps, mask });
    stages.report("calibrate", images.length, calibration.length);
  }
  return images;
}
