// What package-lock.json says of the packages: of every platform, installed here or not.
import { readFileSync } from "node:fs";
import path from "node:path";

import { root } from "./paths.mjs";

/** Licences of what users install: they may be used and passed on in any program. LGPL: libvips, a library of its own that may be replaced. */
const forUsers = ["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "LGPL-3.0-or-later", "MIT"];
/** Of what only developers install, which is not passed on. */
const forDevelopers = [...forUsers, "BlueOak-1.0.0", "MPL-2.0", "Python-2.0"];

/** What the pages are made of: bundled into dist/pages, and so passed on, with their licences. */
export const bundled = ["preact", "uplot"];

/** Every package, by name and version: {name, version, license, dev, hasInstallScript}. */
export function lockedPackages() {
  const { packages } = JSON.parse(readFileSync(path.join(root, "package-lock.json"), "utf8"));
  return Object.entries(packages)
    .filter(([place]) => place !== "")
    .map(([place, { version, license, dev = false, hasInstallScript = false }]) => {
      const name = place.slice(place.lastIndexOf("node_modules/") + "node_modules/".length);
      return { name, version, license, dev: dev && !bundled.includes(name), hasInstallScript };
    })
    .sort((a, b) => a.name.localeCompare(b.name, "en") || a.version.localeCompare(b.version, "en", { numeric: true }));
}

/** The packages whose licence is not on the list, or missing. */
export const refusedLicenses = (packages) =>
  packages.filter(({ license, dev }) => !isAllowed(license, dev ? forDevelopers : forUsers));

/** An SPDX expression without nested parentheses: of A OR B one is enough, of A AND B both are needed. */
export function isAllowed(expression, allowed) {
  if (typeof expression !== "string") return false;
  const parts = expression.replace(/^\((.*)\)$/, "$1").split(" OR ");
  return parts.some((part) => part.split(" AND ").every((license) => allowed.includes(license.trim())));
}
