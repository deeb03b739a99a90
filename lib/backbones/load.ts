import { existsSync } from "node:fs";
import path from "node:path";

import { command, invalid, option, SuperSimpleNetError, text, throwIfAborted } from "../errors.js";
import { readTensors } from "../files/tensors.js";
import type { Architecture, TensorMap } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { findCacheFolder } from "../native/locate.js";
import { check } from "../schema/check.js";
import { type LoadBackboneOptions, loadBackboneOptions } from "../schema/models.js";
import { cachedWeights, packaged, weightsFolder } from "./catalogue.js";
import { unheeded } from "../turns.js";
import { backboneFrom, tensorsSha256 } from "./check.js";

export interface Backbone {
  architecture: Architecture;
  /** Up to layer3, by torchvision's names, float32. */
  tensors: TensorMap;
  /** Over the tensors (tensorsSha256), not the file: independent of the file's format. */
  sha256: string;
  /** The file's name, "resnet18-distilled" for the package's own, or "random, seed N". */
  source: string;
  trained: boolean;
}

/** Throws INVALID_OPTION for "distilled" weights of an architecture that the package has none of. */
export function checkDistilled(where: string, architecture: Architecture | undefined, weights: string): void {
  if (weights === "distilled" && architecture !== undefined && architecture !== packaged.architecture)
    throw invalid(
      where,
      "backbone",
      `'${packaged.architecture}', for which alone there are distilled weights,`,
      architecture,
    );
}

/**
 * The file that `weights` stands for; "random" is none. Throws INVALID_OPTION (checkDistilled), WEIGHTS_MISSING ("auto" found
 * nothing) and FILE_NOT_FOUND, so that a training finds out before it reads its images.
 */
export function weightsFile(where: string, architecture: Architecture, weights: string): string {
  checkDistilled(where, architecture, weights);
  if (weights === "distilled") {
    if (existsSync(packaged.path)) return packaged.path;
    throw new SuperSimpleNetError("FILE_NOT_FOUND", `A part of this package is missing: ${packaged.path}.`, {
      path: packaged.path,
      fix: "Install the package again.",
    });
  }
  const file = weights === "auto" ? cachedWeights(architecture) : weights;
  if (!file) {
    const place = findCacheFolder() === undefined ? "on this machine" : `in ${weightsFolder()}`;
    throw new SuperSimpleNetError("WEIGHTS_MISSING", `No trained weights of ${architecture} ${place}.`, {
      fix: text`Download them once with ${command(`weights pull ${architecture}`)}, or on a machine without internet access copy the file here and run ${command("weights import FILE")}. Or give ${option("backbone")} ${packaged.architecture} and ${option("backboneWeights")} distilled: the package's own backbone, which needs no download.`,
    });
  }
  if (!existsSync(file))
    throw new SuperSimpleNetError("FILE_NOT_FOUND", `Cannot read ${file}: it does not exist.`, {
      path: file,
      fix: "Check the path.",
    });
  return file;
}

/**
 * Reads a backbone's weights and checks every tensor. Throws WEIGHTS_MISSING ("auto" found nothing), WEIGHTS_INVALID
 * (with every problem), FILE_NOT_FOUND, FILE_CORRUPT, PICKLE_REFUSED, ABORTED, INVALID_OPTION, and CHECKSUM_MISMATCH where
 * the package's own file was changed.
 */
export async function loadBackbone(options: LoadBackboneOptions): Promise<Backbone> {
  const opened = await openBackbone(options);
  return { ...opened, sha256: await opened.sha256 };
}

/** loadBackbone, without waiting for the checksum, which is as long as the rest; CHECKSUM_MISMATCH comes with it. */
export async function openBackbone(
  options: LoadBackboneOptions,
): Promise<Omit<Backbone, "sha256"> & { sha256: Promise<string> }> {
  const where = "loadBackbone";
  const { architecture, weights, seed, signal } = check(where, loadBackboneOptions, options);
  throwIfAborted(signal);
  if (weights === "random") {
    const tensors = await engine().randomBackbone(architecture, seed);
    throwIfAborted(signal);
    const sha256 = unheeded(tensorsSha256(tensors));
    return { architecture, tensors, sha256, source: `random, seed ${seed}`, trained: false };
  }
  const file = weightsFile(where, architecture, weights);
  const tensors = await backboneFrom(await readUsed(file), architecture, file);
  throwIfAborted(signal);
  const own = weights === "distilled";
  const sha256 = unheeded(own ? checkedOwn(tensors, file) : tensorsSha256(tensors));
  return { architecture, tensors, sha256, source: own ? packaged.name : path.basename(file), trained: true };
}

async function checkedOwn(tensors: TensorMap, file: string): Promise<string> {
  const sha256 = await tensorsSha256(tensors);
  if (sha256 === packaged.tensorsSha256) return sha256;
  throw new SuperSimpleNetError("CHECKSUM_MISMATCH", `A part of this package was changed: ${file}.`, {
    path: file,
    fix: "Install the package again.",
  });
}

/** Without layer4 and fc, which are the larger part of an official file; everything when the names have a prefix. */
async function readUsed(file: string): Promise<TensorMap> {
  const { tensors } = await readTensors(file, ["conv1.", "bn1.", "layer1.", "layer2.", "layer3."]);
  return Object.keys(tensors).length > 0 ? tensors : (await readTensors(file)).tensors;
}
