import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

import { filesBelow } from "../../lib/cli/guards.js";
import { datasets } from "../../lib/index.js";
import { locateLibtorch } from "../../lib/native/locate.js";
import { supersimplenet } from "./run.js";

/** Nothing that the user gave as input is written over, and nothing finished is lost before its successor is there. */
let folder: string;
const at = (...parts: string[]): string => path.join(folder, ...parts);
const small = ["--backbone", "resnet18", "--backbone-weights", "random", "--image-size", "64x64", "--epochs", "1"];

before(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-places-"));
  await datasets.generated(at("data"), { imageSize: [64, 64], trainNormal: 2, testNormal: 1, testAnomalous: 1 });
  copyFileSync(at("data", "test", "good", "000.png"), at("part.png"));
  writeFileSync(at("part.overlay.png"), "another input");
  writeFileSync(at("model.safetensors"), "a model");
  mkdirSync(at("empty"));
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** Runs and expects exit code 2, the message, and a folder as it was. */
async function refused(args: string[], message: RegExp): Promise<void> {
  const files = readdirSync(folder, { recursive: true }).sort();
  const { code, stderr } = await supersimplenet(args, { cwd: folder });
  assert.match(stderr, message);
  assert.equal(code, 2, stderr);
  assert.deepEqual(readdirSync(folder, { recursive: true }).sort(), files);
}

test("predict does not draw over an image that it was given", async () => {
  await refused(
    ["predict", "--model", "none", "part.png", "part.overlay.png", "--overlays", "."],
    /--overlays would write over part\.overlay\.png, which is an input/,
  );
});

test("predict does not draw among the images of a data set", async () => {
  await refused(
    ["predict", "--model", "none", "part.png", "--overlays", "data/test/good"],
    /--overlays data\/test\/good lies among the images of a data set/,
  );
  await refused(
    ["predict", "--model", "none", "part.png", "--maps", "data/train/maps"],
    /--maps data\/train\/maps lies among the images of a data set/,
  );
});

test("evaluate and convert do not write over what they read, nor over another file unasked", async () => {
  await refused(
    ["evaluate", "--model", "model.safetensors", "--data", "data", "--out", "data/../model.safetensors"],
    /--out would write over .*which is an input/,
  );
  await refused(
    ["evaluate", "--model", "model.safetensors", "--data", "data", "--overlays", "data/test/new"],
    /among the images of a data set/,
  );
  const convert = [
    "convert",
    "--checkpoint",
    "model.safetensors",
    "--backbone",
    "resnet18",
    "--image-size",
    "64",
    "--out",
  ];
  await refused([...convert, "model.safetensors", "--overwrite"], /--out would write over/);
  await refused([...convert, "part.png"], /part\.png exists already.*--overwrite/);
  await refused(
    ["evaluate", "--model", "model.safetensors", "--data", "data", "--out", "part.png"],
    /evaluate: .*part\.png exists already.*--overwrite/,
  );
});

test("train and quickstart do not write among the images of a data set", async () => {
  await refused(["train", "--data", "data", "--out", "data/train/run", ...small], /among the images of a data set/);
  await refused(["quickstart", "--out", "data/ground_truth/run"], /among the images of a data set/);
});

test("quickstart writes only into a folder of its own", async () => {
  await refused(["quickstart", "--out", "data"], /holds something that quickstart did not make/);
  await refused(["quickstart", "--out", "empty", "--image-size", "8"], /imageSize|--image-size/);
});

test("train --overwrite and --resume change nothing until a training starts; a new folder does not stay behind", async () => {
  mkdirSync(at("run", "checkpoint"), { recursive: true });
  const files = ["model.safetensors", "metrics.json", "log.jsonl", "checkpoint/last.safetensors"];
  for (const file of files) writeFileSync(at("run", file), "precious");
  for (const more of [
    ["--overwrite", "--data", "missing"],
    ["--overwrite", "--data", "data", "--regime", "full"],
    ["--resume", "--data", "data"],
  ]) {
    const { code, stderr } = await supersimplenet(["train", "--out", "run", ...small, ...more], { cwd: folder });
    assert.equal(code, 1, stderr);
    for (const file of files)
      assert.equal(readFileSync(at("run", file), "utf8"), "precious", `${file} after ${more.join(" ")}`);
  }
  writeFileSync(at("run", "quickstart.json"), "");
  const replaced = await supersimplenet(
    ["train", "--out", "run", ...small, "--overwrite", "--data", "data", "--json"],
    { cwd: folder },
  );
  assert.equal(replaced.code, 0, replaced.stderr);
  assert.deepEqual(readdirSync(at("run")).sort(), ["checkpoint", "log.jsonl", "metrics.json", "model.safetensors"]);
  for (const file of files) assert.notEqual(readFileSync(at("run", file), "utf8"), "precious", file);
  await refused(["quickstart", "--out", "run"], /holds something that quickstart did not make/);
  const { code } = await supersimplenet(["train", "--out", "new/run", "--data", "missing", ...small], { cwd: folder });
  assert.equal(code, 1);
  assert.ok(!existsSync(at("new")));
});

test("train --resume: the log without epochs that will come again is a new file, not the old one cut", async () => {
  const train = (...more: string[]): ReturnType<typeof supersimplenet> =>
    supersimplenet(["train", "--data", "data", "--out", "logged", ...small, ...more], { cwd: folder });
  const first = await train();
  assert.equal(first.code, 0, first.stderr);
  const log = at("logged", "log.jsonl");
  appendFileSync(log, '{"event":"epoch","epoch":2}\n{"event":"ep');
  const before = readFileSync(log, "utf8");
  linkSync(log, at("log before")); // a second name of the same file
  const { code, stderr } = await train("--resume");
  assert.equal(code, 0, stderr);
  assert.equal(readFileSync(at("log before"), "utf8"), before);
  const entries = readFileSync(log, "utf8").trim().split("\n");
  assert.deepEqual(
    entries.map((line) => (JSON.parse(line) as { event: string }).event),
    ["start", "epoch", "start"],
  );
});

const posix = { skip: process.platform === "win32" && "no pipes" };

test("train does not wait for the reader of a pipe in its folder's log", posix, async () => {
  mkdirSync(at("piped"));
  for (const name of ["log.jsonl", "metrics.json"]) {
    const pipe = at("piped", name);
    assert.equal(spawnSync("mkfifo", [pipe]).status, 0);
    const { code, stderr } = await supersimplenet(["train", "--data", "data", "--out", "piped", ...small], {
      cwd: folder,
    });
    assert.match(stderr, new RegExp(`^error \\[FILE_ERROR\\] Cannot write .*${name}: it is a pipe`, "m"));
    assert.equal(code, 1);
    rmSync(pipe);
  }
});

test("a pipe is called that where a data set is wanted", posix, async () => {
  assert.equal(spawnSync("mkfifo", [at("samples-pipe.jsonl")]).status, 0);
  for (const args of [
    ["train", "--out", "new"],
    ["evaluate", "--model", "none"],
  ]) {
    const { code, stderr } = await supersimplenet([...args, "--data", "samples-pipe.jsonl"], { cwd: folder });
    assert.match(stderr, /^error \[FILE_ERROR\] Cannot read .*samples-pipe\.jsonl: it is a pipe/m);
    assert.equal(code, 1);
  }
  rmSync(at("samples-pipe.jsonl"));
});

test("evaluate and predict leave no empty folders behind when they refuse", async () => {
  for (const args of [
    ["evaluate", "--data", "data", "--out", "new/deep/e.json"],
    ["evaluate", "--data", "data", "--out", "new/deep/e.json", "--overlays", "new/pictures"],
    ["predict", "part.png", "--maps", "new/deep", "--overlays", "new/deep/er"],
  ]) {
    const { code, stderr } = await supersimplenet([...args, "--model", "none.safetensors"], { cwd: folder });
    assert.match(stderr, /\[FILE_NOT_FOUND\]/);
    assert.equal(code, 1);
    assert.ok(!existsSync(at("new")), args.join(" "));
  }
});

test("train says what is wrong in flags, and finds missing weights before it reads images", async () => {
  const train = (...more: string[]): ReturnType<typeof supersimplenet> =>
    supersimplenet(["train", "--data", "data", "--out", "new", ...small, ...more], { cwd: folder });
  assert.match((await train("--dataset", "visaa")).stderr, /for '?--dataset'?/);
  assert.match((await train("--data", "part.png")).stderr, /part\.png is an image, not a data set/);
  writeFileSync(at("data", "train", "good", "bad.png"), "not an image");
  assert.match((await train("--backbone-weights", "none.pth")).stderr, /\[FILE_NOT_FOUND\] .*none\.pth/);
  const noWeights = { SUPERSIMPLENET_CACHE: at("no cache"), SUPERSIMPLENET_LIBTORCH: locateLibtorch().folder };
  const missing = await supersimplenet(
    ["train", "--data", "data", "--out", "new", ...small, "--backbone-weights", "auto"],
    { cwd: folder, env: noWeights },
  );
  assert.match(missing.stderr, /\[WEIGHTS_MISSING\]/);
  rmSync(at("data", "train", "good", "bad.png"));
});

test("a folder that contains itself is walked once; control characters do not reach the terminal", async () => {
  mkdirSync(at("loop", "inner"), { recursive: true });
  writeFileSync(at("loop", "inner", "a\u001b[31m\nb.png"), "");
  symlinkSync("..", at("loop", "inner", "up"));
  symlinkSync("self", at("loop", "self"));
  assert.deepEqual(await filesBelow(at("loop")), {
    files: [at("loop", "self"), at("loop", "inner", "a\u001b[31m\nb.png")],
    special: [],
  });
  const { stderr } = await supersimplenet(
    ["predict", "--model", at("loop", "inner", "a\u001b[31m\nb.png"), "part.png"],
    { cwd: folder },
  );
  assert.ok(stderr.includes("a\\x1b[31m\\nb.png") && !stderr.includes("\u001b"), JSON.stringify(stderr));
});
