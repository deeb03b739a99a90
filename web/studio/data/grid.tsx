import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import type { StudioImage, Suggestion } from "../../../lib/studio/types.js";
import { addresses } from "../api.js";
import { texts } from "../texts.js";

interface Props {
  images: readonly StudioImage[];
  selected: ReadonlySet<string>;
  /** The image that the keys move from. */
  active: string | undefined;
  suggestions: ReadonlyMap<string, Suggestion>;
  onSelect(ids: ReadonlySet<string>, active: string): void;
  onOpen(image: StudioImage): void;
}

/** Width and height of a tile with its gap, in pixels. */
const tile = { width: 148, height: 178 } as const;
/** Rows that are drawn above and below what is seen. */
const spare = 3;

/** A grid that draws what is seen: with thousands of images too it scrolls without waiting. */
export function Grid({ images, selected, active, suggestions, onSelect, onOpen }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, width: 800, height: 600 });
  useLayoutEffect(() => {
    const { current } = box;
    const look = (): void =>
      setView({ top: current!.scrollTop, width: current!.clientWidth, height: current!.clientHeight });
    look();
    const observer = new ResizeObserver(look);
    observer.observe(current!);
    current!.addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      current!.removeEventListener("scroll", look);
    };
  }, []);
  const columns = Math.max(1, Math.floor(view.width / tile.width));
  const rows = Math.ceil(images.length / columns);
  const first = Math.max(0, Math.floor(view.top / tile.height) - spare);
  const last = Math.min(rows, Math.ceil((view.top + view.height) / tile.height) + spare);
  const shown = images.slice(first * columns, last * columns);
  const at = images.findIndex(({ id }) => id === active);

  useEffect(() => {
    const { current } = box;
    if (at < 0 || !current) return;
    const top = Math.floor(at / columns) * tile.height;
    if (top < current.scrollTop) current.scrollTop = top;
    else if (top + tile.height > current.scrollTop + current.clientHeight)
      current.scrollTop = top + tile.height - current.clientHeight;
  }, [at, columns]);

  const choose = (index: number, { extend, toggle }: { extend: boolean; toggle: boolean }): void => {
    const image = images[index];
    if (!image) return;
    if (extend && at >= 0) {
      const [low, high] = [Math.min(at, index), Math.max(at, index)];
      onSelect(new Set([...selected, ...images.slice(low, high + 1).map(({ id }) => id)]), image.id);
    } else if (toggle) {
      const next = new Set(selected);
      if (!next.delete(image.id)) next.add(image.id);
      onSelect(next, image.id);
    } else onSelect(new Set([image.id]), image.id);
  };

  const onKey = (event: KeyboardEvent): void => {
    const [last, seen] = [images.length - 1, columns * Math.max(1, Math.floor(view.height / tile.height))];
    // From before the first one, where none is active.
    const targets: Record<string, number> = {
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      ArrowUp: at - columns,
      ArrowDown: at < 0 ? 0 : at + columns,
      Home: 0,
      End: last,
      PageUp: at - seen,
      PageDown: at + seen,
    };
    const to = targets[event.key];
    if (to !== undefined) {
      event.preventDefault();
      choose(Math.max(0, Math.min(last, to)), { extend: event.shiftKey, toggle: false });
    } else if (event.key === "Enter" && images[at]) {
      event.preventDefault();
      onOpen(images[at]);
    } else if (event.key === " " && at >= 0) {
      event.preventDefault();
      choose(at, { extend: false, toggle: true });
    } else if (event.key === "a" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      onSelect(new Set(images.map(({ id }) => id)), active ?? images[0]?.id ?? "");
    } else if (event.key === "Escape") onSelect(new Set(), active ?? "");
  };

  return (
    <div
      ref={box}
      class="grid"
      role="listbox"
      aria-label={texts.images}
      aria-multiselectable="true"
      aria-activedescendant={at >= 0 && shown.some(({ id }) => id === active) ? `tile-${at}` : undefined}
      tabIndex={0}
      onKeyDown={onKey}
    >
      <div role="presentation" style={{ height: `${rows * tile.height}px`, position: "relative" }}>
        {shown.map((image, i) => {
          const index = first * columns + i;
          const place = {
            transform: `translate(${(index % columns) * tile.width}px, ${Math.floor(index / columns) * tile.height}px)`,
          };
          return (
            <Tile
              key={image.id}
              image={image}
              index={index}
              count={images.length}
              isSelected={selected.has(image.id)}
              isActive={image.id === active}
              suggestion={suggestions.get(image.id)}
              place={place}
              onClick={(event) => choose(index, { extend: event.shiftKey, toggle: event.ctrlKey || event.metaKey })}
              onOpen={() => onOpen(image)}
            />
          );
        })}
      </div>
    </div>
  );
}

interface TileProps {
  image: StudioImage;
  index: number;
  count: number;
  isSelected: boolean;
  isActive: boolean;
  suggestion: Suggestion | undefined;
  place: { transform: string };
  onClick(event: MouseEvent): void;
  onOpen(): void;
}

function Tile({ image, index, count, isSelected, isActive, suggestion, place, onClick, onOpen }: TileProps) {
  const { id, label, split, kind, mask } = image;
  const name = id.slice(id.lastIndexOf("/") + 1);
  const what = label === null ? texts.unlabelled : label === "good" ? texts.good : kind!;
  return (
    <div
      id={`tile-${index}`}
      role="option"
      aria-selected={isSelected}
      aria-posinset={index + 1}
      aria-setsize={count}
      class={`tile ${label ?? "open"} ${isActive ? "active" : ""}`}
      style={place}
      onClick={onClick}
      onDblClick={onOpen}
    >
      <img src={addresses.thumbnail(image)} alt="" loading="lazy" decoding="async" draggable={false} />
      {mask !== null && <span class="badge">{texts.hasMask}</span>}
      {suggestion && label === null && (
        <span class={`badge suggestion ${suggestion.verdict}`}>
          {texts.suggestion(texts.verdicts[suggestion.verdict])}
        </span>
      )}
      <span class="what">
        {what}
        {split === "test" && <span class="quiet"> · {texts.test}</span>}
      </span>
      <span class="name quiet" title={id}>
        {name}
      </span>
    </div>
  );
}
