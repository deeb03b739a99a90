import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import path from "node:path";

import { fileSha256 } from "../checksum.js";
import { prepareCache } from "../native/cache.js";
import { check } from "../schema/check.js";
import { pullOptions } from "../schema/downloads.js";
import type { Settings } from "../schema/types.js";
import { catalogueEntry, weightsFolder, weightsUrl } from "./catalogue.js";
import { type DownloadOptions, download } from "../download/download.js";

/** Options of pullWeights. */
export interface PullOptions extends Settings<typeof pullOptions> {
  onProgress?: DownloadOptions["onProgress"];
}

export interface Pulled {
  path: string;
  bytes: number;
  /** False when the file was there already, with the right checksum. */
  downloaded: boolean;
}

/**
 * Downloads the official weights of an architecture into the cache folder. HTTPS_PROXY, HTTP_PROXY and NO_PROXY are
 * honoured. Throws INVALID_OPTION, DOWNLOAD_FAILED, CHECKSUM_MISMATCH, ABORTED, NO_SPACE, NO_PERMISSION, FILE_ERROR.
 */
export async function pullWeights(architecture: string, options: PullOptions = {}): Promise<Pulled> {
  const { baseUrl, ...transfer } = check("pullWeights", pullOptions, options);
  const entry = catalogueEntry(architecture, "pullWeights");
  const url = weightsUrl(entry, baseUrl);
  const file = path.join(weightsFolder(), entry.file);
  if (existsSync(file) && (await fileSha256(file, transfer.signal)).startsWith(entry.sha256Prefix)) {
    return { path: file, bytes: (await stat(file)).size, downloaded: false };
  }
  await prepareCache(weightsFolder());
  const { bytes } = await download({
    ...transfer,
    onProgress: options.onProgress,
    url,
    file,
    sha256Prefix: entry.sha256Prefix,
    otherwise: "fetch the file by other means and run 'supersimplenet weights import FILE'",
  });
  return { path: file, bytes, downloaded: true };
}
