/** One bit a pixel, 1 is defect. Rows are padded to bytes with 0, the leftmost pixel is the highest bit: a PNG's layout. */
export interface Bitmap {
  readonly width: number;
  readonly height: number;
  /** Bytes of a row. */
  readonly stride: number;
  readonly data: Uint8Array<ArrayBuffer>;
}

/** The pixels left <= x < right, top <= y < bottom. Empty where right <= left. */
export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** In the image's pixels: the centre of pixel (0, 0) is (0.5, 0.5). */
export interface Point {
  x: number;
  y: number;
}

export function createBitmap(width: number, height: number): Bitmap {
  const stride = Math.ceil(width / 8);
  return { width, height, stride, data: new Uint8Array(stride * height) };
}

export const whole = ({ width, height }: Bitmap): Box => ({ left: 0, top: 0, right: width, bottom: height });

export const isEmptyBox = ({ left, top, right, bottom }: Box): boolean => right <= left || bottom <= top;

export function unionOf(a: Box | undefined, b: Box): Box {
  if (a === undefined || isEmptyBox(a)) return b;
  if (isEmptyBox(b)) return a;
  return {
    left: Math.min(a.left, b.left),
    top: Math.min(a.top, b.top),
    right: Math.max(a.right, b.right),
    bottom: Math.max(a.bottom, b.bottom),
  };
}

export const isSet = ({ stride, data }: Bitmap, x: number, y: number): boolean =>
  (data[y * stride + (x >> 3)]! & (128 >> (x & 7))) !== 0;

/** Writes the pixels from <= x < to of a row. They must lie in the bitmap. */
export function writeSpan({ stride, data }: Bitmap, y: number, from: number, to: number, value: boolean): void {
  if (to <= from) return;
  const first = y * stride + (from >> 3);
  const last = y * stride + ((to - 1) >> 3);
  const head = 255 >> (from & 7);
  const tail = (255 << (7 - ((to - 1) & 7))) & 255;
  const write = (at: number, bits: number): void => {
    if (value) data[at]! |= bits;
    else data[at]! &= ~bits;
  };
  if (first === last) return write(first, head & tail);
  write(first, head);
  data.fill(value ? 255 : 0, first + 1, last);
  write(last, tail);
}

const clamp = (value: number, low: number, high: number): number => Math.max(low, Math.min(high, value));

/** The pixels that a segment of this radius can reach. */
export function reachOf({ width, height }: Bitmap, from: Point, to: Point, radius: number): Box {
  return {
    left: clamp(Math.floor(Math.min(from.x, to.x) - radius), 0, width),
    top: clamp(Math.floor(Math.min(from.y, to.y) - radius), 0, height),
    right: clamp(Math.ceil(Math.max(from.x, to.x) + radius), 0, width),
    bottom: clamp(Math.ceil(Math.max(from.y, to.y) + radius), 0, height),
  };
}

/** Writes every pixel whose centre lies within `radius` of the segment. */
export function drawSegment(bitmap: Bitmap, from: Point, to: Point, radius: number, value: boolean): void {
  const { top, bottom } = reachOf(bitmap, from, to, radius);
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const squared = dx * dx + dy * dy;
  const reach = radius * Math.sqrt(squared);

  for (let y = top; y < bottom; y++) {
    const cy = y + 0.5;
    let low = Infinity;
    let high = -Infinity;
    const take = (a: number, b: number): void => {
      low = Math.min(low, a);
      high = Math.max(high, b);
    };
    for (const end of [from, to]) {
      const half = Math.sqrt(radius * radius - (cy - end.y) ** 2);
      if (half >= 0) take(end.x - half, end.x + half);
    }
    // The rectangle along the segment: |across| <= reach and 0 <= along <= squared, in this row.
    const py = cy - from.y;
    const [a, b] = rangeOf(-dy, dx * py, -reach, reach);
    const [c, d] = rangeOf(dx, dy * py, 0, squared);
    if (squared > 0 && Math.max(a, c) <= Math.min(b, d)) take(from.x + Math.max(a, c), from.x + Math.min(b, d));
    if (low > high) continue;

    // The shape is convex, so a row of it is one span. For ends on halves of pixels, ties come out exactly.
    const first = Math.max(0, Math.ceil(low - 0.5));
    writeSpan(bitmap, y, first, Math.min(bitmap.width, Math.floor(high - 0.5) + 1), value);
  }
}

/** Where low <= slope * x + offset <= high. */
function rangeOf(slope: number, offset: number, low: number, high: number): [number, number] {
  if (slope === 0) return offset >= low && offset <= high ? [-Infinity, Infinity] : [Infinity, -Infinity];
  const [a, b] = [(low - offset) / slope, (high - offset) / slope];
  return a < b ? [a, b] : [b, a];
}

/** The pixels that a polygon can reach. */
export function boxOf({ width, height }: Bitmap, points: readonly Point[]): Box {
  let box: Box | undefined;
  for (const { x, y } of points) box = unionOf(box, { left: x, top: y, right: x + 1, bottom: y + 1 });
  const { left, top, right, bottom } = box ?? { left: 0, top: 0, right: 0, bottom: 0 };
  return {
    left: clamp(Math.floor(left), 0, width),
    top: clamp(Math.floor(top), 0, height),
    right: clamp(Math.ceil(right), 0, width),
    bottom: clamp(Math.ceil(bottom), 0, height),
  };
}

/** Sets every pixel whose centre lies in the polygon, by the even-odd rule. */
export function fillPolygon(bitmap: Bitmap, points: readonly Point[]): void {
  const { top, bottom } = boxOf(bitmap, points);
  for (let y = top; y < bottom; y++) {
    const cy = y + 0.5;
    const crossings: number[] = [];
    points.forEach((a, i) => {
      const b = points[(i + 1) % points.length]!;
      if (a.y <= cy !== b.y <= cy) crossings.push(a.x + ((cy - a.y) * (b.x - a.x)) / (b.y - a.y));
    });
    crossings.sort((a, b) => a - b);
    for (let i = 0; i < crossings.length; i += 2) {
      const from = clamp(Math.ceil(crossings[i]! - 0.5), 0, bitmap.width);
      const to = clamp(Math.ceil(crossings[i + 1]! - 0.5), 0, bitmap.width);
      writeSpan(bitmap, y, from, to, true);
    }
  }
}

export type Filled = "filled" | "marked" | "open";

/**
 * Fills the hole around a pixel: what is reached over edges, not corners, without crossing the mask. An edge of the image
 * closes a hole too, but nothing that reaches two opposite edges is one: "open". "marked": the pixel is in the mask. Both
 * change nothing.
 */
export function fillHole(bitmap: Bitmap, { x, y }: Point): Filled {
  const { width, height } = bitmap;
  if (isSet(bitmap, x, y)) return "marked";
  const reached = { left: false, right: false, top: false, bottom: false };
  const spans: number[] = [];
  const seeds = [x, y];
  while (seeds.length > 0) {
    const row = seeds.pop()!;
    const seed = seeds.pop()!;
    if (isSet(bitmap, seed, row)) continue;
    const from = endOfRun(bitmap, seed, row, -1) + 1;
    const to = endOfRun(bitmap, seed, row, 1);
    writeSpan(bitmap, row, from, to, true);
    spans.push(row, from, to);
    reached.left ||= from === 0;
    reached.right ||= to === width;
    reached.top ||= row === 0;
    reached.bottom ||= row === height - 1;
    if ((reached.left && reached.right) || (reached.top && reached.bottom)) {
      for (let i = 0; i < spans.length; i += 3) writeSpan(bitmap, spans[i]!, spans[i + 1]!, spans[i + 2]!, false);
      return "open";
    }
    for (const next of [row - 1, row + 1]) {
      if (next < 0 || next >= height) continue;
      for (let column = from; column < to; column++) {
        if (isSet(bitmap, column, next)) continue;
        seeds.push(column, next);
        column = endOfRun(bitmap, column, next, 1);
      }
    }
  }
  return "filled";
}

/** The first column from `x` on, to the left or right, that is in the mask or outside of the image. */
function endOfRun({ width, stride, data }: Bitmap, x: number, y: number, step: 1 | -1): number {
  const row = y * stride;
  while (x >= 0 && x < width) {
    const byte = data[row + (x >> 3)]!;
    if (byte === 0) x = step > 0 ? Math.min(width, (x | 7) + 1) : (x & ~7) - 1;
    else if ((byte & (128 >> (x & 7))) !== 0) return x;
    else x += step;
  }
  return x;
}
