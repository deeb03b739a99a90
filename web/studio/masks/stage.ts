import type { Picture } from "./load.js";
import type { Mask } from "./mask.js";
import { paintOverlay, shownBox } from "./overlay.js";
import { type Box, isEmptyBox, type Point, unionOf } from "./raster.js";
import { fitted, kept, moved, type Size, toCanvas, toImage, type View, zoomed } from "./view.js";

/** From this scale on the image's pixels are squares, as they are in the mask. */
const crispScale = 2;

/** Draws what is visible of image and mask, at the screen's resolution, once a frame at most. */
export class Stage {
  readonly #picture: Picture;
  readonly #mask: Mask;
  readonly #image: CanvasRenderingContext2D;
  readonly #overlay: CanvasRenderingContext2D;
  readonly #onView: () => void;
  #view: View = { scale: 1, left: 0, top: 0 };
  #isFitted = true;
  #ratio = 1;
  #frame = 0;
  #isMoved = true;
  #dirty: Box | undefined;

  /** `onView` is called when the view has changed. */
  constructor(
    canvases: { image: HTMLCanvasElement; overlay: HTMLCanvasElement },
    picture: Picture,
    mask: Mask,
    onView: () => void,
  ) {
    this.#image = canvases.image.getContext("2d")!;
    this.#overlay = canvases.overlay.getContext("2d")!;
    this.#picture = picture;
    this.#mask = mask;
    this.#onView = onView;
  }

  get #canvas(): Size {
    return this.#image.canvas;
  }

  /** Pixels of the page a pixel of the image. */
  get zoom(): number {
    return this.#view.scale / this.#ratio;
  }

  /** The canvases lie in a box of this size on the page. */
  resize({ width, height }: Size): void {
    this.#ratio = globalThis.devicePixelRatio;
    for (const { canvas } of [this.#image, this.#overlay]) {
      canvas.width = Math.max(1, Math.round(width * this.#ratio));
      canvas.height = Math.max(1, Math.round(height * this.#ratio));
    }
    if (this.#isFitted) this.fit();
    else this.#show(kept(this.#view, this.#picture, this.#canvas));
    this.#draw(); // at once: the canvases are empty
  }

  fit(): void {
    this.#show(fitted(this.#picture, this.#canvas));
    this.#isFitted = true;
  }

  /** About a point of the page's box; its middle if there is none. */
  zoomBy(factor: number, at?: Point): void {
    const { width, height } = this.#canvas;
    const point = at ? this.#scaled(at) : { x: width / 2, y: height / 2 };
    this.#show(zoomed(this.#view, factor, point, this.#picture, this.#canvas));
  }

  moveBy(by: Point): void {
    this.#show(moved(this.#view, this.#scaled(by), this.#picture, this.#canvas));
  }

  toImage(place: Point): Point {
    return toImage(this.#view, this.#scaled(place));
  }

  toPage(point: Point): Point {
    const { x, y } = toCanvas(this.#view, point);
    return { x: x / this.#ratio, y: y / this.#ratio };
  }

  /** The mask has changed in this box. */
  changed(box: Box | undefined): void {
    if (box === undefined || isEmptyBox(box)) return;
    this.#dirty = unionOf(this.#dirty, box);
    this.#request();
  }

  close(): void {
    cancelAnimationFrame(this.#frame);
    this.#picture.full.close();
    this.#picture.small?.close();
  }

  #scaled({ x, y }: Point): Point {
    return { x: x * this.#ratio, y: y * this.#ratio };
  }

  #show(view: View): void {
    this.#view = view;
    this.#isFitted = false;
    this.#isMoved = true;
    this.#request();
    this.#onView();
  }

  #request(): void {
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #draw(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const { width, height } = this.#canvas;
    if (this.#isMoved) {
      this.#drawImage();
      this.#paint({ left: 0, top: 0, right: width, bottom: height });
    } else if (this.#dirty) this.#paint(shownBox(this.#dirty, this.#view, width, height));
    this.#isMoved = false;
    this.#dirty = undefined;
  }

  #drawImage(): void {
    const { scale, left, top } = this.#view;
    const { full, small, width, height } = this.#picture;
    const canvas = this.#canvas;
    const source = small && scale <= small.width / width ? small : full;
    const x = Math.max(0, left);
    const y = Math.max(0, top);
    const wide = Math.min(width, left + canvas.width / scale) - x;
    const tall = Math.min(height, top + canvas.height / scale) - y;
    const [across, down] = [source.width / width, source.height / height];
    const context = this.#image;
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = scale < crispScale;
    context.imageSmoothingQuality = "medium";
    const to = toCanvas(this.#view, { x, y });
    context.drawImage(
      source,
      ...([x * across, y * down, wide * across, tall * down] as const),
      ...([to.x, to.y, wide * scale, tall * scale] as const),
    );
  }

  #paint(box: Box): void {
    if (isEmptyBox(box)) return;
    const pixels = this.#overlay.createImageData(box.right - box.left, box.bottom - box.top);
    paintOverlay(this.#mask.bitmap, this.#mask.coverage, this.#view, box, pixels.data);
    this.#overlay.putImageData(pixels, box.left, box.top);
  }
}
