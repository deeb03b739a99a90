import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

import sharp from "sharp";

import { decodeImage } from "../../lib/images/decode.js";
import { type ImageSource, pathOfSource } from "../../lib/images/source.js";
import { failure, temporaryFolder } from "../datasets/files.js";

const pixels = Uint8Array.of(1, 2, 3, 250, 251, 252);
const image = () => sharp(pixels, { raw: { width: 2, height: 1, channels: 3 } }).png();

test("file: URLs, ArrayBuffers and Blobs are images as paths and buffers are", async (t) => {
  const file = path.join(await temporaryFolder(t), "a part #1.png");
  const bytes = new Uint8Array(await image().toBuffer());
  await writeFile(file, bytes);
  for (const source of [pathToFileURL(file), bytes.buffer, new Blob([bytes])] satisfies ImageSource[])
    assert.deepEqual([...(await decodeImage(source)).pixels], [...pixels]);
  assert.equal(pathOfSource(pathToFileURL(file)), file);
  assert.equal(pathOfSource(bytes.buffer), undefined);
  await assert.rejects(
    decodeImage(pathToFileURL(path.join(file, "..", "none.png"))),
    failure("FILE_NOT_FOUND", "none.png"),
  );
});

test("an ArrayBuffer may be used again at once", async () => {
  const buffer = new Uint8Array(await image().toBuffer()).buffer;
  const decoding = decodeImage(buffer);
  new Uint8Array(buffer).fill(0);
  assert.deepEqual([...(await decoding).pixels], [...pixels]);
});

test("what is taken for an image and is none is refused by its name", async () => {
  const refused = (source: unknown, ...parts: string[]): Promise<void> =>
    assert.rejects(decodeImage(source as ImageSource), failure("INVALID_OPTION", ...parts));
  await refused(image(), "a sharp object", "toBuffer()");
  await refused(Promise.resolve(pixels), "a Promise", "Await it");
  await refused(new URL("https://user:secret@example.com/a.png"), "the URL https://example.com", "Fetch it");
  await refused(new URL("data:image/png;base64,AAAA"), "a data: URL", "Fetch it");
  await assert.rejects(decodeImage(new URL("file:///a%00b.png")), failure("INVALID_OPTION"));
  await assert.rejects(
    decodeImage({ [Symbol.toStringTag]: "Blob" } as unknown as ImageSource),
    failure("INVALID_OPTION"),
  );
  await refused([pixels], "a list");
  await refused(new Map(), "an object of class Map");
  await refused(new Uint16Array(4), "Uint16Array");
  await refused(null, "null");
  await refused(() => pixels, "function");
  await refused({ width: 2, height: 1, channels: 3 }, "'data'");
  await refused({}, "'width'");
});
