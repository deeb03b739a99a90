import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import sharp from "sharp";

import { datasets } from "../../lib/index.js";
import { temporaryFolder, writeMask, writeTree } from "../datasets/files.js";
import { opened } from "./support.js";

/** A mask of the test images' size with one pixel. */
const onePixel = (width = 40, height = 36, at = 5): Promise<Buffer> =>
  sharp(new Uint8Array(width * height).fill(255, at, at + 1), { raw: { width, height, channels: 1 } })
    .toColourspace("b-w")
    .png()
    .toBuffer();

const masksIn = async (folder: string): Promise<string[]> => {
  const { samples, problems = [] } = await datasets.open(path.join(folder, "data"));
  assert.deepEqual(problems, []);
  return samples.flatMap(({ id, mask }) => (mask === undefined ? [] : [`${id} ${path.relative(folder, mask)}`]));
};

test("a mask lies where the command line looks for it, is read back, changed and taken away", async (t) => {
  const folder = await temporaryFolder(t);
  await writeTree(path.join(folder, "data"), [
    "train/good/0.png",
    "train/good/1.png",
    "train/dent/2.png",
    "test/dent/2.png",
  ]);
  const { call, project } = await opened(folder);
  assert.equal((await call("GET", "/mask?id=train/dent/2.png")).status, 204);
  for (const id of ["train/dent/2.png", "test/dent/2.png"]) {
    const stored = await call("PUT", `/mask?id=${id}`, await onePixel());
    assert.equal(stored.status, 200, stored.text);
  }
  const both = [
    "train/dent/2.png data/ground_truth/train/dent/2_mask.png",
    "test/dent/2.png data/ground_truth/test/dent/2_mask.png",
  ];
  assert.deepEqual(await masksIn(folder), both);
  assert.equal((await project()).regime, "full");
  const shown = async () => (await project()).images.find(({ id }) => id === "train/dent/2.png")!;
  const { version, mask } = await shown();

  await call("PUT", "/mask?id=train/dent/2.png", await onePixel(40, 36, 100));
  const file = path.join(folder, "data/ground_truth/train/dent/2_mask.png");
  const pixels = await sharp(readFileSync(file)).extractChannel(0).raw().toBuffer();
  assert.deepEqual([pixels.findIndex((value) => value > 0), pixels.filter((value) => value > 0).length], [100, 1]);
  assert.notEqual((await shown()).mask, mask);
  assert.equal((await shown()).version, version, "the image is the same");

  // What was drawn on a mask that another page has changed is not stored over it.
  const late = await call("PUT", `/mask?id=train/dent/2.png&seen=${mask}`, await onePixel());
  assert.equal(late.status, 409, late.text);
  const now = (await shown()).mask!;
  const { json } = await call("PUT", `/mask?id=train/dent/2.png&seen=${now}`, await onePixel(40, 36, 200));
  assert.equal((json as { mask: string }).mask, (await shown()).mask);

  // An empty one is none: the image keeps its label alone.
  const empty = await sharp(new Uint8Array(40 * 36), { raw: { width: 40, height: 36, channels: 1 } })
    .png()
    .toBuffer();
  await call("PUT", "/mask?id=train/dent/2.png", empty);
  await call("DELETE", "/mask?id=test/dent/2.png");
  assert.deepEqual(await masksIn(folder), []);
  assert.ok(!existsSync(file));
  assert.equal((await project()).regime, "weak");
});

test("images of one name in both splits keep their masks apart, whichever is drawn first", async (t) => {
  for (const order of [
    ["test/dent/2.png", "train/dent/2.png"],
    ["train/dent/2.png", "test/dent/2.png"],
  ]) {
    const folder = await temporaryFolder(t);
    await writeTree(path.join(folder, "data"), ["train/good/0.png", "train/good/1.png", ...order]);
    const { call } = await opened(folder);
    for (const [i, id] of order.entries()) {
      assert.equal((await call("PUT", `/mask?id=${id}`, await onePixel(40, 36, 10 * i))).status, 200);
      assert.deepEqual((await masksIn(folder)).map((line) => line.split(" ")[0]).sort(), order.slice(0, i + 1).sort());
    }
  }
  // Where masks of training images lie beside those of tests, it is refused rather than given to the other one.
  const folder = await temporaryFolder(t);
  const images = ["train/good/0.png", "train/good/1.png", "train/dent/2.png", "train/dent/3.png", "test/dent/3.png"];
  await writeTree(path.join(folder, "data"), images, ["ground_truth/dent/2_mask.png"]);
  const { call } = await opened(folder);
  assert.equal((await call("PUT", "/mask?id=train/dent/3.png", await onePixel())).status, 409);
  assert.deepEqual(await masksIn(folder), ["train/dent/2.png data/ground_truth/dent/2_mask.png"]);
  const jpeg = await sharp(await onePixel())
    .jpeg()
    .toBuffer();
  assert.equal((await call("PUT", "/mask?id=train/dent/2.png", jpeg)).status, 400);
});

test("masks of training images that lie beside those of tests stay theirs", async (t) => {
  const folder = await temporaryFolder(t);
  const images = ["train/good/0.png", "train/good/1.png", "train/dent/2.png", "train/dent/3.png"];
  await writeTree(path.join(folder, "data"), images, ["ground_truth/dent/2_mask.png"]);
  const { call } = await opened(folder);
  await call("PUT", "/mask?id=train/dent/3.png", await onePixel());
  assert.deepEqual(await masksIn(folder), [
    "train/dent/2.png data/ground_truth/dent/2_mask.png",
    "train/dent/3.png data/ground_truth/dent/3_mask.png",
  ]);
});

test("several masks of one image are one here, and a drawing takes their place", async (t) => {
  const folder = await temporaryFolder(t);
  await writeTree(path.join(folder, "data"), ["train/good/0.png", "train/good/1.png", "test/dent/2.png"]);
  mkdirSync(path.join(folder, "data/ground_truth/dent/2"), { recursive: true });
  await writeMask(path.join(folder, "data/ground_truth/dent/2/a.png"), { value: 3 });
  const { call, url } = await opened(folder);
  const shown = Buffer.from(await (await fetch(`${url}/api/v1/mask?id=test/dent/2.png`)).arrayBuffer());
  const pixels = await sharp(shown).extractChannel(0).raw().toBuffer();
  assert.deepEqual([...new Set(pixels)].sort(), [0, 255], "a value of 3 is white for a browser");
  await call("PUT", "/mask?id=test/dent/2.png", await onePixel());
  assert.deepEqual(await masksIn(folder), ["test/dent/2.png data/ground_truth/dent/2_mask.png"]);
});

test("a mask of another size, of a good part, or that is no image is refused", async (t) => {
  const folder = await temporaryFolder(t);
  await writeTree(
    path.join(folder, "data"),
    ["train/good/0.png", "train/good/1.png", "train/dent/2.png"],
    ["ground_truth/dent/2_mask.png"],
  );
  const { call } = await opened(folder);
  const before = await masksIn(folder);
  const { status, json } = await call("PUT", "/mask?id=train/dent/2.png", await onePixel(36, 40));
  assert.equal(status, 400);
  assert.match((json as { error: { message: string } }).error.message, /36 x 40 pixels, the image 40 x 36/);
  assert.equal((await call("PUT", "/mask?id=train/good/0.png", await onePixel())).status, 409);
  assert.equal((await call("PUT", "/mask?id=train/dent/2.png", Buffer.from("x"))).status, 422);
  assert.equal((await call("PUT", "/mask?id=nothing", await onePixel())).status, 404);
  assert.deepEqual(await masksIn(folder), before);
});

test("where masks of both splits lie in one folder, a masked image changes its split with its mask", async (t) => {
  const folder = await temporaryFolder(t);
  const images = ["train/good/0.png", "train/good/1.png", "train/dent/2.png", "test/dent/3.png"];
  const masks = ["ground_truth/dent/2_mask.png", "ground_truth/dent/3_mask.png"];
  await writeTree(path.join(folder, "data"), images, masks);
  const { call } = await opened(folder);
  const swap = async (id: string, split: string): Promise<void> => {
    const { status, text } = await call("POST", "/labels", { ids: [id], label: "defect", split });
    assert.equal(status, 200, text);
  };
  await swap("test/dent/3.png", "train");
  assert.deepEqual(await masksIn(folder), [
    "train/dent/2.png data/ground_truth/dent/2_mask.png",
    "train/dent/3.png data/ground_truth/dent/3_mask.png",
  ]);
  await swap("train/dent/3.png", "test");
  assert.deepEqual(await masksIn(folder), [
    "train/dent/2.png data/ground_truth/dent/2_mask.png",
    "test/dent/3.png data/ground_truth/dent/3_mask.png",
  ]);
});

test("where it is not clear whose a mask is, no drawing settles it without a word", async (t) => {
  const folder = await temporaryFolder(t);
  const images = ["train/good/0.png", "train/good/1.png", "train/dent/3.png", "test/dent/3.png", "train/dent/4.png"];
  await writeTree(path.join(folder, "data"), images, ["ground_truth/dent/3_mask.png"]);
  const { call, project } = await opened(folder);
  assert.match((await project()).problems.join(), /could belong to train\/dent\/3\.png or to the test image/);
  const mask = await onePixel();
  for (const [method, address] of [
    ["PUT", "/mask?id=train/dent/4.png"],
    ["PUT", "/mask?id=train/dent/3.png"],
    ["POST", "/images?name=set/ground_truth/train/dent/4_mask.png"],
  ] as const) {
    const { status, json } = await call(method, address, mask);
    assert.equal(status, 409, address);
    assert.match((json as { error: { message: string } }).error.message, /make an empty folder ground_truth\/train/);
  }
  assert.ok(!existsSync(path.join(folder, "data/ground_truth/train")));
  // What the message says helps.
  mkdirSync(path.join(folder, "data/ground_truth/train"));
  await project();
  assert.equal((await call("PUT", "/mask?id=train/dent/4.png", mask)).status, 200);
  assert.deepEqual(await masksIn(folder), [
    "train/dent/4.png data/ground_truth/train/dent/4_mask.png",
    "test/dent/3.png data/ground_truth/dent/3_mask.png",
  ]);
});
