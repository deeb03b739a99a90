import assert from "node:assert/strict";
import { existsSync, readdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { makeFolder, writeWholeFile } from "../../lib/write.js";
import { failure, temporaryFolder } from "../datasets/files.js";

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
