import { SuperSimpleNetError } from "../errors.js";

const infinite = 0x7c00;

/** IEEE 754 binary16 (sign, 5 bits of exponent, 10 of fraction) of a binary32's bits, rounded half to even. */
export function halfBits(single: number): number {
  const sign = (single >>> 16) & 0x8000;
  const biased = (single >>> 23) & 0xff;
  const fraction = single & 0x7fffff;
  const exponent = biased - 127 + 15;
  if (biased === 255 && fraction !== 0) return sign | infinite | 0x200;
  if (exponent >= 31) return sign | infinite;
  if (exponent < -10) return sign;
  // A subnormal number has its leading one among the bits, further down the smaller it is.
  const bits = exponent > 0 ? fraction : fraction | 0x800000;
  const dropped = exponent > 0 ? 13 : 14 - exponent;
  const half = (exponent > 0 ? exponent << 10 : 0) | (bits >>> dropped);
  const rest = bits & ((1 << dropped) - 1);
  const middle = 1 << (dropped - 1);
  // A fraction that overflows carries into the exponent, and so up to infinity.
  return sign | (half + (rest > middle || (rest === middle && half % 2 === 1) ? 1 : 0));
}

/** Numbers rounded to float16. Throws INVALID_OPTION for one that has no finite float16; `name` says whose they are. */
export function toHalf(name: string, values: Float32Array): Uint16Array {
  const singles = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const half = halfBits(singles[i]!);
    if ((half & infinite) === infinite)
      throw new SuperSimpleNetError(
        "INVALID_OPTION",
        `A weight of the model does not fit into float16: ${name} holds ${values[i]}.`,
        { option: "precision", value: "float16", fix: "Export it as float32." },
      );
    out[i] = half;
  }
  return out;
}
