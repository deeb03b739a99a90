// Writes the npm packages of this platform: npm run pack:libtorch, npm run pack:all.
import path from "node:path";
import { parseArgs } from "node:util";

import { packLibtorch, packMain } from "./packages.mjs";
import { root } from "./lib/paths.mjs";
import { Failure, step } from "./lib/steps.mjs";

const usage = `Usage: node scripts/pack.mjs libtorch|all [--out DIR] [--wheel FILE] [--cuda] [--trial]

  libtorch       the platform package: the run-time libraries of libtorch and their licences
  all            that, and the main package with the prebuilt engine of this platform
  --out DIR      where the tarballs go (default: packages/)
  --wheel FILE   take libtorch from this PyTorch wheel (also: SUPERSIMPLENET_LIBTORCH_WHEEL)
  --cuda         all: with the engine for CUDA in the main package (docs/guides/gpu.md)
  --trial        only to try the packages: libtorch's licences may be missing; then the package is marked private, which npm
                 refuses to publish (default DIR: packages/trial/)

CONTRIBUTING.md has the whole story.`;

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      out: { type: "string" },
      wheel: { type: "string" },
      cuda: { type: "boolean" },
      trial: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) console.log(usage);
  else {
    if (positionals.length !== 1 || !["libtorch", "all"].includes(positionals[0]))
      throw new Failure("Which package: libtorch or all?", usage);
    const home = path.join(root, "packages", values.trial ? "trial" : "");
    const out = path.resolve(values.out ?? home);
    const wheel = values.wheel ?? process.env.SUPERSIMPLENET_LIBTORCH_WHEEL;
    if (positionals[0] === "all")
      await step("main package", (progress) => packMain({ home, out, cuda: values.cuda, progress }));
    await step("libtorch package", (progress) => packLibtorch({ home, out, wheel, trial: values.trial, progress }));
  }
} catch (error) {
  if (error instanceof Failure) console.error(error.report());
  else console.error(error);
  process.exitCode = 1;
}
