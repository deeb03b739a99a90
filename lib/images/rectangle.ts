/** A part of an image in its pixels: whole numbers, from the upper left corner. */
export interface Rectangle {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Whether a value is a rectangle of at least one pixel. It may lie outside an image. */
export function isRectangle(value: unknown): value is Rectangle {
  if (typeof value !== "object" || value === null) return false;
  const { x, y, width, height } = value as Record<keyof Rectangle, unknown>;
  return [x, y, width, height].every(Number.isSafeInteger) && (width as number) >= 1 && (height as number) >= 1;
}

/** Whether no pixel of the rectangle lies outside the image. */
export const liesWithin = (
  { x, y, width, height }: Rectangle,
  image: Readonly<Record<"width" | "height", number>>,
): boolean => x >= 0 && y >= 0 && x + width <= image.width && y + height <= image.height;

/** A rectangle as manifests and messages write it: X Y W H. */
export const rectangleText = ({ x, y, width, height }: Rectangle): string => `${x} ${y} ${width} ${height}`;
