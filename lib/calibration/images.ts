import { type Decision, type Source, sourcesOf } from "../schema/decisions.js";

/** What heads that were not trained on an image say about it. */
export interface CalibrationImage {
  anomalous: boolean;
  /** Score logit. */
  logit: number;
  /** The map's maximum, a logit. */
  peak: number;
  /** Of those images only that a pixel threshold is set on. */
  map?: Float32Array | undefined;
  /** 0/1 at the map's size; absent for normal images and for anomalous ones without pixel labels. */
  mask?: Uint8Array | undefined;
}

/** What a source says about an image. */
export const evidence = ({ logit, peak }: Pick<CalibrationImage, "logit" | "peak">, source: Source): number =>
  source === "score" ? logit : peak;

/** Whether a source that decides is at or above its logit. */
export const reaches = (
  image: Pick<CalibrationImage, "logit" | "peak">,
  decision: Decision,
  logits: Readonly<Record<Source, number>>,
): boolean => sourcesOf(decision).some((source) => evidence(image, source) >= logits[source]);
