import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import sharp from "sharp";

import { datasets } from "../../lib/index.js";
import { renderScene } from "../../lib/datasets/surface.js";
import { type Keeper, openKeeper } from "../../lib/outputs/keep.js";
import { Random } from "../../lib/random.js";
import { failure, temporaryFolder } from "../datasets/files.js";
import { resultOf } from "./support.js";

/** The result of an image that a client has sent. */
const sent = (id: string, changes = {}) => {
  const { path: _, ...result } = resultOf("", { id, ...changes });
  return result;
};

const pictureOf = (seed: number, side = 40) => {
  const { pixels } = renderScene(new Random(seed, "keep"), side, side);
  return sharp(pixels, { raw: { width: side, height: side, channels: 3 } });
};

const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)));

const opened = async (keepDir: string, keepMiB = 16): Promise<Keeper> =>
  (await openKeeper({ keep: ["defect", "near:0.5"], keepDir, keepMiB }))!;

test("images in memory are kept byte for byte, under the ending of what they are, as a data set", async (t) => {
  const keepDir = path.join(await temporaryFolder(t), "kept");
  const keeper = await opened(keepDir);
  const formats = [
    ["png", ".png"],
    ["jpeg", ".jpg"],
    ["webp", ".webp"],
    ["tiff", ".tif"],
    ["gif", ".gif"],
    ["avif", ".avif"],
  ] as const;
  const bytes = new Map<string, Buffer>();
  for (const [i, [format, ending]] of formats.entries()) {
    const image = await pictureOf(i).toFormat(format).toBuffer();
    bytes.set(ending, image);
    assert.equal(await keeper.offer(sent(`part ${i}.dat`), image), true);
  }
  const good = await pictureOf(7).png().toBuffer();
  assert.equal(await keeper.offer(sent("near", { verdict: "good", margin: -0.1 }), good), true);
  await assert.rejects(keeper.offer(sent("x"), Buffer.from("no image")), { code: "IMAGE_UNREADABLE" });
  await keeper.close();
  const kept = filesIn(keepDir).filter((file) => file !== "kept.jsonl");
  const defects = kept.filter((file) => path.dirname(file) === path.join("train", "defect"));
  assert.deepEqual(defects.map((file) => path.extname(file)).sort(), [...bytes.keys()].sort());
  for (const file of defects) assert.deepEqual(readFileSync(path.join(keepDir, file)), bytes.get(path.extname(file)));
  const { samples } = await datasets.open(keepDir);
  assert.deepEqual(
    samples.map(({ label, split }) => `${split} ${label}`),
    [...formats.map(() => "train anomalous"), "train normal"],
  );
});

test("raw pixels become a PNG without loss", async (t) => {
  const keepDir = path.join(await temporaryFolder(t), "kept");
  const keeper = await opened(keepDir);
  for (const channels of [1, 3, 4] as const) {
    const data = Buffer.from(Array.from({ length: 20 * 10 * channels }, (_, i) => (i * 37 + channels) % 256));
    assert.equal(await keeper.offer(sent(`${channels}`), { data, width: 20, height: 10, channels }), true);
    const file = filesIn(keepDir).find((name) => name.includes(`-${channels}-`))!;
    const picture = sharp(path.join(keepDir, file));
    const { format, width, height, channels: found } = await picture.metadata();
    assert.deepEqual([path.extname(file), format, width, height, found], [".png", "png", 20, 10, channels]);
    const read = channels === 1 ? picture.toColourspace("b-w") : picture;
    assert.deepEqual(await read.raw().toBuffer(), data);
  }
  await keeper.close();
});

test("what a client calls its images leads to no other folder and over no other file", async (t) => {
  const root = await temporaryFolder(t);
  const keepDir = path.join(root, "a", "b", "kept");
  const keeper = await opened(keepDir);
  const names = [
    "../../x",
    "..",
    "/etc/passwd",
    "a\\b",
    "x\0.png",
    "C:x",
    "x".repeat(256),
    "../../x.jpg/",
    "CON",
    "\u202e",
  ];
  const images: Buffer[] = [];
  for (const [i, name] of names.entries()) {
    images.push(await pictureOf(i).png().toBuffer());
    assert.equal(await keeper.offer(sent(name), images.at(-1)!), true);
  }
  const before = filesIn(root);
  const below = path.join("a", "b", "kept", "train", "defect");
  assert.equal(before.filter((file) => path.dirname(file) === below).length, names.length);
  assert.equal(before.length, names.length + 1);
  for (const file of before) assert.match(path.basename(file), /^(kept\.jsonl|2026-03-04-[\w.-]+-[0-9a-f]{16}\.png)$/);
  // One name for two images, and one image twice.
  const other = await pictureOf(99).png().toBuffer();
  assert.equal(await keeper.offer(sent("../../x"), other), true);
  assert.equal(await keeper.offer(sent("../../x"), other), true);
  await keeper.close();
  const after = filesIn(root);
  assert.equal(after.length, before.length + 1);
  const bytes = after.filter((file) => file.endsWith(".png")).map((file) => readFileSync(path.join(root, file)));
  for (const image of [...images, other]) assert.ok(bytes.some((one) => one.equals(image)));
});

test("images that come together do not pass the folder's size, and wait within limits", async (t) => {
  const keepDir = path.join(await temporaryFolder(t), "kept");
  const keeper = await opened(keepDir, 1);
  const tiff = (seed: number) => pictureOf(seed, 300).tiff({ compression: "none" }).toBuffer();
  const images = await Promise.all(Array.from({ length: 8 }, (_, i) => tiff(i)));
  const kept = await Promise.all(images.map((image, i) => keeper.offer(sent(`${i}`), image)));
  assert.deepEqual(kept, [true, true, true, false, false, false, false, false]);
  assert.deepEqual(keeper.status(), { kept: 3, full: true });

  const data = Buffer.alloc(40 * 2 ** 20);
  const raw = { data, width: 4096, height: 10240, channels: 1 } as const;
  const first = keeper.offer(sent("first"), raw);
  await assert.rejects(keeper.offer(sent("second"), raw), failure("FILE_ERROR", "faster"));
  assert.equal(await keeper.offer(sent("good", { verdict: "good" }), raw), false);
  assert.equal(await first, true); // of one colour: a small PNG
  await keeper.close();
});

test("a closed keeper has kept what it was offered, and takes no more", async (t) => {
  const keepDir = path.join(await temporaryFolder(t), "kept");
  const keeper = await opened(keepDir);
  const image = await pictureOf(1).png().toBuffer();
  const offered = keeper.offer(sent("a"), image);
  await keeper.close();
  assert.equal(await offered, true);
  assert.equal(readFileSync(path.join(keepDir, "kept.jsonl"), "utf8").split("\n").length, 2);
  assert.equal(await keeper.offer(sent("b"), image), false);
});

test("a full folder takes images again once somebody has made room", async (t) => {
  const keepDir = path.join(await temporaryFolder(t), "kept");
  const keeper = await opened(keepDir, 1);
  const large = (seed: number) => pictureOf(seed, 500).tiff({ compression: "none" }).toBuffer();
  assert.equal(await keeper.offer(sent("a"), await large(1)), true);
  assert.equal(await keeper.offer(sent("b"), await large(2)), false);
  rmSync(path.join(keepDir, "train"), { recursive: true });
  const { now } = performance;
  t.mock.method(performance, "now", () => now.call(performance) + 61_000);
  assert.equal(await keeper.offer(sent("b"), await large(2)), true);
  assert.equal(keeper.status().full, false);
  assert.ok(existsSync(path.join(keepDir, "train", "defect")));
  await keeper.close();
});
