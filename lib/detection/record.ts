import type { Detection } from "./types.js";

/** A detection without its map: what predict, the server and outputs tell of an image. It has a `path` or an `id`. */
export interface DetectionRecord extends Omit<Detection, "map" | "path"> {
  path?: string;
  /** What the caller called the image. */
  id?: string;
}

/** `name`: the path or the id of the image, as the caller knows it. */
export function recordOf(detection: Detection, name: { path: string } | { id: string }): DetectionRecord {
  const { path: _, map: __, ...told } = detection;
  return { ...name, ...told };
}
