import assert from "node:assert/strict";
import { chmod, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";

import sharp from "sharp";

import { maskCache, maskOf } from "../../../lib/datasets/annotations/mask_files.js";
import { type Shape } from "../../../lib/datasets/annotations/shapes.js";
import { failure } from "../files.js";
import { project } from "./support.js";

const square = (x: number): Shape => ({ label: "a", polygons: [[[x, 1], [x + 3, 1], [x + 3, 4]]] }); // prettier-ignore
const size = { width: 12, height: 8 };

test("many at once make one whole file; other shapes and sizes make others; what is there is used", async (t) => {
  await project(t, [], {});
  const files = await Promise.all(Array.from({ length: 12 }, () => maskOf([square(2)], size, "/photos/part 7.png")));
  assert.equal(new Set(files).size, 1);
  const [file] = files;
  assert.match(path.relative(maskCache(), file!), /^[0-9a-f]{16}.part 7_mask\.png$/);
  assert.deepEqual(await readdir(path.dirname(file!)), ["part 7_mask.png"]);
  const { width, height, channels } = await sharp(file!).metadata();
  assert.deepEqual([width, height, channels], [12, 8, 1]);
  assert.deepEqual([...new Set(await sharp(file!).raw().toBuffer())].sort(), [0, 255]);

  const others = await Promise.all([
    maskOf([square(3)], size, "part 7.png"),
    maskOf([square(2), square(3)], size, "part 7.png"),
    maskOf([square(2)], { width: 8, height: 12 }, "part 7.png"),
  ]);
  assert.equal(new Set([file, ...others]).size, 4);

  await writeFile(file!, "marker");
  assert.equal(await maskOf([{ ...square(2), label: "b" }], size, "part 7.png"), file);
  assert.equal(await readFile(file!, "utf8"), "marker");
  assert.equal(await maskOf([square(20)], size, "part 7.png"), undefined);
});

test(
  "a cache folder that cannot be written",
  { skip: process.getuid?.() === 0 && "root may write anywhere" },
  async (t) => {
    await project(t, [], {});
    await mkdir(maskCache(), { recursive: true });
    await chmod(maskCache(), 0o500);
    await assert.rejects(maskOf([square(2)], size, "a.png"), failure("NO_PERMISSION", "SUPERSIMPLENET_CACHE"));
  },
);
