import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { Spool } from "../../lib/outputs/spool.js";
import { temporaryFolder } from "../datasets/files.js";

/** A queue with two files on the disk: the first holds `count` lines. */
async function filled(folder: string, count: number): Promise<string> {
  for (const first of [0, count]) {
    const spool = await Spool.open(folder, 2 ** 20, {});
    for (let i = first; i < first + count; i++) await spool.append(`line ${i}`);
    await spool.close();
  }
  const files = readdirSync(folder).filter((name) => name.endsWith(".jsonl"));
  assert.equal(files.length, 2);
  return path.join(folder, files.sort()[0]!);
}

const cases: [damage: string, damaged: (file: string) => void, left: string[]][] = [
  ["shortened", (file) => writeFileSync(file, "line 0\nline 1\n"), ["line 0", "line 1"]],
  ["filled with what is no line", (file) => (writeFileSync(file, "line 0\n"), truncateSync(file, 2 ** 25)), ["line 0"]],
  ["emptied", (file) => writeFileSync(file, ""), []],
  ["removed", (file) => rmSync(file), []],
];
for (const [damage, damaged, left] of cases)
  test(`a file of the queue that was ${damage} while the queue was open: what is missing is lost, and said`, async (t) => {
    const folder = await temporaryFolder(t);
    const file = await filled(folder, 4);
    const failures: string[] = [];
    const watcher = { failed: (error: unknown) => void failures.push(String(error)), works: () => undefined };
    const spool = await Spool.open(folder, 2 ** 20, { watcher });
    assert.equal(spool.waiting, 8);
    damaged(file);
    const taken: string[] = [];
    const { signal } = new AbortController();
    while (spool.waiting > 0) {
      const some = (await spool.take(3, signal))!;
      assert.ok(some.lines.length > 0, "an empty answer is asked for again at once, for ever");
      taken.push(...some.lines);
      await spool.sent(some);
    }
    assert.deepEqual(taken, [...left, "line 4", "line 5", "line 6", "line 7"]);
    assert.equal(spool.lost, 4 - left.length);
    assert.equal(failures.length, 1);
    assert.match(failures[0]!, /lines/);
    await spool.append("more");
    assert.deepEqual((await spool.take(3, signal))!.lines, ["more"]);
    await spool.close();
  });

test("a file that is whole again by the time it is read once more has lost nothing", async (t) => {
  const folder = await temporaryFolder(t);
  const file = await filled(folder, 4);
  const whole = readFileSync(file);
  const spool = await Spool.open(folder, 2 ** 20, {});
  writeFileSync(file, "line 0\n");
  const { signal } = new AbortController();
  await spool.sent((await spool.take(3, signal))!);
  writeFileSync(file, whole);
  assert.deepEqual((await spool.take(9, signal))!.lines, ["line 1", "line 2", "line 3"]);
  assert.equal(spool.lost, 0);
  await spool.close();
});
