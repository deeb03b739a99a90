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

interface Step {
  request: LabelRequest;
  /** Of the images, by their ids: an id may be another image's later, a version may not. */
  versions: ReadonlyMap<string, string>;
}

const keyOf = (id: string, version: string): string => `${id}\n${version}`;

/** Stores labels one after another, in the order in which they were given, while the page goes on. */
export function useLabelling(): Labelling {
  const { setProject } = useStudio();
  const attempt = useAttempt();
  const turn = useRef<Promise<unknown>>(Promise.resolve());
  /** Where images lie by now that are asked for by an earlier name. */
  const places = useRef(new Map<string, string>());
  const done = useRef<Step[][]>([]);
  const [canUndo, setCanUndo] = useState(false);

  const inTurn = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    let result: T | undefined;
    turn.current = turn.current.then(() => attempt(async () => void (result = await work())));
    await turn.current;
    return result;
  };

  /** Resolves to what was moved, with the id that it was asked for by. */
  const send = async ({ request, versions }: Step): Promise<(Moved & { asked: string; version: string })[]> => {
    const asked = new Map<string, string>();
    for (const id of request.ids) asked.set(places.current.get(keyOf(id, versions.get(id)!)) ?? id, id);
    const { moved, project } = await api.label({ ...request, ids: [...asked.keys()] });
    const found = moved.map((one) => {
      const id = asked.get(one.from)!;
      return { ...one, asked: id, version: versions.get(id)! };
    });
    for (const { from, to, version } of found) {
      for (const [key, at] of places.current)
        if (at === from && key.endsWith(`\n${version}`)) places.current.set(key, to);
      places.current.set(keyOf(from, version), to);
      places.current.delete(keyOf(to, version));
    }
    setProject(project);
    return found;
  };

  const store: Labelling["store"] = async (images, requests) => {
    const found = await inTurn(async () => {
      const before = new Map(images.map((image) => [image.id, image]));
      const versions = new Map(images.map(({ id, version }) => [id, version]));
      const steps: Step[] = [];
      const places = new Map<string, string>();
      for (const request of requests)
        for (const { asked, to, version } of await send({ request, versions })) {
          const { label, kind, split } = before.get(asked)!;
          places.set(asked, to);
          const back = { ids: [to], label, ...(kind !== null && { kind }), ...(split !== null && { split }) };
          steps.push({ request: back, versions: new Map([[to, version]]) });
        }
      if (steps.length > 0) done.current.push(steps);
      setCanUndo(done.current.length > 0);
      return places;
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
