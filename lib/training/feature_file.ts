import { createHash } from "node:crypto";
import path from "node:path";

import type { TrainerConfig } from "../native/binding.js";
import { cacheFolder, packageVersion } from "../native/locate.js";
import { makeFolder } from "../write.js";
import type { TrainingPlan } from "./plan.js";
import { machineIdentity } from "./precision.js";

/** Digest of pixels at the model's size, in the flip at hand: decoder, resize method and flip are in it by their result. */
export const contentOf = (pixels: Uint8Array): Uint8Array => createHash("sha256").update(pixels).digest();

/**
 * Returns the cache file of a training, or undefined where none is kept. Its name and header hold a digest of everything
 * besides the pixels that decides a feature to the last bit, the machine and the number of threads included. Creates the folder:
 * NO_PERMISSION, NO_SPACE, FILE_ERROR.
 */
export async function featureFile(
  settings: TrainingPlan["settings"],
  where: { backboneSha256: string; device: string; threads: number },
): Promise<TrainerConfig["featureCacheFile"]> {
  const { backbone, imageSize, network, cache, precision } = settings;
  if (cache.fileMiB === 0) return undefined;
  const machine = [...machineIdentity(), where.device, where.threads, packageVersion];
  const identity = createHash("sha256")
    .update(
      JSON.stringify([
        backbone,
        where.backboneSha256,
        network.layers,
        imageSize,
        network.resize,
        cache.precision,
        precision, // that of the backbone
        machine,
      ]),
    )
    .digest();
  const folder = path.resolve(cache.dir ?? path.join(cacheFolder(), "features"));
  await makeFolder(folder);
  const name = `${backbone}-${imageSize.join("x")}-${cache.precision}-${identity.toString("hex").slice(0, 16)}.features`;
  return { path: path.join(folder, name), bytes: cache.fileMiB * 2 ** 20, identity };
}
