import type { Rectangle } from "../images/rectangle.js";
import type { Canvas } from "./canvas.js";
import type { Colour } from "./colours.js";

/** A scalar field, row-major. */
export interface Field {
  data: Float32Array;
  width: number;
  height: number;
}

/** The value of what a field does not cover, as float32 holds it: below any level. */
export const nothing = Math.fround(-1e30);

/**
 * Bilinear resize, half-pixel centres: the field at the size of a picture's panel, or at a place in the panel, with `nothing`
 * around it.
 */
export function resizeField(
  { data, width, height }: Pick<Field, "width" | "height"> & { data: Float32Array | Uint8Array },
  toWidth: number,
  toHeight: number,
  place: Rectangle = { x: 0, y: 0, width: toWidth, height: toHeight },
): Field {
  const columns = axis(width, toWidth, place.x, place.width);
  const rows = axis(height, toHeight, place.y, place.height);
  const resized = new Float32Array(toWidth * toHeight);
  for (let y = 0; y < toHeight; y++) {
    const [above, below, down] = [rows.near[y]! * width, rows.far[y]! * width, rows.share[y]!];
    for (let x = 0; x < toWidth; x++) {
      const [left, right, across] = [columns.near[x]!, columns.far[x]!, columns.share[x]!];
      if (left < 0 || above < 0) {
        resized[y * toWidth + x] = nothing;
        continue;
      }
      const top = data[above + left]! * (1 - across) + data[above + right]! * across;
      const bottom = data[below + left]! * (1 - across) + data[below + right]! * across;
      resized[y * toWidth + x] = top * (1 - down) + bottom * down;
    }
  }
  return { data: resized, width: toWidth, height: toHeight };
}

/** Where `to` pixels take their values from, `from` values that lie on `span` of them from `start` on. -1: from nowhere. */
function axis(
  from: number,
  to: number,
  start: number,
  span: number,
): { near: Int32Array; far: Int32Array; share: Float32Array } {
  const [near, far, share] = [new Int32Array(to).fill(-1), new Int32Array(to), new Float32Array(to)];
  // What is thinner than a pixel fills one.
  const [begin, length] = span < 1 ? [Math.min(to - 1, Math.floor(start)), 1] : [start, span];
  for (let i = 0; i < to; i++) {
    if (i + 0.5 < begin || i + 0.5 > begin + length) continue;
    const position = Math.max(0, Math.min(from - 1, ((i + 0.5 - begin) * from) / length - 0.5));
    near[i] = Math.floor(position);
    far[i] = Math.min(from - 1, near[i]! + 1);
    share[i] = position - near[i]!;
  }
  return { near, far, share };
}

/** Mean over 3 x 3, `times` times: takes the stair steps off a 0/1 mask, so that its contour is smooth. */
export function smoothField(field: Field, times: number): Field {
  const { width, height } = field;
  let from = field.data;
  for (let round = 0; round < times; round++) {
    const to = new Float32Array(from.length);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        let sum = 0;
        for (let dy = -1; dy <= 1; dy++) {
          const row = Math.max(0, Math.min(height - 1, y + dy)) * width;
          for (let dx = -1; dx <= 1; dx++) sum += from[row + Math.max(0, Math.min(width - 1, x + dx))]!;
        }
        to[y * width + x] = sum / 9;
      }
    }
    from = to;
  }
  return { data: from, width, height };
}

/**
 * Segments (x1, y1, x2, y2, flat) of the line around what is at or above `level`: marching squares on the pixel centres.
 * Outside of the field all is far below, so that the line is closed along the border.
 */
export function contourSegments({ data, width, height }: Field, level: number): number[] {
  const above = (x: number, y: number): number =>
    x < 0 || y < 0 || x >= width || y >= height ? nothing : data[y * width + x]! - level;
  const segments: number[] = [];
  for (let y = -1; y < height; y++) {
    for (let x = -1; x < width; x++) {
      const corners = [above(x, y), above(x + 1, y), above(x + 1, y + 1), above(x, y + 1)] as const;
      const crossings: number[] = [];
      for (let side = 0; side < 4; side++) {
        const [a, b] = [corners[side]!, corners[(side + 1) % 4]!];
        if (a >= 0 === b >= 0) continue;
        const share = a / (a - b);
        if (side === 0) crossings.push(x + share, y);
        else if (side === 1) crossings.push(x + 1, y + share);
        else if (side === 2) crossings.push(x + 1 - share, y + 1);
        else crossings.push(x, y + 1 - share);
      }
      // Two crossings are one segment. Four (a saddle) pair up in order; for a drawing either pairing will do.
      segments.push(...crossings);
    }
  }
  return segments;
}

/** Tints what is at or above `level`: the contour alone does not tell the inside from the outside. */
export function drawTint(
  canvas: Canvas,
  x: number,
  y: number,
  { data, width, height }: Field,
  level: number,
  colour: Colour,
  opacity = 0.3,
): void {
  for (let py = 0; py < height; py++)
    for (let px = 0; px < width; px++)
      if (data[py * width + px]! >= level) canvas.blend(x + px, y + py, colour, opacity);
}

/** Draws the contour of the field at `level`, smooth-edged and `thickness` pixels wide, over a thin dark halo; (x, y) is the field's corner. */
export function drawContour(
  canvas: Canvas,
  x: number,
  y: number,
  field: Field,
  level: number,
  colour: Colour,
  thickness = 2,
): void {
  const { width, height } = field;
  const segments = contourSegments(field, level);
  const reach = thickness / 2 + 2;
  const distance = new Float32Array(width * height).fill(reach);
  for (let i = 0; i < segments.length; i += 4) {
    const [x1, y1, x2, y2] = [segments[i]!, segments[i + 1]!, segments[i + 2]!, segments[i + 3]!];
    const [dx, dy] = [x2 - x1, y2 - y1];
    const length2 = dx * dx + dy * dy || 1;
    for (
      let py = Math.max(0, Math.ceil(Math.min(y1, y2) - reach));
      py <= Math.min(height - 1, Math.max(y1, y2) + reach);
      py++
    ) {
      for (
        let px = Math.max(0, Math.ceil(Math.min(x1, x2) - reach));
        px <= Math.min(width - 1, Math.max(x1, x2) + reach);
        px++
      ) {
        const t = Math.max(0, Math.min(1, ((px - x1) * dx + (py - y1) * dy) / length2));
        const d = Math.hypot(px - x1 - t * dx, py - y1 - t * dy);
        if (d < distance[py * width + px]!) distance[py * width + px] = d;
      }
    }
  }
  const cover = (d: number, wide: number): number => Math.max(0, Math.min(1, wide / 2 + 0.5 - d));
  for (let py = 0; py < height; py++) {
    for (let px = 0; px < width; px++) {
      const d = distance[py * width + px]!;
      if (d >= reach) continue;
      canvas.blend(x + px, y + py, [0, 0, 0], 0.5 * cover(d, thickness + 2));
      canvas.blend(x + px, y + py, colour, cover(d, thickness));
    }
  }
}
