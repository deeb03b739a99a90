import type { ComponentChildren } from "preact";

import { texts } from "../texts.js";

/** In the place of what only a model can do. */
export function NoModel({ children }: { children?: ComponentChildren }) {
  return (
    <div class="empty">
      <h1 class="large">{texts.noModel}</h1>
      <p>
        <a href="#/train">{texts.trainFirst}</a>
      </p>
      {children}
    </div>
  );
}
