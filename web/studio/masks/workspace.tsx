import type { TargetedMouseEvent } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import type { MaskEditorProps } from "./editor.js";
import { type Picture, readMask } from "./load.js";
import type { Mask } from "./mask.js";
import { encodePng } from "./png.js";
import type { Box, Point } from "./raster.js";
import { Saver, type SaveState } from "./saver.js";
import type { Stage } from "./stage.js";
import { Surface } from "./surface.js";
import { maskTexts as texts } from "../texts.js";
import { Button, Toolbar } from "./toolbar.js";
import { firstSize, sizes, type Tool, tools } from "./tools.js";

interface WorkspaceProps extends Pick<MaskEditorProps, "propose" | "onSave"> {
  picture: Picture;
  mask: Mask;
}

/** Clicks on the page's pixels: so near to a corner means that corner. */
const near = 10;
const doubleClickMs = 500;
const zoomStep = 1.25;
const arrows: Record<string, Point> = {
  ArrowLeft: { x: 60, y: 0 },
  ArrowRight: { x: -60, y: 0 },
  ArrowUp: { x: 0, y: 60 },
  ArrowDown: { x: 0, y: -60 },
};

export function Workspace({ picture, mask, propose, onSave }: WorkspaceProps) {
  const [tool, setTool] = useState<Tool>("brush");
  const [size, setSize] = useState(() => firstSize(Math.max(picture.width, picture.height)));
  const [opacity, setOpacity] = useState(0.6);
  const [isHidden, setHidden] = useState(false);
  const [isMoving, setMoving] = useState(false);
  const [isProposing, setProposing] = useState(false);
  const [outline, setOutline] = useState<readonly Point[]>([]);
  const [zoom, setZoom] = useState(1);
  const [note, setNote] = useState<string>();
  const { saver, saving } = useSaver(mask, onSave);
  const stage = useRef<Stage | null>(null);
  const lastClick = useRef(0);

  useEffect(() => () => void commit(), []); // a stroke that goes on

  const show = (box: Box | undefined): void => stage.current?.changed(box);
  /** Ends what can be undone as one. */
  const commit = (): boolean => {
    const isChanged = mask.commit();
    if (isChanged) saver.request();
    return isChanged;
  };
  const change = (box: Box, done?: string, unchanged?: string): void => {
    show(box);
    setNote(commit() ? done : unchanged);
  };
  const back = (step: "undo" | "redo"): void => {
    if (step === "undo" && outline.length > 0) return setOutline(outline.slice(0, -1));
    commit(); // a stroke that goes on
    const box = mask[step]();
    if (box === undefined) return;
    show(box);
    saver.request();
    setNote(step === "undo" ? texts.undone : texts.redone);
  };
  const choose = (next: Tool): void => {
    setTool(next);
    setOutline([]);
    setNote(undefined);
  };
  const resize = (next: number): void => setSize(Math.max(0, Math.min(sizes.length - 1, next)));

  const close = (corners: readonly Point[]): void => {
    if (corners.length < 3) return setNote(texts.needsThreePoints);
    setOutline([]);
    commit();
    change(mask.polygon(corners), undefined, texts.emptyPolygon);
  };
  const click = (at: Point): void => {
    setNote(undefined);
    if (tool === "fill") return fill(at);
    const place = stage.current!.toPage(at);
    const isNear = (corner: Point | undefined): boolean => {
      if (corner === undefined) return false;
      const { x, y } = stage.current!.toPage(corner);
      return Math.hypot(x - place.x, y - place.y) < near;
    };
    const isDouble = performance.now() - lastClick.current < doubleClickMs && isNear(outline.at(-1));
    lastClick.current = performance.now();
    if (isDouble || (outline.length >= 3 && isNear(outline[0]))) close(outline);
    else setOutline([...outline, at]);
  };
  const fill = ({ x, y }: Point): void => {
    const pixel = { x: Math.floor(x), y: Math.floor(y) };
    if (pixel.x < 0 || pixel.y < 0 || pixel.x >= picture.width || pixel.y >= picture.height) return;
    const filled = mask.hole(pixel);
    const box = { left: 0, top: 0, right: picture.width, bottom: picture.height };
    change(box, undefined, filled === "filled" ? undefined : texts[filled]);
  };
  const takeProposal = async (): Promise<void> => {
    setProposing(true);
    setNote(texts.proposing);
    try {
      const proposed = await readMask(await propose!(), picture);
      if (stage.current === null) return; // another image is shown
      commit();
      const box = mask.replace(proposed);
      change(box, mask.isEmpty ? texts.emptyProposal : texts.proposed, texts.sameProposal);
    } catch (error) {
      setNote(texts.proposalFailed(error instanceof Error ? error.message : String(error)));
    }
    setProposing(false);
  };

  /** Space would press a clicked button again, and some buttons are gone once they were pressed. */
  const focusImage = (event: TargetedMouseEvent<HTMLElement>): void => {
    const button = (event.target as Element).closest("button");
    if (button && (event.detail > 0 || button.matches(".outline *, .again")))
      event.currentTarget.querySelector<HTMLElement>(".masks-stage")!.focus({ preventScroll: true });
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (press(event)) event.preventDefault();
  };
  /** False: the key is not the editor's. */
  const press = (event: KeyboardEvent): boolean => {
    const { key } = event;
    const [isButton, isSlider] = ["button", "input"].map((kind) => (event.target as Element).matches(kind));
    // Some keyboards have them behind AltGr, which is Ctrl and Alt to a browser.
    if (key === "[" || key === "]") return done(resize(size + (key === "]" ? 1 : -1)));
    if (event.ctrlKey || event.metaKey) {
      if (key.toLowerCase() === "z") return done(back(event.shiftKey ? "redo" : "undo"));
      return key.toLowerCase() === "y" && done(back("redo"));
    }
    if (event.altKey) return false;
    const chosen = tools.find((row) => row.key === key.toUpperCase());
    if (chosen) return done(choose(chosen.tool));
    if (key.toUpperCase() === "H") return done(setHidden(!isHidden));
    if (key === "+" || key === "=") return done(stage.current?.zoomBy(zoomStep));
    if (key === "-") return done(stage.current?.zoomBy(1 / zoomStep));
    if (key === "0") return done(stage.current?.fit());
    if (outline.length > 0 && key === "Escape") return done(setOutline([]));
    if (outline.length > 0 && key === "Backspace") return done(setOutline(outline.slice(0, -1)));
    if (key === " ") return !isButton && done(setMoving(true));
    if (isButton || isSlider) return false;
    if (outline.length > 0 && key === "Enter") return done(close(outline));
    const arrow = arrows[key];
    return arrow !== undefined && done(stage.current?.moveBy(arrow));
  };

  return (
    <div
      class="masks-workspace"
      onClick={focusImage}
      onKeyDown={onKeyDown}
      onKeyUp={(event) => event.key === " " && setMoving(false)}
      onFocusOut={() => setMoving(false)}
    >
      <Toolbar
        {...{ tool, size, opacity, isHidden, isProposing }}
        onTool={choose}
        onSize={resize}
        canUndo={mask.history.canUndo || outline.length > 0}
        canRedo={mask.history.canRedo}
        canClear={!mask.isEmpty}
        onUndo={() => back("undo")}
        onRedo={() => back("redo")}
        onClear={() => change(mask.clear(), texts.cleared)}
        onPropose={propose && (() => void takeProposal())}
        onOpacity={setOpacity}
        onHide={setHidden}
      />
      <Surface
        {...{ picture, mask, stage, tool, isMoving, outline }}
        size={sizes[size]!}
        opacity={isHidden ? 0 : opacity}
        onStroke={(from, to) => {
          setNote(undefined);
          setHidden(false);
          show(mask.segment(from, to, sizes[size]! / 2, tool === "brush"));
        }}
        onStrokeEnd={commit}
        onStrokeCancel={() => show(mask.cancel())}
        onClick={click}
        onZoom={setZoom}
      >
        {outline.length > 0 && (
          <div role="group" aria-label={texts.polygonActions} class="masks-floating outline">
            <button type="button" onClick={() => close(outline)}>
              {texts.closePolygon}
            </button>
            <button type="button" onClick={() => setOutline(outline.slice(0, -1))}>
              {texts.removePoint}
            </button>
            <button type="button" onClick={() => setOutline([])}>
              {texts.cancelPolygon}
            </button>
          </div>
        )}
        <div role="group" aria-label={texts.zoom} class="masks-floating zoom">
          <Button
            icon="zoomOut"
            text={texts.zoomOut}
            shortcut="-"
            onClick={() => stage.current?.zoomBy(1 / zoomStep)}
          />
          <span class="masks-value">{texts.percent(zoom)}</span>
          <Button icon="zoomIn" text={texts.zoomIn} shortcut="+" onClick={() => stage.current?.zoomBy(zoomStep)} />
          <button type="button" title={texts.withKey(texts.fitTitle, "0")} onClick={() => stage.current?.fit()}>
            {texts.fit}
          </button>
        </div>
      </Surface>
      <div class="masks-foot">
        <p role="status">
          {note && <span>{note}</span>}
          {saving && <SaveText state={saving} />}
        </p>
        {saving?.kind === "failed" && (
          <button type="button" class="again" onClick={() => saver.request()}>
            {texts.again}
          </button>
        )}
        <p class="quiet">{texts.hints[tool]}</p>
      </div>
    </div>
  );
}

/** For the value of a key that was the editor's. */
const done = (_: unknown): true => true;

const SaveText = ({ state }: { state: SaveState }) => (
  <span class={state.kind}>{state.kind === "failed" ? texts.notSaved(state.reason) : texts[state.kind]}</span>
);

/** Saves go on, and leaving the page warns, until the last state is stored: also when the editor shows another image. */
function useSaver(mask: Mask, onSave: MaskEditorProps["onSave"]): { saver: Saver; saving: SaveState | undefined } {
  const [saving, setSaving] = useState<SaveState>();
  const latest = useRef(onSave);
  latest.current = onSave;
  const [saver] = useState(() => {
    const warn = (event: Event): void => event.preventDefault();
    const store = async (): Promise<void> => latest.current(mask.isEmpty ? undefined : await encodePng(mask.bitmap));
    return new Saver(store, (state) => {
      if (state.kind === "saved") removeEventListener("beforeunload", warn);
      else addEventListener("beforeunload", warn);
      setSaving(state);
    });
  });
  return { saver, saving };
}
