// Machines that are set up in unusual ways, by the command line as users meet them.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

import { untrainedModel } from "../../lib/benchmark/benchmark.js";
import { engineFiles } from "../../lib/native/engine.js";
import { packageFolder } from "../../lib/native/locate.js";
import { writeImage, writeTree } from "../datasets/files.js";
import { inNamespace, mountsHere } from "../support/mounts.js";
import { supersimplenet, waitingFor } from "./run.js";

const here = mkdtempSync(path.join(os.tmpdir(), "ssn-machines-"));
after(() => rmSync(here, { recursive: true, force: true }));
const main = path.resolve(__dirname, "../../lib/cli/main.js");
const at = (...names: string[]): string => path.join(here, ...names);
const model = at("model.safetensors");
const image = at("data", "test", "good", "1.png");

before(async () => {
  await (await untrainedModel("resnet18", [64, 64], "distilled")).save(model);
  await writeTree(at("data"), ["train/good/1.png", "train/good/2.png", "test/good/1.png", "test/good/2.png"]);
});

const posix = { skip: process.platform === "win32" && "no pipes" };

test("predict names and skips pipes in a folder, reports those it is given, and goes on", posix, async () => {
  const folder = at("photos");
  await writeImage(path.join(folder, "a.png"));
  for (const pipe of [path.join(folder, "b.png"), at("given.png")]) assert.equal(spawnSync("mkfifo", [pipe]).status, 0);
  const { code, stdout, stderr } = await supersimplenet(
    ["predict", "--model", model, "--json", at("given.png"), "/dev/zero", folder],
    { env: { SUPERSIMPLENET_ENGINE: "cpu" } },
  );
  assert.equal(code, 1, stderr);
  const { images, skipped } = JSON.parse(stdout) as {
    images: { path: string; error?: { code: string; message: string }; score?: number }[];
    skipped: object[];
  };
  assert.deepEqual(
    images.map(({ error, score }) => error?.code ?? typeof score),
    ["IMAGE_UNREADABLE", "IMAGE_UNREADABLE", "number"],
  );
  assert.match(images[0]!.error!.message, /it is a pipe/);
  assert.match(images[1]!.error!.message, /it is a device/);
  assert.deepEqual(skipped, [{ path: path.join(folder, "b.png"), reason: "special" }]);
  assert.match(stderr, /1 pipe, socket or device is skipped: .*b\.png/);
});

test("SIGTERM ends predict where a file never answers", async (t) => {
  const lost = at("lost.png");
  copyFileSync(image, lost);
  const env = waitingFor(lost, at("never"));
  if (env === undefined) return t.skip("there is no mkfifo");
  const child = await supersimplenet(["predict", "--model", model, image, lost], {
    env,
    onStderr: (soFar, kill) => {
      if (/waiting/.test(soFar) && !/Stopping/.test(soFar)) kill("SIGTERM");
    },
  });
  assert.match(child.stderr, /error \[ABORTED\] Interrupted after/);
  assert.equal(child.code, null, "ended by the signal itself");
});

test(
  "a read-only file system: what writes says so before it works, what reads works",
  { skip: !mountsHere && "no file system can be mounted here" },
  async () => {
    const readOnly = at("read-only");
    mkdirSync(path.join(readOnly, "run"), { recursive: true });
    cpSync(at("data"), path.join(readOnly, "data"), { recursive: true });
    copyFileSync(model, path.join(readOnly, "model.safetensors"));
    const on = (...args: string[]) =>
      inNamespace([["ro", readOnly]], [process.execPath, main, ...args], {
        SUPERSIMPLENET_THREADS: "1",
        SUPERSIMPLENET_LIBTORCH: engineFiles().libtorch.folder,
        SUPERSIMPLENET_CACHE: path.join(readOnly, "cache"),
      });
    const place = (name: string): string => path.join(readOnly, name);
    const given = ["--model", place("model.safetensors")];
    const data = ["--data", place("data")];
    for (const args of [
      ["predict", ...given, image, "--maps", place("run")],
      ["evaluate", ...given, ...data, "--out", place("run/evaluation.json")],
      ["train", ...data, "--out", place("run")],
      ["quickstart", "--out", place("run")],
      ["calibrate", ...given, "--good", place("data/test/good")],
      ["calibrate", ...given, "--good", place("data/test/good"), "--out", place("run/model.safetensors")],
      [
        "experiment",
        "table4",
        ...data,
        "--out",
        place("run"),
        "--backbone",
        "resnet18",
        "--backbone-weights",
        "distilled",
      ],
      ["weights", "pull", "resnet18"],
      ["weights", "import", path.join(packageFolder, "weights", "resnet18-distilled.safetensors")],
      ["cuda", "install", "--from", readOnly],
    ]) {
      const { status, stderr, stdout } = on(...args);
      assert.equal(status, 1, `${args.join(" ")}: ${stdout}${stderr}`);
      assert.match(stderr, /^error \[FILE_ERROR\] .*read-only file system/m, args.join(" "));
      assert.doesNotMatch(stderr, /permission/, args.join(" "));
      if (args[0] === "calibrate" && !args.includes("--out"))
        assert.match(stderr, /Cannot write model .*model\.safetensors: .*give --out FILE/);
      if (/^(weights|cuda)$/.test(args[0]!)) assert.match(stderr, /Set SUPERSIMPLENET_CACHE to another folder\.$/m);
    }
    const { status, stderr } = on("predict", ...given, place("data/test/good"));
    assert.equal(status, 0, stderr);
    assert.deepEqual(readdirSync(path.join(readOnly, "run")), []);
  },
);

// A user id of nobody, without HOME: what a container with "runAsUser" has. libtorch is mounted where that user may read it.
const asNobody = (libtorch: string, command: readonly string[]) =>
  spawnSync(
    "unshare",
    [
      ...["--mount", "sh", "-c", 'mkdir -p "$2" && mount --bind "$1" "$2" && shift 2 && cd "$1" && shift && exec "$@"'],
      ...["sh", libtorch, at("libtorch"), here],
      ...["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups", "env", "-i"],
      ...[`PATH=${process.env["PATH"]}`, "SUPERSIMPLENET_THREADS=1", ...command],
    ],
    { encoding: "utf8" },
  );

test("a user id without passwd entry and without HOME", async (t) => {
  chmodSync(here, 0o777);
  const { folder } = engineFiles().libtorch;
  if (process.platform !== "linux" || asNobody(folder, ["test", "-r", main]).status !== 0)
    return t.skip("the user cannot be changed here");
  const as = (...args: string[]) => asNobody(folder, [process.execPath, main, ...args]);
  const needsCache = as("weights", "pull", "resnet18");
  assert.equal(needsCache.status, 1);
  assert.match(needsCache.stderr, /^error \[FILE_NOT_FOUND\] There is no cache folder.*Set SUPERSIMPLENET_CACHE/m);
  for (const args of [
    ["doctor"],
    ["train", "--data", at("data"), "--out", at("run"), "--image-size", "64", "--epochs", "1"],
  ]) {
    const { status, stdout, stderr } = asNobody(folder, [
      `SUPERSIMPLENET_LIBTORCH=${at("libtorch")}`,
      ...[process.execPath, main, ...args],
    ]);
    assert.equal(status, 0, `${args[0]}: ${stdout}${stderr}`);
  }
  assert.ok(existsSync(at("run", "model.safetensors")));
});
