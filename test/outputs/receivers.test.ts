import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { openOutputs, type OutputOptions } from "../../lib/outputs/open.js";
import type { Result } from "../../lib/outputs/output.js";
import { failure, temporaryFolder } from "../datasets/files.js";
import { freePort } from "../training/support.js";
import { closed, names, type Posted, receiver, resultOf, statusOf } from "./support.js";
import { until } from "../support/until.js";

const limit = { timeout: 60_000 };
const pathsOf = (posted: readonly Posted[]): string[] => posted.map(({ body }) => (JSON.parse(body) as Result).path!);

test("webhook: one signed POST a result, in order", limit, async (t) => {
  const folder = await temporaryFolder(t);
  writeFileSync(path.join(folder, "secret"), "whsec_c2VjcmV0\n");
  const posted: Posted[] = [];
  const { server, port } = await receiver(0, (one) => (posted.push(one), 204));
  t.after(() => closed(server));
  const url = `http://user:pass@127.0.0.1:${port}/hidden?token=1`;
  const output = await openOutputs([`webhook:${url}`], {
    stateDir: path.join(folder, "state"),
    webhookSecretFile: path.join(folder, "secret"),
  });
  for (const name of names(5)) assert.equal(await output.write(resultOf(name)), true);
  await until(() => posted.length === 5);
  assert.deepEqual(pathsOf(posted), names(5));
  const { headers, body } = posted[0]!;
  assert.equal(headers["authorization"], `Basic ${Buffer.from("user:pass").toString("base64")}`);
  const signed = `${String(headers["webhook-id"])}.${String(headers["webhook-timestamp"])}.${body}`;
  const expected = createHmac("sha256", "secret").update(signed).digest("base64");
  assert.equal(headers["webhook-signature"], `v1,${expected}`);
  await until(() => statusOf(output).waiting === 0);
  assert.deepEqual(output.status(), [
    { output: `webhook:http://127.0.0.1:${port}`, written: 5, waiting: 0, lost: 0, error: undefined },
  ]);
  await output.close();
  assert.deepEqual(readdirSync(path.join(folder, "state", "outputs")).length, 1);
});

test("a receiver that is away: results wait on the disk, over a restart, and come in order", limit, async (t) => {
  const stateDir = await temporaryFolder(t);
  const port = await freePort();
  const changes: (string | undefined)[] = [];
  const options: OutputOptions = { stateDir, retryDelayMs: 10, onChange: (_, error) => void changes.push(error) };
  const first = await openOutputs([`webhook:http://127.0.0.1:${port}`], options);
  for (const name of names(20)) assert.equal(await first.write(resultOf(name)), true);
  await until(() => statusOf(first).error !== undefined);
  assert.equal(statusOf(first).waiting, 20);
  await first.close();
  assert.equal(changes.length, 1, "told once");

  const second = await openOutputs([`webhook:http://127.0.0.1:${port}`], options);
  assert.equal(statusOf(second).waiting, 20);
  for (const name of names(5, 20)) await second.write(resultOf(name));
  const posted: Posted[] = [];
  let answers = 0;
  const { server } = await receiver(port, (one) => (++answers % 3 === 0 ? 503 : (posted.push(one), 200)));
  t.after(() => closed(server));
  await until(() => statusOf(second).waiting === 0);
  assert.deepEqual(pathsOf(posted), names(25));
  assert.equal(new Set(posted.map(({ headers }) => headers["webhook-id"])).size, 25);
  assert.equal(statusOf(second).error, undefined);
  assert.equal(statusOf(second).lost, 0);
  await second.close();
});

test("beyond the disk's limit the oldest are given up, and counted", limit, async (t) => {
  const stateDir = await temporaryFolder(t);
  const port = await freePort();
  const output = await openOutputs([`webhook:http://127.0.0.1:${port}`], { stateDir, spoolMiB: 1, retryDelayMs: 10 });
  const long = resultOf("x".repeat(10_000));
  for (let i = 0; i < 200; i++) assert.equal(await output.write({ ...long, id: String(i) }), true);
  const { waiting, lost } = statusOf(output);
  assert.equal(waiting + lost, 200);
  assert.ok(waiting > 80 && waiting < 105, `${waiting} wait`);
  const posted: Posted[] = [];
  const { server } = await receiver(port, (one) => (posted.push(one), 200));
  t.after(() => closed(server));
  await until(() => statusOf(output).waiting === 0);
  assert.deepEqual(
    posted.map(({ body }) => Number((JSON.parse(body) as Result).id)),
    Array.from({ length: waiting }, (_, i) => 200 - waiting + i),
  );
  await output.close();
});

test("a result that the receiver refuses for good does not keep the others waiting", limit, async (t) => {
  const stateDir = await temporaryFolder(t);
  const posted: Posted[] = [];
  const { server, port } = await receiver(0, (one) => (one.body.includes("part-001") ? 422 : (posted.push(one), 200)));
  t.after(() => closed(server));
  const output = await openOutputs([`webhook:http://127.0.0.1:${port}`], { stateDir, retryDelayMs: 10 });
  for (const name of names(3)) await output.write(resultOf(name));
  await until(() => posted.length === 2);
  await output.close();
  assert.equal(statusOf(output).lost, 1);
  const [folder] = readdirSync(path.join(stateDir, "outputs"));
  const refused = readFileSync(path.join(stateDir, "outputs", folder!, "refused.jsonl"), "utf8");
  assert.match(refused, /answered 422.*part-001\.png/);
});

test("exec: a program for every result, with the result on its standard input", limit, async (t) => {
  const folder = await temporaryFolder(t);
  const out = path.join(folder, "out");
  const output = await openOutputs([`exec:cat >> '${out}'`], { stateDir: folder });
  for (const name of names(3)) await output.write(resultOf(name));
  await until(() => statusOf(output).written === 3);
  await output.close();
  const lines = readFileSync(out, "utf8").trimEnd().split("\n");
  assert.deepEqual(
    lines.map((line) => JSON.parse(line) as Result),
    names(3).map((name) => resultOf(name)),
  );
});

test("exec: a program that fails or hangs is tried again, with what it had started ended", limit, async (t) => {
  const folder = await temporaryFolder(t);
  const at = (name: string): string => path.join(folder, name);
  // The first time it hangs, the second time it fails, then it works.
  const script = `if [ ! -e ${at("hung")} ]; then touch ${at("hung")}; (sleep 600; touch ${at("late")}) & wait; fi
    if [ ! -e ${at("failed")} ]; then touch ${at("failed")}; echo no database >&2; exit 1; fi; cat > ${at("done")}`;
  const errors: string[] = [];
  const onChange = (_: string, error: string | undefined): void => void (error && errors.push(error));
  const output = await openOutputs([`exec:${script}`], {
    stateDir: folder,
    execTimeoutMs: 300,
    retryDelayMs: 10,
    onChange,
  });
  await output.write(resultOf("a.png"));
  await until(() => statusOf(output).written === 1);
  assert.match(errors[0]!, /longer than 0\.3 s/);
  assert.ok(existsSync(at("failed")) && existsSync(at("done")));
  await output.close();
});

test("sqlite: rows that can be asked for by time, each once", limit, async (t) => {
  let Database: new (
    file: string,
    options?: object,
  ) => { prepare(sql: string): { all(...values: unknown[]): unknown[] }; close(): void };
  try {
    Database = require("better-sqlite3") as typeof Database;
    new Database(":memory:").close();
  } catch {
    return t.skip("better-sqlite3 is not installed here, or was not compiled");
  }
  const folder = await temporaryFolder(t);
  const file = path.join(folder, "results.sqlite");
  const output = await openOutputs([`sqlite:${file}`], { stateDir: folder });
  for (const [i, name] of names(30).entries())
    await output.write(resultOf(name, { time: `2026-03-04T05:06:${String(i).padStart(2, "0")}.000Z` }));
  await until(() => statusOf(output).written === 30);
  await output.close();
  const database = new Database(file, { readonly: true });
  t.after(() => database.close());
  const found = database
    .prepare("SELECT path, verdict, region_width, result FROM results WHERE time >= ? ORDER BY time")
    .all("2026-03-04T05:06:28") as { path: string; verdict: string; region_width: number; result: string }[];
  assert.deepEqual(
    found.map((row) => row.path),
    names(2, 28),
  );
  assert.equal(found[0]!.verdict, "defect");
  assert.equal(found[0]!.region_width, 3);
  assert.equal((JSON.parse(found[0]!.result) as Result).path, "part-028.png");

  writeFileSync(path.join(folder, "other.sqlite"), "no database, but long enough to be read as one".repeat(50));
  await assert.rejects(
    openOutputs([`sqlite:${path.join(folder, "other.sqlite")}`], { stateDir: folder }),
    failure("FILE_ERROR", "other.sqlite"),
  );
});

test("one process at a time has a folder of what waits; it is free again after closing", limit, async (t) => {
  const stateDir = await temporaryFolder(t);
  const first = await openOutputs(["exec:cat"], { stateDir });
  await assert.rejects(openOutputs(["exec:true"], { stateDir }), failure("FILE_ERROR", "in use"));
  await first.close();
  await (await openOutputs(["exec:true"], { stateDir })).close();
});

test("an output that fails does not keep the others waiting", limit, async (t) => {
  const folder = await temporaryFolder(t);
  const csv = path.join(folder, "csv");
  const output = await openOutputs([`webhook:http://127.0.0.1:${await freePort()}`, `csv:${csv}`], {
    stateDir: folder,
  });
  assert.equal(await output.write(resultOf("a.png")), true);
  assert.match(readFileSync(path.join(csv, "2026-03-04.csv"), "utf8"), /a\.png/);
  await output.close();
  assert.deepEqual(
    output.status().map(({ waiting, written }) => [waiting, written]),
    [
      [1, 0],
      [0, 1],
    ],
  );
});
