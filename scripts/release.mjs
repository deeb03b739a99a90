// npm run release:dry [-- --cuda]: builds and packs, installs and uses the very tarballs, then says what to publish in which order.
// It publishes nothing.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import path from "node:path";

import { mklLicence, tarballsHere } from "./packages.mjs";
import { root } from "./lib/paths.mjs";

const packages = path.join(root, "packages");
function run(title, args, env = {}) {
  console.log(`\n--- ${title}`);
  const { status } = spawnSync(process.execPath, args, {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, ...env },
  });
  if (status !== 0) {
    console.error(`\nNot ready for a release: '${title}' failed (above).`);
    process.exit(1);
  }
}

const { version } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
run("build", ["scripts/setup.mjs", "--rebuild"]);
run("pack", ["scripts/pack.mjs", "all", ...process.argv.slice(2)]); // --cuda
const bom = path.join(packages, `supersimplenet-${version}.cdx.json`);
run("list what is in the packages (SBOM)", ["scripts/sbom.mjs", "--out", bom]);
run("install and use", ["scripts/test.mjs", "install/"], { SUPERSIMPLENET_TEST_PACKAGES: packages });
if (!readFileSync(path.join(root, "CHANGELOG.md"), "utf8").split("\n").includes(`## ${version}`))
  console.log(`\nTo do: CHANGELOG.md has no heading '## ${version}' (without 'not released').`);
if (!existsSync(mklLicence))
  console.log(
    `\nTo do: libtorch_cpu.so of the x64 wheel contains Intel oneMKL, whose licence (Intel Simplified Software License) the wheel does not have: put it into ${path.relative(root, mklLicence)}/.`,
  );

console.log(`\nTo attach to the release: ${path.relative(root, bom)}`);
console.log(
  "\nTo publish, in this order (the main package names the others at an exact version; leave out a version that is published already):",
);
for (const file of tarballsHere())
  console.log(
    `  npm publish ${path.join("packages", file)} --access public   # ${(statSync(path.join(packages, file)).size / 1e6).toFixed(1)} MB`,
  );
