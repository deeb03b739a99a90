import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import path from "node:path";
import { before, test } from "node:test";
import { promisify } from "node:util";

import sharp from "sharp";

import { scratchFolder } from "../training/support.js";

const folder = scratchFolder();
const small = path.join(folder, "small.png");
const large = path.join(folder, "large.jpg");
const skip = process.platform === "linux" ? false : "'ulimit -v' is Linux's";

before(async () => {
  const image = (width: number, height: number) =>
    sharp({ create: { width, height, channels: 3, background: { r: 90, g: 120, b: 130 } } });
  await image(8, 8).png().toFile(small);
  await image(6000, 4000).jpeg({ progressive: true }).toFile(large);
});

interface Outcome {
  kilobytes: number;
  results: string[];
}

async function decode(count: number, limit: number | "unlimited"): Promise<Outcome> {
  const command = `ulimit -v ${limit}; exec "$@"`;
  const child = [process.execPath, path.join(__dirname, "memory-child.js"), small, large, String(count)];
  const { stdout } = await promisify(execFile)("sh", ["-c", command, "sh", ...child]);
  return JSON.parse(stdout) as Outcome;
}

test(
  "little address space: images wait for each other, or are OUT_OF_MEMORY, never damaged, and no crash",
  { skip },
  async () => {
    const { kilobytes, results } = await decode(1, "unlimited");
    assert.deepEqual(results, ["read"]);
    // Decoding takes some 160 MiB each, beside what its threads take.
    const tight = await decode(8, kilobytes + 100 * 1024);
    assert.deepEqual(
      tight.results,
      Array.from({ length: 8 }, () => "OUT_OF_MEMORY"),
    );
    const enough = await decode(8, kilobytes + 800 * 1024);
    assert.deepEqual(
      enough.results,
      Array.from({ length: 8 }, () => "read"),
    );
  },
);
