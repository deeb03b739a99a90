// The short form of 'node dist/benchmarks/server.js --soak 100000'.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { scratchFolder } from "../training/support.js";

test(
  "a short soak: every request is answered as it should be, and nothing grows",
  {
    skip: process.platform !== "linux" && "reads /proc",
  },
  () => {
    const out = path.join(scratchFolder(), "soak.json");
    const program = path.resolve(__dirname, "../../benchmarks/server.js");
    const { status, signal, stderr } = spawnSync(process.execPath, [program, "--soak", "400", "--out", out], {
      encoding: "utf8",
    });
    assert.ok((status === 0 || status === 1) && existsSync(out), `ended with ${signal ?? status}\n${stderr}`);
    const { answered, damaged, wrong, grown, exitCode } = JSON.parse(readFileSync(out, "utf8")) as Record<
      string,
      unknown
    >;
    assert.deepEqual([answered, wrong, exitCode], [400, [], 0]);
    assert.ok(Number(damaged) > 0);
    // What the process holds of the machine's memory goes up and down by more than so few requests tell.
    assert.deepEqual(
      (grown as string[]).filter((name) => name !== "residentMiB"),
      [],
    );
  },
);
