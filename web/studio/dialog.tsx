import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { texts } from "./texts.js";

interface Props {
  title: string;
  onClose(): void;
  onLeft?(): void;
  onRight?(): void;
  children: ComponentChildren;
}

/** A dialog over the page, closed by Escape. */
export function Dialog({ title, onClose, onLeft, onRight, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current!.showModal(), []);
  const onKey = (event: KeyboardEvent): void => {
    if ((event.target as HTMLElement).tagName === "INPUT") return;
    if (event.key === "ArrowLeft") onLeft?.();
    else if (event.key === "ArrowRight") onRight?.();
  };
  return (
    <dialog ref={dialog} aria-label={title} onClose={onClose} onKeyDown={onKey}>
      <div class="bar">
        <strong class="grow name">{title}</strong>
        {onLeft && (
          <button type="button" class="plain" onClick={onLeft}>
            {texts.before}
          </button>
        )}
        {onRight && (
          <button type="button" class="plain" onClick={onRight}>
            {texts.next}
          </button>
        )}
        <button type="button" class="plain" onClick={() => dialog.current!.close()}>
          {texts.close}
        </button>
      </div>
      {children}
    </dialog>
  );
}
