import { useState } from "preact/hooks";

import { api } from "../api.js";
import { useAttempt, useStudio } from "../studio.js";
import { Labeller } from "./labeller.js";

export interface Labelling extends Pick<Labeller, "canUndo"> {
  /** As of Labeller; undefined: it failed, and the user was told. */
  store(...asked: Parameters<Labeller["store"]>): Promise<ReadonlyMap<string, string> | undefined>;
  undo(): Promise<string | undefined>;
}

/** Of all pages: what was labelled on one, or before another one was looked at, is taken back too. */
let kept: Labeller | undefined;

/** Stores labels while the page goes on. */
export function useLabelling(): Labelling {
  const { setProject } = useStudio();
  const attempt = useAttempt();
  const labeller = (kept ??= new Labeller({
    async label(request) {
      const { moved, project } = await api.label(request);
      setProject(project);
      return moved;
    },
    ids: async () => new Set((await api.project()).images.map(({ id }) => id)),
  }));
  const [canUndo, setCanUndo] = useState(labeller.canUndo);
  const told = async <T>(work: Promise<T>): Promise<T | undefined> => {
    let result: T | undefined;
    await attempt(async () => void (result = await work));
    setCanUndo(labeller.canUndo);
    return result;
  };
  return { canUndo, store: (...asked) => told(labeller.store(...asked)), undo: () => told(labeller.undo()) };
}
