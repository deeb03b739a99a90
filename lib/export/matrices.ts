/**
 * The linear maps along one axis of the network, as dense matrices: what native/features/features.cc (upscalePoolMatrix) and
 * native/detection/detector.cc (upscaleBlurMatrix) compute, in double and then rounded.
 */

/** Row-major, rows x columns. */
export interface Matrix {
  rows: number;
  columns: number;
  data: Float32Array;
}

function zeros(rows: number, columns: number): Matrix {
  return { rows, columns, data: new Float32Array(rows * columns) };
}

/** The two samples of `size` between which a position lies, and how far it is from the first. */
function between(position: number, size: number): { low: number; high: number; weight: number } {
  const low = Math.min(Math.floor(position), size - 1);
  return { low, high: Math.min(low + 1, size - 1), weight: position - low };
}

const halfPixel = (i: number, from: number, to: number): number => Math.max(0, ((i + 0.5) * from) / to - 0.5);

/** Bilinear upscaling, then the mean over 3 neighbours with zero padding that counts: to x from. */
export function upscalePool(from: number, to: number, alignCorners: boolean): Matrix {
  const bilinear = new Float64Array(to * from);
  for (let y = 0; y < to; y++) {
    const corner = to > 1 ? (y * (from - 1)) / (to - 1) : 0;
    const { low, high, weight } = between(alignCorners ? corner : halfPixel(y, from, to), from);
    bilinear[y * from + low]! += 1 - weight;
    bilinear[y * from + high]! += weight;
  }
  const out = zeros(to, from);
  for (let y = 0; y < to; y++)
    for (let x = 0; x < from; x++) {
      let sum = 0;
      for (let near = Math.max(0, y - 1); near <= Math.min(to - 1, y + 1); near++) sum += bilinear[near * from + x]!;
      out.data[y * from + x] = sum / 3;
    }
  return out;
}

const sigma = 4;
const radius = 12;

/** Reflection without repeating the border, as often as a short axis needs. */
function reflected(i: number, size: number): number {
  if (size === 1) return 0;
  const period = 2 * (size - 1);
  const within = ((i % period) + period) % period;
  return within < size ? within : period - within;
}

/** From the map logits to the anomaly map: bilinear upscaling, then the Gaussian blur with reflection: to x from. */
export function upscaleBlur(from: number, to: number): Matrix {
  const kernel = Array.from({ length: 2 * radius + 1 }, (_, i) => Math.exp((-0.5 * (i - radius) ** 2) / sigma ** 2));
  const sum = kernel.reduce((a, b) => a + b, 0);
  const out = zeros(to, from);
  const row = new Float64Array(from);
  for (let y = 0; y < to; y++) {
    row.fill(0);
    for (const [i, value] of kernel.entries()) {
      const { low, high, weight } = between(halfPixel(reflected(y + i - radius, to), from, to), from);
      row[low]! += (value / sum) * (1 - weight);
      row[high]! += (value / sum) * weight;
    }
    out.data.set(row, y * from);
  }
  return out;
}

/** A matrix shifted by each of `shifts` rows, zeros outside, side by side: the taps of a convolution along the axis. */
export function withShifts(matrix: Matrix, shifts: readonly number[]): Matrix {
  return sideBySide(
    shifts.map((shift) => {
      const out = zeros(matrix.rows, matrix.columns);
      for (let y = Math.max(0, -shift); y < Math.min(matrix.rows, matrix.rows - shift); y++)
        out.data.set(
          matrix.data.subarray((y + shift) * matrix.columns, (y + shift + 1) * matrix.columns),
          y * matrix.columns,
        );
      return out;
    }),
  );
}

/** Matrices with the same number of rows as one. */
export function sideBySide(matrices: readonly Matrix[]): Matrix {
  const out = zeros(
    matrices[0]!.rows,
    matrices.reduce((sum, { columns }) => sum + columns, 0),
  );
  let column = 0;
  for (const { rows, columns, data } of matrices) {
    for (let y = 0; y < rows; y++)
      out.data.set(data.subarray(y * columns, (y + 1) * columns), y * out.columns + column);
    column += columns;
  }
  return out;
}

export function transposed({ rows, columns, data }: Matrix): Matrix {
  const out = zeros(columns, rows);
  for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++) out.data[x * rows + y] = data[y * columns + x]!;
  return out;
}
