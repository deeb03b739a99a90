// Checks the licence of every dependency against the list in scripts/lib/dependencies.mjs, and lists them in docs/licenses.md.
//   npm run licenses             writes
//   npm run licenses -- --check  only says what is wrong; exit code 1 if anything is
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

import { lockedPackages, refusedLicenses } from "./lib/dependencies.mjs";
import { root } from "./lib/paths.mjs";

const packages = lockedPackages();
const { version } = JSON.parse(readFileSync(path.join(root, "native", "libtorch.json"), "utf8"));
const table = (head, rows) => [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");

const byLicense = new Map();
for (const { name, license } of packages.filter(({ dev }) => dev))
  byLicense.set(license, (byLicense.get(license) ?? new Set()).add(`\`${name}\``));

const text = `<!-- Generated from package-lock.json by 'npm run licenses'. Edit scripts/licenses.mjs. -->

# Licences

The package itself: MIT ([LICENSE](../LICENSE)). The backbone in it: BSD 3-Clause, torchvision's
([weights/LICENSE](../weights/LICENSE)).

## npm packages that users install

npm installs the \`@img\` packages of one platform only. \`npm run check\` refuses a licence that is not on the list in
[scripts/lib/dependencies.mjs](../scripts/lib/dependencies.mjs).

${table(
  ["package", "version", "licence"],
  packages.filter(({ dev }) => !dev).map(({ name, version, license }) => [`\`${name}\``, version, license]),
)}

## Native libraries

| library | licence | where its text is |
|---|---|---|
| libtorch ${version} | BSD 3-Clause, and those of the libraries in it | \`licenses/\` of \`@supersimplenet/libtorch-cpu-<platform>\`, from PyTorch's wheel |
| libgomp (GCC) | GPL 3 with the GCC Runtime Library Exception | \`licenses/libgomp\` of the same package, from [native/licenses](../native/licenses/gcc/COPYING.RUNTIME) |
| Intel oneMKL, linked into libtorch on x64 | Intel Simplified Software License | not in the wheel: [has to be added](../CONTRIBUTING.md#packages) before a first release |
| libvips and the libraries in it | LGPL 3 or later, and others | the \`README.md\` of \`@img/sharp-libvips-<platform>\` |

## Only for development

${table(
  ["licence", "packages"],
  [...byLicense]
    .sort(([a], [b]) => a.localeCompare(b, "en"))
    .map(([license, names]) => [license, [...names].join(", ")]),
)}
`;

const file = path.join(root, "docs", "licenses.md");
const refused = refusedLicenses(packages);
for (const { name, version, license } of refused)
  console.error(
    `${name} ${version} has the licence ${license ?? "(none)"}, which is not on the list in scripts/lib/dependencies.mjs.`,
  );
const isCurrent = existsSync(file) && readFileSync(file, "utf8") === text;
if (process.argv.includes("--check")) {
  if (!isCurrent) console.error("docs/licenses.md is out of date: run 'npm run licenses' and commit the result.");
  if (!isCurrent || refused.length > 0) process.exitCode = 1;
} else {
  writeFileSync(file, text);
  if (refused.length > 0) process.exitCode = 1;
}
