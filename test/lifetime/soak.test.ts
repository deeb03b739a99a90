// The short form of benchmarks/soak.ts: detections of whole and damaged images, reloads, trainings and workers leave memory,
// descriptors and threads as they were.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { scratchFolder } from "../training/support.js";

test("a short soak: nothing grows", { skip: process.platform !== "linux" && "reads /proc" }, () => {
  const out = path.join(scratchFolder(), "soak.json");
  const program = path.resolve(__dirname, "../../benchmarks/soak.js");
  const args = ["--detections", "120", "--rounds", "4", "--trainings", "1", "--out", out];
  const { status, signal, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: "utf8" });
  // 1: something grew, and the file says what. A run that broke off wrote none.
  assert.ok((status === 0 || status === 1) && existsSync(out), `ended with ${signal ?? status}\n${stderr}`);
  const result = JSON.parse(readFileSync(out, "utf8")) as Record<string, unknown>;
  // What the process holds of the machine's memory goes up and down by more than so few rounds tell.
  const grown = (result["grown"] as string[]).filter((name) => name !== "residentMiB");
  assert.deepEqual(grown, [], stderr);
  assert.ok(Number(result["refused"]) > 0 && Number(result["detections"]) >= 120);
});
