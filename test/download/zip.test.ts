import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { after } from "node:test";

import { extract } from "../../lib/download/zip.js";
import { zip } from "./zips.js";

const temporary = mkdtempSync(path.join(os.tmpdir(), "ssn-zip-"));
after(() => rmSync(temporary, { recursive: true }));

for (const [kind, deflate, zip64] of [
  ["stored", false, false],
  ["deflated", true, false],
  ["zip64", true, true],
] as const) {
  test(`unpacks the wanted files of a ${kind} archive`, async () => {
    const archive = path.join(temporary, "a.zip");
    const folder = path.join(temporary, `out-${kind}`);
    writeFileSync(
      archive,
      zip({ "torch/lib/a.so": "library ".repeat(1000), "torch/empty": "", "torch/nn.py": "unwanted" }, deflate, zip64),
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

test("refuses an entry whose bytes or size are not those that the archive states", async () => {
  const archive = path.join(temporary, "c.zip");
  const whole = zip({ a: "some text" }, false);
  const damaged = (at: number): Buffer => {
    const bytes = Buffer.from(whole);
    bytes[at]! ^= 1;
    return bytes;
  };
  const unpack = (): Promise<number> => extract(archive, path.join(temporary, "c"), (name) => name);
  writeFileSync(archive, damaged(whole.indexOf("some")));
  await assert.rejects(unpack, /entry 'a' is damaged: its CRC-32 is wrong/);
  const deflated = zip({ a: "some text ".repeat(100) }, true);
  deflated.writeUInt32LE(10, deflated.indexOf("PK\x01\x02") + 24);
  writeFileSync(archive, deflated);
  await assert.rejects(unpack, /too many bytes/);
});

test("reports progress, and stops when it is cancelled", async () => {
  const archive = path.join(temporary, "d.zip");
  writeFileSync(archive, zip({ a: "x".repeat(1e6), b: "y".repeat(1e6) }, true));
  const seen: [number, number][] = [];
  await extract(archive, path.join(temporary, "d"), (name) => name, { onProgress: (...at) => seen.push(at) });
  assert.deepEqual(seen.at(-1), [2e6, 2e6]);
  const controller = new AbortController();
  await assert.rejects(
    extract(archive, path.join(temporary, "e"), (name) => name, {
      signal: controller.signal,
      onProgress: () => controller.abort(),
    }),
    { name: "AbortError" },
  );
  assert.ok(!existsSync(path.join(temporary, "e", "b")));
});

test("an offset that no file has, and a NUL in a name, are errors: the process lives on", async () => {
  const archive = path.join(temporary, "d.zip");
  const unpack = (): Promise<number> => extract(archive, path.join(temporary, "d"), (name) => name);
  const whole = zip({ a: "some text" }, false, true);
  // Of the zip64 end record, in its locator; of the directory, in the record; of the entry, in the directory.
  for (const [signature, field] of [
    ["PK\x06\x07", 8],
    ["PK\x06\x06", 48],
    ["PK\x01\x02", 46 + 1 + 4 + 16],
  ] as const) {
    for (const offset of [2n ** 63n, BigInt(whole.length - 1)]) {
      const bytes = Buffer.from(whole);
      bytes.writeBigUInt64LE(offset, whole.indexOf(signature) + field);
      writeFileSync(archive, bytes);
      await assert.rejects(unpack, (error) => error instanceof Error && !(error instanceof RangeError), signature);
    }
  }
  writeFileSync(archive, zip({ "a\0b": "some text" }, false));
  await assert.rejects(unpack, /NUL/);
});
