import type { LabelRequest, Moved, StudioImage } from "../../../lib/studio/types.js";

/** What stores labels. */
export interface LabelServer {
  label(request: LabelRequest): Promise<readonly Moved[]>;
  /** Those of the images that are there now. */
  ids(): Promise<ReadonlySet<string>>;
}

interface Step {
  request: LabelRequest;
  /** Of the images, by their ids: an id may be another image's later, a version may not. */
  versions: Map<string, string>;
}

const keyOf = (id: string, version: string): string => `${id}\n${version}`;

/** Stores labels one after another, in the order in which they were given, and takes them back. */
export class Labeller {
  #turn: Promise<unknown> = Promise.resolve();
  /** Where images lie by now that are asked for by an earlier name. */
  readonly #places = new Map<string, string>();
  /** What takes back what was done, the last at the end. */
  readonly #done: Step[][] = [];

  constructor(private readonly server: LabelServer) {}

  get canUndo(): boolean {
    return this.#done.length > 0;
  }

  /**
   * Stores labels of images as they were seen. Resolves to where they lie now, also those that had the label already. Where a
   * request fails, what was stored before can be taken back.
   */
  store(images: readonly StudioImage[], requests: readonly LabelRequest[]): Promise<ReadonlyMap<string, string>> {
    return this.#inTurn(async () => {
      const before = new Map(images.map((image) => [image.id, image]));
      const versions = new Map(images.map(({ id, version }) => [id, version]));
      const now = new Map(images.map(({ id }) => [id, id]));
      const back = new Map<string, Step>();
      try {
        for (const request of requests)
          for (const { asked, to, version } of await this.#send({ request, versions })) {
            now.set(asked, to);
            addTo(back, before.get(asked)!, to, version);
          }
      } finally {
        if (back.size > 0) this.#done.push([...back.values()]);
      }
      return now;
    });
  }

  /** Takes the last labels back. Resolves to one of the images. What fails can be tried again. */
  undo(): Promise<string | undefined> {
    return this.#inTurn(async () => {
      const steps = this.#done.at(-1);
      if (!steps) return undefined;
      const there = await this.server.ids();
      let last: string | undefined;
      while (steps.length > 0) {
        const { request, versions } = steps[0]!;
        // One that was removed cannot come back, and must not keep the others.
        const ids = request.ids.filter((id) => there.has(this.#placeOf(id, versions)));
        if (ids.length > 0) last = (await this.#send({ request: { ...request, ids }, versions })).at(-1)?.to ?? last;
        steps.shift();
      }
      this.#done.pop();
      return last;
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  #placeOf(id: string, versions: ReadonlyMap<string, string>): string {
    return this.#places.get(keyOf(id, versions.get(id)!)) ?? id;
  }

  /** Resolves to what was moved, with the id that it was asked for by. */
  async #send({ request, versions }: Step): Promise<(Moved & { asked: string; version: string })[]> {
    const asked = new Map(request.ids.map((id) => [this.#placeOf(id, versions), id]));
    const moved = await this.server.label({ ...request, ids: [...asked.keys()] });
    const found = moved.map((one) => {
      const id = asked.get(one.from)!;
      return { ...one, asked: id, version: versions.get(id)! };
    });
    for (const { from, to, version } of found) {
      for (const [key, at] of this.#places) if (at === from && key.endsWith(`\n${version}`)) this.#places.set(key, to);
      this.#places.set(keyOf(from, version), to);
      this.#places.delete(keyOf(to, version));
    }
    return found;
  }
}

/** Images that had one label get it back by one request. */
function addTo(steps: Map<string, Step>, { label, kind, split }: StudioImage, id: string, version: string): void {
  const key = JSON.stringify([label, kind, split]);
  const before = { label, ...(kind !== null && { kind }), ...(split !== null && { split }) };
  const step: Step = steps.get(key) ?? { request: { ...before, ids: [] }, versions: new Map() };
  step.request.ids.push(id);
  step.versions.set(id, version);
  steps.set(key, step);
}
