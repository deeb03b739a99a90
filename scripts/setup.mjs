// The whole set-up: npm packages, TypeScript, libtorch, native engine. Each step is skipped when it is up to date.
// Plain Node, no dependencies: this runs before `npm install` has.
import { existsSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";

import { isCheckout, root } from "./lib/paths.mjs";
import { installPackages, compileTypeScript } from "./lib/javascript.mjs";
import { cudaLibtorch, ensureLibtorch } from "./lib/libtorch.mjs";
import { buildNative, nativeOutputs } from "./lib/native.mjs";
import { Failure, step } from "./lib/steps.mjs";

const usage = `Usage: node scripts/setup.mjs [--rebuild] [--cuda] [--wheel FILE]

  --rebuild      compile TypeScript and the native engine even when nothing changed
  --cuda         build the engine for CUDA as well, against an installed CUDA build of libtorch (docs/guides/gpu.md)
  --wheel FILE   take libtorch from this PyTorch wheel instead of downloading it (also: SUPERSIMPLENET_LIBTORCH_WHEEL)

Environment: SUPERSIMPLENET_LIBTORCH (a folder with include/ and lib/), SUPERSIMPLENET_LIBTORCH_CUDA (the same of a CUDA build), SUPERSIMPLENET_CACHE (default: the user's cache folder).
docs/guides/install.md has the whole story.`;

async function main() {
  const { values } = parseArgs({
    options: {
      rebuild: { type: "boolean" },
      cuda: { type: "boolean" },
      wheel: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) return console.log(usage);
  const wheel = values.wheel ?? process.env.SUPERSIMPLENET_LIBTORCH_WHEEL;
  if (process.versions.node.localeCompare("20.18.1", "en", { numeric: true }) < 0)
    throw new Failure(
      `Node ${process.versions.node} is too old: 20.18.1 or newer is needed.`,
      "Install Node 20.18.1 or newer from https://nodejs.org.",
    );

  if (!isCheckout && (values.rebuild || values.cuda))
    throw new Failure(
      "An installed package cannot be compiled: it has no sources.",
      `In a clone of the repository run 'npm run pack:all -- ${values.cuda ? "--cuda " : ""}--out DIR', then 'npm install DIR/*.tgz' here (docs/guides/install.md).`,
    );
  if (isCheckout) {
    await step("npm packages", installPackages);
    await step("TypeScript", () => compileTypeScript(values.rebuild));
  }
  let libtorch;
  await step("libtorch", async (progress) => {
    const result = await ensureLibtorch({ wheel, compile: isCheckout, progress });
    libtorch = result.libtorch;
    return result;
  });
  if (isCheckout)
    await step("native engine", (progress) => buildNative({ libtorch, rebuild: values.rebuild, progress }));
  else if (!nativeOutputs().some((folder) => existsSync(path.join(folder, "supersimplenet.node"))))
    throw new Failure(
      `This package has no prebuilt engine for ${process.platform}-${process.arch} in ${path.join(root, "prebuilds")}.`,
      "In a clone of the repository run 'npm run pack:all -- --out DIR', then 'npm install DIR/*.tgz' here (docs/guides/install.md).",
    );
  if (values.cuda)
    await step("native engine for CUDA", (progress) =>
      buildNative({ libtorch: cudaLibtorch(), rebuild: values.rebuild, progress, cuda: true }),
    );
}

try {
  await main();
} catch (error) {
  if (error instanceof Failure) console.error(error.report());
  else console.error(error);
  process.exitCode = 1;
}
