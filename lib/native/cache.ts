import { SuperSimpleNetError } from "../errors.js";
import { probeFolder } from "../write.js";

/** Creates a folder of the cache, and finds out before any work that it cannot be written. Errors: those of probeFolder. */
export async function prepareCache(folder: string): Promise<void> {
  try {
    await probeFolder(folder);
  } catch (error) {
    throw error instanceof SuperSimpleNetError ? error.advising("Set SUPERSIMPLENET_CACHE to another folder.") : error;
  }
}
