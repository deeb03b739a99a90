import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { fileSha256 } from "../../lib/checksum.js";
import { failure, temporaryFolder } from "../datasets/files.js";

test("a file's SHA-256, over several reads, of an empty one, and until a signal fires", async (t) => {
  const folder = await temporaryFolder(t);
  for (const bytes of [randomBytes(3 * 2 ** 20 + 7), Buffer.alloc(0)]) {
    const file = path.join(folder, String(bytes.length));
    writeFileSync(file, bytes);
    assert.equal(await fileSha256(file), createHash("sha256").update(bytes).digest("hex"));
    await assert.rejects(fileSha256(file, AbortSignal.abort()), failure("ABORTED"));
  }
});

test("what is no regular file is refused, not waited for", async (t) => {
  const folder = await temporaryFolder(t);
  const [pipe, inner] = [path.join(folder, "pipe"), path.join(folder, "inner")];
  mkdirSync(inner);
  await assert.rejects(fileSha256(inner), failure("FILE_ERROR", inner));
  if (process.platform === "win32") return;
  execFileSync("mkfifo", [pipe]);
  await assert.rejects(fileSha256(pipe), failure("FILE_ERROR", pipe));
  await assert.rejects(fileSha256("/dev/zero"), failure("FILE_ERROR", "/dev/zero"));
});
