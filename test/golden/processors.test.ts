/** The golden forward passes with the kernels of lesser processors: ATEN_CPU_CAPABILITY is libtorch's switch, ours follow it. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import path from "node:path";
import { test } from "node:test";

import { engine } from "../../lib/native/engine.js";

const capability = engine().versions().cpuCapability;
const lesser: Record<string, string[]> = { AVX512: ["avx2", "default"], AVX2: ["default"] };

for (const name of ["avx2", "default"]) {
  const skip = !lesser[capability]?.includes(name) && `this processor has ${capability} only`;
  test(`forward passes, ${name}`, { skip }, async () => {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    let output = "";
    const child = spawn(
      process.execPath,
      ["--test", path.join(__dirname, "forward.test.js"), path.join(__dirname, "inference.test.js")],
      { env: { ...env, ATEN_CPU_CAPABILITY: name } },
    );
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += String(chunk)));
    const code = await new Promise((resolve) => child.on("close", resolve));
    assert.equal(code, 0, output);
  });
}
