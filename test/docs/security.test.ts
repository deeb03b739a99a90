import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

const root = path.resolve(__dirname, "../../..");
const read = (file: string): string => readFileSync(path.join(root, file), "utf8");

test("every promise of SECURITY.md names tests that exist", () => {
  const promised = read("SECURITY.md").split("## What is promised")[1]!.split("\n## ")[0]!;
  const rows = promised.split("\n").filter((line) => /^\| (?!promise)/.test(line));
  assert.ok(rows.length > 8, `${rows.length}`);
  for (const row of rows) {
    const held = row.split(" | ")[1]!;
    const names = [...held.matchAll(/"([^"]+)"/g)].map(([, name]) => name!);
    const files = [...held.matchAll(/`(test\/[\w./-]+)`/g)].map(([, file]) => file!);
    assert.ok(names.length > 0 && files.length > 0, row);
    const texts = files.map(read);
    for (const name of names)
      assert.ok(
        texts.some((text) => text.includes(name)),
        `no test "${name}" in ${files.join(", ")}`,
      );
  }
});
