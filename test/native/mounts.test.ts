import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { engineFiles } from "../../lib/native/engine.js";
import { packageFolder } from "../../lib/native/locate.js";
import { temporaryFolder } from "../datasets/files.js";
import { inNamespace, mountsHere } from "../support/mounts.js";

const skip = !mountsHere && "no file system can be mounted here";
const lib = path.resolve(__dirname, "../../lib");

/** The error of `body`, a JavaScript expression, where `folder` is mounted noexec. */
function failureOn(folder: string, body: string, env: Record<string, string> = {}): { code: string; message: string } {
  const script = `try { ${body}; console.log("{}"); } catch ({ code, message }) { console.log(JSON.stringify({ code, message })); }`;
  const child = inNamespace([["noexec", folder]], [process.execPath, "-e", script], env);
  assert.equal(child.status, 0, child.stderr);
  return JSON.parse(child.stdout) as { code: string; message: string };
}

const openEngine = `require(${JSON.stringify(path.join(lib, "native", "engine.js"))}).engine("cpu")`;

test("libtorch on a noexec mount: the mount and what to do, not 'damaged'", { skip }, () => {
  const { folder, foundBy } = engineFiles().libtorch;
  const { code, message } = failureOn(folder, openEngine);
  assert.equal(code, "LIBTORCH_LOAD_FAILED");
  assert.ok(message.includes(`${folder} is mounted noexec`), message);
  assert.ok(message.includes(`mount -o remount,exec ${folder}`), message);
  assert.match(message, foundBy === "cache" ? /SUPERSIMPLENET_CACHE/ : /SUPERSIMPLENET_LIBTORCH/);
  assert.doesNotMatch(message, /damaged|remove/);
});

test("the engine on a noexec mount", { skip }, () => {
  const folder = path.dirname(engineFiles().addon.engine);
  const { code, message } = failureOn(folder, openEngine);
  assert.equal(code, "ENGINE_NOT_BUILT");
  assert.ok(message.includes(`${folder} is mounted noexec`), message);
  assert.doesNotMatch(message, /damaged|another platform/);
});

test("sharp's binary on a noexec mount", { skip }, () => {
  const folder = path.join(packageFolder, "node_modules", "@img");
  const open = `require(${JSON.stringify(path.join(lib, "images", "sharp.js"))}).openSharp()`;
  const { code, message } = failureOn(folder, open);
  assert.equal(code, "SHARP_MISSING");
  assert.ok(message.includes(`${folder} is mounted noexec`), message);
  assert.doesNotMatch(message, /--omit=optional/);
});

test("noexecMount finds the innermost mount, also one with a space in its name", { skip }, async (t) => {
  const root = await temporaryFolder(t);
  const outer = path.join(root, "mit Leerzeichen");
  const inner = path.join(outer, "inner");
  mkdirSync(inner, { recursive: true });
  for (const folder of [root, outer, inner]) writeFileSync(path.join(folder, "file"), "");
  const script = `const { noexecMount } = require(${JSON.stringify(path.join(lib, "native", "mounts.js"))});
    console.log(JSON.stringify(${JSON.stringify([root, outer, inner])}.map((folder) => noexecMount(folder + "/file") ?? null)))`;
  const mounts = [
    ["noexec", outer],
    ["exec", inner],
  ] as const;
  const child = inNamespace(mounts, [process.execPath, "-e", script]);
  assert.equal(child.status, 0, child.stderr);
  const within = spawnSync(process.execPath, ["-e", script], { encoding: "utf8" });
  const [outside] = JSON.parse(within.stdout) as (string | null)[]; // of the folder for temporary files itself
  assert.deepEqual(JSON.parse(child.stdout), [outside, outer, null]);
});
