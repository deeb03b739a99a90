// What the built files ask of the system's C and C++ libraries: no more than libtorch itself and the oldest system that docs/guides/install.md names.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import path from "node:path";
import { test } from "node:test";

import { locateAddon } from "../../lib/native/locate.js";

const limits = { GLIBC: "2.28", GLIBCXX: "3.4.25", CXXABI: "1.3.11" } as const;

const skip =
  process.platform !== "linux"
    ? "only Linux has versions of symbols"
    : spawnSync("readelf", ["--version"]).status !== 0
      ? "readelf is not installed (binutils)"
      : false;

const newer = (a: string, b: string): boolean => a.localeCompare(b, "en", { numeric: true }) > 0;

test("loader and engine load on glibc 2.28 and the libstdc++ of GCC 8", { skip }, () => {
  const addon = locateAddon();
  for (const file of [addon.loader, addon.engine]) {
    const text = execFileSync("readelf", ["--wide", "--version-info", file], { encoding: "utf8" });
    const needed = [...text.matchAll(/Name: (GLIBC|GLIBCXX|CXXABI)_([\d.]+)/g)];
    assert.ok(needed.length > 2, `${path.basename(file)}: readelf found ${needed.length} versions`);
    const tooNew = needed.filter(([, library, version]) => newer(version!, limits[library as keyof typeof limits]));
    assert.deepEqual(
      tooNew.map(([, library, version]) => `${library}_${version}`),
      [],
      path.basename(file),
    );
  }
});
