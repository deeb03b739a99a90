// Run by full_disk.test.ts, with a small file system at the given folder that may be filled.
import assert from "node:assert/strict";
import { closeSync, fstatSync, ftruncateSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";

import { parse } from "csv-parse/sync";

import { createServer, Detector, type Output, openOutputs, type Result, watchFolder } from "../../lib/index.js";
import { ask, modelFile, pngImage } from "../server/support.js";
import { openSpool, resultOf } from "./support.js";
import { fillDisk } from "../support/mounts.js";
import { until } from "../support/until.js";
import { smallDataset, tinier, train } from "../training/support.js";
import { drop, rowsIn } from "../watch/kill.js";

const small = process.argv[2]!;
const scratch = path.dirname(small);
const filler = path.join(small, "filler");

/** Gives so many bytes back. */
function free(bytes: number): void {
  const file = openSync(filler, "r+");
  ftruncateSync(file, fstatSync(file).size - bytes);
  closeSync(file);
}

/** Lines are whole, and none is missing or there twice, however often the disk was full in between. */
async function csvAndQueue(): Promise<void> {
  const csv = path.join(small, "csv");
  const errors: (string | undefined)[] = [];
  const options = { stateDir: path.join(small, "state"), retryDelayMs: 20 };
  const outputs = await openOutputs([`csv:${csv}`, "exec:cat > /dev/null; sleep 600"], {
    ...options,
    onChange: (name, error) => void (name.startsWith("csv") && errors.push(error)),
  });
  const names = Array.from({ length: 300 }, (_, i) => `part-${i}.png`);
  const kept: Promise<boolean>[] = [];
  for (const [i, name] of names.entries()) {
    if (i === 100) fillDisk(filler);
    kept.push(outputs.write(resultOf(name, { warnings: ["x".repeat(100)] })));
    if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await until(() => outputs.status()[0]!.error !== undefined);
  assert.match(outputs.status()[0]!.error!, /no space left/i);
  assert.ok(outputs.status()[0]!.waiting > 0);
  free(4096 * 3);
  await new Promise((resolve) => setTimeout(resolve, 300));
  rmSync(filler);
  assert.ok((await Promise.all(kept)).every(Boolean));
  assert.deepEqual(
    rowsIn(csv).map((row) => row["path"]),
    names,
  );
  assert.equal(outputs.status()[0]!.error, undefined);
  assert.equal(errors.length % 2, 0, "every failure was followed by a recovery");
  assert.equal(outputs.status()[1]!.waiting, names.length);
  await outputs.close();
  const [queue] = readdirSync(path.join(small, "state", "outputs"));
  assert.deepEqual(await openSpool(path.join(small, "state", "outputs", queue!)), names);
}

/** Detection goes on, and the journal and the CSV follow when there is room. */
async function watching(): Promise<void> {
  const folder = path.join(scratch, "in");
  mkdirSync(folder);
  const data = await smallDataset(scratch);
  const detector = await Detector.load(await train(data, tinier), { threads: 1 });
  const controller = new AbortController();
  const results: Result[] = [];
  const troubles: unknown[] = [];
  const csv = path.join(small, "watched");
  const outputs: Output = await openOutputs([`csv:${csv}`], { stateDir: path.join(scratch, "state") });
  const run = (signal: AbortSignal) =>
    watchFolder(detector, folder, {
      settleMs: 20,
      stateDir: path.join(small, "journal"),
      signal,
      outputs,
      onResult: (result) => void results.push(result),
      onTrouble: (error) => void troubles.push(error),
    });
  const first = run(controller.signal);
  const more = async (from: number, to: number): Promise<void> => {
    for (let i = from; i < to; i++) await drop(folder, `${i}.png`, i);
    await until(() => results.length === to);
  };
  await more(0, 5);
  fillDisk(filler);
  await more(5, 40);
  assert.match(String(troubles[0]), /no space left/i);
  rmSync(filler);
  await more(40, 45);
  await until(() => outputs.status()[0]!.waiting === 0);
  const journal = path.join(small, "journal", "watch", "journal.jsonl");
  await until(() => readFileSync(journal, "utf8").split('"done"').length - 1 === 45);
  controller.abort();
  await first;
  assert.deepEqual(
    rowsIn(csv).map((row) => row["repeated"]),
    Array<string>(45).fill("0"),
  );
  const again = new AbortController();
  const second = run(again.signal);
  await more(45, 46);
  again.abort();
  await second;
  await outputs.close();
  assert.equal(new Set(rowsIn(csv).map((row) => row["path"])).size, 46);
  assert.equal(parse(readFileSync(path.join(csv, readdirSync(csv)[0]!))).length, 47);
  detector.dispose();
}

/** Every request is answered, and its result follows, once, when there is room. */
async function serving(): Promise<void> {
  const model = await modelFile(scratch);
  const csv = path.join(small, "served");
  const outputs = await openOutputs([`csv:${csv}`], { stateDir: path.join(scratch, "state") });
  const server = await createServer({ models: { part: model }, port: 0, queueSize: 4, threads: 1 }, outputs);
  const body = await pngImage();
  const ids = Array.from({ length: 30 }, (_, i) => `part-${i}`);
  for (const [i, id] of ids.entries()) {
    if (i === 5) fillDisk(filler);
    const { status } = await ask(`${server.url}/api/v1/models/part/detect?id=${id}`, { body });
    assert.equal(status, 200);
  }
  assert.match(outputs.status()[0]!.error!, /no space left/i);
  rmSync(filler);
  await until(() => outputs.status()[0]!.waiting === 0);
  await server.close();
  assert.deepEqual(
    rowsIn(csv).map((row) => row["id"]),
    ids,
  );
}

async function main(): Promise<void> {
  for (const part of [csvAndQueue, watching, serving]) {
    await part();
    for (const name of readdirSync(small)) rmSync(path.join(small, name), { recursive: true });
  }
  console.log("all done");
}

void main();
