import { existsSync } from "node:fs";
import path from "node:path";

import { type CatalogueEntry, catalogue, weightsFolder, weightsUrl } from "./catalogue.js";
import { cachedWeights } from "./load.js";

export interface ListedWeights extends CatalogueEntry {
  url: string;
  /** The official file's place in the cache folder, if it is there. */
  official: string | null;
  /** The file that "auto" uses: an imported one before the official one. */
  used: string | null;
}

/** Every backbone of the catalogue and what of it is on this machine. Checksums are not computed. */
export function listWeights(): ListedWeights[] {
  return catalogue.map((entry) => {
    const official = path.join(weightsFolder(), entry.file);
    return {
      ...entry,
      url: weightsUrl(entry),
      official: existsSync(official) ? official : null,
      used: cachedWeights(entry.architecture) ?? null,
    };
  });
}
