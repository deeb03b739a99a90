// Formats every source file: TypeScript and JavaScript by prettier, C++ by clang-format.
//   npm run format             writes
//   npm run format -- --check  only names the files that differ; exit code 1 if there are any
import path from "node:path";

import { root } from "./lib/paths.mjs";
import { filesUnder, run } from "./lib/steps.mjs";

const check = process.argv.includes("--check");
const cpp = filesUnder(["native"]).filter((file) => /\.(cc|h|cu|cuh)$/.test(file));
const tools = [
  ["prettier", [check ? "--check" : "--write", "--log-level", "warn", "."]],
  ["clang-format", [...(check ? ["--dry-run", "--Werror"] : ["-i"]), ...cpp]],
];

for (const [name, args] of tools) {
  const { status, output } = await run(path.join(root, "node_modules", ".bin", name), args);
  if (status === 0) continue;
  console.error(`${output}\n${name}: ${check ? "run 'npm run format' and commit the result." : "failed."}`);
  process.exitCode = 1;
}
