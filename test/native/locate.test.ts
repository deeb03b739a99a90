import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { afterEach, beforeEach } from "node:test";

import { SuperSimpleNetError } from "../../lib/errors.js";
import { cachedWeights, listWeights } from "../../lib/backbones/catalogue.js";
import { cacheFolder, libtorchFiles, locateLibtorch, minor, pinned, readVersion } from "../../lib/native/locate.js";

const libraries = pinned.libraries[process.platform]!;
const saved = { ...process.env };
let temporary: string;

beforeEach(() => {
  temporary = mkdtempSync(path.join(os.tmpdir(), "ssn-locate-"));
  delete process.env["SUPERSIMPLENET_LIBTORCH"];
  delete process.env["PYTHONPATH"];
  process.env["SUPERSIMPLENET_CACHE"] = path.join(temporary, "cache");
  process.env["PATH"] = path.join(temporary, "bin"); // no Python but the one a test puts there
});
afterEach(() => {
  for (const name of ["SUPERSIMPLENET_LIBTORCH", "SUPERSIMPLENET_CACHE", "XDG_CACHE_HOME", "PATH", "PYTHONPATH"]) {
    if (saved[name] === undefined) delete process.env[name];
    else process.env[name] = saved[name];
  }
  rmSync(temporary, { recursive: true });
});

/** A folder that looks like libtorch: empty libraries and a version.py. */
function fakeLibtorch(folder: string, version: string | undefined): string {
  mkdirSync(path.join(folder, "lib"), { recursive: true });
  for (const file of libraries) writeFileSync(path.join(folder, "lib", file), "");
  if (version)
    writeFileSync(path.join(folder, "version.py"), `from typing import Optional\n\n__version__ = '${version}'\n`);
  return folder;
}

const cached = (): string => path.join(temporary, "cache", "libtorch", pinned.cacheName);

/** A python3 that says torch is in `folder`, and leaves a file behind when it is started. */
function fakePython(folder: string): string {
  const trace = path.join(temporary, "python-was-started");
  mkdirSync(path.join(temporary, "bin"));
  const python = path.join(temporary, "bin", "python3");
  writeFileSync(python, `#!/bin/sh\n: > '${trace}'\necho '${folder}'\n`);
  chmodSync(python, 0o755);
  return trace;
}

function failure(body: () => unknown): SuperSimpleNetError {
  try {
    body();
  } catch (error) {
    assert.ok(error instanceof SuperSimpleNetError);
    return error;
  }
  return assert.fail("nothing was thrown");
}

test("SUPERSIMPLENET_LIBTORCH comes first", () => {
  fakeLibtorch(cached(), "2.13.0");
  const folder = fakeLibtorch(path.join(temporary, "mine"), "2.13.5+cu130");
  process.env["SUPERSIMPLENET_LIBTORCH"] = folder;
  assert.deepEqual(locateLibtorch("2.13.0"), { folder, version: "2.13.5+cu130", foundBy: "SUPERSIMPLENET_LIBTORCH" });
});

test("another minor version in SUPERSIMPLENET_LIBTORCH is an error that names both, not a reason to look elsewhere", () => {
  fakeLibtorch(cached(), "2.13.0");
  const folder = fakeLibtorch(path.join(temporary, "mine"), "2.11.0+cu128");
  process.env["SUPERSIMPLENET_LIBTORCH"] = folder;
  const error = failure(() => locateLibtorch("2.13.0"));
  assert.equal(error.code, "LIBTORCH_VERSION");
  for (const part of [folder, "2.11.0+cu128", "2.13.0"]) assert.ok(error.message.includes(part), error.message);
});

test("a folder that states no version is refused", () => {
  process.env["SUPERSIMPLENET_LIBTORCH"] = fakeLibtorch(path.join(temporary, "mine"), undefined);
  assert.equal(failure(() => locateLibtorch("2.13.0")).code, "LIBTORCH_VERSION");
});

test("the lib folder itself, or nothing, in SUPERSIMPLENET_LIBTORCH", () => {
  process.env["SUPERSIMPLENET_LIBTORCH"] = path.join(fakeLibtorch(path.join(temporary, "mine"), "2.13.0"), "lib");
  const error = failure(() => locateLibtorch("2.13.0"));
  assert.equal(error.code, "LIBTORCH_NOT_FOUND");
  assert.match(error.message, /has no lib\//);
  process.env["SUPERSIMPLENET_LIBTORCH"] = path.join(temporary, "absent");
  assert.match(failure(() => locateLibtorch("2.13.0")).message, /absent does not exist/);
});

test("the cache folder, without starting Python", () => {
  const trace = fakePython(fakeLibtorch(path.join(temporary, "torch"), "2.13.0"));
  fakeLibtorch(cached(), "2.13.0+cpu");
  assert.deepEqual(locateLibtorch("2.13.0"), { folder: cached(), version: "2.13.0+cpu", foundBy: "cache" });
  assert.ok(!existsSync(trace));
});

test(
  "an installed Python torch of the right version, last",
  { skip: process.platform === "win32" && "needs a shell script as python3" },
  () => {
    const folder = fakeLibtorch(path.join(temporary, "torch"), "2.13.0+cu130");
    const trace = fakePython(folder);
    assert.deepEqual(locateLibtorch("2.13.0"), { folder, version: "2.13.0+cu130", foundBy: "python" });
    assert.ok(existsSync(trace));
  },
);

test(
  "nothing found: every place looked at, why not, and the command",
  { skip: process.platform === "win32" && "needs a shell script as python3" },
  () => {
    fakePython(fakeLibtorch(path.join(temporary, "torch"), "2.14.1"));
    const error = failure(() => locateLibtorch("2.13.0"));
    assert.equal(error.code, "LIBTORCH_NOT_FOUND");
    for (const part of [
      "SUPERSIMPLENET_LIBTORCH: not set",
      "@supersimplenet/libtorch-cpu-",
      cached(),
      "2.14.1",
      "npm run setup",
    ])
      assert.ok(error.message.includes(part), error.message);
  },
);

test("versions of the three kinds of folder", () => {
  writeFileSync(path.join(temporary, "package.json"), '{ "version": "1.2.3", "libtorch": "2.12.0" }');
  assert.equal(readVersion(temporary), "2.12.0");
  writeFileSync(path.join(temporary, "version.py"), '__version__ = "2.13.0+cpu"\n');
  assert.equal(readVersion(temporary), "2.13.0+cpu");
  writeFileSync(path.join(temporary, "build-version"), "2.14.0+cu130\n");
  assert.equal(readVersion(temporary), "2.14.0+cu130");
  assert.equal(minor("2.14.0+cu130"), "2.14");
});

test(
  "a CUDA build's libraries are opened before libtorch, the OpenMP of any name first",
  { skip: process.platform !== "linux" && "names of Linux libraries" },
  () => {
    const folder = fakeLibtorch(path.join(temporary, "mine"), "2.13.0");
    for (const file of ["libgomp-a34b3233.so.1", "libc10_cuda.so", "libtorch_cuda.so", "libtorch_python.so"])
      writeFileSync(path.join(folder, "lib", file), "");
    const files = libtorchFiles({ folder, version: "2.13.0", foundBy: "cache" }).map((file) => path.basename(file));
    assert.deepEqual(files, [
      "libgomp-a34b3233.so.1",
      "libc10.so",
      "libc10_cuda.so",
      "libtorch_cpu.so",
      "libtorch_cuda.so",
      "libtorch.so",
    ]);
  },
);

test("the cache folder of the user", { skip: process.platform !== "linux" && "the XDG rule of Linux" }, () => {
  assert.equal(cacheFolder(), path.join(temporary, "cache"));
  delete process.env["SUPERSIMPLENET_CACHE"];
  process.env["XDG_CACHE_HOME"] = temporary;
  assert.equal(cacheFolder(), path.join(temporary, "supersimplenet"));
  process.env["XDG_CACHE_HOME"] = "relative";
  assert.equal(cacheFolder(), path.join(os.homedir(), ".cache", "supersimplenet"));
});

test("a user without a home folder: the cache is one place less to look at, and an error only where it is needed", (t) => {
  for (const name of ["SUPERSIMPLENET_CACHE", "XDG_CACHE_HOME"]) delete process.env[name];
  const none = (): never => {
    throw new Error("ENOENT: no such file or directory, uv_os_homedir");
  };
  for (const home of [none, () => "", () => "relative"]) {
    t.mock.method(os, "homedir", home);
    const needed = failure(cacheFolder);
    assert.equal(needed.code, "FILE_NOT_FOUND");
    assert.match(needed.message, /SUPERSIMPLENET_CACHE/);
    const looked = failure(() => locateLibtorch("2.13.0"));
    assert.equal(looked.code, "LIBTORCH_NOT_FOUND");
    assert.match(looked.message, /cache folder: this user has no home folder/);
    assert.equal(cachedWeights("resnet18"), undefined);
    assert.ok(listWeights().length > 1);
    t.mock.restoreAll();
  }
});

const python = spawnSync("python3", ["-c", ""]);

test(
  "a folder 'torch' in the current folder is no Python package",
  { skip: python.status !== 0 && "no Python" },
  () => {
    process.env["PATH"] = saved["PATH"];
    const planted = fakeLibtorch(path.join(temporary, "torch"), "2.13.0");
    writeFileSync(path.join(planted, "__init__.py"), "");
    const before = process.cwd();
    process.chdir(temporary);
    try {
      for (const pythonPath of [undefined, `${path.delimiter}${path.join(temporary, "other")}`, ".", temporary]) {
        if (pythonPath !== undefined) process.env["PYTHONPATH"] = pythonPath;
        try {
          const { folder } = locateLibtorch("2.13.0");
          // An installed one may be found.
          assert.notEqual(realpathSync(folder), realpathSync(planted), `PYTHONPATH=${pythonPath}`);
        } catch (error) {
          if (!(error instanceof SuperSimpleNetError && error.code === "LIBTORCH_NOT_FOUND")) throw error;
        }
      }
    } finally {
      process.chdir(before);
    }
  },
);
