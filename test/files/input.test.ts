import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import { test, type TestContext } from "node:test";

import { manifest } from "../../lib/datasets/manifest.js";
import { open } from "../../lib/datasets/registry.js";
import { readRegular } from "../../lib/files/input.js";
import { readTensors } from "../../lib/files/tensors.js";
import { decodeImage, imageSize } from "../../lib/images/decode.js";
import { decodeMask } from "../../lib/images/mask.js";
import { failure, temporaryFolder, writeTree } from "../datasets/files.js";

const skip = process.platform === "win32" && "there are no pipes in folders";

/** A pipe without a writer, a socket, and a link to a device that never ends. */
async function specials(t: TestContext): Promise<Record<"pipe" | "socket" | "device", string>> {
  const root = await temporaryFolder(t);
  const at = (name: string): string => path.join(root, name);
  assert.equal(spawnSync("mkfifo", [at("pipe.png")]).status, 0);
  symlinkSync("/dev/zero", at("device.png"));
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(at("s.png"), resolve));
  t.after(() => server.close());
  return { pipe: at("pipe.png"), socket: at("s.png"), device: at("device.png") };
}

test("pipes, sockets and devices are refused by name, and nothing waits for them", { skip }, async (t) => {
  for (const [kind, file] of Object.entries(await specials(t))) {
    const what = new RegExp(`it is a ${kind}`);
    await assert.rejects(readRegular(file), failure("FILE_ERROR", file, what));
    await assert.rejects(readTensors(file), failure("FILE_ERROR", file, what));
    await assert.rejects(manifest(file), failure("FILE_ERROR", file, what));
    for (const read of [decodeImage, decodeMask, imageSize])
      await assert.rejects(read(file), failure("IMAGE_UNREADABLE", file, what));
  }
});

test("a folder, and an ordinary file", async (t) => {
  const root = await temporaryFolder(t);
  const file = path.join(root, "file");
  writeFileSync(file, "whole");
  assert.equal((await readRegular(file)).toString(), "whole");
  await assert.rejects(readRegular(root), failure("FILE_ERROR", "it is a folder"));
  await assert.rejects(decodeImage(root), failure("IMAGE_UNREADABLE", "it is a folder"));
  await assert.rejects(readRegular(path.join(root, "absent")), { code: "ENOENT" });
});

test("a data set in a folder leaves them out and says so", { skip }, async (t) => {
  const { pipe } = await specials(t);
  const root = path.join(path.dirname(pipe), "set");
  await writeTree(root, ["train/good/1.png", "train/good/2.png"]);
  assert.equal(spawnSync("mkfifo", [path.join(root, "train", "good", "3.png")]).status, 0);
  const { samples, special, problems } = await open(root);
  assert.deepEqual(
    samples.map(({ id }) => id),
    ["train/good/1.png", "train/good/2.png"],
  );
  assert.deepEqual(problems, []);
  assert.deepEqual(special, ["train/good/3.png"]);
});
