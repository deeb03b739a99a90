// A program that a bundler has put together: what docs/guides/bundlers.md says, with the real esbuild.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";

import { buildSync, type BuildOptions } from "esbuild";

import { packageFolder } from "../../lib/native/locate.js";

const app = mkdtempSync(path.join(os.tmpdir(), "ssn-bundle-"));
after(() => rmSync(app, { recursive: true, force: true }));
mkdirSync(path.join(app, "node_modules"));
symlinkSync(packageFolder, path.join(app, "node_modules", "supersimplenet"), "junction");

const commonJs = `
  try {
    const { Detector } = require("supersimplenet");
    console.log(JSON.stringify({ loaded: typeof Detector.load }));
  } catch ({ name, code, message }) {
    console.log(JSON.stringify({ name, code, message }));
  }`;
const esModule = `
  import("supersimplenet").then(
    ({ Detector }) => console.log(JSON.stringify({ loaded: typeof Detector.load })),
    ({ name, code, message }) => console.log(JSON.stringify({ name, code, message })),
  );`;

function bundled(source: string, out: string, options: BuildOptions): Record<string, string> {
  const entry = path.join(app, "main.js");
  writeFileSync(entry, source);
  const outfile = path.join(app, "dist", out);
  buildSync({ entryPoints: [entry], outfile, bundle: true, platform: "node", logLevel: "error", ...options });
  const { status, stdout, stderr } = spawnSync(process.execPath, [outfile], { encoding: "utf8", cwd: app });
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as Record<string, string>;
}

/** What people write so that an ES module can call require. */
const banner = { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" };

for (const [what, source, out, options] of [
  ["CommonJS", commonJs, "a.cjs", {}],
  ["CommonJS, minified", commonJs, "b.cjs", { minify: true }],
  ["an ES module", esModule, "c.mjs", { format: "esm", banner }],
] satisfies [string, string, string, BuildOptions][]) {
  test(`bundled into ${what}: a typed error that says what to do`, () => {
    // sharp cannot be bundled at all, which esbuild says: people who come this far have made it external.
    const { name, code, message } = bundled(source, out, { ...options, external: ["sharp"] });
    assert.equal(name, "SuperSimpleNetError");
    assert.equal(code, "ENGINE_NOT_BUILT");
    assert.match(message!, /bundler.*external.*docs\/guides\/bundlers\.md/);
  });

  test(`external to ${what}: it works`, () =>
    assert.deepEqual(bundled(source, out, { ...options, external: ["supersimplenet"] }), { loaded: "function" }));
}
