import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { before, test } from "node:test";

import sharp from "sharp";

import { readTensors, writeTensors } from "../../lib/files/tensors.js";
import {
  type Dataset,
  datasets,
  Detector,
  evaluate,
  Model,
  type StartEvent,
  Trainer,
  type TrainerOptions,
} from "../../lib/index.js";
import { Random } from "../../lib/random.js";
import { supersimplenet } from "../cli/run.js";
import { failure } from "../datasets/files.js";
import { bmpFile } from "../images/files.js";
import { checkCheckpoint, notBegun, writeCheckpoint } from "../../lib/training/checkpoint.js";
import { headsOf, scratchFolder, tinier, train } from "./support.js";

const folder = scratchFolder();
const at = (...parts: string[]): string => path.join(folder, ...parts);

/** The same 32 x 32 scenes with 10 bits, as they come and moved up to the full range of 16 bits. */
let low: Dataset;
let full: Dataset;
let model: Model;

function scene(seed: number, shift: number): Promise<Buffer> {
  const random = new Random(seed);
  const samples = Uint16Array.from({ length: 32 * 32 }, (_, i) => (i === 0 ? 1000 : random.integer(1000)) << shift);
  return sharp(samples, { raw: { width: 32, height: 32, channels: 1 } })
    .toColourspace("grey16")
    .png()
    .toBuffer();
}

async function write(root: string, shift: number): Promise<Dataset> {
  for (const [seed, name] of ["train/good/0", "train/good/1", "train/good/2", "test/good/3"].entries()) {
    const file = path.join(root, `${name}.png`);
    mkdirSync(path.dirname(file), { recursive: true });
    await writeFile(file, await scene(seed, shift));
  }
  return datasets.folder(root);
}

before(async () => {
  low = await write(at("low"), 0);
  full = await write(at("full"), 6);
  model = await train(low, { ...tinier, bitDepth: "auto" });
  await model.save(at("low.safetensors"));
});

const imageOf = (data: Dataset, split: "train" | "test"): string =>
  data.samples.find((sample) => sample.split === split)!.image;

async function startOf(data: Dataset, options: TrainerOptions): Promise<StartEvent> {
  const controller = new AbortController();
  let start: StartEvent | undefined;
  const onStart = (event: StartEvent): void => {
    start = event;
    controller.abort();
  };
  await assert.rejects(new Trainer(options).fit(data, { onStart, signal: controller.signal }), { code: "ABORTED" });
  return start!;
}

test("validation warns of 16-bit images that hold fewer bits, and finds how many", async () => {
  const checked = async (data: Dataset, bitDepth?: number | "auto") => {
    const { warnings, bitDepth: found } = await datasets.validate(data, { bitDepth });
    return { found, warned: warnings.filter((warning) => warning.includes("--bit-depth")) };
  };
  const { found, warned } = await checked(low);
  assert.equal(found, 16);
  assert.match(warned.join(), /All 16-bit images \(4\) .* below 1024: .* 10 bits/);
  assert.deepEqual(await checked(low, "auto"), { found: 10, warned: [] });
  assert.deepEqual(await checked(full, "auto"), { found: 16, warned: [] });
  assert.match((await checked(full, 10)).warned.join(), /4 images have samples of more than 10 bits/);
});

test("a training on 10 bits is that on the full range, bit for bit; the model says so", async () => {
  const other = await train(full, tinier);
  assert.deepEqual(headsOf(model), headsOf(other));
  assert.deepEqual([model.config.bitDepth, other.config.bitDepth], [10, 16]);
  assert.equal(model.config.training!.options["bitDepth"], 10);

  const loaded = await Detector.load(await Model.load(at("low.safetensors")));
  const [mine, theirs] = [
    await loaded.detect(imageOf(low, "test")),
    await (await Detector.load(other)).detect(imageOf(full, "test")),
  ];
  assert.equal(mine.logit, theirs.logit);
  assert.deepEqual(mine.map.data, theirs.map.data);
  assert.deepEqual([mine.warnings, theirs.warnings], [[], []]);

  const dark = await (await Detector.load(other)).detect(imageOf(low, "test"));
  assert.match(dark.warnings.join(), /below 1024, but the model reads 16 bits/);
  const bright = await loaded.detect(imageOf(full, "test"));
  assert.match(bright.warnings.join(), /reach 1024 and more, but the model reads 10 bits/);
  const { notes } = await evaluate(loaded, full);
  assert.ok(
    notes.some((note) => note.startsWith("test/good/3.png: 16-bit samples reach 1024")),
    notes.join("\n"),
  );
});

test("a training that begins with the model takes its bit depth over", async () => {
  const init = at("low.safetensors");
  const { batchSize, threads } = tinier;
  assert.equal((await startOf(low, { init, batchSize, threads })).bitDepth, 10);
  assert.equal((await startOf(low, { init, batchSize, threads, bitDepth: "auto" })).bitDepth, 10);
  const other = new Trainer({ init, batchSize, threads, bitDepth: 12 });
  await assert.rejects(other.fit(low), failure("INVALID_OPTION", "'bitDepth' is 12, but 10 in the model"));
  assert.throws(
    () => new Trainer({ bitDepth: 7 }),
    failure("INVALID_OPTION", "at least 8 and at most 16", "'bitDepth'"),
  );
});

test("a model file of format 3 reads all 16 bits", async () => {
  const { tensors, metadata } = await readTensors(at("low.safetensors"));
  const { bitDepth: _, ...config } = JSON.parse(metadata["config"]!) as Record<string, unknown>;
  const old = { ...metadata, format_version: "3", config: JSON.stringify(config) };
  await writeTensors(at("old.safetensors"), tensors, old);
  const loaded = await Model.load(at("old.safetensors"));
  assert.equal(loaded.config.bitDepth, 16);
  assert.deepEqual(loaded.config.thresholds, model.config.thresholds);
  const { warnings } = await (await Detector.load(loaded)).detect(imageOf(low, "test"));
  assert.match(warnings.join(), /the model reads 16 bits/);
  await writeTensors(at("wrong.safetensors"), tensors, {
    ...metadata,
    config: JSON.stringify({ ...config, bitDepth: 17 }),
  });
  await assert.rejects(Model.load(at("wrong.safetensors")), failure("MODEL_INVALID", "'bitDepth'"));
});

test("a checkpoint goes on with its bit depth only", async () => {
  const out = at("kept");
  const state = { ...notBegun(), epochsDone: 1, threads: 1, heads: {}, optimizer: {} };
  await writeCheckpoint(out, state, { seed: 3, bitDepth: 16 });
  await checkCheckpoint(out, { seed: 3, bitDepth: 16 });
  await checkCheckpoint(out, { seed: 3, bitDepth: "auto" });
  const other = checkCheckpoint(out, { seed: 3, bitDepth: 10 });
  await assert.rejects(other, failure("CHECKPOINT_MISMATCH", "bitDepth 16, which is now 10"));
});

test("predict warns once of all images that say nothing, and draws with the model's bit depth", async () => {
  const grey = at("grey.bmp");
  const flat = sharp({ create: { width: 40, height: 40, channels: 3, background: "#777" } });
  await writeFile(at("flat.png"), await flat.png().toBuffer());
  await writeFile(grey, bmpFile({ width: 40, height: 40, bits: 24, pixels: new Uint8Array(40 * 40 * 3).fill(9) }));
  const args = ["predict", "--model", at("low.safetensors"), at("flat.png"), grey, imageOf(low, "test"), "--json"];
  const { code, stdout, stderr } = await supersimplenet(args, { cwd: folder });
  assert.equal(code, 0, stderr);
  assert.match(stderr, /warning: .*flat\.png, .*grey\.bmp: every pixel has the same value\./);
  const { images } = JSON.parse(stdout) as { images: { warnings: string[] }[] };
  assert.deepEqual(
    images.map(({ warnings }) => warnings.length),
    [1, 1, 0],
  );
});

test("calibrate warns of parts that do not fit the model", async () => {
  const fitting = await Model.load(at("low.safetensors"));
  const good = await Promise.all([10, 11, 12, 13].map((seed) => scene(seed, 0)));
  const thresholds = await fitting.calibrate({ good: [...good, imageOf(full, "test")] }, { acceptChange: true });
  assert.match(thresholds.calibration!.warnings.join("\n"), /test\/good\/3\.png: 16-bit samples reach 1024/);
});
