import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { after } from "node:test";

import { extract } from "../../lib/download/zip.js";
import { zip } from "./zips.js";

const temporary = mkdtempSync(path.join(os.tmpdir(), "ssn-zip-"));
after(() => rmSync(temporary, { recursive: true }));

for (const deflate of [false, true]) {
  test(`unpacks the wanted files of a ${deflate ? "deflated" : "stored"} archive`, async () => {
    const archive = path.join(temporary, "a.zip");
    const folder = path.join(temporary, `out-${deflate}`);
    writeFileSync(
      archive,
      zip({ "torch/lib/a.so": "library ".repeat(1000), "torch/empty": "", "torch/nn.py": "unwanted" }, deflate),
    );
    assert.equal(
      await extract(archive, folder, (name) => (name.endsWith(".py") ? undefined : name.replace("torch/", ""))),
      2,
    );
    assert.equal(readFileSync(path.join(folder, "lib", "a.so"), "utf8"), "library ".repeat(1000));
    assert.equal(readFileSync(path.join(folder, "empty"), "utf8"), "");
    assert.ok(!existsSync(path.join(folder, "nn.py")));
  });
}

test("refuses a damaged archive and an entry that leaves the folder", async () => {
  const archive = path.join(temporary, "b.zip");
  const whole = zip({ "../outside": "text" }, true);
  writeFileSync(archive, whole);
  await assert.rejects(
    extract(archive, path.join(temporary, "b"), (name) => name),
    /leaves the folder/,
  );
  writeFileSync(archive, whole.subarray(0, whole.length - 10));
  await assert.rejects(
    extract(archive, path.join(temporary, "b"), (name) => name),
    /not a zip archive, or cut short/,
  );
});
