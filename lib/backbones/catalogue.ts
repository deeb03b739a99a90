import path from "node:path";

import { SuperSimpleNetError } from "../errors.js";
import type { Architecture } from "../native/binding.js";
import { cacheFolder } from "../native/cache.js";
import { checkValue } from "../schema/check.js";
import { architecture as architectureType } from "../schema/models.js";

/** One official file of ImageNet V1 weights. */
export interface CatalogueEntry {
  architecture: Architecture;
  /** torchvision's file name; the hexadecimal digits are the first of the file's SHA-256. */
  file: string;
  sha256Prefix: string;
  /** Size of the download in MiB, rounded. */
  sizeMiB: number;
}

function entry(architecture: Architecture, sha256Prefix: string, sizeMiB: number): CatalogueEntry {
  return { architecture, file: `${architecture}-${sha256Prefix}.pth`, sha256Prefix, sizeMiB };
}

/** torchvision's IMAGENET1K_V1 weights (BSD 3-Clause), the ones that the paper's results are made with. The default is first. */
export const catalogue: readonly CatalogueEntry[] = [
  entry("wide_resnet50_2", "95faca4d", 132),
  entry("wide_resnet101_2", "32ee1156", 243),
  entry("resnet50", "0676ba61", 98),
  entry("resnet101", "63fe2227", 171),
  entry("resnet34", "b627a593", 83),
  entry("resnet18", "f37072fd", 45),
];

/** Throws INVALID_OPTION for a name that is not an architecture. */
export function catalogueEntry(architecture: string, where = "weights"): CatalogueEntry {
  const name = checkValue(where, "architecture", architectureType, architecture);
  return catalogue.find((e) => e.architecture === name)!;
}

/**
 * Where an entry is downloaded from: `baseUrl`, else the environment variable SUPERSIMPLENET_WEIGHTS_URL (a mirror that
 * holds the files under the same names), else PyTorch's server. Throws INVALID_OPTION for anything but http and https.
 */
export function weightsUrl(e: CatalogueEntry, baseUrl?: string): string {
  const base = baseUrl ?? process.env["SUPERSIMPLENET_WEIGHTS_URL"] ?? "https://download.pytorch.org/models/";
  if (!/^https?:\/\/[^/]/i.test(base) || !URL.canParse(base)) {
    throw new SuperSimpleNetError(
      "INVALID_OPTION",
      `weights: expected an http or https address for 'baseUrl' (or SUPERSIMPLENET_WEIGHTS_URL) but received '${base}'.`,
    );
  }
  return new URL(e.file, base.endsWith("/") ? base : `${base}/`).href;
}

/** The folder of pulled and imported weights. It may not exist yet. */
export function weightsFolder(): string {
  return path.join(cacheFolder(), "weights");
}

/** Name in the cache of a file that the user imported and that is not the official one. */
export function importedName(architecture: Architecture, extension: "pth" | "safetensors"): string {
  return `${architecture}.imported.${extension}`;
}
