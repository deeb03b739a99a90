import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

import { trainerDefaults } from "../../lib/schema/training.js";
import { supersimplenet } from "./run.js";

const commands = [
  "train",
  "evaluate",
  "predict",
  "convert",
  "export",
  "verify",
  "dataset",
  "weights",
  "cuda",
  "benchmark",
  "doctor",
  "quickstart",
  "experiment",
];
/** Usage must be answered without the engine: here there is none. */
const env = { SUPERSIMPLENET_LIBTORCH: "/nowhere" };
let folder: string;

before(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-cli-"));
});
after(() => rmSync(folder, { recursive: true, force: true }));

test("--help lists every command", async () => {
  const { code, stdout, stderr } = await supersimplenet(["--help"], { env });
  assert.equal(code, 0);
  assert.equal(stderr, "");
  for (const name of commands) assert.match(stdout, new RegExp(`^  ${name} `, "m"));
});

test("every command explains itself", async () => {
  const answers = await Promise.all(commands.map((name) => supersimplenet([name, "--help"], { env })));
  for (const [index, { code, stdout }] of answers.entries()) {
    assert.equal(code, 0);
    assert.match(stdout, new RegExp(`^Usage: supersimplenet ${commands[index]}\\b`));
    assert.match(stdout, /^ {2}--json /m);
    assert.match(stdout, /^Examples:$/m);
  }
});

test("the defaults in --help are the trainer's own", async () => {
  const { stdout } = await supersimplenet(["train", "--help"], { env });
  assert.match(stdout, new RegExp(`default: ${trainerDefaults.imageSize.join("x")}, or the size of the tiles\\)`));
  assert.match(
    stdout.replace(/\s+/g, " "),
    /--epochs N .*default: 300; with the short pace 60, or as many as make 240 steps; 30 with init\)/,
  );
  assert.match(
    stdout.replace(/\s+/g, " "),
    /--perlin-threshold X .*default: 0\.2 unsupervised, weak; 0\.6 mixed, full\)/,
  );
});

test("no command at all is wrong usage and prints the overview on stderr", async () => {
  const { code, stdout, stderr } = await supersimplenet([], { env });
  assert.equal(code, 2);
  assert.equal(stdout, "");
  assert.match(stderr, /Commands:/);
});

test("--version prints the package's version", async () => {
  const { code, stdout } = await supersimplenet(["--version"], { env });
  assert.equal(code, 0);
  assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
});

const wrong: [name: string, args: string[], message: RegExp][] = [
  ["misspelt command", ["trian"], /error \[UNKNOWN_OPTION\] There is no command 'trian'\. Did you mean 'train'\?/],
  ["a name every object has", ["constructor"], /There is no command 'constructor'/],
  ["misspelt option", ["train", "--epoch", "3"], /there is no option '--epoch'\. Did you mean '--epochs'\?/],
  ["an option every object has", ["doctor", "--constructor"], /there is no option '--constructor'/],
  ["option of another command", ["doctor", "--epochs", "3"], /there is no option '--epochs'/],
  ["short option", ["train", "-e", "3"], /there is no option '-e'/],
  ["missing required option", ["train", "--data", "x"], /--out RUN is missing/],
  ["missing value", ["train", "--data"], /--data needs a value: DIR/],
  ["option in place of a value", ["train", "--data", "--out", "x"], /--data needs a value/],
  ["empty value", ["train", "--data", "", "--out", "x"], /expected a value that is not empty for --data/],
  ["value for a flag", ["doctor", "--json=yes"], /--json takes no value/],
  [
    "fraction for an integer",
    ["train", "--data", "x", "--out", "y", "--epochs", "1.5"],
    /expected an integer at least 1 and at most 1000000 for --epochs but received '1\.5'/,
  ],
  ["zero epochs", ["train", "--data", "x", "--out", "y", "--epochs", "0"], /expected an integer at least 1/],
  [
    "blank number",
    ["train", "--data", "x", "--out", "y", "--heads-lr", " "],
    /expected a number above 0 and at most 1 for --heads-lr but received ' '/,
  ],
  ["negative number", ["train", "--data", "x", "--out", "y", "--heads-lr", "-1"], /but received '-1'/],
  ["size", ["train", "--data", "x", "--out", "y", "--image-size", "256x"], /expected HEIGHTxWIDTH in pixels/],
  ["choice", ["train", "--data", "x", "--out", "y", "--regime", "unsupervized"], /did you mean 'unsupervised'\?/],
  [
    "true or false",
    ["train", "--data", "x", "--out", "y", "--align-corners", "yes"],
    /expected one of true, false for --align-corners/,
  ],
  ["noise", ["train", "--data", "x", "--out", "y", "--noise-std", "relative:"], /a number above 0, or relative:NUMBER/],
  ["pair", ["train", "--data", "x", "--out", "y", "--distance-weight", "3"], /expected 2 numbers separated by commas/],
  [
    "contradiction",
    ["train", "--data", "x", "--out", "y", "--distance-weight", "3,2", "--no-distance-weight"],
    /exclude each other/,
  ],
  [
    "contradiction of run options",
    ["train", "--data", "x", "--out", "y", "--resume", "--overwrite"],
    /exclude each other/,
  ],
  [
    "more held out than trained on",
    ["train", "--data", "x", "--out", "y", "--calibration-fraction", "0.6"],
    /at most 0\.5 for --calibration-fraction but received '0\.6'/,
  ],
  ["argument that is not an option", ["doctor", "now"], /unexpected argument 'now'/],
  ["no image", ["predict", "--model", "x"], /IMAGE \(a file or a folder\) is missing/],
  ["map format without maps", ["predict", "--model", "x", "--map-format", "npy", "a.png"], /--map-format needs --maps/],
  ["misspelt action", ["weights", "pul"], /weights: .*Did you mean 'pull'\?/],
  ["weights pull without a name", ["weights", "pull"], /weights pull: which one\?/],
  ["weights pull of an unknown name", ["weights", "pull", "resnet19"], /did you mean 'resnet18'\?/],
];

for (const [name, args, message] of wrong) {
  test(`wrong usage, ${name}: exit code 2, on stderr only`, async () => {
    const { code, stdout, stderr } = await supersimplenet(args, { env, cwd: folder });
    assert.match(stderr, message);
    assert.match(stderr, /^error \[(UNKNOWN|INVALID)_OPTION\] /);
    assert.doesNotMatch(stderr, /\n\s+at /);
    assert.equal(code, 2);
    assert.equal(stdout, "");
    assert.deepEqual(readdirSync(folder), [], "nothing was written");
  });
}

test("with --json an error is one JSON document too", async () => {
  const { code, stdout, stderr } = await supersimplenet(["train", "--epoch", "3", "--json"], { env });
  assert.equal(code, 2);
  const { error } = JSON.parse(stdout) as { error: Record<string, unknown> };
  assert.deepEqual([error["code"], error["option"]], ["UNKNOWN_OPTION", "--epoch"]);
  assert.match(String(error["fix"]), /^See '.* train --help'\.$/);
  assert.match(stderr, /UNKNOWN_OPTION/);
  const value = await supersimplenet(["train", "--gradient-clip", "-1", "--json"], { env });
  assert.deepEqual((JSON.parse(value.stdout) as { error: unknown }).error, {
    code: "INVALID_OPTION",
    message: "train: expected a number at least 0 for --gradient-clip but received '-1'.",
    option: "--gradient-clip",
    value: "-1",
    problems: [],
  });
});

test("--name=value and the last of two values", async () => {
  const { stderr } = await supersimplenet(["train", "--data", "x", "--out=y", "--epochs=0", "--epochs=zero"], { env });
  assert.match(stderr, /for --epochs but received '0'/, "each one is checked");
});

test("weights list needs no engine, and --json prints only JSON", async () => {
  const { code, stdout, stderr } = await supersimplenet(["weights", "list", "--json"], {
    env: { ...env, SUPERSIMPLENET_CACHE: folder },
  });
  assert.equal(code, 0);
  assert.equal(stderr, "");
  const { weights } = JSON.parse(stdout) as { weights: { name: string; used: string | null }[] };
  const [own, paper, ...others] = weights;
  assert.deepEqual([own?.name, paper?.name], ["resnet18-distilled", "wide_resnet50_2"]);
  assert.ok(existsSync(own!.used!), "it is in the package");
  assert.ok([paper!, ...others].every(({ used }) => used === null));
});

test("a run that holds a model is not overwritten unasked", async () => {
  const run = path.join(folder, "run");
  const { mkdirSync } = await import("node:fs");
  mkdirSync(run);
  writeFileSync(path.join(run, "model.safetensors"), "precious");
  const { code, stderr } = await supersimplenet(["train", "--data", folder, "--out", run], { env });
  assert.equal(code, 2);
  assert.match(stderr, /already holds a finished model.*--resume.*--overwrite/);
  assert.deepEqual(readdirSync(run), ["model.safetensors"]);
  rmSync(run, { recursive: true });
});

test("doctor names what is broken, its fix, and fails", async () => {
  const { code, stdout } = await supersimplenet(["doctor", "--json"], { env });
  assert.equal(code, 1);
  const { ok, problems } = JSON.parse(stdout) as { ok: boolean; problems: { code: string; fix: string }[] };
  assert.equal(ok, false);
  assert.ok(problems.some((problem) => problem.code === "LIBTORCH_NOT_FOUND" && problem.fix !== ""));
});

test("an unknown file as the run folder's parent: a typed error, no stack", async () => {
  const file = path.join(folder, "file");
  writeFileSync(file, "");
  const { code, stderr } = await supersimplenet(["train", "--data", folder, "--out", path.join(file, "run")], { env });
  assert.equal(code, 1);
  assert.match(stderr, /^error \[FILE_ERROR\] Cannot create folder/);
  rmSync(file);
});
