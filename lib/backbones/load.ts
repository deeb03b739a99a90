import { existsSync } from "node:fs";
import path from "node:path";

import { SuperSimpleNetError } from "../errors.js";
import { readTensors } from "../files/tensors.js";
import type { Architecture, TensorMap } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { checkNumber, checkPath } from "../options.js";
import { catalogueEntry, importedName, weightsFolder } from "./catalogue.js";
import { backboneFrom, tensorsSha256 } from "./check.js";

export interface LoadBackboneOptions {
  architecture: Architecture;
  /**
   * "auto": the imported file in the cache folder, else the official one (no download). "random": untrained weights.
   * Anything else: the path of a .pth (zip or legacy) or .safetensors file. Default "auto".
   */
  weights?: string;
  /** Of random weights. Default 0. */
  seed?: number;
  signal?: AbortSignal | undefined;
}

export interface Backbone {
  architecture: Architecture;
  /** Up to layer3, by torchvision's names, float32. */
  tensors: TensorMap;
  /** Over the tensors (tensorsSha256), not the file: independent of the file's format. */
  sha256: string;
  /** The file's name, or "random, seed N". */
  source: string;
  trained: boolean;
}

/** The file that "auto" uses, or undefined. A file that the user imported goes before the official one. */
export function cachedWeights(architecture: Architecture): string | undefined {
  return [
    importedName(architecture, "safetensors"),
    importedName(architecture, "pth"),
    catalogueEntry(architecture).file,
  ]
    .map((file) => path.join(weightsFolder(), file))
    .find((file) => existsSync(file));
}

/**
 * The file that `weights` stands for; "random" is none. Throws WEIGHTS_MISSING ("auto" found nothing) and FILE_NOT_FOUND, so
 * that a training finds out before it reads its images.
 */
export function weightsFile(architecture: Architecture, weights: string): string {
  const file = weights === "auto" ? cachedWeights(architecture) : weights;
  if (!file) {
    throw new SuperSimpleNetError(
      "WEIGHTS_MISSING",
      `No trained weights of ${architecture} in ${weightsFolder()}. Download them once with 'supersimplenet weights pull ${architecture}', or on a machine ` +
        `without internet access copy the file here and run 'supersimplenet weights import FILE'. For a trial without trained weights: '--backbone-weights random'.`,
    );
  }
  if (!existsSync(file))
    throw new SuperSimpleNetError("FILE_NOT_FOUND", `Cannot read ${file}: it does not exist. Check the path.`, {
      path: file,
    });
  return file;
}

/**
 * Reads a backbone's weights and checks every tensor. Throws WEIGHTS_MISSING ("auto" found nothing), WEIGHTS_INVALID
 * (with every problem), FILE_NOT_FOUND, FILE_CORRUPT, PICKLE_REFUSED, ABORTED, INVALID_OPTION.
 */
export async function loadBackbone(options: LoadBackboneOptions): Promise<Backbone> {
  const where = "loadBackbone";
  const { architecture } = catalogueEntry(options.architecture, where);
  const weights = checkPath(where, "weights", options.weights ?? "auto", "'auto', 'random' or a path");
  const seed = checkNumber(where, "seed", options.seed ?? 0, { integer: true, min: 0, max: Number.MAX_SAFE_INTEGER });
  throwIfAborted(options.signal);
  if (weights === "random") {
    const tensors = await engine().randomBackbone(architecture, seed);
    throwIfAborted(options.signal);
    return {
      architecture,
      tensors,
      sha256: await tensorsSha256(tensors),
      source: `random, seed ${seed}`,
      trained: false,
    };
  }
  const file = weightsFile(architecture, weights);
  const tensors = backboneFrom(await readUsed(file), architecture, file);
  throwIfAborted(options.signal);
  return { architecture, tensors, sha256: await tensorsSha256(tensors), source: path.basename(file), trained: true };
}

/** Without layer4 and fc, which are the larger part of an official file; everything when the names have a prefix. */
async function readUsed(file: string): Promise<TensorMap> {
  const { tensors } = await readTensors(file, ["conv1.", "bn1.", "layer1.", "layer2.", "layer3."]);
  return Object.keys(tensors).length > 0 ? tensors : (await readTensors(file)).tensors;
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted)
    throw new SuperSimpleNetError("ABORTED", "Reading the backbone's weights was cancelled.", { cause: signal.reason });
}
