import assert from "node:assert/strict";
import { test } from "node:test";

import type { LabelRequest, Moved, StudioImage } from "../../lib/studio/types.js";
import { Labeller } from "../../web/studio/data/labeller.js";

/** A project of images by their ids, in which a label is a place. */
function fakeProject(...images: readonly StudioImage[]) {
  const there = new Map(images.map((image) => [image.id, image]));
  const requests: LabelRequest[] = [];
  const failures: Error[] = [];
  const place = ({ label, split, kind }: Pick<StudioImage, "label" | "split" | "kind">, name: string): string =>
    label === null ? `unlabelled/${name}` : `${split}/${label === "good" ? "good" : kind}/${name}`;
  const labeller = new Labeller({
    async label(request) {
      const failure = failures.shift();
      if (failure) throw failure;
      requests.push(request);
      return request.ids.flatMap((id): Moved[] => {
        const image = there.get(id);
        assert.ok(image, `${id} is asked for, and is not there`);
        const { label } = request;
        const split = label && (request.split ?? image.split ?? "train");
        const kind = label === "defect" ? (request.kind ?? image.kind ?? "defect") : null;
        const to = place({ label, split, kind }, id.slice(id.lastIndexOf("/") + 1));
        if (to === id) return [];
        there.delete(id);
        there.set(to, { ...image, id: to, label, split, kind });
        return [{ from: id, to }];
      });
    },
    ids: async () => new Set(there.keys()),
  });
  return { there, requests, failures, labeller, seen: () => [...there.values()] };
}

const image = (id: string, version: string, rest: Partial<StudioImage> = {}): StudioImage => ({
  ...{ id, version, label: null, split: null, kind: null, mask: null },
  ...rest,
});

test("labels that are given before the page knows the new places reach their images, and no others", async () => {
  const [a, b] = [image("unlabelled/a.png", "1"), image("unlabelled/b.png", "2")];
  const { labeller, requests, there } = fakeProject(a, b);
  // Three keys on one image as it was seen first.
  const all = [
    labeller.store([a], [{ ids: [a.id], label: "good" }]),
    labeller.store([a], [{ ids: [a.id], label: "defect", kind: "dent" }]),
    labeller.store([a], [{ ids: [a.id], label: "defect", split: "test" }]),
  ];
  await Promise.all(all);
  assert.deepEqual(
    requests.map(({ ids }) => ids),
    [["unlabelled/a.png"], ["train/good/a.png"], ["train/dent/a.png"]],
  );
  // Another image comes under the first one's name: what is asked of it is not done to the first.
  const other = image("unlabelled/a.png", "9");
  there.set(other.id, other);
  await labeller.store([other], [{ ids: [other.id], label: "good" }]);
  assert.equal(there.get("train/good/a.png")!.version, "9");
  assert.equal(there.get("test/dent/a.png")!.version, "1");
  // Undo goes back over all of it.
  for (let i = 0; i < 4; i++) await labeller.undo();
  assert.equal(labeller.canUndo, false);
  assert.deepEqual([...there.keys()].sort(), ["unlabelled/a.png", "unlabelled/b.png"]);
});

test("many labels are taken back by one request for each label that there was", async () => {
  const images = Array.from({ length: 100 }, (_, i) => image(`unlabelled/${i}.png`, String(i)));
  const defects = Array.from({ length: 10 }, (_, i) =>
    image(`test/dent/d${i}.png`, `d${i}`, { label: "defect", split: "test", kind: "dent" }),
  );
  const { labeller, requests, there } = fakeProject(...images, ...defects);
  const all = [...images, ...defects];
  await labeller.store(all, [{ ids: all.map(({ id }) => id), label: "good", split: "train" }]);
  requests.length = 0;
  await labeller.undo();
  assert.deepEqual(
    requests.map(({ ids, label, kind, split }) => [ids.length, label, kind, split]),
    [
      [100, null, undefined, undefined],
      [10, "defect", "dent", "test"],
    ],
  );
  assert.deepEqual([...there.keys()].sort(), all.map(({ id }) => id).sort());
});

test("an undo that fails can be tried again; an image that was removed does not keep the others", async () => {
  const images = [image("unlabelled/a.png", "1"), image("unlabelled/b.png", "2")];
  const { labeller, failures, there } = fakeProject(...images);
  await labeller.store(images, [{ ids: images.map(({ id }) => id), label: "good" }]);
  failures.push(new Error("no"));
  await assert.rejects(labeller.undo(), /no/);
  assert.equal(labeller.canUndo, true);
  there.delete("train/good/a.png");
  assert.equal(await labeller.undo(), "unlabelled/b.png");
  assert.equal(labeller.canUndo, false);
  assert.deepEqual([...there.keys()], ["unlabelled/b.png"]);

  // Of several requests the one that was stored can be taken back.
  const [b] = [...there.values()];
  failures.push(new Error("no"));
  const first: LabelRequest = { ids: [b!.id], label: "good" };
  await assert.rejects(labeller.store([b!], [first]), /no/);
  assert.equal(labeller.canUndo, false);
});
