import { recordOf } from "../detection/record.js";
import type { Detection } from "../detection/types.js";
import { modelFileSha256 } from "../models/identity.js";
import type { Model } from "../models/model.js";
import type { Result } from "./output.js";

type Name = Parameters<typeof recordOf>[1];

/** Makes results of a model's detections. `name`: what the model is called. Errors: those of modelFileSha256. */
export async function resultsOf(model: Model, name?: string): Promise<(detection: Detection, name: Name) => Result> {
  const told = { ...(name !== undefined && { name }), checksum: await modelFileSha256(model) };
  return (detection, image) => ({ ...recordOf(detection, image), time: new Date().toISOString(), model: told });
}
