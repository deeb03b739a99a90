// The parts of the set-up script that handle a downloaded wheel.
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { after } from "node:test";

import { packageFolder } from "../../lib/native/locate.js";
import { zip } from "../download/zips.js";

interface LibtorchModule {
  ensureLibtorch(options: { wheel: string; compile: boolean; progress: () => void }): Promise<unknown>;
}
const script = (name: string): Promise<unknown> =>
  import(path.join(packageFolder, "scripts", "lib", name)) as Promise<unknown>;

const temporary = mkdtempSync(path.join(os.tmpdir(), "ssn-fetch-"));
after(() => rmSync(temporary, { recursive: true }));

test(
  "a wheel with another checksum is not unpacked and leaves nothing behind",
  { skip: `${process.platform}-${process.arch}` !== "linux-x64" && "no wheel is pinned for this platform" },
  async () => {
    const { ensureLibtorch } = (await script("libtorch.mjs")) as LibtorchModule;
    const wheel = path.join(temporary, "torch.whl");
    writeFileSync(wheel, zip({ "torch/version.py": "__version__ = '2.13.0'" }, true));
    const saved = { ...process.env };
    delete process.env["SUPERSIMPLENET_LIBTORCH"];
    process.env["SUPERSIMPLENET_CACHE"] = path.join(temporary, "cache");
    process.env["PATH"] = temporary; // no Python torch
    try {
      await assert.rejects(
        ensureLibtorch({ wheel, compile: true, progress: () => {} }),
        /has SHA-256 .* It was not unpacked/,
      );
      assert.deepEqual(readdirSync(path.join(temporary, "cache", "libtorch")), []);
    } finally {
      for (const name of ["SUPERSIMPLENET_LIBTORCH", "SUPERSIMPLENET_CACHE", "PATH"]) {
        if (saved[name] === undefined) delete process.env[name];
        else process.env[name] = saved[name];
      }
    }
  },
);
