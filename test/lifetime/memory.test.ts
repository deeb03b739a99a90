// Memory does not grow with the work: from a third of it on, when caches and pools have their sizes, a process stays as large
// as it is. Each case runs in a process of its own, on one thread.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import path from "node:path";
import test from "node:test";

import { scratchFolder } from "../training/support.js";

const folder = scratchFolder();

interface Measured {
  round: number;
  rss: number;
  javascript: number;
}

function run(mode: string): Promise<Measured[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["--expose-gc", path.join(__dirname, "memory-child.js"), mode, path.join(folder, mode)], {
      // One arena: how glibc spreads blocks over several is chance.
      env: { ...process.env, SUPERSIMPLENET_THREADS: "1", OMP_NUM_THREADS: "1", MALLOC_ARENA_MAX: "1" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let text = "";
    child.stdout.on("data", (chunk) => (text += String(chunk)));
    child.on("error", reject);
    child.on("close", (code) => (code === 0 ? resolve(text.trim().split("\n").map((line) => JSON.parse(line) as Measured)) : reject(new Error(`ended with ${code}`))));
  });
}

/** MiB from a third of the rounds to the end. */
async function assertSteady(mode: string, rounds: number, limit: number): Promise<void> {
  const [third, , end] = await run(mode);
  assert.ok(third && end && third.round === Math.floor(rounds / 3) && end.round === 3 * third.round);
  for (const kind of ["rss", "javascript"] as const) {
    assert.ok(end[kind] - third[kind] < limit, `${kind}: ${third[kind].toFixed(1)} MiB after ${third.round} rounds, ${end[kind].toFixed(1)} MiB after ${end.round}`);
  }
}

test("1,000 training steps", () => assertSteady("train", 1000, 6));
test("10,000 detections", () => assertSteady("detect", 10000, 6));
