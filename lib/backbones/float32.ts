import { SuperSimpleNetError } from "../errors.js";
import type { NativeTensor } from "../native/binding.js";

export function isFloating(tensor: NativeTensor): boolean {
  return (
    tensor.dtype === "float32" ||
    tensor.dtype === "float64" ||
    tensor.dtype === "float16" ||
    tensor.dtype === "bfloat16"
  );
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
