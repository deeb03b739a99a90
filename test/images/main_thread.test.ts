import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { Session } from "node:inspector/promises";
import path from "node:path";
import { after, before, test } from "node:test";

import sharp from "sharp";

import { backboneFrom, tensorsSha256 } from "../../lib/backbones/check.js";
import { writeTensors } from "../../lib/files/tensors.js";
import { decodeImage } from "../../lib/images/decode.js";
import { sha256 } from "../../lib/images/identity.js";
import { decodeMask } from "../../lib/images/mask.js";
import { type DetectorOptions, Detector, type Model } from "../../lib/index.js";
import type { TensorMap } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { sendTensors } from "../../lib/native/send.js";
import { heatPixels } from "../../lib/report/colours.js";
import { bmpFile } from "./files.js";
import { scratchFolder, smallDataset, train } from "../training/support.js";

/**
 * JavaScript's thread must not pass over large images: counted, not timed. No statement of the library may run as often
 * as an image has pixels, and no more bytes may be copied than the caller's own.
 */
const [width, height] = [1500, 1000];
const pixels = width * height;
/** Of one statement. Loops at the model's size, 64 x 64, stay below. */
const mostRuns = pixels / 50;

const folder = scratchFolder();
const at = (name: string): string => path.join(folder, name);
let model: Model;
before(async () => {
  model = await train(await smallDataset(folder), { epochs: 1, imageSize: [64, 64] });
});

const session = new Session();
session.connect();
after(() => session.disconnect());

/** How often the busiest statement of the library runs in `body`, and where it stands. */
async function busiest(body: () => Promise<unknown>): Promise<{ runs: number; where: string }> {
  await session.post("Profiler.enable");
  await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  try {
    await body();
    const { result } = await session.post("Profiler.takePreciseCoverage");
    let most = { runs: 0, where: "" };
    for (const { url, functions } of result.filter((script) => script.url.includes("/dist/lib/")))
      for (const { functionName, ranges } of functions)
        for (const { count } of ranges)
          if (count > most.runs) most = { runs: count, where: `${functionName} in ${path.basename(url)}` };
    return most;
  } finally {
    await session.post("Profiler.disable");
  }
}

/** Bytes that JavaScript copies from one array into another in `body`. */
async function copiedBytes(body: () => Promise<unknown>): Promise<number> {
  let bytes = 0;
  const plain = globalThis.Uint8Array;
  const { set, slice } = plain.prototype;
  class Counting extends plain {
    constructor(...given: [number]) {
      super(...given);
      const from: unknown = given[0];
      if (ArrayBuffer.isView(from)) bytes += from.byteLength;
    }
  }
  plain.prototype.set = function (source, offset) {
    bytes += source.length;
    return set.call(this, source, offset);
  };
  plain.prototype.slice = function (start, end) {
    const part = slice.call(this, start, end);
    bytes += part.length;
    return part;
  };
  globalThis.Uint8Array = Counting as typeof Uint8Array;
  try {
    await body();
    return bytes;
  } finally {
    globalThis.Uint8Array = plain;
    Object.assign(plain.prototype, { set, slice });
  }
}

async function staysAway(body: () => Promise<unknown>, ownBytes = 0): Promise<void> {
  await body(); // what the first call loads is not about pixels
  const { runs, where } = await busiest(body);
  assert.ok(runs > 0 && runs < mostRuns, `${where} runs ${runs} times for ${pixels} pixels`);
  const copied = await copiedBytes(body);
  assert.ok(
    copied >= ownBytes && copied < ownBytes + mostRuns,
    `${copied} bytes are copied, the caller's are ${ownBytes}`,
  );
}

test("the counters count: a loop over the pixels and a copy of them are found", async () => {
  const map = new Float32Array(pixels);
  const { runs, where } = await busiest(async () => heatPixels(map, { low: 0, high: 1 }));
  assert.ok(runs >= pixels, `${where}: ${runs}`);
  const data = new Uint8Array(pixels);
  assert.equal(await copiedBytes(async () => new Uint8Array(data)), pixels);
  assert.equal(await copiedBytes(async () => new Uint8Array(pixels).set(data)), pixels);
});

test("raw frames: grey, RGB and with alpha", async () => {
  const detector = await Detector.load(model);
  for (const channels of [1, 3, 4] as const) {
    const data = new Uint8Array(pixels * channels).fill(90);
    await staysAway(() => detector.detect({ data, width, height, channels }));
    await staysAway(() => decodeImage({ data, width, height, channels }));
  }
  detector.dispose();
});

test("files of every kind, and maps of the image's size", async () => {
  const grey = { raw: { width, height, channels: 1 } } as const;
  const data = Uint8Array.from({ length: pixels }, (_, i) => i * 7);
  const files = {
    "grey.png": sharp(data, grey).png(),
    "colour.jpg": sharp(data, grey).toColourspace("srgb").jpeg(),
    "deep.png": sharp(data, grey).toColourspace("grey16").png(),
    "cmyk.tif": sharp(data, grey).toColourspace("cmyk").tiff(),
    "white.png": sharp(data.fill(255), grey).png(),
  };
  const options: DetectorOptions[] = [{}, { mapSize: "image" }];
  for (const option of options) {
    const detector = await Detector.load(model, option);
    for (const [name, image] of Object.entries(files)) {
      await image.toFile(at(name));
      await staysAway(() => detector.detect(at(name)));
    }
    detector.dispose();
  }
});

test("a buffer is copied once, because its owner may use it again", async () => {
  const data = Uint8Array.from({ length: pixels * 3 }, (_, i) => (i * 2654435761) >>> 24);
  const file = await sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
  await staysAway(() => decodeImage(file), file.length);
});

test("masks of 8 and 16 bits, and BMPs", async () => {
  const raw = { raw: { width, height, channels: 1 } } as const;
  const data = new Uint8Array(pixels).fill(255, 10, 2000);
  await sharp(data, raw).png().toFile(at("mask.png"));
  await sharp(data, raw).toColourspace("grey16").png().toFile(at("mask16.png"));
  writeFileSync(at("mask.bmp"), bmpFile({ width, height, bits: 24, pixels: new Uint8Array(pixels * 3) }));
  for (const name of ["mask.png", "mask16.png", "mask.bmp"]) await staysAway(() => decodeMask(at(name)));
  assert.equal((await decodeMask(at("mask.png"))).marked, 1990);
});

test("hashes, weights and files leave turns to the event loop", async () => {
  const tensors: TensorMap = Object.fromEntries(
    Array.from({ length: 20 }, (_, i) => [
      `t${i}`,
      { dtype: "float32", shape: [2 ** 18], data: new Float32Array(2 ** 18).fill(i) },
    ]),
  );
  const large: TensorMap = { t: { dtype: "float32", shape: [5 * 2 ** 20], data: new Float32Array(5 * 2 ** 20) } };
  const backbone = await engine().randomBackbone("resnet34", 0);
  const turnsIn = async (body: () => Promise<unknown>): Promise<number> => {
    let turns = 0;
    const count = (): void => {
      turns++;
      next = setImmediate(count);
    };
    let next = setImmediate(count);
    await body();
    clearImmediate(next);
    return turns;
  };
  for (const [what, body] of Object.entries({
    sha256: () => sha256(new Uint8Array(2 ** 24)),
    tensorsSha256: () => tensorsSha256(tensors),
    sendTensors: () => sendTensors(tensors),
    writeTensors: () => writeTensors(at("tensors.safetensors"), tensors, {}),
    "sendTensors, one large": () => sendTensors(large),
    "writeTensors, one large": () => writeTensors(at("large.safetensors"), large, {}),
    backboneFrom: () => backboneFrom(backbone, "resnet34", "weights"),
  })) {
    const turns = await turnsIn(body);
    assert.ok(turns >= 10, `${what}: ${turns}`);
  }
});
