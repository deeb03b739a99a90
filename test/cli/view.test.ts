import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { before, test } from "node:test";

import sharp from "sharp";

import { datasets, Model, type StartEvent } from "../../lib/index.js";
import { scratchFolder } from "../training/support.js";
import { writeMask } from "../datasets/files.js";
import { type Finished, supersimplenet } from "./run.js";

const folder = scratchFolder();
const at = (...parts: string[]): string => path.join(folder, ...parts);
const data = at("data");
let run: Finished;
before(async () => {
  const images = { trainNormal: 6, trainAnomalous: 3, testNormal: 2, testAnomalous: 3 };
  await datasets.generated(data, { imageSize: [256, 256], ...images, seed: 2 });
  await writeMask(at("ignore.png"), { width: 256, height: 256 });
  const trained = ["--backbone", "resnet18", "--backbone-weights", "distilled", "--threads", "1", "--epochs", "2"];
  const args = ["--out", at("run"), ...trained, "--batch", "8", "--calibration", "none", ...flags, "--json"];
  run = await supersimplenet(["train", "--data", data, ...args]);
});

const look = (...more: string[]): Promise<Finished> => supersimplenet(["view", "--data", data, ...more]);

interface Described {
  images: number;
  tilesPerImage: unknown;
  tilesPerEpoch: number;
  view: { roi: unknown; ignore: { runs: number[] }; tiles: unknown };
  defects: { count: number; smallest: { image: string } };
  warnings: string[];
  picture: string | null;
}

/** Every flag of a view. */
const flags = [
  ...["--tiles", "64", "--tile-overlap", "8", "--tile-scales", "whole,1", "--scale", "0.75", "--fit", "pad"],
  ...["--roi", "5%,5%,90%,90%", "--ignore", at("ignore.png"), "--tiles-per-image", "4", "--fixed-tiles", "true"],
];

test("train with every flag of a view: the model has it, and detection and evaluation go by it", async () => {
  assert.equal(run.code, 0, run.stderr);
  const { start } = JSON.parse(run.stdout) as { start: StartEvent };
  // 230 pixels are 173 at the scale 0.75: 3 columns of tiles that overlap by 8 at least, and the whole.
  assert.deepEqual(start.view!.tilesPerImage, { least: 10, most: 10 });
  assert.match(run.stderr, /^view: 9 images of 256x256, of which 230x230 from 13,13 are looked at/m);
  assert.match(
    run.stderr,
    new RegExp(`^tiles: 10 per image; a training shows ${start.view!.tilesPerEpoch} in an epoch`, "m"),
  );
  assert.match(run.stderr, / tiles\/s/);
  assert.match(run.stderr, /^labelled defects: \d+ in 3 images; the smallest is /m);
  const file = at("run", "model.safetensors");
  const { config } = await Model.load(file);
  assert.deepEqual(config.imageSize, [64, 64]);
  assert.deepEqual(
    { ...config.view, ignore: null },
    {
      roi: { x: 0.05, y: 0.05, width: 0.9, height: 0.9, unit: "fractions" },
      ignore: null,
      fit: "pad",
      scale: 0.75,
      tiles: { size: 64, overlap: 8, scales: ["whole", 1] },
    },
  );
  const { tilesPerImage, fixedTiles } = config.training!.options;
  assert.deepEqual([tilesPerImage, fixedTiles], [4, true]);
  const seen = await supersimplenet([
    "predict",
    "--model",
    file,
    path.join(data, "test"),
    "--overlays",
    at("ov"),
    "--json",
  ]);
  assert.equal(seen.code, 0, seen.stderr);
  const { images } = JSON.parse(seen.stdout) as { images: { overlay: string; width: number }[] };
  assert.equal(images.length, 5);
  assert.equal(images[0]!.width, 256);
  // Around the region there is no heat: the colour of an empty panel.
  const { data: pixels, info } = await sharp(images[0]!.overlay).raw().toBuffer({ resolveWithObject: true });
  const corner = (58 * info.width + 10 + 266) * 3;
  assert.deepEqual([...pixels.subarray(corner, corner + 3)], [38, 41, 48]);
  const html = at("report.html");
  const evaluated = await supersimplenet(["evaluate", "--model", file, "--data", data, "--report", html]);
  assert.equal(evaluated.code, 0, evaluated.stderr);
  assert.match(readFileSync(html, "utf8"), /"heatArea":\{"x":0\.0508,"y":0\.0508,"width":0\.8984,"height":0\.8984\}/);
});

test("view prints numbers, and JSON; with --out a picture", async () => {
  const { code, stdout, stderr } = await look(...flags);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^view: 14 images of 256x256, of which 230x230 from 13,13 are looked at/m);
  assert.match(stdout, /^tiles: 10 per image; a training shows \d+ in an epoch$/m);
  const picture = at("pictures", "view.png");
  const json = await look(...flags, "--out", at("pictures"), "--count", "3", "--json");
  assert.equal(json.code, 0, json.stderr);
  const document = JSON.parse(json.stdout) as Described;
  assert.deepEqual([document.images, document.picture], [14, picture]);
  assert.equal(document.view.ignore.runs.length > 10, true);
  assert.ok(document.defects.count > 3);
  const { width } = await sharp(picture).metadata();
  assert.equal(width, 1310);
  const { start } = JSON.parse(run.stdout) as { start: StartEvent };
  assert.equal(document.tilesPerEpoch, start.view!.tilesPerEpoch, "as the training said");
  const ofModel = await look(
    "--model",
    at("run", "model.safetensors"),
    "--tiles-per-image",
    "4",
    "--fixed-tiles",
    "true",
    "--json",
  );
  assert.deepEqual({ ...(JSON.parse(ofModel.stdout) as Described), picture }, document);
});

test("view warns of defects that the network hardly sees, and says what to do", async () => {
  const { code, stdout, stderr } = await look("--image-size", "32x32");
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^view: 14 images of 256x256; pixels of the network: 32x32 at the scale 0\.125 \(1 tile\)$/m);
  assert.doesNotMatch(stdout, /^tiles:/m);
  assert.match(stderr, /^warning: .* below 2 cells .*larger input or scale, tiles, or a smaller region/m);
});

test("view refuses what does not fit together, and writes over nothing", async () => {
  const refused = async (code: number, text: RegExp, ...more: string[]): Promise<void> => {
    const finished = await look(...more);
    assert.match(finished.stderr, text);
    assert.equal(finished.code, code, finished.stderr);
  };
  await refused(2, /--scale/, "--scale", "0.5");
  await refused(2, /--tiles-per-image/, "--tiles-per-image", "3");
  await refused(2, /beside a model.* for --tiles/, "--model", at("run", "model.safetensors"), "--tiles", "64");
  await refused(2, /--count/, "--count", "0");
  await refused(2, /marks something.*--roi/, "--roi", await empty());
  await refused(1, /VIEW_MISMATCH.*0,0,300,300|300 300/, "--roi", "0,0,300,300");
  await refused(1, /VIEW_MISMATCH/, "--tiles", "512");
  await refused(2, /among the images/, "--out", path.join(data, "train", "good"));
  await refused(2, /an input/, "--out", at("ignore.png"), "--ignore", at("ignore.png"));
  const taken = at("taken.png");
  writeFileSync(taken, "mine");
  await refused(2, /exists already/, "--out", taken);
  assert.equal(readFileSync(taken, "utf8"), "mine");
  assert.equal((await look("--out", taken, "--overwrite", "--count", "1")).code, 0);
  await sharp(taken).metadata();
  rmSync(taken);
  await refused(1, /VIEW_MISMATCH/, "--tiles", "512", "--out", at("new", "view.png"));
  assert.ok(!existsSync(at("new")), "no folder is left of what failed");
});

async function empty(): Promise<string> {
  const file = at("empty.png");
  await writeMask(file, { width: 256, height: 256, empty: true });
  return file;
}
