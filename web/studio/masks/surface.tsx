import type { ComponentChildren, RefObject } from "preact";
import { useLayoutEffect, useReducer, useRef, useState } from "preact/hooks";

import type { Picture } from "./load.js";
import { type Mask, snapped } from "./mask.js";
import type { Point } from "./raster.js";
import { Stage } from "./stage.js";
import { maskTexts as texts } from "../texts.js";
import type { Tool } from "./tools.js";

export interface SurfaceProps {
  picture: Picture;
  mask: Mask;
  /** Filled while the surface is on the page. */
  stage: RefObject<Stage | null>;
  tool: Tool;
  /** Width of the brush in the image's pixels. */
  size: number;
  opacity: number;
  /** Dragging moves the image, whatever the tool. */
  isMoving: boolean;
  /** Corners of the outline that is being drawn. */
  outline: readonly Point[];
  onStroke(from: Point, to: Point): void;
  onStrokeEnd(): void;
  onStrokeCancel(): void;
  onClick(at: Point): void;
  onZoom(zoom: number): void;
  children: ComponentChildren;
}

type Gesture =
  | { kind: "stroke"; last: Point }
  | { kind: "move"; last: Point }
  | { kind: "pinch"; middle: Point; apart: number }
  | { kind: "click" };

/** Image, mask and cursor; turns pointers into strokes, clicks and moves. */
export function Surface(props: SurfaceProps) {
  const { picture, mask, stage, tool, size, opacity, isMoving, outline, children } = props;
  const box = useRef<HTMLDivElement>(null);
  const image = useRef<HTMLCanvasElement>(null);
  const overlay = useRef<HTMLCanvasElement>(null);
  const pointers = useRef(new Map<number, Point>());
  const gesture = useRef<Gesture | undefined>(undefined);
  const [cursor, setCursor] = useState<Point>();
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const draws = tool === "brush" || tool === "eraser";

  useLayoutEffect(() => {
    const element = box.current!;
    const own = new Stage({ image: image.current!, overlay: overlay.current! }, picture, mask, () => {
      redraw(undefined);
      props.onZoom(own.zoom);
    });
    stage.current = own;
    const observer = new ResizeObserver(() => own.resize({ width: element.clientWidth, height: element.clientHeight }));
    observer.observe(element);
    if (document.activeElement === document.body) element.focus({ preventScroll: true });
    return () => {
      observer.disconnect();
      own.close();
      stage.current = null;
    };
  }, []);

  const placeOf = (event: MouseEvent): Point => {
    const { left, top } = box.current!.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  };
  const brushAt = (place: Point): Point => snapped(stage.current!.toImage(place), size);

  const down = (event: PointerEvent): void => {
    box.current!.focus({ preventScroll: true });
    const place = placeOf(event);
    if (event.button > 1) return;
    box.current!.setPointerCapture(event.pointerId);
    pointers.current.set(event.pointerId, place);
    if (pointers.current.size > 1) {
      if (gesture.current?.kind === "stroke") props.onStrokeCancel();
      gesture.current = { kind: "pinch", ...pinchOf(pointers.current) };
    } else if (event.button === 1 || isMoving) gesture.current = { kind: "move", last: place };
    else if (draws) {
      const at = brushAt(place);
      gesture.current = { kind: "stroke", last: at };
      props.onStroke(at, at);
    } else gesture.current = { kind: "click" };
  };

  const move = (event: PointerEvent): void => {
    const place = placeOf(event);
    setCursor(event.pointerType === "touch" ? undefined : place);
    const now = gesture.current;
    if (now === undefined || !pointers.current.has(event.pointerId)) return;
    pointers.current.set(event.pointerId, place);
    if (now.kind === "stroke") {
      const events = event.getCoalescedEvents();
      for (const part of events.length > 0 ? events : [event]) {
        const at = brushAt(placeOf(part));
        if (at.x === now.last.x && at.y === now.last.y) continue;
        props.onStroke(now.last, at);
        now.last = at;
      }
    } else if (now.kind === "move") {
      stage.current!.moveBy({ x: place.x - now.last.x, y: place.y - now.last.y });
      now.last = place;
    } else if (now.kind === "pinch" && pointers.current.size > 1) {
      const { middle, apart } = pinchOf(pointers.current);
      stage.current!.moveBy({ x: middle.x - now.middle.x, y: middle.y - now.middle.y });
      if (apart > 0 && now.apart > 0) stage.current!.zoomBy(apart / now.apart, middle);
      Object.assign(now, { middle, apart });
    }
  };

  const up = (event: PointerEvent): void => {
    if (!pointers.current.delete(event.pointerId) || pointers.current.size > 0) return;
    const { kind } = gesture.current!;
    gesture.current = undefined;
    if (kind === "stroke") props.onStrokeEnd();
    else if (kind === "click" && event.type === "pointerup") props.onClick(stage.current!.toImage(placeOf(event)));
  };

  const wheel = (event: WheelEvent): void => {
    event.preventDefault();
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 * event.deltaY : event.deltaY;
    // Two fingers on a touchpad are a wheel with Ctrl, in small steps.
    stage.current?.zoomBy(Math.exp((event.ctrlKey ? -0.01 : -0.002) * pixels), placeOf(event));
  };

  return (
    <div class="masks-surface">
      <div
        ref={box}
        class={`masks-stage ${isMoving ? "moving" : draws ? "drawing" : ""}`}
        role="application"
        tabIndex={0}
        aria-label={texts.stage(picture.width, picture.height)}
        onPointerDown={down}
        onPointerMove={move}
        onPointerUp={up}
        onPointerCancel={up}
        onPointerLeave={() => setCursor(undefined)}
        onMouseDown={(event) => event.button === 1 && event.preventDefault()}
        onContextMenu={(event) => event.preventDefault()}
        onWheel={wheel}
      >
        <canvas ref={image} />
        <canvas ref={overlay} style={{ opacity }} />
        <svg aria-hidden="true">
          {stage.current && <Outline stage={stage.current} outline={outline} cursor={cursor} />}
          {stage.current && draws && cursor && !isMoving && (
            <Both>
              <circle {...centre(stage.current.toPage(brushAt(cursor)))} r={(size / 2) * stage.current.zoom} />
            </Both>
          )}
        </svg>
      </div>
      {children}
    </div>
  );
}

function Outline({ stage, outline, cursor }: { stage: Stage; outline: readonly Point[]; cursor: Point | undefined }) {
  if (outline.length === 0) return null;
  const corners = outline.map((point) => stage.toPage(point));
  const line = [...corners, ...(cursor ? [cursor] : [])].map(({ x, y }) => `${x},${y}`).join(" ");
  return (
    <>
      <Both>
        <polyline points={line} />
      </Both>
      {corners.map((corner, i) => (
        <circle key={i} class="corner" {...centre(corner)} r={i === 0 ? 6 : 3.5} />
      ))}
    </>
  );
}

/** A light line on a dark one: seen on every image. */
const Both = ({ children }: { children: ComponentChildren }) => (
  <>
    <g class="under">{children}</g>
    <g class="over">{children}</g>
  </>
);

const centre = ({ x, y }: Point) => ({ cx: x, cy: y });

function pinchOf(pointers: ReadonlyMap<number, Point>): { middle: Point; apart: number } {
  const [a, b] = [...pointers.values()] as [Point, Point];
  return { middle: { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 }, apart: Math.hypot(a.x - b.x, a.y - b.y) };
}
