import type { Point } from "./raster.js";

/** Sizes and points are device pixels of the canvas, unless they are the image's. */
export interface Size {
  width: number;
  height: number;
}

/** `scale` device pixels an image pixel; (left, top) of the image lies in the canvas's corner. */
export interface View {
  scale: number;
  left: number;
  top: number;
}

const largest = 64;

export const toImage = ({ scale, left, top }: View, { x, y }: Point): Point => ({
  x: left + x / scale,
  y: top + y / scale,
});

export const toCanvas = ({ scale, left, top }: View, { x, y }: Point): Point => ({
  x: (x - left) * scale,
  y: (y - top) * scale,
});

/** The whole image, in the middle. */
export function fitted(image: Size, canvas: Size): View {
  const scale = fitScale(image, canvas);
  return {
    scale,
    left: (image.width - canvas.width / scale) / 2,
    top: (image.height - canvas.height / scale) / 2,
  };
}

const fitScale = (image: Size, canvas: Size): number =>
  Math.min(largest, canvas.width / image.width, canvas.height / image.height);

/** Zooms; the image's point under `point` stays there, as far as the limits let it. */
export function zoomed(view: View, factor: number, point: Point, image: Size, canvas: Size): View {
  const scale = Math.max(Math.min(1, fitScale(image, canvas) / 2), Math.min(largest, view.scale * factor));
  const { x, y } = toImage(view, point);
  return kept({ scale, left: x - point.x / scale, top: y - point.y / scale }, image, canvas);
}

export const moved = (view: View, by: Point, image: Size, canvas: Size): View =>
  kept({ ...view, left: view.left - by.x / view.scale, top: view.top - by.y / view.scale }, image, canvas);

/** The middle of the canvas stays on the image, so that nobody loses it. */
export function kept({ scale, left, top }: View, image: Size, canvas: Size): View {
  const [halfWidth, halfHeight] = [canvas.width / scale / 2, canvas.height / scale / 2];
  return {
    scale,
    left: Math.max(0, Math.min(image.width, left + halfWidth)) - halfWidth,
    top: Math.max(0, Math.min(image.height, top + halfHeight)) - halfHeight,
  };
}
