import { createHash } from "node:crypto";

import { SuperSimpleNetError } from "../errors.js";
import type { Architecture, NativeTensor, TensorMap } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { architectures } from "../schema/common.js";
import { inTurns, pieces, type Steps, turns } from "../turns.js";

/** Of what a ResNet's file may hold, the part that runs here. layer4, fc and counters are ignored. */
const used = /^(?:conv1|bn1|layer[123])\./;
const counter = /\.num_batches_tracked$/;

/** WEIGHTS_INVALID with the first ten problems in the message and all of them in `problems`. */
export function weightsInvalid(source: string, what: string, problems: readonly string[]): SuperSimpleNetError {
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  const message = `${source} ${what} (${count}): ${firstProblems(problems)}`;
  return new SuperSimpleNetError("WEIGHTS_INVALID", message, { path: source, problems });
}

/** The first ten problems as a sentence, and how many more there are. */
export const firstProblems = (problems: readonly string[]): string =>
  `${problems.slice(0, 10).join("; ")}${problems.length > 10 ? `; and ${problems.length - 10} more` : ""}.`;

/**
 * Picks `wanted` (names to shapes) out of `tensors` as float32, where they are called `rename(name)`. What is missing,
 * misshapen, not floating-point, not finite, or a negative variance is added to `problems`.
 */
export function* pickTensors(
  tensors: TensorMap,
  wanted: Record<string, number[]>,
  rename: (name: string) => string,
  problems: string[],
): Steps<TensorMap> {
  const out: TensorMap = {};
  for (const [name, shape] of Object.entries(wanted)) {
    const found = tensors[rename(name)];
    if (!found) {
      problems.push(`${rename(name)} is missing`);
    } else if (!sameShape(found, shape)) {
      problems.push(`${rename(name)} is ${shown(found.shape)} and should be ${shown(shape)}`);
    } else if (!isFloating(found)) {
      problems.push(`${rename(name)} is ${found.dtype} and should be floating-point`);
    } else {
      const tensor = toFloat32(found);
      const bad = badValues(tensor.data, name.endsWith("running_var"));
      if (bad) problems.push(`${rename(name)} holds ${bad}`);
      out[name] = tensor;
      yield tensor.data.byteLength;
    }
  }
  return out;
}

/** Values that no weight may have, in words; undefined when there are none. */
export function badValues(data: Float32Array, variance: boolean): string | undefined {
  const { notFinite, negative } = engine().oddValues(data);
  if (notFinite > 0) return `${notFinite === 1 ? "1 value that is" : `${notFinite} values that are`} NaN or infinite`;
  return variance && negative > 0 ? `${negative} negative variances` : undefined;
}

function sameShape(tensor: NativeTensor, shape: readonly number[]): boolean {
  return tensor.shape.length === shape.length && tensor.shape.every((size, i) => size === shape[i]);
}

function shown(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

/** Everything before `conv1.weight` of the one ResNet in a file ("", "module.", "model.feature_extractor.", ..); undefined if there is none or more than one. */
function resnetPrefix(tensors: TensorMap): string | undefined {
  const end = "conv1.weight";
  const prefixes = Object.keys(tensors)
    .filter((name) => name.endsWith(end))
    .map((name) => name.slice(0, -end.length))
    .filter((prefix) => (prefix === "" || prefix.endsWith(".")) && `${prefix}layer1.0.conv1.weight` in tensors);
  return prefixes.length === 1 ? prefixes[0] : undefined;
}

function usedNames(tensors: TensorMap, prefix: string): string[] {
  return Object.keys(tensors)
    .filter((name) => name.startsWith(prefix))
    .map((name) => name.slice(prefix.length))
    .filter((name) => used.test(name) && !counter.test(name));
}

/** The architecture whose tensors up to layer3 are exactly those of the file, by name and shape. */
export function detectArchitecture(tensors: TensorMap): Architecture | undefined {
  const prefix = resnetPrefix(tensors);
  if (prefix === undefined) return undefined;
  const names = usedNames(tensors, prefix);
  return architectures.find((architecture) => {
    const needed = engine().backboneTensors(architecture);
    return (
      names.length === Object.keys(needed).length &&
      names.every((name) => needed[name] && sameShape(tensors[prefix + name]!, needed[name]))
    );
  });
}

/**
 * The tensors of `architecture` up to layer3 in `tensors`, as float32 by torchvision's names. A prefix that all of them
 * share (`module.`, `backbone.`, `model.feature_extractor.`, ..) is dropped. `source` names the file in errors.
 * Throws WEIGHTS_INVALID with every missing, misshapen, non-floating, non-finite or surplus tensor.
 */
export async function backboneFrom(tensors: TensorMap, architecture: Architecture, source: string): Promise<TensorMap> {
  const prefix = resnetPrefix(tensors) ?? "";
  const needed = engine().backboneTensors(architecture);
  const problems: string[] = [];
  const out = await inTurns(pickTensors(tensors, needed, (name) => prefix + name, problems));
  // A deeper net's file holds everything that a shallower one of its kind needs; its results would be silently wrong.
  for (const name of usedNames(tensors, prefix)) {
    if (!needed[name]) problems.push(`${prefix}${name} does not belong to ${architecture}`);
  }
  if (problems.length > 0) {
    const other = detectArchitecture(tensors);
    throw weightsInvalid(
      source,
      `does not hold the weights of ${architecture}${other && other !== architecture ? ` but those of ${other}` : ""}`,
      problems,
    );
  }
  return out;
}

/** SHA-256 over the tensors' bytes (little-endian, row-major) in the order of their names: the same for every file format. */
export async function tensorsSha256(tensors: TensorMap): Promise<string> {
  const hash = createHash("sha256");
  const breathe = turns();
  for (const name of Object.keys(tensors).sort()) {
    const { data } = tensors[name]!;
    for (const piece of pieces(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))) {
      hash.update(piece);
      await breathe(piece.length);
    }
  }
  return hash.digest("hex");
}

export function isFloating(tensor: NativeTensor): boolean {
  return ["float32", "float64", "float16", "bfloat16"].includes(tensor.dtype);
}

/**
 * A floating tensor (float16, bfloat16, float64) as float32; a float32 one as it is. float64 values are rounded.
 * Throws WEIGHTS_INVALID for integers and bools.
 */
export function toFloat32(tensor: NativeTensor): NativeTensor & { data: Float32Array } {
  return { dtype: "float32", shape: tensor.shape, data: float32Data(tensor) };
}

function float32Data(tensor: NativeTensor): Float32Array {
  switch (tensor.dtype) {
    case "float32":
      return tensor.data as Float32Array;
    case "float64":
      return Float32Array.from(tensor.data as Float64Array);
    case "bfloat16": {
      // bfloat16 is the upper half of a float32.
      const bits = Uint32Array.from(tensor.data as Uint16Array, (half) => half << 16);
      return new Float32Array(bits.buffer);
    }
    case "float16":
      return Float32Array.from(tensor.data as Uint16Array, halfToNumber);
    default:
      throw new SuperSimpleNetError(
        "WEIGHTS_INVALID",
        `A tensor of type ${tensor.dtype} cannot be used as floating-point weights.`,
      );
  }
}

/** IEEE 754 binary16: 1 sign bit, 5 exponent bits (bias 15), 10 fraction bits. */
function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
