import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";

const root = path.resolve(__dirname, "../../..");
const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

test("the example of docs/guides/train.md runs, made small, and trains in every regime", async () => {
  const page = readFileSync(path.join(root, "docs", "guides", "train.md"), "utf8");
  const code = /```js\n([^]*?)```/.exec(page)?.[1];
  assert.ok(code);
  const small: [string, string][] = [
    [`require("supersimplenet")`, `require(${JSON.stringify(path.join(root, "dist", "lib", "index.js"))})`],
    ["imageSize: [128, 128]", "imageSize: [64, 64]"],
    ["trainNormal: 60", "testNormal: 2, testAnomalous: 2, trainNormal: 8"],
    ["trainAnomalous: 15", "trainAnomalous: 5"],
    ["epochs: 16", "epochs: 1, threads: 1"],
  ];
  let text = code;
  for (const [from, to] of small) {
    assert.ok(text.includes(from), from);
    text = text.replaceAll(from, to);
  }
  const file = path.join(folder, "train.js");
  writeFileSync(file, text);
  const { stdout } = await promisify(execFile)(process.execPath, [file], {
    cwd: folder,
    env: { ...process.env, OMP_NUM_THREADS: "1", FORCE_COLOR: "0" },
  });
  const trained = [...stdout.matchAll(/^(\w+) \{$/gm)].map((match) => match[1]);
  assert.deepEqual(trained, ["unsupervised", "weak", "mixed", "full"]);
  assert.equal([...stdout.matchAll(/imageAuroc: \d/g)].length, trained.length);
});
