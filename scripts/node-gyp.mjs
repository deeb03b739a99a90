// The action of binding.gyp: the same set-up as everywhere, then the two files into build/Release, where node-gyp-build
// and prebuildify look. CMake's own output stays out of build/, which node-gyp empties.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, renameSync } from "node:fs";
import path from "node:path";

import { buildFolder, outputs } from "./lib/native.mjs";
import { root } from "./lib/paths.mjs";

const setup = spawnSync(process.execPath, [path.join(root, "scripts", "setup.mjs")], { cwd: root, stdio: "inherit" });
if (setup.status !== 0) process.exit(setup.status ?? 1);
const release = path.join(root, "build", "Release");
mkdirSync(release, { recursive: true });
for (const file of outputs) {
  const target = path.join(release, file);
  copyFileSync(path.join(buildFolder, file), `${target}.tmp`);
  renameSync(`${target}.tmp`, target);
}
