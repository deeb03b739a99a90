// A short run of the fuzzer over every format, the same files each time; `npm run fuzz` runs longer. And that it notices.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { after, test } from "node:test";

import { scratchFolder } from "../training/support.js";
import { againLine, fuzz, Fuzzer, type FuzzOptions } from "./run.js";
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
  const { failures } = await fuzz({ module: faulty, target: "leak", seed: 0, inputs: 256, found });
  assert.match(failures[0]?.what ?? "", /memory grew by \d+ MiB/);
});

/** scripts/fuzz.mjs, without the set-up that npm runs before. */
const script = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
  spawnSync(process.execPath, [path.resolve(__dirname, "../../../scripts/fuzz.mjs"), ...args], {
    cwd: scratchFolder(),
    encoding: "utf8",
  });

test("the printed lines work: one file, and all up to one", () => {
  const options: FuzzOptions = { module: own, target: "manifest-csv", seed: 3, found };
  for (const [failed, files] of [
    [{ input: 40, what: "", file: "kept" }, 1],
    [{ input: 40, what: "", file: "" }, 41],
  ] as const) {
    const [program, args] = againLine(options, failed).split(" -- ");
    assert.equal(program, "npm run fuzz");
    const { status, stdout, stderr } = script(...args!.split(" "));
    assert.equal(status, 0, stderr);
    assert.match(stdout, new RegExp(`\\| manifest-csv \\| ${files} \\|`));
  }
});

test("a run of nothing fails, and a list does not", () => {
  const wrong = ["--seconds abc", "--inputs 1e", "--inputs 0", "--input 1", "--seed x"];
  for (const line of [...wrong, "--target none", "--native --seconds 1e"])
    assert.equal(script(...line.split(" ")).status, 1, line);
  for (const [line, name] of [
    ["--target list", "manifest-csv"],
    ["--native --target list", "feature_file"],
  ] as const) {
    const { status, stdout } = script(...line.split(" "));
    assert.equal(status, 0, line);
    assert.ok(stdout.split("\n").includes(name), stdout);
  }
});
