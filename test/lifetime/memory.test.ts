// Memory does not grow with the work: from a third of it on, when caches and pools have their sizes, a process stays as large
// as it is. Each case runs in a process of its own, on one thread.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import path from "node:path";
import test from "node:test";

import { devices } from "../golden/cases.js";
import { scratchFolder } from "../training/support.js";

const folder = scratchFolder();

interface Measured {
  round: number;
  rss: number;
  allocated: number | null;
  javascript: number;
  gpu: number | null;
}

function run<Line = Measured>(mode: string, device = "cpu"): Promise<Line[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      [
        "--expose-gc",
        path.join(__dirname, "memory-child.js"),
        mode,
        path.join(folder, `${mode}-${device.replace(":", "-")}`),
        device,
      ],
      {
        // One arena: how glibc spreads blocks over several is chance.
        env: { ...process.env, SUPERSIMPLENET_THREADS: "1", OMP_NUM_THREADS: "1", MALLOC_ARENA_MAX: "1" },
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    let text = "";
    child.stdout.on("data", (chunk) => (text += String(chunk)));
    child.on("error", reject);
    child.on("close", (code) =>
      code === 0
        ? resolve(
            text
              .trim()
              .split("\n")
              .map((line) => JSON.parse(line) as Line),
          )
        : reject(new Error(`ended with ${code}`)),
    );
  });
}

/**
 * MiB from a third of the rounds to the end. What malloc has handed out is the exact measure: 2 MiB are 3 KB a step, or 300 bytes a
 * detection. What it keeps of freed memory goes up and down by some 20 MiB in the process as a whole. Of a GPU libtorch
 * takes 20 MiB at a time.
 */
const limits = { rss: 40, allocated: 2, javascript: 6, gpu: 24 } as const;

async function assertSteady(mode: string, rounds: number, device: string): Promise<void> {
  const [third, , end] = await run(mode, device);
  assert.ok(third && end && third.round === Math.floor(rounds / 3) && end.round === 3 * third.round);
  for (const kind of ["rss", "allocated", "javascript", "gpu"] as const) {
    const [from, to] = [third[kind], end[kind]];
    if (from === null || to === null) continue; // malloc does not say, or no GPU
    assert.ok(
      to - from < limits[kind],
      `${kind}: ${from.toFixed(1)} MiB after ${third.round} rounds, ${to.toFixed(1)} MiB after ${end.round}`,
    );
  }
}

// Steps of 128x128 images take some hundred MB, which the engine keeps from one step to the next (native/memory.h).
test("what training kept is given back when it ends", async () => {
  const [during, after] = await run("release");
  assert.ok(
    during && after && after.rss < during.rss - 50,
    `${during?.rss.toFixed(0)} MiB in the last step, ${after?.rss.toFixed(0)} MiB afterwards`,
  );
});

// Otherwise it does not collect dropped ones before the machine has no memory left.
test("V8 knows what detectors, trainers and pixel statistics take, until they are disposed of or collected", async () => {
  const lines = await run<{ event: string; external: number }>("objects");
  assert.deepEqual(
    lines.map(({ event }) => event),
    [
      ...["before", "made", "disposed", "dropped", "made", "cached", "disposed", "dropped"],
      ...["counted", "disposed", "dropped"],
    ],
  );
  const [, detector, , , trainer, cached, , , counted] = lines.map(({ external }) => external - lines[0]!.external);
  // Parameters of the backbone to layer3 and of the heads, in MiB; the features are 128 x 32 x 32 and 256 x 16 x 16 numbers of each of 8 images.
  assert.ok(detector! > 10 + 7 && detector! < 100, `detector: ${detector}`);
  assert.ok(trainer! > 10 + 3 * 7 && trainer! < 100, `trainer: ${trainer}`);
  assert.ok(Math.abs(cached! - trainer! - 6) < 1, `cached: ${cached! - trainer!}`);
  // 60 MiB of counts and 8 bytes for each of 2^20 defect pixels; the arrays that were given may not be collected yet.
  assert.ok(counted! >= 60 + 8 && counted! < 60 + 16 + 6, `counted: ${counted}`);
  for (const { event, external } of lines)
    if (/disposed|dropped/.test(event))
      assert.ok(Math.abs(external - lines[0]!.external) < 1, `${event}: ${external - lines[0]!.external}`);
});

test("2,000 strips of maps", () => assertSteady("strips", 2000, "cpu"));

for (const device of devices) {
  test(`1,000 training steps, ${device}`, () => assertSteady("train", 1000, device));
  test(`10,000 detections, ${device}`, () => assertSteady("detect", 10000, device));
}
