import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";

import sharp from "sharp";

import { decodeImage, imageSize } from "../../lib/images/decode.js";
import { decodeMask } from "../../lib/images/mask.js";
import { failure } from "../datasets/files.js";
import { tiffFile, type TiffOptions } from "./files.js";

const DEFLATE = 8;
/** 64 x 32 grey, in two tiles or strips of 100 and 200. */
const halves = { width: 64, height: 32, tile: [32, 32] } as const;
const half = (value: number): Buffer => Buffer.from(Uint8Array.from({ length: 32 * 32 }, (_, i) => value + (i % 7)));
const plain = [half(100), half(200)];
const deflated = plain.map((segment) => deflateSync(segment));
const tiled = (options: Partial<TiffOptions> = {}): Buffer => tiffFile({ ...halves, segments: plain, ...options });
const refusal = (...parts: string[]) => failure("IMAGE_UNREADABLE", ...parts);
const notDamaged = (error: Error): boolean => !/damaged|truncated/.test(error.message);

/** The image must be refused by every way to read it that needs its pixels, with these words. */
async function refused(file: Buffer, ...parts: string[]): Promise<void> {
  await assert.rejects(decodeImage(file), refusal(...parts));
  await assert.rejects(decodeMask(file), refusal(...parts));
}

test("whole tiled TIFFs are read: plain, Deflate, either byte order, BigTIFF, JPEG inside", async () => {
  for (const file of [
    tiled(),
    tiled({ bigEndian: true }),
    tiled({ compression: DEFLATE, segments: deflated }),
    // libtiff warns of these tags; that is no reason to refuse the pixels.
    tiled({ tags: { 305: "no null at the end", 60000: [7] } }),
  ]) {
    const { pixels } = await decodeImage(file);
    assert.deepEqual([pixels[0], pixels[3 * 63]], [100, 200 + (31 % 7)]);
  }
  const noisy = sharp(
    Uint8Array.from({ length: 80 * 50 * 3 }, (_, i) => (i * 37) % 256),
    {
      raw: { width: 80, height: 50, channels: 3 },
    },
  );
  const expected = await noisy.clone().raw().toBuffer();
  for (const compression of ["none", "lzw", "deflate", "packbits"] as const) {
    const options = { compression, tile: true, tileWidth: 32, tileHeight: 32 };
    for (const bigtiff of [false, true]) {
      const { pixels } = await decodeImage(
        await noisy
          .clone()
          .tiff({ ...options, bigtiff })
          .toBuffer(),
      );
      assert.ok(expected.equals(pixels), `${compression} ${bigtiff}`);
    }
  }
  const jpeg = { compression: "jpeg", tile: true, tileWidth: 32, tileHeight: 32 } as const;
  assert.equal((await decodeImage(await noisy.clone().tiff(jpeg).toBuffer())).width, 80);
});

test("compressions that are not built in are named, in tiles and in strips", async () => {
  for (const [compression, name] of [
    [50000, "ZSTD"],
    [34925, "LZMA"],
    [34887, "LERC"],
    [34712, "JPEG 2000"],
  ] as const) {
    for (const tile of [[32, 32], undefined] as const) {
      const file = tiled({ compression, tile, segments: deflated });
      await refused(file, `its compression is ${name}, which is not read`, "Save it with");
      await assert.rejects(imageSize(file), refusal(name));
      await assert.rejects(decodeImage(file), notDamaged);
    }
  }
  // One that no list knows.
  await refused(tiled({ compression: 40000 }), "40000");
});

test("a tiled TIFF that was cut short is refused, however little is missing", async () => {
  const deep = Buffer.concat([half(1), half(2)]);
  for (const file of [
    tiled(),
    tiled({ bigEndian: true }),
    tiled({ compression: DEFLATE, segments: deflated }),
    tiled({ bits: [16], segments: [deep, deep] }),
    tiled({ bits: [16], compression: DEFLATE, segments: [deflateSync(deep), deflateSync(deep)] }),
  ]) {
    assert.equal((await decodeImage(file)).width, 64);
    for (const missing of [1, 12])
      await refused(file.subarray(0, file.length - missing), "tile 2 of 2 ends at byte", "truncated");
  }
  await refused(tiled({ segments: [plain[0]!, Buffer.alloc(0)] }), "tile 2 of 2 is missing");
  await refused(tiled({ segments: [plain[0]!] }), "2 tiles, but a list of only 1");
  // Preallocated, and never written.
  const jpeg = await sharp(plain[0]!, { raw: { width: 32, height: 32, channels: 1 } })
    .toColourspace("b-w")
    .jpeg()
    .toBuffer();
  const whole = tiled({ compression: 7, segments: [jpeg, jpeg] });
  assert.equal((await decodeImage(whole)).width, 64);
  whole.fill(0, whole.length - 50);
  await refused(whole, "tile 2 of 2 is no whole JPEG image");
});

test("a damaged tile is an error, not black", async () => {
  for (const place of [0, 1]) {
    const segments = deflated.map((segment) => Buffer.from(segment));
    const damaged = segments[place]!;
    for (let i = Math.floor(damaged.length / 3); i < damaged.length; i++) damaged[i]! ^= 0x5a;
    await refused(tiled({ compression: DEFLATE, segments }), "damaged");
    await refused(tiled({ compression: DEFLATE, segments, tile: undefined }), "damaged");
  }
});

test("valid TIFFs of kinds that are not read are told what to become, and are not called damaged", async () => {
  const rgb = { width: 32, height: 16, bits: [8, 8, 8], segments: [Buffer.alloc(32 * 16 * 3, 90)] };
  const planes = [1, 2, 3].map((value) => Buffer.alloc(16 * 16, value));
  for (const [file, ...parts] of [
    [
      tiffFile({ width: 32, height: 16, bits: [12], segments: [Buffer.alloc((32 * 16 * 3) / 2, 9)] }),
      "packed with 12 bits",
      "Unpack",
    ],
    [tiffFile({ ...rgb, photometric: 8 }), "CIELAB", "Convert it to grey or RGB"],
    [tiffFile({ ...rgb, photometric: 6, tags: { 530: [1, 1] } }), "YCbCr without subsampling", "Convert it"],
    [
      tiffFile({
        width: 16,
        height: 16,
        bits: [8, 8, 8],
        photometric: 2,
        tile: [16, 16],
        segments: planes,
        tags: { 284: [2] },
      }),
      "a plane for each channel",
      "interleaved",
    ],
    [
      tiffFile({
        width: 32,
        height: 16,
        bits: [16, 16, 16, 16],
        photometric: 5,
        segments: [Buffer.alloc(32 * 16 * 8, 9)],
      }),
      "CMYK with 16 bits",
      "Convert it",
    ],
  ] as const) {
    await refused(file, "which is not read", ...parts);
    await assert.rejects(imageSize(file), refusal(...parts));
    await assert.rejects(decodeImage(file), notDamaged);
  }
});

test("YCbCr with subsampled colours is converted", async () => {
  // Blocks of 2 x 2: four Y, one Cb, one Cr.
  const blocks = Buffer.concat(Array.from({ length: 8 * 4 }, () => Buffer.of(150, 150, 150, 150, 90, 200)));
  const file = tiffFile({
    width: 16,
    height: 8,
    bits: [8, 8, 8],
    photometric: 6,
    segments: [blocks],
    tags: { 530: [2, 2] },
  });
  const { pixels, uniform } = await decodeImage(file);
  assert.deepEqual([...pixels.subarray(0, 3), uniform], [251, 112, 83, true]);
});

test("directories that lie are errors, whatever number is wrong", async () => {
  const good = tiled({ compression: DEFLATE, segments: deflated });
  const directory = 10;
  const entries = good.readUInt16LE(8);
  for (let i = 0; i < entries; i++) {
    for (const value of [0, 0x7fffffff, 0xffffffff]) {
      for (const field of [4, 8]) {
        const file = Buffer.from(good);
        file.writeUInt32LE(value, directory + 12 * i + field);
        try {
          await decodeImage(file);
        } catch (error) {
          assert.ok(refusal()(error));
        }
      }
    }
  }
  for (const length of [4, 8, 9, 12, 40]) await refused(good.subarray(0, length), "Cannot read image");
});

test("tags that claim numbers without end are refused at once, in few words", async () => {
  // BitsPerSample as bytes, as many as there are in the file.
  const file = tiled({ tags: { 305: "x".repeat(300_000) } });
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const entries = view.getUint16(8, true);
  for (let i = 0; i < entries; i++) {
    const at = 10 + 12 * i;
    if (view.getUint16(at, true) !== 258) continue;
    view.setUint16(at + 2, 1, true);
    view.setUint32(at + 4, file.length - 8, true);
    view.setUint32(at + 8, 8, true);
  }
  await assert.rejects(decodeImage(file), (error: Error) => {
    assert.match(error.message, /it claims 30\d{4} channels/);
    return error.message.length < 300;
  });
});

test("strips are checked as tiles are: places, and whole JPEG images", async () => {
  const strips = (options: Partial<TiffOptions> = {}): Buffer =>
    tiffFile({ width: 32, height: 64, segments: plain, ...options });
  assert.equal((await decodeImage(strips())).height, 64);
  await refused(strips({ segments: [plain[0]!, Buffer.alloc(0)] }), "strip 2 of 2 is missing");
  const whole = strips();
  await refused(whole.subarray(0, whole.length - 1), "strip 2 of 2 ends at byte", "truncated");
  const jpeg = await sharp(plain[0]!, { raw: { width: 32, height: 32, channels: 1 } })
    .toColourspace("b-w")
    .jpeg()
    .toBuffer();
  assert.equal((await decodeImage(strips({ compression: 7, segments: [jpeg, jpeg] }))).height, 64);
  const cut = Buffer.from(jpeg);
  cut.fill(0, cut.length >> 1);
  await refused(strips({ compression: 7, segments: [jpeg, cut] }), "strip 2 of 2 is no whole JPEG image");
});
