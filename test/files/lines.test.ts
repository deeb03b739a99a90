import assert from "node:assert/strict";
import { truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { readLines } from "../../lib/files/lines.js";
import { failure, temporaryFolder } from "../datasets/files.js";

async function linesOf(file: string): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of readLines(file)) lines.push(line);
  return lines;
}

test("whole lines, wherever the reads of a file end, and what follows the last line end is none", async (t) => {
  const file = path.join(await temporaryFolder(t), "lines");
  // Characters of 3 bytes, and ends of lines for other programs: the reads of 1 MiB fall within them.
  const written = Array.from({ length: 1200 }, (_, i) => `${i} ${"\u2028\u20ac".repeat(i % 700)}`);
  const long = "\u20ac".repeat(2 ** 20);
  for (const lines of [[], [""], ["", "a", ""], written, [long, "b", long]])
    for (const torn of ["", "torn", long]) {
      writeFileSync(file, lines.map((line) => `${line}\n`).join("") + torn);
      assert.deepEqual(await linesOf(file), lines);
    }
  assert.deepEqual(await linesOf(`${file}.none`), []);
});

test("a file that is too large for a string, and has no line, is refused when a line's length is read", async (t) => {
  const file = path.join(await temporaryFolder(t), "lines");
  writeFileSync(file, "first\n");
  truncateSync(file, 600 * 2 ** 20); // without taking room
  const lines = readLines(file);
  assert.equal((await lines.next()).value, "first");
  await assert.rejects(lines.next(), failure("FILE_CORRUPT", file, "a line of more than"));
});

test("what is no file is refused", async (t) => {
  const folder = await temporaryFolder(t);
  await assert.rejects(linesOf(folder), failure("FILE_ERROR", folder, "it is a folder"));
});
