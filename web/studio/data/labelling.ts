import { useRef, useState } from "preact/hooks";

import type { LabelRequest, Moved, StudioImage } from "../../../lib/studio/types.js";
import { api } from "../api.js";
import { useAttempt, useStudio } from "../studio.js";

export interface Labelling {
  canUndo: boolean;
  /** Stores labels of images as they were seen. Resolves to where they lie now, also those that had the label already. */
  store(images: readonly StudioImage[], requests: readonly LabelRequest[]): Promise<ReadonlyMap<string, string>>;
  /** Takes the last labels back. Resolves to one of the images. */
  undo(): Promise<string | undefined>;
}

/** Stores labels one after another, in the order in which they were given, while the page goes on. */
export function useLabelling(): Labelling {
  const { setProject } = useStudio();
  const attempt = useAttempt();
  const turn = useRef<Promise<unknown>>(Promise.resolve());
  /** Where images lie by now that are asked for by an earlier name. */
  const places = useRef(new Map<string, string>());
  const done = useRef<LabelRequest[][]>([]);
  const [canUndo, setCanUndo] = useState(false);

  const inTurn = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    let result: T | undefined;
    turn.current = turn.current.then(() => attempt(async () => void (result = await work())));
    await turn.current;
    return result;
  };

  const send = async (request: LabelRequest): Promise<Moved[]> => {
    const now = (id: string): string => places.current.get(id) ?? id;
    const { moved, project } = await api.label({ ...request, ids: request.ids.map(now) });
    for (const { from, to } of moved) {
      for (const [earlier, at] of places.current) if (at === from) places.current.set(earlier, to);
      places.current.set(from, to);
      places.current.delete(to);
    }
    setProject(project);
    return moved;
  };

  const store: Labelling["store"] = async (images, requests) => {
    const found = await inTurn(async () => {
      const before = new Map(images.map((image) => [places.current.get(image.id) ?? image.id, image]));
      const steps: LabelRequest[] = [];
      const to = new Map<string, string>();
      for (const request of requests)
        for (const moved of await send(request)) {
          const { id, label, kind, split } = before.get(moved.from)!;
          to.set(id, moved.to);
          steps.push({ ids: [moved.to], label, ...(kind !== null && { kind }), ...(split !== null && { split }) });
        }
      if (steps.length > 0) done.current.push(steps);
      setCanUndo(done.current.length > 0);
      return to;
    });
    return new Map(images.map(({ id }) => [id, found?.get(id) ?? id]));
  };

  const undo = (): Promise<string | undefined> =>
    inTurn(async () => {
      let last: string | undefined;
      for (const step of done.current.pop() ?? []) last = (await send(step))[0]?.to ?? last;
      setCanUndo(done.current.length > 0);
      return last;
    });

  return { canUndo, store, undo };
}
