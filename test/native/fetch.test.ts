// The parts of the set-up script that handle a downloaded wheel.
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { after } from "node:test";

import { packageFolder, pinned } from "../../lib/native/locate.js";
import { answeringProxy } from "../download/servers.js";
import { zip } from "../download/zips.js";

interface LibtorchModule {
  ensureLibtorch(options: { wheel: string | undefined; compile: boolean; progress: () => void }): Promise<unknown>;
}
const script = (name: string): Promise<unknown> =>
  import(path.join(packageFolder, "scripts", "lib", name)) as Promise<unknown>;

const temporary = mkdtempSync(path.join(os.tmpdir(), "ssn-fetch-"));
after(() => rmSync(temporary, { recursive: true }));

const linux = { skip: `${process.platform}-${process.arch}` !== "linux-x64" && "no wheel is pinned for this platform" };

/** Set-up's search for libtorch with an empty cache folder, on a PATH alone and these variables. */
async function ensure(wheel: string | undefined, PATH: string, variables: Record<string, string> = {}): Promise<void> {
  const { ensureLibtorch } = (await script("libtorch.mjs")) as LibtorchModule;
  const saved = { ...process.env };
  const { SUPERSIMPLENET_LIBTORCH: _chosen, ...others } = saved;
  process.env = { ...others, ...variables, SUPERSIMPLENET_CACHE: path.join(temporary, "cache"), PATH };
  try {
    await ensureLibtorch({ wheel, compile: true, progress: () => {} });
  } finally {
    process.env = saved;
  }
}

test("a wheel with another checksum is not unpacked and leaves nothing behind", linux, async () => {
  const wheel = path.join(temporary, "torch.whl");
  writeFileSync(wheel, zip({ "torch/version.py": "__version__ = '2.13.0'" }, true));
  await assert.rejects(ensure(wheel, temporary), /has SHA-256 .* It was not unpacked/);
  assert.deepEqual(readdirSync(path.join(temporary, "cache", "libtorch")), []);
  await assert.rejects(ensure(path.join(temporary, "none.whl"), temporary), /The wheel .*none\.whl does not exist/);
});

test("without pip, set-up asks the pinned index, and says what to do when that fails", linux, async () => {
  const proxy = await answeringProxy();
  try {
    await assert.rejects(
      ensure(undefined, temporary, { HTTPS_PROXY: proxy.url, https_proxy: proxy.url, no_proxy: "" }),
      {
        message: /^Cannot download .*\/torch\/: the proxy .* refuses the connection: 502/,
        fix: /node scripts\/setup\.mjs --wheel torch-/,
        output: /no Python with pip was found/,
      },
    );
    assert.deepEqual([...new Set(proxy.seen.map(({ url }) => url))], [`CONNECT ${new URL(pinned.index).host}:443`]);
  } finally {
    await proxy.close();
  }
});
