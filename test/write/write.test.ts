import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { makeFolder, probeFolder, replaceFile, writeWholeFile } from "../../lib/write.js";
import { failure, temporaryFolder } from "../datasets/files.js";
import { diskSteps, isSafeOrder } from "../support/disk.js";
import { inNamespace, mountsHere } from "../support/mounts.js";

test("makeFolder: parents, what exists already, and several at once", async (t) => {
  const root = await temporaryFolder(t);
  const deep = path.join(root, "a", "b", "c");
  await Promise.all([makeFolder(deep), makeFolder(path.join(root, "a", "b", "d")), makeFolder(deep)]);
  assert.ok(statSync(deep).isDirectory() && existsSync(path.join(root, "a", "b", "d")));
  await makeFolder(deep);
  await makeFolder(path.parse(root).root);
});

test("makeFolder: a file or a dangling link in the way", async (t) => {
  const root = await temporaryFolder(t);
  writeFileSync(path.join(root, "file"), "");
  await assert.rejects(makeFolder(path.join(root, "file")), failure("FILE_ERROR", "EEXIST"));
  await assert.rejects(makeFolder(path.join(root, "file", "x")), failure("FILE_ERROR", "ENOTDIR"));
  if (process.platform === "win32") return;
  symlinkSync(path.join(root, "nothing"), path.join(root, "link"));
  await assert.rejects(makeFolder(path.join(root, "link", "x")), failure("FILE_ERROR", "EEXIST"));
});

test(
  "makeFolder: under /proc, where mkdir says that an existing parent does not exist",
  { skip: process.platform !== "linux" && "there is no /proc" },
  async () => {
    await assert.rejects(makeFolder("/proc/nonexistent/x"), failure("FILE_ERROR", "/proc/nonexistent"));
  },
);

test("writeWholeFile: the longest name, and one that is too long", async (t) => {
  const root = await temporaryFolder(t);
  const longest = "x".repeat(255);
  await writeWholeFile(path.join(root, longest), "whole");
  assert.deepEqual(readdirSync(root), [longest]);
  await assert.rejects(
    writeWholeFile(path.join(root, `${longest}x`), "whole"),
    failure("FILE_ERROR", "name is too long"),
  );
  assert.deepEqual(readdirSync(root), [longest], "no temporary file is left");
});

test("probeFolder leaves what is there as it is", async (t) => {
  const root = await temporaryFolder(t);
  for (const name of [".writable", ".hidden"]) writeFileSync(path.join(root, name), "a user's file");
  await probeFolder(root);
  assert.deepEqual(readdirSync(root).sort(), [".hidden", ".writable"]);
  assert.equal(readFileSync(path.join(root, ".writable"), "utf8"), "a user's file");
});

test("a pipe or a device is not replaced", { skip: process.platform === "win32" && "no pipes" }, async (t) => {
  const pipe = path.join(await temporaryFolder(t), "pipe");
  assert.equal(spawnSync("mkfifo", [pipe]).status, 0);
  await assert.rejects(writeWholeFile(pipe, "whole"), failure("FILE_ERROR", "it is a pipe, a socket or a device"));
  assert.ok(statSync(pipe).isFIFO());
});

test(
  "a read-only file system is called that, not a matter of rights",
  { skip: !mountsHere && "no file system can be mounted here" },
  async (t) => {
    const folder = await temporaryFolder(t);
    const module = JSON.stringify(path.resolve(__dirname, "../../lib/write.js"));
    const script = `const { probeFolder } = require(${module});
      for (const folder of [process.argv[1], process.argv[1] + "/new"])
        probeFolder(folder).then(() => console.log("written"), ({ code, message }) => console.log(code, message));`;
    const child = inNamespace([["ro", folder]], [process.execPath, "-e", script, folder]);
    assert.deepEqual(child.stdout.trim().split("\n").sort(), [
      `FILE_ERROR Cannot create folder ${folder}/new: read-only file system. Choose another place, or mount it writable.`,
      `FILE_ERROR Cannot write into ${folder}: read-only file system. Choose another place, or mount it writable.`,
    ]);
    await probeFolder(folder);
    assert.deepEqual(readdirSync(folder), []);
  },
);

test(
  "with flush, the data are on the disk before the name, and the name when it is done",
  { skip: process.platform !== "linux" && "reads /proc" },
  async (t) => {
    const folder = await temporaryFolder(t);
    const file = path.join(folder, "file");
    const steps = await diskSteps(t);
    await replaceFile(file, "text", { flush: true });
    assert.ok(isSafeOrder(steps, file, folder), steps.join("\n"));
  },
);
