import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import path from "node:path";

import { rejectUnknown } from "../options.js";
import { catalogueEntry, weightsFolder, weightsUrl } from "./catalogue.js";
import { checkTransfer, type DownloadOptions, download, fileSha256 } from "../download/download.js";

export interface PullOptions extends Pick<
  DownloadOptions,
  "onProgress" | "signal" | "timeoutMs" | "attempts" | "retryDelayMs"
> {
  /** Folder of the files on a mirror. Default: SUPERSIMPLENET_WEIGHTS_URL, else PyTorch's server. */
  baseUrl?: string | undefined;
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
  rejectUnknown(options, ["baseUrl", "onProgress", "signal", "timeoutMs", "attempts", "retryDelayMs"], "pullWeights");
  checkTransfer("pullWeights", options);
  const entry = catalogueEntry(architecture, "pullWeights");
  const { baseUrl, ...transfer } = options;
  const url = weightsUrl(entry, baseUrl);
  const file = path.join(weightsFolder(), entry.file);
  if (existsSync(file) && (await fileSha256(file, options.signal)).startsWith(entry.sha256Prefix)) {
    return { path: file, bytes: (await stat(file)).size, downloaded: false };
  }
  const { bytes } = await download({
    ...transfer,
    url,
    file,
    sha256Prefix: entry.sha256Prefix,
    otherwise: "fetch the file by other means and run 'supersimplenet weights import FILE'",
  });
  return { path: file, bytes, downloaded: true };
}
