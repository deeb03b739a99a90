// A short run of the fuzzer over every format, the same files each time; `npm run fuzz` runs longer. And that it notices.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { after, test } from "node:test";

import { scratchFolder } from "../training/support.js";
import { fuzz, Fuzzer, type FuzzOptions } from "./run.js";
import { targets } from "./targets.js";

const found = scratchFolder();
const own = path.join(__dirname, "targets.js");
const faulty = path.join(__dirname, "faulty.js");

const fuzzer = new Fuzzer();
after(() => fuzzer.end());

const few: Record<string, number> = { convert: 64, features: 32, images: 96, model: 64, checkpoint: 64 };
for (const target of Object.keys(targets)) {
  test(`${target}: mutated files are read or refused, never worse`, async () => {
    const inputs = few[target] ?? 256;
    const { read, refused, failures } = await fuzzer.run({ module: own, target, seed: 1, inputs, found });
    assert.deepEqual(failures, []);
    assert.equal(read + refused, inputs);
    // The seeds are valid and the changes reach what is checked. A damaged feature cache is begun anew, not refused.
    assert.ok(read > 0, "nothing was read");
    assert.ok(refused > 0 || target === "features", "nothing was refused");
  });
}

for (const [target, what] of [
  ["crash", /SIGABRT/],
  ["busy", /no answer for 2 s/],
  ["waits", /no answer for 2 s/],
  ["untyped", /untyped error: TypeError: on purpose/],
] as const) {
  test(`a fault is found, with the file that shows it: ${target}`, async () => {
    const options: FuzzOptions = { module: faulty, target, seed: 0, inputs: 256, found };
    if (what.source.includes("2 s")) options.limitSeconds = 2;
    const { failures } = await fuzz(options);
    assert.ok(failures.length > 0);
    const { what: said, file, input } = failures[0]!;
    assert.match(said, what);
    assert.ok(existsSync(file));
    assert.deepEqual([...readFileSync(file)], [0]);
    if (target !== "untyped") return;
    const again = await fuzz({ ...options, first: input, inputs: 1 });
    assert.deepEqual(again.failures[0]?.input, input, "the number of the file is enough to see it again");
  });
}

test("memory that is kept is found", async () => {
  const { failures } = await fuzz({ module: faulty, target: "leak", seed: 0, inputs: 256, batch: 32, found });
  assert.match(failures[0]?.what ?? "", /memory grew by \d+ MiB/);
});
