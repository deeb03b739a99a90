// A process or worker may end at any moment. Each case runs in processes of its own, which must end by themselves with
// the right code: a crash of the engine thread shows as a signal.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import path from "node:path";
import test from "node:test";

interface Ended {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

function runChild(mode: string, delay = 0): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [path.join(__dirname, "child.js"), mode, String(delay)], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => (stdout += String(chunk)));
    child.stderr.on("data", (chunk) => (stderr += String(chunk)));
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/** Ten runs, two at a time, that end at ten moments between the first job and the long one. */
async function tenTimes(mode: string, code: number, stderr: RegExp): Promise<void> {
  const delays = [0, 1, 2, 5, 10, 20, 40, 80, 120, 200];
  for (let i = 0; i < delays.length; i += 2) {
    const pair = await Promise.all(delays.slice(i, i + 2).map((delay) => runChild(mode, delay)));
    for (const ended of pair) {
      assert.deepEqual({ code: ended.code, signal: ended.signal }, { code, signal: null }, ended.stderr);
      assert.match(ended.stderr, stderr);
    }
  }
}

test("process.exit() while the engine works", () => tenTimes("exit", 7, /^$/));
test("process.exit() while engine and pool work", () => tenTimes("exitPool", 7, /^$/));
test("an uncaught exception while the engine works", () => tenTimes("throw", 1, /on purpose/));
test("an unhandled rejection while the engine works", () => tenTimes("reject", 1, /on purpose/));
test("process.exit() while workers use the engine too", () => tenTimes("exitWithWorkers", 7, /^$/));

async function prints(mode: string, expected: string): Promise<void> {
  const ended = await runChild(mode);
  assert.deepEqual(ended, { code: 0, signal: null, stdout: `${expected}\n`, stderr: "" });
}

test("pending jobs keep the process alive until they settle", () => prints("finish", "all settled"));
test("worker.terminate() in the middle of a job, ten times", () => prints("terminate", "terminated ten"));
test("worker.terminate() while the pool works or arguments are copied", () =>
  prints("terminatePool", "terminated all"));
test("workers that exit or throw in the middle of a job", () => prints("workersEnd", "7 1 7 1 7 1 7 1 7 1"));
test("the addon in four workers and the main thread", () =>
  prints("parallel", "all settled\nall settled\nall settled\nall settled\n0 0 0 0"));
test("shutdown while the pool takes strips of maps: they end early", () => prints("shutdownPool", "ABORTED ABORTED"));
test("the main thread and workers that end while detectors, trainers, groups and what takes strips exist", () =>
  prints("objects", "0 7 1"));
test("after shutdown: ABORTED, and a second shutdown does nothing", () => prints("afterShutdown", "ABORTED"));
