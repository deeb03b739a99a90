// The list of everything in the packages (SBOM, CycloneDX): npm's own for the dependencies, and what is in none of them by name.
//   npm run sbom                            prints it
//   node scripts/sbom.mjs --out FILE        writes it; npm run release:dry does that
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { parseArgs } from "node:util";

import { lockedPackages } from "./lib/dependencies.mjs";
import { root } from "./lib/paths.mjs";
import { Failure, run } from "./lib/steps.mjs";

const require = createRequire(import.meta.url);
const read = (file) => JSON.parse(readFileSync(path.join(root, file), "utf8"));
const platform = `${process.platform}-${process.arch}`;

/** The document. libtorch's parts are in it where libtorch with its licences is in the cache, libvips's where sharp is installed. */
export async function sbom() {
  const { status, output } = await run("npm", [
    ...["sbom", "--package-lock-only", "--sbom-format", "cyclonedx", "--loglevel=silent"],
  ]);
  if (status !== 0) throw new Failure("'npm sbom' failed (its output is above).", "It needs npm 10 or newer.", output);
  const document = JSON.parse(output.slice(output.indexOf("{")));
  keepWhatUsersInstall(document);

  const main = document.metadata.component;
  main.name = "supersimplenet"; // npm takes the folder's name
  main.properties = [];
  for (const component of document.components)
    component.externalReferences = withoutRegistries(component.externalReferences);
  const own = [libtorch(), backbone()];
  for (const part of own) document.dependencies.push({ ref: part["bom-ref"], dependsOn: [] });
  document.dependencies
    .find(({ ref }) => ref === main["bom-ref"])
    .dependsOn.push(...own.map((part) => part["bom-ref"]));
  document.components.push(...own);
  addLibvips(document.components);
  return document;
}

/** Not by npm's --omit dev, which also leaves out what both users and developers need (npm 11.19: semver, which sharp needs). */
function keepWhatUsersInstall(document) {
  const key = ({ name, version }) => `${name}@${version}`;
  const forUsers = new Set(
    lockedPackages()
      .filter(({ dev }) => !dev)
      .map(key),
  );
  document.components = document.components.filter((component) => forUsers.has(key(component)));
  const kept = new Set([document.metadata.component, ...document.components].map((component) => component["bom-ref"]));
  document.dependencies = document.dependencies
    .filter(({ ref }) => kept.has(ref))
    .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: dependsOn.filter((one) => kept.has(one)) }));
}

/** Without the addresses of registries, which may be ones that only this machine reaches: the purl names the package. */
const withoutRegistries = (references = []) => references.filter(({ type }) => type !== "distribution");

function libtorch() {
  const { version, wheels } = read("native/libtorch.json");
  const [wheel] = wheels[platform] ?? [];
  const { findCacheFolder, pinned } = require(path.join(root, "dist", "lib", "native", "locate.js"));
  const licences = path.join(findCacheFolder() ?? root, "libtorch", pinned.cacheName, "licenses", "third_party");
  const parts = existsSync(licences) ? readdirSync(licences).sort() : [];
  return {
    "bom-ref": `libtorch@${version}`,
    type: "library",
    name: "libtorch",
    version,
    description: "PyTorch's C++ libraries, from its wheel, stripped of debug symbols",
    purl: `pkg:pypi/torch@${version}`,
    licenses: [{ license: { id: "BSD-3-Clause" } }],
    ...(wheel && { properties: [{ name: "supersimplenet:wheel:sha256", value: wheel.sha256 }] }),
    components: [
      part("libgomp", "libtorch", { expression: "GPL-3.0-or-later WITH GCC-exception-3.1" }),
      part("oneMKL", "libtorch", { license: { name: "Intel Simplified Software License" } }),
      ...parts.map((name) => part(name, "libtorch")), // the wheel has their licences, not their versions
    ],
  };
}

function backbone() {
  const { packaged } = require(path.join(root, "dist", "lib", "backbones", "catalogue.js"));
  return {
    "bom-ref": packaged.name,
    type: "machine-learning-model",
    name: packaged.name,
    licenses: [{ license: { id: "BSD-3-Clause" } }],
    hashes: [{ alg: "SHA-256", content: packaged.sha256 }],
  };
}

/** libvips and the libraries that are linked into it, as the package of this platform names them. */
function addLibvips(components) {
  const name = `@img/sharp-libvips-${platform}`;
  const versions = path.join("node_modules", name, "versions.json");
  if (!existsSync(path.join(root, versions))) return;
  components.find((component) => component.name === name).components = Object.entries(read(versions)).map(
    ([library, version]) => ({ ...part(library, name), version }),
  );
}

const part = (name, of, licence) => ({
  "bom-ref": `${of}/${name}`,
  type: "library",
  name,
  ...(licence && { licenses: [licence] }),
});

if (path.resolve(process.argv[1] ?? "") === path.join(root, "scripts", "sbom.mjs")) {
  const { values } = parseArgs({ options: { out: { type: "string" } } });
  try {
    const text = `${JSON.stringify(await sbom(), null, 2)}\n`;
    if (values.out === undefined) process.stdout.write(text);
    else {
      mkdirSync(path.dirname(path.resolve(values.out)), { recursive: true });
      writeFileSync(values.out, text);
    }
  } catch (error) {
    console.error(error instanceof Failure ? error.report() : error);
    process.exitCode = 1;
  }
}
