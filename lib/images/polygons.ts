import { inTurns, type Steps } from "../turns.js";

/** In pixels of the image, y down; (0, 0) is the upper left corner of the first pixel, whose centre is (0.5, 0.5). */
export type Point = readonly [x: number, y: number];

/** The corners in order, at least 3; the last is joined to the first. */
export type Polygon = readonly Point[];

/** The rows of an image that are filled: all of them, unless `top` and `rows` give a part. */
export interface FillWindow {
  width: number;
  height: number;
  top?: number;
  rows?: number;
}

/** An edge from its upper to its lower end, whichever comes first in the polygon: a shared edge is then the same in both. */
interface Edge {
  x: number;
  y: number;
  dx: number;
  dy: number;
  /** The first row whose centres it crosses, and the first that it no longer does. */
  from: number;
  to: number;
}

/**
 * Fills the polygons into rows x width bytes, 0 or 1. A pixel is 1 when its centre is inside one of them by the even-odd
 * rule; a centre on an edge belongs to the polygon on its right or below. So polygons that share an edge neither overlap nor
 * leave a gap, and a window is the crop of the whole. What lies outside the image is cut off.
 */
export function fillPolygons(polygons: readonly Polygon[], window: FillWindow): Promise<Uint8Array> {
  return inTurns(fillSteps(polygons, window));
}

function* fillSteps(
  polygons: readonly Polygon[],
  { width, height, top = 0, rows = height }: FillWindow,
): Steps<Uint8Array> {
  const pixels = new Uint8Array(rows * width);
  const bottom = Math.min(top + rows, height);
  for (const polygon of polygons) {
    yield 32 * polygon.length;
    const edges = edgesOf(polygon, top, bottom);
    let next = 0;
    let active: Edge[] = [];
    for (let row = edges[0]?.from ?? bottom; row < bottom && (next < edges.length || active.length > 0); row++) {
      active = active.filter(({ to }) => to > row);
      for (; next < edges.length && edges[next]!.from <= row; next++) active.push(edges[next]!);
      const columns = Float64Array.from(active, (edge) => firstColumn(edge, row, width)).sort();
      for (let i = 0; i + 1 < columns.length; i += 2) {
        const start = (row - top) * width;
        pixels.fill(1, start + columns[i]!, start + columns[i + 1]!);
      }
      yield width + 64 * columns.length;
    }
  }
  return pixels;
}

/** The edges that cross rows of the window, in the order in which they begin. */
function edgesOf(polygon: Polygon, top: number, bottom: number): Edge[] {
  const edges: Edge[] = [];
  for (let i = 0; i < polygon.length; i++) {
    const a = polygon[i]!;
    const b = polygon[(i + 1) % polygon.length]!;
    const [upper, lower] = a[1] <= b[1] ? [a, b] : [b, a];
    const from = Math.max(top, Math.ceil(upper[1] - 0.5));
    const to = Math.min(bottom, Math.ceil(lower[1] - 0.5));
    if (from < to) edges.push({ x: upper[0], y: upper[1], dx: lower[0] - upper[0], dy: lower[1] - upper[1], from, to });
  }
  return edges.sort((a, b) => a.from - b.from);
}

/** The first column whose centre in this row is on the edge or right of it, from 0 to `width`. */
function firstColumn({ x, y, dx, dy }: Edge, row: number, width: number): number {
  const down = row + 0.5 - y;
  const column = Math.ceil(x + (down / dy) * dx - 0.5);
  if (!(column >= 0)) return 0;
  if (column > width) return width;
  // The division rounds. This comparison does not, for coordinates of a few binary places.
  const isRight = (of: number): boolean => (of + 0.5 - x) * dy >= dx * down;
  if (!isRight(column)) return Math.min(column + 1, width);
  return column > 0 && isRight(column - 1) ? column - 1 : column;
}

/** The area that the corners go round; where a polygon crosses itself, parts may cancel each other. */
export function areaOf(polygon: Polygon): number {
  const [originX, originY] = polygon[0] ?? [0, 0];
  let twice = 0;
  polygon.forEach(([x, y], i) => {
    const [nextX, nextY] = polygon[(i + 1) % polygon.length]!;
    twice += (x - originX) * (nextY - originY) - (nextX - originX) * (y - originY);
  });
  return Math.abs(twice) / 2;
}

/**
 * Whether edges cross or touch elsewhere than where one follows the other. Points that repeat the one before them count once;
 * a polygon of fewer than three different points lies on itself.
 */
export function selfCrosses(polygon: Polygon): boolean {
  const points = polygon.filter((point, i) => !isSame(point, polygon[(i + 1) % polygon.length]!));
  const count = points.length;
  if (count < 3) return true;
  const edges = points.map((a, i) => {
    const b = points[(i + 1) % count]!;
    return { a, b, next: (i + 1) % count, i, left: Math.min(a[0], b[0]), right: Math.max(a[0], b[0]) };
  });
  edges.sort((one, other) => one.left - other.left);
  return edges.some((one, at) => {
    // Only edges that begin before this one ends can meet it.
    for (let k = at + 1; k < count && edges[k]!.left <= one.right; k++) {
      const other = edges[k]!;
      const touches =
        one.next === other.i
          ? foldsBack(one.a, one.b, other.b)
          : other.next === one.i
            ? foldsBack(other.a, other.b, one.b)
            : meet(one.a, one.b, other.a, other.b);
      if (touches) return true;
    }
    return false;
  });
}

const isSame = (a: Point, b: Point): boolean => a[0] === b[0] && a[1] === b[1];

/** Positive where c lies on one side of the line through a and b, negative on the other, 0 on it. */
const side = (a: Point, b: Point, c: Point): number =>
  Math.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]));

/** Whether the way from a over b to c turns round at b. */
const foldsBack = (a: Point, b: Point, c: Point): boolean =>
  side(a, b, c) === 0 && (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1]) < 0;

/** Whether c, on the line through a and b, lies between them. */
const isBetween = (a: Point, b: Point, c: Point): boolean =>
  Math.min(a[0], b[0]) <= c[0] &&
  c[0] <= Math.max(a[0], b[0]) &&
  Math.min(a[1], b[1]) <= c[1] &&
  c[1] <= Math.max(a[1], b[1]);

/** Whether two segments have a point in common. */
function meet(a: Point, b: Point, c: Point, d: Point): boolean {
  const [abc, abd, cda, cdb] = [side(a, b, c), side(a, b, d), side(c, d, a), side(c, d, b)];
  if (abc * abd < 0 && cda * cdb < 0) return true;
  return (
    (abc === 0 && isBetween(a, b, c)) ||
    (abd === 0 && isBetween(a, b, d)) ||
    (cda === 0 && isBetween(c, d, a)) ||
    (cdb === 0 && isBetween(c, d, b))
  );
}
