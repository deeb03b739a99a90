import { existsSync } from "node:fs";
import path from "node:path";

import { shownUrl } from "../errors.js";
import type { Architecture } from "../native/binding.js";
import { cacheFolder, findCacheFolder, packageFolder } from "../native/locate.js";
import { checkValue } from "../schema/check.js";
import { pullOptions } from "../schema/downloads.js";
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

/** torchvision's IMAGENET1K_V1 weights (BSD 3-Clause), the ones that the paper's results are made with. The paper's is first. */
export const catalogue: readonly CatalogueEntry[] = [
  entry("wide_resnet50_2", "95faca4d", 132),
  entry("wide_resnet101_2", "32ee1156", 243),
  entry("resnet50", "0676ba61", 98),
  entry("resnet101", "63fe2227", 171),
  entry("resnet34", "b627a593", 83),
  entry("resnet18", "f37072fd", 45),
];

/**
 * The trained backbone in this package, distilled from the official resnet18 on drawn images (docs/weights.md). Model files
 * name it by its checksum, so the file never changes: a better one gets a name of its own beside it.
 */
export const packaged = {
  name: "resnet18-distilled",
  architecture: "resnet18",
  /** Of the file. */
  sha256: "5572281f255110160bedeb983aa47e6b1aa5bddc9e47962ddb48eaa0d4a71620",
  /** Over the tensors, as model files have it (tensorsSha256). */
  tensorsSha256: "584eb336dddeb1d4ab0ca33346781435709762792d6d058a90457299e55d69db",
  sizeMiB: 5.3,
  path: path.join(packageFolder, "weights", "resnet18-distilled.safetensors"),
} as const;

/** Throws INVALID_OPTION for a name that is not an architecture. */
export function catalogueEntry(architecture: string, where = "weights"): CatalogueEntry {
  const name = checkValue(where, "architecture", architectureType, architecture);
  return catalogue.find((e) => e.architecture === name)!;
}

/**
 * Where an entry is downloaded from: `baseUrl`, else the environment variable SUPERSIMPLENET_WEIGHTS_URL (a mirror that
 * holds the files under the same names), else PyTorch's server. Throws INVALID_OPTION for anything but http and https.
 */
export function weightsUrl({ file }: CatalogueEntry, baseUrl?: string): string {
  const mirror = "SUPERSIMPLENET_WEIGHTS_URL";
  const base = baseUrl ?? process.env[mirror] ?? "https://download.pytorch.org/models/";
  checkValue("weights", baseUrl === undefined ? mirror : "baseUrl", pullOptions.shape.baseUrl, base);
  return new URL(file, base.replace(/\/?$/, "/")).href;
}

/** The folder of pulled and imported weights. It may not exist yet. Throws FILE_NOT_FOUND for a user without a home folder. */
export function weightsFolder(): string {
  return path.join(cacheFolder(), "weights");
}

/** Name in the cache of a file that the user imported and that is not the official one. */
export function importedName(architecture: Architecture, extension: "pth" | "safetensors"): string {
  return `${architecture}.imported.${extension}`;
}

/** The file of `architecture` that "auto" uses, or undefined. A file that the user imported goes before the official one. */
export function cachedWeights(architecture: Architecture): string | undefined {
  if (findCacheFolder() === undefined) return undefined;
  return [
    importedName(architecture, "safetensors"),
    importedName(architecture, "pth"),
    catalogueEntry(architecture).file,
  ]
    .map((file) => path.join(weightsFolder(), file))
    .find((file) => existsSync(file));
}

export interface ListedWeights {
  /** What `weights pull` takes, or the name of the package's own. */
  name: string;
  architecture: Architecture;
  /** The file's name. */
  file: string;
  /** The first hexadecimal digits of the file's SHA-256; all of them for the package's own. */
  sha256Prefix: string;
  sizeMiB: number;
  /** Where it is downloaded from, without user name and password; null: it is in this package. */
  url: string | null;
  /** The official file's place in the cache folder, if it is there. */
  official: string | null;
  /** The file that "auto", or for the package's own "distilled", uses: an imported one before the official one. */
  used: string | null;
}

/** Every backbone that is known and what of it is on this machine. Checksums are not computed. */
export function listWeights(): ListedWeights[] {
  const own = {
    name: packaged.name,
    architecture: packaged.architecture,
    file: path.basename(packaged.path),
    sha256Prefix: packaged.sha256,
    sizeMiB: packaged.sizeMiB,
    url: null,
    official: null,
    used: existsSync(packaged.path) ? packaged.path : null,
  };
  const others = catalogue.map((entry) => {
    const official = findCacheFolder() === undefined ? undefined : path.join(weightsFolder(), entry.file);
    return {
      ...entry,
      name: entry.architecture,
      url: shownUrl(weightsUrl(entry)),
      official: official !== undefined && existsSync(official) ? official : null,
      used: cachedWeights(entry.architecture) ?? null,
    };
  });
  return [own, ...others];
}
