// Runs the compiled tests: node scripts/test.mjs [part of a path]... [--node-option]...
//   npm test                       every test
//   npm test -- files/ lifetime    the test files whose path contains one of these
//   npm test -- --test-name-pattern=Perlin
import { spawn } from "node:child_process";
import os from "node:os";

import { root } from "./lib/paths.mjs";
import { filesUnder } from "./lib/steps.mjs";

const options = process.argv.slice(2).filter((argument) => argument.startsWith("--"));
const filters = process.argv.slice(2).filter((argument) => !argument.startsWith("--"));
const files = filesUnder(["dist/test"]).filter(
  (file) => file.endsWith(".test.js") && (filters.length === 0 || filters.some((filter) => file.includes(filter))),
);
if (files.length === 0) {
  console.error(
    filters.length === 0
      ? "There are no tests in dist/test: run 'npm run setup' first."
      : `No test file's path contains ${filters.join(" or ")}.`,
  );
  process.exit(1);
}

// Each file is a process of its own with its own libtorch. Two at a time, each with half of the cores, finish sooner
// than one with all of them, and do not fight over cores as many processes with many threads each would.
const cores = os.availableParallelism();
const concurrency = Math.min(2, cores);
const env = {
  ...process.env,
  OMP_NUM_THREADS: process.env.OMP_NUM_THREADS ?? String(Math.max(1, Math.floor(cores / concurrency))),
};
// What would make tests train with other processes, or ask a proxy for their own servers.
const foreign =
  /^((LOCAL_)?(RANK|WORLD_SIZE)|MASTER_(ADDR|PORT)|SUPERSIMPLENET_(THREADS|WHEELS_URL)|PIP_INDEX_URL|(HTTPS?|ALL|NO)_PROXY)$/i;
for (const name of Object.keys(env)) if (foreign.test(name)) delete env[name];
const child = spawn(
  process.execPath,
  ["--test", `--test-concurrency=${concurrency}`, "--test-reporter=spec", ...options, ...files],
  { cwd: root, env, stdio: "inherit" },
);
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code) => (process.exitCode = code ?? 1));
