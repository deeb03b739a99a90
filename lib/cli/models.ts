import type { Detector } from "../detection/detector.js";
import { output } from "./output.js";

/** Says so whenever a model's backbone was never trained. */
export function warnIfUntrained(backbone: { trained: boolean }): void {
  if (!backbone.trained)
    output.warn(
      "the backbone has random weights, not trained ones: for demonstrations and tests only, results on real images will be poor.",
    );
}

/** Runs `body` with a detector, whose memory is freed afterwards. */
export async function withDetector<T>(load: Promise<Detector>, body: (detector: Detector) => Promise<T>): Promise<T> {
  const detector = await load;
  try {
    return await body(detector);
  } finally {
    detector.dispose();
  }
}
