import assert from "node:assert/strict";
import { appendFileSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { parse } from "csv-parse/sync";

import { LineWriter } from "../../lib/files/lines.js";
import { columns } from "../../lib/outputs/columns.js";
import { openOutputs } from "../../lib/outputs/open.js";
import type { Result } from "../../lib/outputs/output.js";
import { failure, temporaryFolder } from "../datasets/files.js";
import { names, resultOf } from "./support.js";

const day = "2026-03-04";

test("csv: one file a day in UTC, the documented columns, one line a result", async (t) => {
  const folder = path.join(await temporaryFolder(t), "results");
  const output = await openOutputs([`csv:${folder}`]);
  const kept = await Promise.all([
    output.write(resultOf("a.png")),
    output.write(resultOf('b, "two"\n.png', { repeated: true, regions: [], decidedBy: [], verdict: "good" })),
    output.write(resultOf("c.png", { time: "2026-03-05T00:00:00.000Z" })),
  ]);
  assert.deepEqual(kept, [true, true, true]);
  assert.deepEqual(output.status(), [{ output: `csv:${folder}`, written: 3, waiting: 0, lost: 0, error: undefined }]);
  await output.close();
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith("2026-03")),
    [`${day}.csv`, "2026-03-05.csv"],
  );
  const rows: Record<string, string>[] = parse(readFileSync(path.join(folder, `${day}.csv`)), { columns: true });
  assert.deepEqual(
    Object.keys(rows[0]!),
    columns.map(({ name }) => name),
  );
  const { path: file, verdict, score, region_width, decided_by, checksum, repeated } = rows[0]!;
  assert.deepEqual(
    { file, verdict, score, region_width, decided_by, checksum, repeated },
    {
      file: "a.png",
      verdict: "defect",
      score: "0.75",
      region_width: "3",
      decided_by: "score+map",
      checksum: "0123456789abcdef",
      repeated: "0",
    },
  );
  assert.equal(rows[1]!["path"], 'b, "two"\\u000a.png');
  assert.equal(rows[1]!["repeated"], "1");
  assert.equal(rows[1]!["region_x"], "");
});

test("jsonl: the whole result a line", async (t) => {
  const folder = await temporaryFolder(t);
  const output = await openOutputs([`jsonl:${folder}`]);
  await output.write(resultOf("a.png"));
  await output.close();
  assert.deepEqual(JSON.parse(readFileSync(path.join(folder, `${day}.jsonl`), "utf8")), resultOf("a.png"));
});

test("what a crash left of a line is cut off, and the lines before it stay", async (t) => {
  const folder = await temporaryFolder(t);
  const file = path.join(folder, `${day}.jsonl`);
  const first = await openOutputs([`jsonl:${folder}`]);
  await first.write(resultOf("a.png"));
  await first.close();
  appendFileSync(file, '{"path":"torn.p');
  const second = await openOutputs([`jsonl:${folder}`]);
  await second.write(resultOf("b.png"));
  await second.close();
  const lines = readFileSync(file, "utf8").trimEnd().split("\n");
  assert.deepEqual(
    lines.map((line) => (JSON.parse(line) as Result).path),
    ["a.png", "b.png"],
  );
});

test("lines that are asked for together are whole lines in their order, beside another writer's", async (t) => {
  const file = path.join(await temporaryFolder(t), "lines.txt");
  const writers = [new LineWriter(), new LineWriter()];
  const kept = await Promise.all(
    names(200).flatMap((name) => writers.map((writer, i) => writer.append(file, `${i} ${name} ${"x".repeat(500)}`))),
  );
  assert.ok(kept.every(Boolean));
  for (const writer of writers) await writer.close();
  const lines = readFileSync(file, "utf8").trimEnd().split("\n");
  for (const i of [0, 1])
    assert.deepEqual(
      lines.filter((line) => line.startsWith(`${i} `)),
      names(200).map((name) => `${i} ${name} ${"x".repeat(500)}`),
    );
});

test("a file that was moved away is begun again", async (t) => {
  const folder = await temporaryFolder(t);
  const file = path.join(folder, `${day}.csv`);
  const output = await openOutputs([`csv:${folder}`]);
  await output.write(resultOf("a.png"));
  renameSync(file, `${file}.1`);
  await output.write(resultOf("b.png"));
  await output.close();
  const paths = (name: string): string[] =>
    (parse(readFileSync(name), { columns: true }) as Record<string, string>[]).map((row) => row["path"]!);
  assert.deepEqual([paths(`${file}.1`), paths(file)], [["a.png"], ["b.png"]]);
});

test("a file with other columns, a file in place of the folder, and forms that do not exist are refused", async (t) => {
  const folder = await temporaryFolder(t);
  const today = path.join(folder, `${new Date().toISOString().slice(0, 10)}.csv`);
  writeFileSync(today, "time,path\n");
  await assert.rejects(openOutputs([`csv:${folder}`]), failure("FILE_ERROR", today, "other columns"));
  assert.equal(readFileSync(today, "utf8"), "time,path\n");
  await assert.rejects(openOutputs([`jsonl:${today}`]), failure("FILE_ERROR", today));
  for (const [written, told] of [
    ["results", "csv:DIR"],
    ["cvs:results", "did you mean 'csv:'?"],
    ["csv:", "csv:DIR"],
    ["webhook:example", "http or https"],
    ["mqtt://host/a/#", "without + and #"],
    ["mqtt:host", "mqtt://HOST"],
  ])
    await assert.rejects(openOutputs([written!]), failure("INVALID_OPTION", told!));
  await assert.rejects(openOutputs([`csv:${folder}/a`, `csv:${folder}/a`]), failure("INVALID_OPTION", "once"));
});
