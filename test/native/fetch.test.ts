// The parts of the set-up script that handle a downloaded wheel.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { after } from "node:test";
import { deflateRawSync } from "node:zlib";

import { packageFolder } from "../../lib/native/locate.js";

interface ZipModule {
  extract(archive: string, folder: string, target: (name: string) => string | undefined): Promise<number>;
}
interface LibtorchModule {
  ensureLibtorch(options: { wheel: string; compile: boolean; progress: () => void }): Promise<unknown>;
}
const script = (name: string): Promise<unknown> => import(path.join(packageFolder, "scripts", "lib", name)) as Promise<unknown>;

const temporary = mkdtempSync(path.join(os.tmpdir(), "ssn-fetch-"));
after(() => rmSync(temporary, { recursive: true }));

/** A zip archive with one entry per name, deflated when `deflate`. */
function zip(entries: Record<string, string>, deflate: boolean): Buffer {
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, text] of Object.entries(entries)) {
    const data = deflate ? deflateRawSync(text) : Buffer.from(text);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(name.length, 26);
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE(deflate ? 8 : 0, 10);
    central.writeUInt32LE(data.length, 20);
    central.writeUInt32LE(Buffer.byteLength(text), 24);
    central.writeUInt16LE(name.length, 28);
    central.writeUInt32LE(offset, 42);
    locals.push(local, Buffer.from(name), data);
    directory.push(central, Buffer.from(name));
    offset += 30 + name.length + data.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(Object.keys(entries).length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, central, end]);
}

for (const deflate of [false, true]) {
  test(`unpacks the wanted files of a ${deflate ? "deflated" : "stored"} archive`, async () => {
    const { extract } = (await script("zip.mjs")) as ZipModule;
    const archive = path.join(temporary, "a.zip");
    const folder = path.join(temporary, `out-${deflate}`);
    writeFileSync(archive, zip({ "torch/lib/a.so": "library ".repeat(1000), "torch/empty": "", "torch/nn.py": "unwanted" }, deflate));
    assert.equal(await extract(archive, folder, (name) => (name.endsWith(".py") ? undefined : name.replace("torch/", ""))), 2);
    assert.equal(readFileSync(path.join(folder, "lib", "a.so"), "utf8"), "library ".repeat(1000));
    assert.equal(readFileSync(path.join(folder, "empty"), "utf8"), "");
    assert.ok(!existsSync(path.join(folder, "nn.py")));
  });
}

test("refuses a damaged archive and an entry that leaves the folder", async () => {
  const { extract } = (await script("zip.mjs")) as ZipModule;
  const archive = path.join(temporary, "b.zip");
  const whole = zip({ "../outside": "text" }, true);
  writeFileSync(archive, whole);
  await assert.rejects(extract(archive, path.join(temporary, "b"), (name) => name), /leaves the folder/);
  writeFileSync(archive, whole.subarray(0, whole.length - 10));
  await assert.rejects(extract(archive, path.join(temporary, "b"), (name) => name), /not a zip archive, or cut short/);
});

test("a wheel with another checksum is not unpacked and leaves nothing behind", { skip: `${process.platform}-${process.arch}` !== "linux-x64" && "no wheel is pinned for this platform" }, async () => {
  const { ensureLibtorch } = (await script("libtorch.mjs")) as LibtorchModule;
  const wheel = path.join(temporary, "torch.whl");
  writeFileSync(wheel, zip({ "torch/version.py": "__version__ = '2.13.0'" }, true));
  const saved = { ...process.env };
  delete process.env["SUPERSIMPLENET_LIBTORCH"];
  process.env["SUPERSIMPLENET_CACHE"] = path.join(temporary, "cache");
  process.env["PATH"] = temporary; // no Python torch
  try {
    await assert.rejects(ensureLibtorch({ wheel, compile: true, progress: () => {} }), /has SHA-256 .* It was not unpacked/);
    assert.deepEqual(readdirSync(path.join(temporary, "cache", "libtorch")), []);
  } finally {
    for (const name of ["SUPERSIMPLENET_LIBTORCH", "SUPERSIMPLENET_CACHE", "PATH"]) {
      if (saved[name] === undefined) delete process.env[name];
      else process.env[name] = saved[name];
    }
  }
});
