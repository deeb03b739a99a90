import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

import { datasets } from "../../lib/index.js";
import { locateLibtorch } from "../../lib/native/locate.js";
import { writeImage, writeMask } from "../datasets/files.js";
import { supersimplenet } from "./run.js";

let folder: string;
const at = (...parts: string[]): string => path.join(folder, ...parts);
const quick = [
  "--backbone",
  "resnet18",
  "--backbone-weights",
  "random",
  "--image-size",
  "32x32",
  "--epochs",
  "1",
  "--batch",
  "4",
  "--calibration-fraction",
  "0",
];

before(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-run-"));
  for (const i of [0, 1, 2]) {
    await writeImage(at("visa/visa_pytorch/pcb1/train/good", `${i}.JPG`), { value: i });
    await writeImage(at("tiles/MT_Free/Imgs", `${i}.jpg`), { value: i });
    for (const kind of ["Blowhole", "Break", "Crack", "Fray", "Uneven"]) {
      await writeImage(at(`tiles/MT_${kind}/Imgs`, `${i}.jpg`), { value: 10 * kind.length + i });
      await writeMask(at(`tiles/MT_${kind}/Imgs`, `${i}.png`));
    }
  }
  await writeImage(at("visa/visa_pytorch/pcb1/test/good/9.JPG"), { value: 9 });
  await writeImage(at("visa/visa_pytorch/pcb1/test/bad/8.JPG"), { value: 8 });
  await writeMask(at("visa/visa_pytorch/pcb1/ground_truth/bad/8.png"));
});
after(() => rmSync(folder, { recursive: true, force: true }));

test("a published data set brings its settings, unless others are given", async () => {
  const { code, stdout, stderr } = await supersimplenet([
    "train",
    "--data",
    at("visa"),
    "--dataset",
    "visa",
    "--category",
    "pcb1",
    "--out",
    at("run"),
    ...quick,
    "--json",
  ]);
  assert.equal(code, 0, stderr);
  const settings = 'pace "published", noiseVectors "independent", perlinThreshold 0.6';
  assert.ok(stderr.split("\n").includes(`pcb1: published settings ${settings}`), stderr);
  const { start } = JSON.parse(stdout) as { start: { regime: string; counts: object } };
  assert.equal(start.regime, "unsupervised");
  const model = readFileSync(at("run", "model.safetensors"));
  const header = model.subarray(8, 8 + Number(model.readBigUInt64LE(0))).toString();
  assert.match(header, /perlinThreshold\\":0\.6/);
  assert.match(header, /noiseVectors\\":\\"independent/);

  const again = await supersimplenet([
    "evaluate",
    "--model",
    at("run", "model.safetensors"),
    "--data",
    at("visa"),
    "--dataset",
    "visa",
    "--category",
    "pcb1",
    "--json",
  ]);
  assert.equal(again.code, 0, again.stderr);
  assert.equal((JSON.parse(again.stdout) as { counts: { anomalous: number } }).counts.anomalous, 1);
});

test("folds, a share of the masks, and what does not exist", async () => {
  const { code, stdout, stderr } = await supersimplenet([
    "train",
    "--data",
    at("tiles"),
    "--fold",
    "0",
    "--segmented-ratio",
    "0.4",
    "--out",
    at("fold"),
    ...quick,
    "--json",
  ]);
  assert.equal(code, 0, stderr);
  const { start } = JSON.parse(stdout) as {
    start: { regime: string; counts: { trainAnomalous: number; trainSegmented: number } };
  };
  assert.deepEqual([start.regime, start.counts.trainAnomalous, start.counts.trainSegmented], ["mixed", 10, 4]);
  for (const [args, message] of [
    [["--data", at("tiles"), "--fold", "3"], /--fold .*3/],
    [["--data", at("tiles"), "--category", "crack"], /'mtd' has no --category/],
    [["--data", at("visa"), "--dataset", "visa", "--category", "pcb2"], /'pcb1'/],
    [["--data", at("visa"), "--dataset", "ksdd2"], /nothing in it looks like 'ksdd2'[^]*Expected layout/],
    [["--data", at("tiles"), "--segmented-ratio", "2"], /--segmented-ratio/],
  ] as const) {
    const failed = await supersimplenet(["train", ...args, "--out", at("none"), ...quick]);
    assert.notEqual(failed.code, 0);
    assert.match(failed.stderr, message);
  }
});

test("what was found in a folder and how it was taken is told once", async () => {
  for (const i of [0, 1, 2]) {
    await writeImage(at(`beside/train/good/${i}.png`), { value: i });
    await writeImage(at(`beside/train/cut/${i}.png`), { value: 10 + i });
    await writeMask(at(`beside/train/cut/${i}_GT.png`));
    await writeImage(at(`beside/test/good/${i}.png`), { value: 20 + i });
  }
  await writeImage(at("beside/test/cut/9.png"), { value: 30 });
  await writeImage(at("beside/validation/good/0.png"), { value: 31 });
  const { code, stdout, stderr } = await supersimplenet([
    "train",
    "--data",
    at("beside"),
    "--out",
    at("besideRun"),
    ...quick,
  ]);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /regime full: 3 normal and 3 anomalous training images \(3 with a mask\)/);
  const lines = (text: string, what: RegExp): number => text.split("\n").filter((line) => what.test(line)).length;
  const told = [/^warning: 3 files beside their images are used as masks/, /^warning: 1 image is not used: validation/];
  for (const what of told) assert.equal(lines(stderr, what), 1, stderr);
  assert.equal(lines(stdout, /^note: .*(used as masks|is not used)/), 0, stdout);
  const again = await supersimplenet([
    "evaluate",
    "--data",
    at("beside"),
    "--model",
    at("besideRun", "model.safetensors"),
  ]);
  assert.equal(lines(again.stdout, /^note: 1 image is not used: validation/), 1, again.stdout);
});

test("--help names every kind of data set", async () => {
  const { stdout } = await supersimplenet(["train", "--help"]);
  const help = stdout.slice(stdout.indexOf("--dataset"), stdout.indexOf("--category"));
  for (const { kind } of datasets.kinds) assert.match(help, new RegExp(`\\b${kind}\\b`));
});

test("dataset convert writes a manifest and masks, and says what is in it", async () => {
  const env = { SUPERSIMPLENET_LIBTORCH: locateLibtorch().folder, SUPERSIMPLENET_CACHE: at("cache") };
  const run = (...args: string[]) => supersimplenet(["dataset", ...args], { env });
  const xml = `<annotations><image name="0.JPG" subset="train"><box label="logo" xtl="1" ytl="1" xbr="9" ybr="9"/></image><image name="9.JPG"><box label="dent" xtl="1" ytl="1" xbr="9" ybr="9"/><tag label="x"/></image></annotations>`;
  for (const name of ["0", "9"]) await writeImage(at("cvat", `${name}.JPG`));
  writeFileSync(at("cvat/annotations.xml"), xml);
  const args = ["convert", at("cvat"), "--out", at("converted"), "--ignore-class", "Logo,serial", "--json"];
  const { code, stdout, stderr } = await run(...args);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /1 tag of an image is not read/);
  assert.match(stderr, /No annotation has the class 'serial'/);
  const { images, masks, ignore, counts, manifest } = JSON.parse(stdout) as Record<string, unknown>;
  assert.deepEqual([images, masks, ignore, manifest], [2, 1, 1, at("converted/samples.csv")]);
  assert.deepEqual((counts as { trainNormal: number }).trainNormal, 1);
  assert.equal(
    readFileSync(at("converted/samples.csv"), "utf8"),
    "image,label,mask,split,defect,ignore,roi\n../cvat/0.JPG,normal,,train,,ignore/0.png,\n../cvat/9.JPG,anomalous,masks/9.png,train,dent,,\n",
  );
  const again = await run(...args);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /it is not empty/);
  for (const [wrong, message] of [
    [["convert", "--out", at("x")], /convert DIR is missing/],
    [["convrt", at("cvat"), "--out", at("x")], /Did you mean 'convert'\?/],
    [["convert", at("cvat"), "--out", at("cvat/inner")], /outside the data set/],
    [["convert", at("cvat"), "--out", at("x"), "--category", "a"], /has no --category/],
  ] as const) {
    const refused = await run(...wrong);
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, message);
  }
});
