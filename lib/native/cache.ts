import { SuperSimpleNetError } from "../errors.js";
import { probeFolder } from "../write.js";

/** Creates a folder of the cache, and finds out before any work that it cannot be written. Errors: those of probeFolder. */
export const prepareCache = (folder: string): Promise<void> => inCache(() => probeFolder(folder));

/** Writes into the cache; an error says how to have it elsewhere. */
export async function inCache(write: () => Promise<void>): Promise<void> {
  try {
    await write();
  } catch (error) {
    throw error instanceof SuperSimpleNetError ? error.advising("Set SUPERSIMPLENET_CACHE to another folder.") : error;
  }
}
