import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, copyFile, mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

import sharp from "sharp";

import { decodeImage, imageSize, loadImage } from "../../lib/images/decode.js";
import { decodeMask } from "../../lib/images/mask.js";
import type { RawImage } from "../../lib/images/source.js";
import { Random } from "../../lib/random.js";
import { failure, temporaryFolder } from "../datasets/files.js";

const grey = (values: ArrayLike<number>, width: number, height = 1) =>
  sharp(Uint8Array.from(values), { raw: { width, height, channels: 1 } }).toColourspace("b-w");
const deep = (values: number[], channels: 1 | 3, width: number) =>
  sharp(Uint16Array.from(values), { raw: { width, height: values.length / channels / width, channels } }).toColourspace(
    channels === 1 ? "grey16" : "rgb16",
  );
const noise = new Random(0);
const noisy = () =>
  sharp(
    Uint8Array.from({ length: 64 * 48 * 3 }, () => noise.integer(256)),
    { raw: { width: 64, height: 48, channels: 3 } },
  );
const values = async (encoded: Buffer): Promise<number[]> => [...(await decodeImage(encoded)).pixels];

test("grey, palette, 16-bit and transparent images become 8-bit RGB", async () => {
  assert.deepEqual(await values(await grey([0, 1, 255], 3).png().toBuffer()), [0, 0, 0, 1, 1, 1, 255, 255, 255]);
  assert.deepEqual(
    await values(await deep([0, 256, 32768, 65535], 1, 4).png().toBuffer()),
    [0, 0, 0, 1, 1, 1, 128, 128, 128, 255, 255, 255],
  );
  assert.deepEqual(await values(await deep([65535, 256, 0], 3, 1).png().toBuffer()), [255, 1, 0]);
  assert.deepEqual(
    await values(await deep([65535, 256, 0], 3, 1).tiff({ compression: "lzw" }).toBuffer()),
    [255, 1, 0],
  );
  const rgb = { raw: { width: 2, height: 1, channels: 3 } } as const;
  assert.deepEqual(
    await values(
      await sharp(Uint8Array.of(255, 0, 0, 1, 2, 3), rgb)
        .png({ palette: true })
        .toBuffer(),
    ),
    [255, 0, 0, 1, 2, 3],
  );
  // Alpha is dropped, not blended: the colour under a transparent pixel comes through.
  const rgba = { raw: { width: 2, height: 1, channels: 4 } } as const;
  assert.deepEqual(
    await values(
      await sharp(Uint8Array.of(200, 100, 50, 0, 9, 8, 7, 128), rgba)
        .png()
        .toBuffer(),
    ),
    [200, 100, 50, 9, 8, 7],
  );
});

test("CMYK is converted to RGB", async () => {
  const image = await decodeImage(
    await sharp({ create: { width: 8, height: 8, channels: 3, background: "#c03020" } })
      .toColourspace("cmyk")
      .jpeg()
      .toBuffer(),
  );
  const [r, g, b] = image.pixels;
  assert.equal(image.pixels.length, 8 * 8 * 3);
  assert.ok(r! > 150 && g! < 80 && b! < 60, `${r} ${g} ${b}`);
});

test("EXIF orientation is applied, by the header too", async (t) => {
  const folder = await temporaryFolder(t);
  const file = path.join(folder, "turned.JPG");
  // A white left half; orientation 6 turns it clockwise, so it becomes the top half.
  const half = await sharp({ create: { width: 32, height: 16, channels: 3, background: "#000" } })
    .composite([{ input: { create: { width: 16, height: 16, channels: 3, background: "#fff" } }, left: 0, top: 0 }])
    .withMetadata({ orientation: 6 })
    .jpeg()
    .toBuffer();
  await writeFile(file, half);
  assert.deepEqual(await imageSize(file), { width: 16, height: 32 });
  const image = await decodeImage(file);
  assert.deepEqual([image.width, image.height], [16, 32]);
  assert.ok(image.pixels[0]! > 240);
  assert.ok(image.pixels[image.pixels.length - 1]! < 15);
});

test("raw pixels are checked, grey and alpha handled", async () => {
  const data = Uint8Array.of(1, 2, 3, 4, 5, 6);
  assert.deepEqual((await decodeImage({ data, width: 2, height: 1, channels: 3 })).pixels, data);
  assert.deepEqual(
    [...(await decodeImage({ data: Uint8Array.of(7, 9), width: 1, height: 2, channels: 1 })).pixels],
    [7, 7, 7, 9, 9, 9],
  );
  assert.deepEqual(
    [...(await decodeImage({ data: Uint8Array.of(1, 2, 3, 0), width: 1, height: 1, channels: 4 })).pixels],
    [1, 2, 3],
  );
  await assert.rejects(
    decodeImage({ data, width: 3, height: 1, channels: 3 }),
    failure("INVALID_OPTION", "3 x 1 x 3 = 9 bytes", "6 bytes"),
  );
  await assert.rejects(decodeImage({ data, width: 0, height: 1, channels: 3 }), failure("INVALID_OPTION", "'width'"));
  await assert.rejects(
    decodeImage({ data, width: 3, height: 1, channels: 2 } as unknown as RawImage),
    failure("INVALID_OPTION", "'channels'"),
  );
  await assert.rejects(
    decodeImage({ data, widht: 2, height: 1, channels: 3 } as unknown as RawImage),
    failure("UNKNOWN_OPTION", "Did you mean 'width'"),
  );
  await assert.rejects(decodeImage(5 as unknown as string), failure("INVALID_OPTION", "number"));
});

test("every truncated format is refused by name", async (t) => {
  const folder = await temporaryFolder(t);
  for (const [name, encoded] of [
    ["a.png", await noisy().png().toBuffer()],
    ["a.jpg", await noisy().jpeg().toBuffer()],
    ["a.tif", await noisy().tiff().toBuffer()],
    ["a.webp", await noisy().webp().toBuffer()],
  ] as const) {
    const file = path.join(folder, name);
    await writeFile(file, encoded);
    assert.equal((await decodeImage(file)).width, 64);
    for (const share of [0.02, 0.5, 0.95]) {
      await writeFile(file, encoded.subarray(0, Math.floor(encoded.length * share)));
      await assert.rejects(decodeImage(file), failure("IMAGE_UNREADABLE", file));
    }
  }
});

test("files that are no images are refused with what is wrong", async (t) => {
  const folder = await temporaryFolder(t);
  const write = async (name: string, content: string | Buffer): Promise<string> => {
    await writeFile(path.join(folder, name), content);
    return path.join(folder, name);
  };
  const text = await write("notes.jpg", "just text");
  await assert.rejects(decodeImage(text), failure("IMAGE_UNREADABLE", text, "PNG, JPEG"));
  await assert.rejects(imageSize(text), failure("IMAGE_UNREADABLE", text));
  await assert.rejects(decodeImage(await write("empty.png", "")), failure("IMAGE_UNREADABLE", "empty.png", "0 bytes"));
  await assert.rejects(
    decodeImage(await write("camera.bmp", Buffer.from("BM..........................."))),
    failure("IMAGE_UNREADABLE", "damaged or truncated", "camera.bmp"),
  );
  await assert.rejects(
    decodeImage(await write("drawing.png", '<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>')),
    failure("IMAGE_UNREADABLE", "svg"),
  );
  await mkdir(path.join(folder, "sub.png"));
  await assert.rejects(decodeImage(path.join(folder, "sub.png")), failure("IMAGE_UNREADABLE", "folder"));
  await assert.rejects(decodeImage(path.join(folder, "none.png")), failure("FILE_NOT_FOUND", "none.png"));
  await assert.rejects(decodeImage(Buffer.alloc(0)), failure("IMAGE_UNREADABLE", "0 bytes"));
  await assert.rejects(decodeImage(Buffer.from("x"), { name: "upload 7" }), failure("IMAGE_UNREADABLE", "upload 7"));
});

test("an image is read up to a number of pixels, and a larger one is not called damaged", async (t) => {
  const folder = await temporaryFolder(t);
  const claiming = async (width: number, height: number): Promise<string> => {
    const jpeg = await sharp({ create: { width: 8, height: 8, channels: 3, background: "#808080" } })
      .jpeg()
      .toBuffer();
    const frame = jpeg.indexOf(Buffer.of(0xff, 0xc0));
    jpeg.writeUInt16BE(height, frame + 5);
    jpeg.writeUInt16BE(width, frame + 7);
    await writeFile(path.join(folder, "scan.jpg"), jpeg);
    return path.join(folder, "scan.jpg");
  };
  assert.deepEqual(await imageSize(await claiming(16384, 32768)), { width: 16384, height: 32768 });
  const file = await claiming(16384, 32769);
  for (const read of [imageSize, decodeImage, decodeMask])
    await assert.rejects(
      read(file),
      failure("IMAGE_UNREADABLE", file, "16384 x 32769 = 536887296 pixels", "At most 536870912", "Cut it"),
    );
});

test("floating-point images are refused, not clipped", async (t) => {
  // sharp writes no float TIFF, so this is one by hand: 1 x 1 grey, 32-bit float.
  const entries = [
    [256, 3, 1],
    [257, 3, 1],
    [258, 3, 32],
    [259, 3, 1],
    [262, 3, 1],
    [273, 4, 200],
    [277, 3, 1],
    [278, 3, 1],
    [279, 4, 4],
    [339, 3, 3],
  ];
  const tiff = Buffer.alloc(204);
  tiff.write("II*\0", "latin1");
  tiff.writeUInt32LE(8, 4);
  tiff.writeUInt16LE(entries.length, 8);
  for (const [i, [tag, type, value]] of entries.entries()) {
    tiff.writeUInt16LE(tag!, 10 + 12 * i);
    tiff.writeUInt16LE(type!, 12 + 12 * i);
    tiff.writeUInt32LE(1, 14 + 12 * i);
    tiff.writeUInt32LE(value!, 18 + 12 * i);
  }
  tiff.writeFloatLE(0.5, 200);
  const file = path.join(await temporaryFolder(t), "depth.tif");
  await writeFile(file, tiff);
  await assert.rejects(decodeImage(file), failure("IMAGE_UNREADABLE", "depth.tif", "float"));
});

test(
  "a file without read permission says so",
  { skip: process.platform === "win32" ? "POSIX permissions" : false },
  async (t) => {
    const folder = await temporaryFolder(t);
    const file = path.join(folder, "secret.png");
    await writeFile(file, await noisy().png().toBuffer());
    await chmod(file, 0o000);
    await chmod(folder, 0o755);
    await chmod(path.dirname(folder), 0o755);
    if (process.getuid?.() !== 0) {
      await assert.rejects(decodeImage(file), failure("NO_PERMISSION", file));
      return;
    }
    // root reads everything: ask as another user, once the modules are loaded. Inside some containers there is no other.
    const readable = path.join(folder, "public.png");
    await copyFile(file, readable);
    await chmod(readable, 0o644);
    const script = `
    const { decodeImage } = require(${JSON.stringify(require.resolve("../../lib/images/decode.js"))});
    require(${JSON.stringify(require.resolve("../../lib/native/engine.js"))}).engine();
    const read = (file) => decodeImage(file).then(() => "read", (error) => error.code + " " + error.message);
    try { process.setuid(65534); } catch (error) { console.log(error.code); process.exit(); }
    read(${JSON.stringify(readable)}).then((other) => read(${JSON.stringify(file)}).then((secret) => console.log(other + ", " + secret)));`;
    const { stdout } = await promisify(execFile)(process.execPath, ["-e", script]);
    const [, other, secret] = /^(.*?), (.*)/.exec(stdout) ?? [];
    if (other !== "read") return t.skip(`root cannot become another user that reads files here: ${stdout.trim()}`);
    assert.match(secret!, /^NO_PERMISSION .*secret\.png/);
  },
);

test("masks: any value counts where nothing is lost, bright ones elsewhere", async () => {
  const mask = async (encoded: Buffer): Promise<number[]> => [...(await decodeMask(encoded)).pixels];
  assert.deepEqual(await mask(await grey([0, 1, 127, 255], 4).png().toBuffer()), [0, 1, 1, 1]);
  assert.deepEqual(await mask(await deep([0, 1, 255, 65535], 1, 4).png().toBuffer()), [0, 1, 1, 1]);
  assert.deepEqual(await mask(await deep([0, 0, 1, 0, 0, 0], 3, 2).png().toBuffer()), [1, 0]);
  const rgb = { raw: { width: 2, height: 1, channels: 3 } } as const;
  assert.deepEqual(
    await mask(
      await sharp(Uint8Array.of(0, 0, 9, 0, 0, 0), rgb)
        .png()
        .toBuffer(),
    ),
    [1, 0],
  );
  const flat = (value: number) => grey(new Uint8Array(64).fill(value), 8, 8).jpeg({ quality: 95 }).toBuffer();
  assert.ok((await mask(await flat(100))).every((value) => value === 0));
  assert.ok((await mask(await flat(200))).every((value) => value === 1));
  await assert.rejects(decodeMask("/nowhere/mask.png"), failure("FILE_NOT_FOUND", "/nowhere/mask.png"));
});

test("an image already at model size is not resized", async () => {
  const data = Uint8Array.from({ length: 4 * 3 * 3 }, (_, i) => i);
  const image = await loadImage({ data, width: 4, height: 3, channels: 3 }, { width: 4, height: 3 });
  assert.deepEqual(image.pixels, data);
  assert.deepEqual([image.sourceWidth, image.sourceHeight], [4, 3]);
});

test("another size goes through the engine's bilinear resize, without anti-aliasing", async () => {
  // Halving a row: output x samples half-way between inputs 2x and 2x+1.
  const data = Uint8Array.of(0, 0, 0, 100, 100, 100, 50, 50, 50, 150, 150, 150);
  const image = await loadImage({ data, width: 4, height: 1, channels: 3 }, { width: 2, height: 1 });
  assert.deepEqual([...image.pixels], [50, 50, 50, 100, 100, 100]);
  assert.deepEqual([image.width, image.height, image.sourceWidth, image.sourceHeight], [2, 1, 4, 1]);
});

test("the caller may use its buffer again at once: raw and encoded", async () => {
  const frame = new Uint8Array(4 * 4 * 3).fill(7);
  const encoded = await sharp(frame, { raw: { width: 4, height: 4, channels: 3 } })
    .png()
    .toBuffer();
  const buffer = Buffer.from(encoded);
  const loads = [
    loadImage({ data: frame, width: 4, height: 4, channels: 3 }, { width: 4, height: 4 }),
    loadImage({ data: frame, width: 4, height: 4, channels: 3 }, { width: 2, height: 2 }),
    loadImage(buffer, { width: 4, height: 4 }),
  ];
  frame.fill(200);
  buffer.fill(0);
  for (const { pixels } of await Promise.all(loads)) assert.ok(pixels.every((value) => value === 7));
});

test("typed arrays of other types are refused by their name", async () => {
  for (const source of [
    new Float32Array(12),
    new Uint8ClampedArray(12),
    new Uint16Array(1e6),
    new DataView(new ArrayBuffer(12)),
  ]) {
    await assert.rejects(
      decodeImage(source as unknown as Uint8Array),
      failure("INVALID_OPTION", source.constructor.name),
    );
  }
});
