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

for (const regime of ["unsupervised", "weak", "mixed", "full"]) {
  test(`the example of docs/regimes/${regime}.md runs, made small, and trains ${regime}`, async () => {
    const page = readFileSync(path.join(root, "docs", "regimes", `${regime}.md`), "utf8");
    const code = /```js\n([^]*?)```/.exec(page)?.[1];
    assert.ok(code);
    const small: [string, string][] = [
      [`require("supersimplenet")`, `require(${JSON.stringify(path.join(root, "dist", "lib", "index.js"))})`],
      [
        "imageSize: [128, 128], trainNormal: 60",
        "imageSize: [64, 64], testNormal: 2, testAnomalous: 2, trainNormal: 8",
      ],
      ["imageSize: [128, 128], epochs: 16", "imageSize: [32, 32], epochs: 1, threads: 1"],
    ];
    if (regime !== "unsupervised") small.push(["trainAnomalous: 15", "trainAnomalous: 5"]);
    let text = code;
    for (const [from, to] of small) {
      assert.ok(text.includes(from), from);
      text = text.replace(from, to);
    }
    const file = path.join(folder, `${regime}.js`);
    writeFileSync(file, text);
    const { stdout } = await promisify(execFile)(process.execPath, [file], {
      cwd: folder,
      env: { ...process.env, OMP_NUM_THREADS: "1", FORCE_COLOR: "0" },
    });
    assert.match(stdout, new RegExp(`^${regime} `));
    assert.match(stdout, /imageAuroc: \d/);
  });
}
