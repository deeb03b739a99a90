import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { temporaryFolder } from "../datasets/files.js";

// In a namespace of one's own, where anybody may mount, and what is mounted goes with the process.
const withSmallFileSystem = (folder: string, size: string, ...command: string[]) =>
  spawnSync(
    "unshare",
    [
      "--user",
      "--map-root-user",
      "--mount",
      "sh",
      "-c",
      'mount -t tmpfs -o size="$1" tmpfs "$0" && shift && exec "$@"',
      folder,
      size,
      ...command,
    ],
    { encoding: "utf8" },
  );

test("a full disk: NO_SPACE, what was there before is still there, and nothing else", async (t) => {
  const small = path.join(await temporaryFolder(t), "small");
  mkdirSync(small);
  if (process.platform !== "linux" || withSmallFileSystem(small, "1m", "true").status !== 0)
    return t.skip("no file system can be mounted here");
  const child = withSmallFileSystem(small, "64m", process.execPath, path.join(__dirname, "full_disk-child.js"), small);
  assert.equal(child.status, 0, child.stderr);
  assert.match(child.stdout, /all done/);
});
