import type { TensorMap } from "../native/binding.js";

/** Called after work over so many bytes: lets the event loop run, and throws ABORTED. */
export type Pace = (bytes: number) => Promise<void>;

/** A batch norm with its stored statistics: x -> scale x + shift, in double. */
export interface Affine {
  scale: Float64Array;
  shift: Float64Array;
}

const epsilon = 1e-5;

/** The numbers of a tensor, which model.check has made sure are float32. */
export const numbersOf = (tensors: TensorMap, name: string): Float32Array => tensors[name]!.data as Float32Array;

/** The batch norm `name` behind a layer with this bias. */
export function affineOf(tensors: TensorMap, name: string, bias?: ArrayLike<number>): Affine {
  const [weight, beta, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map((part) =>
    numbersOf(tensors, `${name}.${part}`),
  ) as [Float32Array, Float32Array, Float32Array, Float32Array];
  const scale = Float64Array.from(weight, (value, i) => value / Math.sqrt(variance[i]! + epsilon));
  const shift = Float64Array.from(beta, (value, i) => value + ((bias?.[i] ?? 0) - mean[i]!) * scale[i]!);
  return { scale, shift };
}

/** A convolution's weights (outputs x rest) with each output's scale in them. */
export async function scaledRows(weights: Float32Array, scale: Float64Array, pace: Pace): Promise<Float32Array> {
  const out = new Float32Array(weights.length);
  const count = weights.length / scale.length;
  for (const [row, factor] of scale.entries()) {
    for (let i = row * count; i < (row + 1) * count; i++) out[i] = weights[i]! * factor;
    await pace(4 * count);
  }
  return out;
}

/**
 * rows x inner times inner x columns, summed in double. `row(i)` gives a row of the first. `inner` is a multiple of 4, as
 * the channels of every ResNet's layers are.
 */
export async function product(
  rows: number,
  row: (index: number) => Float64Array,
  right: Float32Array,
  columns: number,
  pace: Pace,
): Promise<Float32Array> {
  const out = new Float32Array(rows * columns);
  const [upper, lower] = [new Float64Array(columns), new Float64Array(columns)];
  // Two rows by four at once: a number that was read is used twice, and a sum is read a quarter as often.
  for (let i = 0; i < rows; i += 2) {
    const next = Math.min(i + 1, rows - 1);
    const [left, below] = [row(i), row(next)];
    upper.fill(0);
    lower.fill(0);
    for (let k = 0; k < left.length; k += step) {
      const [a, b, c, d] = [0, 1, 2, 3].map((j) => right.subarray((k + j) * columns, (k + j + 1) * columns)) as Four;
      const [a0, b0, c0, d0] = [left[k]!, left[k + 1]!, left[k + 2]!, left[k + 3]!];
      const [a1, b1, c1, d1] = [below[k]!, below[k + 1]!, below[k + 2]!, below[k + 3]!];
      for (let j = 0; j < columns; j++) {
        const w = a[j]!;
        const x = b[j]!;
        const y = c[j]!;
        const z = d[j]!;
        upper[j]! += a0 * w + b0 * x + c0 * y + d0 * z;
        lower[j]! += a1 * w + b1 * x + c1 * y + d1 * z;
      }
    }
    out.set(upper, i * columns);
    out.set(lower, next * columns);
    await pace(8 * right.length);
  }
  return out;
}

const step = 4;
type Four = [Float32Array, Float32Array, Float32Array, Float32Array];

export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
