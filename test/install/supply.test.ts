// What goes into the packages, and where it comes from.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { packaged } from "../../lib/backbones/catalogue.js";
import { packageFolder, packageVersion, pinned } from "../../lib/native/locate.js";

const at = (...names: string[]): string => path.join(packageFolder, ...names);
const read = (...names: string[]): string => readFileSync(at(...names), "utf8");

interface LockedPackage {
  version: string;
  resolved?: string;
  integrity?: string;
  license?: string;
  dev?: boolean;
  hasInstallScript?: boolean;
}
const { packages } = JSON.parse(read("package-lock.json")) as { packages: Record<string, LockedPackage> };
const locked = Object.entries(packages).filter(([place]) => place !== "");

test("package-lock.json holds a checksum of every package and no address of a registry", () => {
  assert.ok(locked.length > 50);
  for (const [place, { resolved, integrity }] of locked) {
    assert.match(integrity ?? "", /^sha512-/, place);
    if (resolved !== undefined) assert.match(resolved, /^https:\/\/registry\.npmjs\.org\//, place);
  }
});

test("nothing that users install runs a script while it is installed", () => {
  for (const [place, { dev, hasInstallScript }] of locked) if (!dev) assert.notEqual(hasInstallScript, true, place);
  // Scripts of the checkout's manifest are left out of the package (scripts/packages.mjs); none of them is an install script.
  const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
  for (const name of ["preinstall", "install", "postinstall", "prepare"]) assert.ok(!(name in scripts), name);
});

test("licences: those of package-lock.json are those of the packages, and one that is not on the list is refused", async () => {
  const { isAllowed, lockedPackages, refusedLicenses } = (await import(
    `file://${at("scripts", "lib", "dependencies.mjs")}`
  )) as {
    isAllowed(expression: unknown, allowed: readonly string[]): boolean;
    lockedPackages(): { name: string; version: string; license: string; dev: boolean }[];
    refusedLicenses(packages: readonly object[]): { name: string }[];
  };
  assert.deepEqual(refusedLicenses(lockedPackages()), []);
  const foreign = { name: "foreign", version: "1.0.0", license: "AGPL-3.0-only", dev: false };
  assert.deepEqual(refusedLicenses([foreign, { ...foreign, license: undefined, dev: true }]).length, 2);
  assert.ok(isAllowed("(GPL-3.0-only OR MIT)", ["MIT"]) && !isAllowed("GPL-3.0-only AND MIT", ["MIT"]));
  let compared = 0;
  for (const [place, { license }] of locked) {
    if (!existsSync(at(place, "package.json"))) continue; // of another platform
    const { license: own } = JSON.parse(read(place, "package.json")) as { license?: string };
    assert.equal(license, own, place);
    compared += 1;
  }
  assert.ok(compared > 50, `${compared}`);
});

interface Component {
  "bom-ref": string;
  type: string;
  name: string;
  version?: string;
  hashes?: { alg: string; content: string }[];
  licenses?: object[];
  components?: Component[];
}

test("the SBOM: CycloneDX with every dependency, libtorch, libvips and the backbone, and no address of this machine", () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [at("scripts", "sbom.mjs")], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  const document = JSON.parse(stdout) as {
    bomFormat: string;
    specVersion: string;
    metadata: { component: Component };
    components: Component[];
    dependencies: { ref: string; dependsOn?: string[] }[];
  };
  assert.equal(document.bomFormat, "CycloneDX");
  assert.match(document.specVersion, /^1\.\d$/);
  const { metadata, components, dependencies } = document;
  assert.equal(metadata.component.name, "supersimplenet");
  assert.equal(metadata.component.version, packageVersion);

  const names = new Set(components.map(({ name }) => name));
  for (const [place, { dev }] of locked) {
    const name = place.slice(place.lastIndexOf("node_modules/") + 13);
    if (!dev) assert.ok(names.has(name), name);
  }
  assert.ok(!names.has("typescript"), "what only developers install is not in it");
  const named = (name: string): Component => components.find((component) => component.name === name)!;
  assert.equal(named("libtorch").version, pinned.version);
  assert.deepEqual(named(packaged.name).hashes, [{ alg: "SHA-256", content: packaged.sha256 }]);
  const libvips = named(`@img/sharp-libvips-${process.platform}-${process.arch}`);
  if (existsSync(at("node_modules", libvips.name)))
    assert.ok(libvips.components!.some(({ name, version }) => name === "vips" && version !== undefined));
  for (const { name, licenses } of components) assert.ok(licenses!.length > 0, name);

  // Every reference is unique and leads somewhere.
  const all = [metadata.component, ...components.flatMap((one) => [one, ...(one.components ?? [])])];
  const references = new Set(all.map((component) => component["bom-ref"]));
  assert.equal(references.size, all.length);
  for (const { ref, dependsOn = [] } of dependencies)
    for (const one of [ref, ...dependsOn]) assert.ok(references.has(one), one);

  for (const [address] of stdout.matchAll(/[a-z+]+:\/\/[^"\s/]+/g))
    assert.doesNotMatch(address, /localhost|\d+\.\d+\.\d+\.\d+|:\d+$/, address);
  assert.ok(!stdout.includes(packageFolder));
});

test("the workflow names every action by its commit", () => {
  const folder = at(".github", "workflows");
  let seen = 0;
  for (const file of readdirSync(folder))
    for (const [, action] of readFileSync(path.join(folder, file), "utf8").matchAll(/uses: *(\S+)/g)) {
      assert.match(action!, /^[\w-]+\/[\w-]+@[0-9a-f]{40}$/, `${file}: ${action}`);
      seen += 1;
    }
  assert.ok(seen > 3, `${seen}`);
});
