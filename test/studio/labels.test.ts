import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  promises,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { mkdir } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";

import sharp from "sharp";

import { datasets } from "../../lib/index.js";
import type { Moved, StudioProject } from "../../lib/studio/types.js";
import { temporaryFolder, writeImage, writeMask, writeTree } from "../datasets/files.js";
import { pngImage } from "../server/support.js";
import { until } from "../support/until.js";
import { listened, opened } from "./support.js";

/** What the command line reads in the project's data: id, label and whether there is a mask. */
async function asRead(folder: string): Promise<string[]> {
  const { samples, problems = [] } = await datasets.open(path.join(folder, "data"));
  assert.deepEqual(problems, []);
  return samples.map(({ id, label, mask }) => `${id} ${label}${mask === undefined ? "" : " mask"}`).sort();
}

test("from an empty folder: images come in, get labels, and lie as the command line reads them", async (t) => {
  const folder = await temporaryFolder(t);
  const { call, project } = await opened(folder);
  const empty = await project();
  assert.deepEqual([empty.images, empty.regime, empty.readOnly], [[], "unsupervised", null]);
  assert.match(empty.advice[0]!, /^Drop images of good parts/);

  for (let i = 0; i < 5; i++) {
    const { json } = await call("POST", `/images?name=part${i}.png`, await pngImage(64, 64, i));
    assert.deepEqual(json, { id: `unlabelled/part${i}.png` });
  }
  // The same image again, also by another name, and another one of its name.
  assert.deepEqual((await call("POST", "/images?name=copy.png", await pngImage(64, 64, 3))).json, { id: null });
  assert.deepEqual((await call("POST", "/images?name=part0.png", await pngImage(64, 64, 0))).json, { id: null });
  const { json: other } = await call("POST", "/images?name=part0.png", await pngImage(64, 64, 9));
  assert.deepEqual(other, { id: "unlabelled/part0-2.png" });

  // The first label of all may be a defect: the data set is one all the same.
  const label = async (ids: string[], rest: object): Promise<Moved[]> => {
    const { status, json } = await call("POST", "/labels", { ids, ...rest });
    assert.equal(status, 200, JSON.stringify(json));
    return (json as { moved: Moved[] }).moved;
  };
  assert.deepEqual(await label(["unlabelled/part0.png"], { label: "defect", kind: "scratch" }), [
    { from: "unlabelled/part0.png", to: "train/scratch/part0.png" },
  ]);
  assert.deepEqual(await asRead(folder), ["train/scratch/part0.png anomalous"]);
  await label(["unlabelled/part1.png", "unlabelled/part2.png"], { label: "good" });
  await label(["unlabelled/part3.png"], { label: "good", split: "test" });
  assert.deepEqual(await asRead(folder), [
    "test/good/part3.png normal",
    "train/good/part1.png normal",
    "train/good/part2.png normal",
    "train/scratch/part0.png anomalous",
  ]);
  const now = await project();
  assert.equal(now.regime, "weak");
  const counts = { unlabelled: 2, trainGood: 2, trainDefect: 1, trainMasks: 0, testGood: 1, testDefect: 0 };
  assert.deepEqual(now.counts, counts);
  assert.deepEqual(now.kinds, ["scratch"]);

  // Another kind, another split, and no label any more.
  await label(["train/scratch/part0.png"], { label: "defect", kind: "dent", split: "test" });
  await label(["train/good/part1.png"], { label: null });
  assert.deepEqual(await asRead(folder), [
    "test/dent/part0.png anomalous",
    "test/good/part3.png normal",
    "train/good/part2.png normal",
  ]);
  assert.ok(existsSync(path.join(folder, "unlabelled", "part1.png")));
});

test("a mask goes with its image, and is kept aside where the image becomes good", async (t) => {
  const folder = await temporaryFolder(t);
  const data = path.join(folder, "data");
  const masks = ["ground_truth/dent/1_mask.png", "ground_truth/train/dent/1_mask.png"];
  await writeTree(
    data,
    ["train/good/0.png", "train/good/1.png", "train/dent/1.png", "test/dent/1.png", "test/good/0.png"],
    masks,
  );
  const before = await asRead(folder);
  assert.deepEqual(
    before.filter((line) => line.endsWith("mask")),
    ["test/dent/1.png anomalous mask", "train/dent/1.png anomalous mask"],
  );
  const { call, project } = await opened(folder);
  const bytes = readFileSync(path.join(data, masks[1]!));
  // The test images have one of its name: it gets another.
  const { json } = await call("POST", "/labels", { ids: ["train/dent/1.png"], label: "defect", split: "test" });
  assert.deepEqual((json as { moved: Moved[] }).moved, [{ from: "train/dent/1.png", to: "test/dent/1-2.png" }]);
  assert.deepEqual(
    (await asRead(folder)).filter((line) => line.endsWith("mask")),
    ["test/dent/1-2.png anomalous mask", "test/dent/1.png anomalous mask"],
  );
  assert.deepEqual(readFileSync(path.join(data, "ground_truth", "dent", "1-2_mask.png")), bytes);

  await call("POST", "/labels", { ids: ["test/dent/1-2.png"], label: "good" });
  assert.ok((await asRead(folder)).includes("test/good/1-2.png normal"));
  const aside = readdirSync(path.join(folder, ".studio", "removed"), { recursive: true, encoding: "utf8" });
  assert.ok(
    aside.some((file) => file.endsWith("1-2_mask.png")),
    aside.join(),
  );
  assert.equal((await project()).problems.length, 0);
});

test("what is removed lies in .studio/removed", async (t) => {
  const folder = await temporaryFolder(t);
  await writeTree(
    path.join(folder, "data"),
    ["train/good/0.png", "train/good/1.png", "train/dent/2.png"],
    ["ground_truth/dent/2_mask.png"],
  );
  const { call } = await opened(folder);
  const { json } = await call("POST", "/removals", { ids: ["train/dent/2.png", "train/good/0.png"] });
  assert.deepEqual(
    (json as StudioProject).images.map(({ id }) => id),
    ["train/good/1.png"],
  );
  const aside = readdirSync(path.join(folder, ".studio", "removed"), { recursive: true, encoding: "utf8" });
  for (const name of ["2.png", "2_mask.png", "0.png"])
    assert.ok(
      aside.some((file) => path.basename(file) === name),
      name,
    );
  assert.deepEqual(await asRead(folder), ["train/good/1.png normal"]);
});

test("a folder that is dropped keeps its labels and masks; names of requests are no paths", async (t) => {
  const folder = await temporaryFolder(t);
  const { call } = await opened(folder);
  const add = async (name: string, seed: number): Promise<string | null> => {
    const { status, json } = await call(
      "POST",
      `/images?name=${encodeURIComponent(name)}`,
      await pngImage(64, 64, seed),
    );
    assert.equal(status, 200, JSON.stringify(json));
    return (json as { id: string | null }).id;
  };
  assert.equal(await add("bottle/train/good/a.png", 1), "train/good/a.png");
  assert.equal(await add("bottle/test/OK/b.png", 2), "test/good/b.png");
  assert.equal(await add("bottle\\train\\crack\\c.png", 3), "train/crack/c.png");
  assert.equal(await add("../../../../etc/train/../x.png", 4), "unlabelled/x.png");
  assert.equal(await add("/absolute/y.png", 5), "unlabelled/y.png");
  assert.equal(await add("no extension", 6), "unlabelled/no extension.png");
  const mask = await sharp(new Uint8Array(64 * 64).fill(255, 100, 300), { raw: { width: 64, height: 64, channels: 1 } })
    .toColourspace("b-w")
    .png()
    .toBuffer();
  const sent = await call("POST", "/images?name=bottle/ground_truth/crack/c_mask.png", mask);
  assert.equal(sent.status, 200, sent.text);
  assert.ok((await asRead(folder)).includes("train/crack/c.png anomalous mask"));
  assert.equal((await call("POST", "/images?name=a.txt", Buffer.from("no image"))).status, 422);
  assert.deepEqual(readdirSync(path.dirname(folder)), ["data"]);
});

test("a mask of a folder that is dropped goes to its own image, and no mask is written over", async (t) => {
  const folder = await temporaryFolder(t);
  const images = ["train/good/a.png", "train/good/b.png", "train/crack/c.png"];
  await writeTree(path.join(folder, "data"), images, ["ground_truth/train/crack/c_mask.png"]);
  const { call } = await opened(folder);
  const add = async (name: string, bytes: Buffer): Promise<number> =>
    (await call("POST", `/images?name=${encodeURIComponent(name)}`, bytes)).status;
  const mask = (at: number): Promise<Buffer> =>
    sharp(new Uint8Array(64 * 64).fill(255, at, at + 50), { raw: { width: 64, height: 64, channels: 1 } })
      .toColourspace("b-w")
      .png()
      .toBuffer();
  const old = readFileSync(path.join(folder, "data/ground_truth/train/crack/c_mask.png"));
  // Another image of that name, with its mask: both get another name.
  assert.equal(await add("other/train/crack/c.png", await pngImage(64, 64, 1)), 200);
  assert.equal(await add("other/ground_truth/crack/c_mask.png", await mask(9)), 200);
  assert.deepEqual(
    (await asRead(folder)).filter((line) => line.includes("crack")),
    ["train/crack/c-2.png anomalous mask", "train/crack/c.png anomalous mask"],
  );
  assert.deepEqual(readFileSync(path.join(folder, "data/ground_truth/train/crack/c-2_mask.png")), await mask(9));
  // The same once more changes nothing, and another mask of that image is refused.
  assert.equal(await add("other/ground_truth/crack/c_mask.png", await mask(9)), 200);
  assert.equal(await add("other/ground_truth/crack/c_mask.png", await mask(70)), 409);
  assert.equal(await add("third/ground_truth/train/crack/c_mask.png", await mask(70)), 409);
  assert.deepEqual(readFileSync(path.join(folder, "data/ground_truth/train/crack/c_mask.png")), old);
  assert.deepEqual(readFileSync(path.join(folder, "data/ground_truth/train/crack/c-2_mask.png")), await mask(9));
});

test("a mask comes back with the label, names stay, and folders are those that are there", async (t) => {
  const folder = await temporaryFolder(t);
  const data = path.join(folder, "data");
  await writeTree(data, ["Train/Good/0.png", "Train/Good/1.png", "Train/Dent/2.png"], ["Ground_Truth/Dent/2_mask.png"]);
  const { call } = await opened(folder);
  const label = async (id: string, rest: object): Promise<string> => {
    const { status, json } = await call("POST", "/labels", { ids: [id], ...rest });
    assert.equal(status, 200, JSON.stringify(json));
    return (json as { moved: Moved[] }).moved[0]?.to ?? id;
  };
  const before = await asRead(folder);
  const good = await label("Train/Dent/2.png", { label: "good" });
  assert.equal(good, "Train/Good/2.png");
  assert.equal(await label(good, { label: "defect", kind: "dent" }), "Train/Dent/2.png");
  assert.deepEqual(await asRead(folder), before);
  let id = "Train/Dent/2.png";
  for (let i = 0; i < 4; i++) id = await label(id, { label: "defect", split: i % 2 === 0 ? "test" : "train" });
  assert.equal(id, "Train/Dent/2.png");
  assert.deepEqual(await asRead(folder), before);
  assert.equal(await label(id, { label: "defect", kind: "DENT" }), id, "the same kind, in another case");

  // A mask that is nobody's is not taken, and a link leads where it led.
  await writeTree(folder, ["raw/x.png"], ["data/Ground_Truth/Dent/x_mask.png"]);
  mkdirSync(path.join(folder, "unlabelled"));
  symlinkSync("../raw/x.png", path.join(folder, "unlabelled", "x.png"));
  await call("GET", "/project");
  assert.equal(await label("unlabelled/x.png", { label: "defect", kind: "dent" }), "Train/Dent/x-2.png");
  assert.ok(statSync(path.join(data, "Train/Dent/x-2.png")).isFile());
});

test("masks that lie elsewhere stay in use: a drawing that would hide them is refused", async (t) => {
  const folder = await temporaryFolder(t);
  const images = ["train/good/0.png", "train/good/1.png", "train/scratch/a.png", "train/scratch/b.png"];
  await writeTree(path.join(folder, "data"), images, ["masks/scratch/a.png"]);
  const { call } = await opened(folder);
  const before = await asRead(folder);
  assert.ok(before.includes("train/scratch/a.png anomalous mask"));
  const mask = readFileSync(path.join(folder, "data/masks/scratch/a.png"));
  assert.equal((await call("PUT", "/mask?id=train/scratch/b.png", mask)).status, 409);
  assert.deepEqual(await asRead(folder), before);
});

test("kinds that would be read as something else, unknown images and wrong requests change nothing", async (t) => {
  const folder = await temporaryFolder(t);
  await writeTree(path.join(folder, "data"), ["train/good/0.png", "train/good/1.png"]);
  const { call } = await opened(folder);
  const before = await asRead(folder);
  for (const kind of [
    "good",
    "OK",
    "masks",
    "train",
    "../x",
    "a/b",
    ".hidden",
    "",
    "x".repeat(65),
    "a ",
    "crack_mask",
  ]) {
    const { status } = await call("POST", "/labels", { ids: ["train/good/0.png"], label: "defect", kind });
    assert.equal(status, 400, kind);
  }
  assert.equal((await call("POST", "/labels", { ids: ["train/good/../good/0.png"], label: "good" })).status, 404);
  for (const body of [
    {},
    { ids: [], label: "good" },
    { ids: ["train/good/0.png"], label: "bad" },
    { ids: "x", label: "good" },
    null,
  ])
    assert.equal((await call("POST", "/labels", body)).status, 400, JSON.stringify(body));
  assert.equal((await call("GET", "/image?id=../../etc/passwd")).status, 404);
  assert.equal((await call("GET", "/thumbnail?id=")).status, 400);
  assert.deepEqual(await asRead(folder), before);
});

test("a data set of another kind can be looked at, and its labels stay", async (t) => {
  const folder = await temporaryFolder(t);
  const data = path.join(folder, "data");
  await writeTree(data, ["images/0.png", "images/1.png"]);
  writeFileSync(path.join(data, "samples.csv"), "image,label,split\nimages/0.png,good,train\nimages/1.png,bad,test\n");
  const { call, project } = await opened(folder);
  const { readOnly, images } = await project();
  assert.match(readOnly!, /'manifest'/);
  assert.deepEqual(
    images.map(({ id, label, split }) => [id, label, split]),
    [
      ["images/0.png", "good", "train"],
      ["images/1.png", "defect", "test"],
    ],
  );
  const { status, json } = await call("POST", "/labels", { ids: ["images/0.png"], label: "defect" });
  assert.deepEqual([status, (json as { error: { code: string } }).error.code], [409, "CONFLICT"]);
  assert.ok(existsSync(path.join(data, "images", "0.png")));
});

test("a folder that is a data set itself is refused, or given by itself", async (t) => {
  const folder = await temporaryFolder(t);
  await writeTree(folder, ["train/good/0.png", "train/good/1.png"]);
  await assert.rejects(opened(folder), /is a data set itself/);
  const other = path.join(folder, "..", "project");
  await mkdir(other);
  const { project } = await opened(other, { data: folder });
  assert.equal((await project()).counts.trainGood, 2);
});

test("what changed outside the studio is seen when the page asks", async (t) => {
  const folder = await temporaryFolder(t);
  const data = path.join(folder, "data");
  await writeTree(data, ["train/good/0.png", "train/good/1.png"]);
  const { call, project } = await opened(folder);
  await writeTree(data, ["train/new/0.png"]);
  assert.deepEqual((await project()).kinds, ["new"]);
  const { json } = await call("POST", "/validation");
  assert.deepEqual((json as { problems: string[] }).problems, []);
  writeFileSync(path.join(data, "train", "good", "1.png"), "broken");
  const { json: broken } = await call("POST", "/validation");
  assert.match((broken as { problems: string[] }).problems.join(), /good\/1\.png/);
});

/** Images of one size in bytes, as the cameras of a line write them. */
function bitmap(seed: number, side = 16): Buffer {
  const bytes = Buffer.alloc(54 + side * side * 3, 90);
  bytes.write("BM");
  for (const [at, value] of [
    [2, bytes.length],
    [10, 54],
    [14, 40],
    [18, side],
    [22, side],
    [34, side * side * 3],
  ] as const)
    bytes.writeUInt32LE(value, at);
  bytes.fill(0, 46, 54);
  bytes.fill(0, 30, 34);
  bytes.writeUInt16LE(1, 26);
  bytes.writeUInt16LE(24, 28);
  bytes.writeUInt32LE(seed, 54);
  return bytes;
}

test("an import reads each image once, looks at the folder seldom, and is told in few events", async (t) => {
  const folder = await temporaryFolder(t);
  const { call, project, url } = await opened(folder);
  const { events, heard } = listened(t, url);
  await heard(({ event }) => event === "runs");
  const reads = new Map<string, number>();
  const { open, readdir } = promises;
  let listings = 0;
  t.mock.method(promises, "open", (async (file, flags, mode) => {
    if (String(file).endsWith(".bmp")) reads.set(String(file), (reads.get(String(file)) ?? 0) + 1);
    return open(file, flags, mode);
  }) satisfies typeof open);
  t.mock.method(promises, "readdir", ((file: string, ...rest: []) => {
    if (file === path.join(folder, "unlabelled")) listings++;
    return readdir(file, ...rest);
  }) as typeof readdir);
  const count = 30;
  const send = (i: number, name: string) => call("POST", `/images?name=${name}.bmp`, bitmap(i));
  const told = () => events.filter(({ event }) => event === "project").length;
  const answers = await Promise.all(
    Array.from({ length: count }, (_, i) => [send(i, `a${i}`), send(i, `again${i}`)]).flat(),
  );
  const added = answers.filter(({ json }) => (json as { id: string | null }).id !== null);
  assert.equal(added.length, count, "each once, also of those that come at the same time");
  assert.equal(reads.size, count - 1 + 1);
  assert.deepEqual([...new Set(reads.values())], [1]);
  assert.ok(listings <= 2 * count, `the folder was listed ${listings} times`);
  assert.ok(told() < count, `${told()} events`);
  // The last change is told too, and what was kept beside the folder is what lies in it.
  const before = told();
  await send(count, "last");
  await until(() => told() > before);
  const ids = (await project()).images.map(({ id }) => id);
  assert.deepEqual(
    [...ids].sort(),
    readdirSync(path.join(folder, "unlabelled"))
      .map((name) => `unlabelled/${name}`)
      .sort(),
  );
});

test("a folder that is dropped is known at once: labels, masks, and what a training would learn from", async (t) => {
  const folder = await temporaryFolder(t);
  const { call, project, studio } = await opened(folder);
  const add = async (name: string, bytes: Buffer): Promise<void> => {
    const { status, text } = await call("POST", `/images?name=${encodeURIComponent(name)}`, bytes);
    assert.equal(status, 200, text);
  };
  for (const [i, name] of ["train/good/a", "train/good/b", "train/crack/c", "test/crack/d", "test/good/e"].entries())
    await add(`bottle/${name}.png`, await pngImage(40, 36, i));
  const source = path.join(folder, "..", "masks");
  for (const name of ["c", "d"]) {
    await writeMask(path.join(source, `${name}.png`));
    await add(`bottle/ground_truth/crack/${name}_mask.png`, readFileSync(path.join(source, `${name}.png`)));
  }
  // Without a look between: labels of what has just come.
  const { status } = await call("POST", "/labels", { ids: ["test/crack/d.png"], label: "defect", split: "train" });
  assert.equal(status, 200);
  const now = await project();
  assert.deepEqual(now.counts, {
    unlabelled: 0,
    trainGood: 2,
    trainDefect: 2,
    trainMasks: 2,
    testGood: 1,
    testDefect: 0,
  });
  await studio.close();
  assert.deepEqual(await (await opened(folder)).project(), now);
});

test("an image that a request names twice is labelled once", async (t) => {
  const folder = await temporaryFolder(t);
  await writeTree(path.join(folder, "data"), ["train/good/0.png", "train/good/1.png", "train/good/2.png"]);
  const { call } = await opened(folder);
  const { status, json } = await call("POST", "/labels", { ids: Array(2).fill("train/good/0.png"), label: "defect" });
  assert.equal(status, 200);
  assert.equal((json as { moved: Moved[] }).moved.length, 1);
  assert.equal((await call("POST", "/removals", { ids: Array(2).fill("train/good/1.png") })).status, 200);
});

test("a kind that the data set has is a name, whatever its name; a label comes back to it when it is empty", async (t) => {
  const folder = await temporaryFolder(t);
  await writeTree(path.join(folder, "data"), ["train/good/0.png", "train/good/1.png", "train/#1 (left)/2.png"]);
  const { call } = await opened(folder);
  const label = async (id: string, rest: object) => {
    const { status, json, text } = await call("POST", "/labels", { ids: [id], ...rest });
    assert.equal(status, 200, text);
    return (json as { moved: Moved[] }).moved[0]!.to;
  };
  const good = await label("train/#1 (left)/2.png", { label: "good" });
  assert.equal(await label(good, { label: "defect", kind: "#1 (left)" }), "train/#1 (left)/2.png");
  assert.equal(await label("train/good/0.png", { label: "defect", kind: "#1 (left)" }), "train/#1 (left)/0.png");
  for (const kind of ["#2", "../#1 (left)", "good"])
    assert.equal((await call("POST", "/labels", { ids: ["train/good/1.png"], label: "defect", kind })).status, 400);
});

const otherDisk = "/dev/shm";
const hasOtherDisk = existsSync(otherDisk) && statSync(otherDisk).dev !== statSync(os.tmpdir()).dev;

test(
  "data on another disk: a folder of masks goes aside and comes back whole",
  { skip: !hasOtherDisk && `${otherDisk} is not another disk than ${os.tmpdir()}` },
  async (t) => {
    const data = mkdtempSync(path.join(otherDisk, "supersimplenet-test-"));
    t.after(() => rmSync(data, { recursive: true, force: true }));
    await writeTree(data, ["train/good/0.png", "train/good/1.png", "test/dent/2.png"]);
    const masks = path.join(data, "ground_truth/dent/2");
    for (const name of ["a.png", "b.png"]) await writeMask(path.join(masks, name));
    const folder = await temporaryFolder(t);
    const { call, project } = await opened(folder, { data });
    const label = async (id: string, rest: object): Promise<void> => {
      const { status, text } = await call("POST", "/labels", { ids: [id], ...rest });
      assert.equal(status, 200, text);
    };
    await label("test/dent/2.png", { label: "good" });
    assert.ok(!existsSync(masks));
    const [stamp] = readdirSync(path.join(folder, ".studio/removed"));
    assert.deepEqual(readdirSync(path.join(folder, ".studio/removed", stamp!, "2")).sort(), ["a.png", "b.png"]);
    await label("test/good/2.png", { label: "defect", kind: "dent" });
    assert.deepEqual(readdirSync(masks).sort(), ["a.png", "b.png"]);
    await label("test/dent/2.png", { label: null });
    await writeImage(path.join(folder, "unlabelled/3.png"));
    await project();
    await label("unlabelled/2.png", { label: "defect", kind: "dent" });
    await label("unlabelled/3.png", { label: "good" });
    assert.deepEqual((await project()).images.map(({ id, mask }) => `${id}${mask === null ? "" : " mask"}`).sort(), [
      "train/dent/2.png mask",
      "train/good/0.png",
      "train/good/1.png",
      "train/good/3.png",
    ]);
  },
);

test("what is wrong in a request is said in words", async (t) => {
  const { call } = await opened(await temporaryFolder(t));
  for (const [method, address, body, wanted] of [
    ["POST", "/labels", { ids: "x", label: "good" }, /^'ids' of the request/],
    ["POST", "/labels", { ids: ["x"], label: "bad" }, /^'label' of the request/],
    ["POST", "/labels", null, /^The request /],
    ["PUT", "/runs/x/threshold", { value: "1" }, /^'value' of the request/],
    ["POST", "/runs", { name: "a/b", flags: {} }, /^The name of a run has letters/],
    ["GET", "/runs/-", undefined, /^The name of a run has letters/],
  ] as const) {
    const { status, json } = await call(method, address, body);
    const { code, message } = (json as { error: { code: string; message: string } }).error;
    assert.deepEqual([status, code], [400, "BAD_REQUEST"], message);
    assert.match(message, wanted);
    assert.doesNotMatch(message, /Invalid|expected|received|undefined/);
  }
});
