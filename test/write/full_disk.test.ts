import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { temporaryFolder } from "../datasets/files.js";
import { withSmallFileSystem } from "../support/mounts.js";

test("a full disk: NO_SPACE, what was there before is still there, and nothing else", async (t) => {
  const small = path.join(await temporaryFolder(t), "small");
  mkdirSync(small);
  if (process.platform !== "linux" || withSmallFileSystem(small, "1m", "true").status !== 0)
    return t.skip("no file system can be mounted here");
  const child = withSmallFileSystem(small, "64m", process.execPath, path.join(__dirname, "full_disk-child.js"), small);
  assert.equal(child.status, 0, child.stderr);
  assert.match(child.stdout, /all done/);
});
