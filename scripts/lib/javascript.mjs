// The JavaScript half of the set-up: npm packages and TypeScript.
import { existsSync, readFileSync, rmSync, statSync } from "node:fs";
import path from "node:path";

import { writeDeclarations } from "./declarations.mjs";
import { bundled } from "./dependencies.mjs";
import { root } from "./paths.mjs";
import { Failure, filesUnder, fingerprint, run, stampIs, writeStamp } from "./steps.mjs";

const modified = (file) => statSync(path.join(root, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;

export async function installPackages(progress) {
  const installed = modified("node_modules/.package-lock.json");
  if (installed > 0 && installed >= modified("package-lock.json")) return { state: "up to date" };
  progress("npm ci");
  const { status, output } = await run("npm", ["ci", "--no-audit", "--no-fund"]);
  if (status !== 0)
    throw new Failure(
      "'npm ci' failed (its output is above).",
      "Check the network or npm's registry setting, then run 'npm ci' by hand.",
      output,
    );
  return { state: "installed" };
}

const sources = ["lib", "test", "benchmarks", "examples"];
const pages = ["web"];
const stamp = "dist/.fingerprint";

export async function compileTypeScript(rebuild) {
  const files = filesUnder([...sources, ...pages, "tsconfig.json", "package-lock.json"]).filter((file) =>
    /\.(tsx?|json|css)$/.test(file),
  );
  const now = fingerprint([...files, "scripts/lib/declarations.mjs"]);
  if (!rebuild && stampIs(stamp, now)) return { state: "up to date" };
  const compiler = path.join(root, "node_modules", "typescript", "bin", "tsc");
  for (const project of [".", ...pages]) {
    const { status, output } = await run(process.execPath, [compiler, "-p", project, "--pretty", "false"]);
    if (status !== 0)
      throw new Failure(
        "TypeScript has errors (above).",
        "Correct them; 'npm run typecheck' shows them again.",
        output,
      );
  }
  removeOrphans(files);
  await bundlePages();
  writeDeclarations();
  writeStamp(stamp, now);
  return { state: "compiled" };
}

/** One script and one style sheet for each page, in dist/pages. */
async function bundlePages() {
  const { build } = await import("esbuild");
  const licences = bundled.map((name) => {
    const text = readFileSync(path.join(root, "node_modules", name, "LICENSE"), "utf8").trim();
    return `/*! ${name}\n\n${text}\n*/`;
  });
  await build({
    absWorkingDir: root,
    entryPoints: { report: "web/report/main.tsx", studio: "web/studio/main.tsx" },
    outdir: "dist/pages",
    bundle: true,
    minify: true,
    format: "iife",
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
    legalComments: "none",
    banner: { js: licences.join("\n"), css: licences.at(-1) },
    logLevel: "warning",
  });
}

/** A test or module whose source was deleted must not live on in dist/. */
function removeOrphans(files) {
  const known = new Set(files.map((file) => file.replace(/\.ts$/, "")));
  for (const output of filesUnder(sources.map((folder) => path.join("dist", folder)))) {
    const source = path.relative("dist", output).replace(/\.(js|d\.ts)$/, "");
    if (!known.has(source) && existsSync(path.join(root, output))) rmSync(path.join(root, output));
  }
}
