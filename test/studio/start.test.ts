import assert from "node:assert/strict";
import childProcess from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { packageFolder } from "../../lib/native/locate.js";
import { studioOptions } from "../../lib/schema/studio.js";
import { startStudio } from "../../lib/studio/server.js";
import { failure, temporaryFolder, writeTree } from "../datasets/files.js";
import { inNamespace, mountsHere, withSmallFileSystem } from "../support/mounts.js";
import { until } from "../support/until.js";
import { opened } from "./support.js";

const withoutMounts = !mountsHere && "nobody may mount here";

test("a folder has one studio, until that ends or does not begin", async (t) => {
  const folder = await temporaryFolder(t);
  const { studio } = await opened(folder);
  const refused = failure("FILE_ERROR", folder, "Another studio is at work", "stop it with Ctrl-C");
  await assert.rejects(opened(folder), refused);
  await studio.close();
  const again = await opened(folder);
  const other = await temporaryFolder(t);
  const settings = studioOptions.parse({ port: Number(new URL(again.url).port), device: "cpu" });
  await assert.rejects(startStudio(other, settings), failure("INVALID_OPTION", "another program listens there"));
  await (await opened(other)).studio.close();
});

test("a studio that cannot listen begins no training and leaves the queue as it was", async (t) => {
  const folder = await temporaryFolder(t);
  await writeTree(path.join(folder, "data"), ["train/good/0.png", "train/good/1.png"]);
  const { url } = await opened(await temporaryFolder(t));
  const queue = path.join(folder, ".studio", "trainings.json");
  mkdirSync(path.dirname(queue));
  const entry = { name: "one", state: "queued", flags: { epochs: "1" }, data: null, error: null };
  const text = JSON.stringify([entry]);
  writeFileSync(queue, text);
  const settings = studioOptions.parse({ port: Number(new URL(url).port), device: "cpu" });
  const { mock } = t.mock.method(childProcess, "fork");
  await assert.rejects(startStudio(folder, settings), failure("INVALID_OPTION"));
  assert.equal(mock.callCount(), 0);
  assert.equal(readFileSync(queue, "utf8"), text);
  assert.deepEqual(readdirSync(folder).sort(), [".studio", "data"]);
});

test("small pictures of what is gone are removed at the next start", async (t) => {
  const folder = await temporaryFolder(t);
  const images = ["train/good/0.png", "train/good/1.png", "train/dent/2.png"];
  await writeTree(path.join(folder, "data"), images, ["ground_truth/dent/2_mask.png"]);
  const first = await opened(folder);
  const pictures = (): string[] => readdirSync(path.join(folder, ".studio", "thumbnails")).sort();
  for (const id of images) assert.equal((await first.call("GET", `/thumbnail?id=${id}`)).status, 200);
  assert.equal((await first.call("GET", "/thumbnail?id=train/dent/2.png&mask=1")).status, 200);
  const all = pictures();
  assert.equal(all.length, 4);
  await first.studio.close();
  await (await opened(folder)).studio.close();
  assert.deepEqual(pictures(), all, "nothing has changed");
  rmSync(path.join(folder, "data", images[0]!));
  rmSync(path.join(folder, "data/ground_truth/dent/2_mask.png"));
  const second = await opened(folder);
  await until(() => pictures().length === 2);
  assert.equal((await second.call("GET", `/thumbnail?id=${images[1]}`)).status, 200);
  assert.ok(pictures().every((name) => all.includes(name)));
});

test("a folder that cannot be written is refused at the start", { skip: withoutMounts }, async (t) => {
  const folder = await temporaryFolder(t);
  const program = path.join(packageFolder, "dist", "lib", "cli", "main.js");
  const args = ["studio", folder, "--no-open", "--port", "0", "--device", "cpu"];
  const { status, stderr } = inNamespace([["ro", folder]], [process.execPath, program, ...args]);
  assert.ok(status !== 0 && status !== 99, stderr);
  assert.match(stderr, /FILE_ERROR|read-only file system/);
  assert.deepEqual(readdirSync(folder), []);
});

test("on a full disk nothing is half done, and the answer says why", { skip: withoutMounts }, async (t) => {
  const folder = await temporaryFolder(t);
  const { status, stdout, stderr } = withSmallFileSystem(
    folder,
    "2m",
    process.execPath,
    path.join(__dirname, "full_disk.js"),
    folder,
  );
  assert.equal(status, 0, stderr);
  const { answers, before, after } = JSON.parse(stdout) as {
    answers: Record<string, { status: number; code: string }>;
    before: string[];
    after: string[];
  };
  for (const [what, answer] of Object.entries(answers))
    assert.deepEqual(answer, { status: 507, code: "NO_SPACE" }, what);
  assert.deepEqual(after, before);
});
