import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, beforeEach, test } from "node:test";

import type { ErrorCode } from "../../lib/errors.js";
import { type CudaInstalled, cudaWheels, installBuild, installCuda } from "../../lib/native/cuda_install.js";
import type { WheelProgress } from "../../lib/native/wheels.js";
import { type PinnedBuild, cudaCache, locateCudaLibtorch, minor, pinned } from "../../lib/native/locate.js";
import { type FileServer, fileServer } from "../download/servers.js";
import { zip } from "../download/zips.js";

const linux = { skip: `${process.platform}-${process.arch}` !== "linux-x64" && "CUDA is for Linux x64 only" };
const root = mkdtempSync(path.join(os.tmpdir(), "ssn-cuda-install-"));
after(() => rmSync(root, { recursive: true, force: true }));
for (const name of [
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "NO_PROXY",
  "http_proxy",
  "https_proxy",
  "no_proxy",
  "SUPERSIMPLENET_WHEELS_URL",
  "PIP_INDEX_URL",
])
  delete process.env[name];

const version = pinned.cuda.version;
const library = "library ".repeat(4000);
/** Two small wheels with what the real ones have: things to keep and things to leave out. */
const archives = {
  "torch-1-cp311-cp311-any.whl": zip(
    {
      "torch/version.py": `__version__ = '${version}+cu130'\n`,
      ...Object.fromEntries(
        [
          ...pinned.libraries["linux"]!,
          "libtorch_cuda.so",
          "libc10_cuda.so",
          "libtorch_python.so",
          "libtorch_cuda_linalg.so",
        ].map((name) => [`torch/lib/${name}`, library]),
      ),
      "torch/include/ATen/ATen.h": "header",
      "torch/nn/module.py": "unwanted",
      "torch-1.dist-info/licenses/LICENSE": "torch's",
      "torch-1.dist-info/METADATA": "unwanted",
    },
    true,
  ),
  "nvidia_thing-1-py3-none-any.whl": zip(
    {
      "nvidia/cu13/lib/libthing.so.13": library,
      "nvidia/cu13/lib/libthing.alt.so.13": "unwanted",
      "nvidia/cu13/lib/libthing.a": "unwanted",
      "nvidia_thing-1.dist-info/License.txt": "NVIDIA's",
    },
    false,
  ),
};
const sha256 = (data: Buffer): string => createHash("sha256").update(data).digest("hex");
const manifest: PinnedBuild = {
  version,
  cacheName: "small",
  installedBytes: 1e6,
  wheels: {
    "linux-x64": Object.entries(archives).map(([file, data]) => ({
      project: file.startsWith("torch") ? "torch" : "nvidia-thing",
      file,
      sha256: sha256(data),
      bytes: data.length,
    })),
  },
};

let parent = "";
let target = "";
beforeEach(() => {
  parent = path.join(mkdtempSync(path.join(root, "cache-")), "libtorch");
  target = path.join(parent, "small", "torch");
});
const retry = { retryDelayMs: 1, timeoutMs: 5000 };
const fails = (promise: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> =>
  assert.rejects(promise, { name: "SuperSimpleNetError", code, message });

/** An index: torch's page in JSON, the other in HTML with relative addresses. */
async function withIndex(
  body: (server: FileServer) => Promise<void>,
  faults: { breakAfter?: number; breaks?: number; statuses?: number[] } = {},
  files: Record<string, Buffer> = {},
): Promise<void> {
  const [torch, thing] = Object.keys(archives) as (keyof typeof archives)[];
  const server = await fileServer({
    content: Buffer.alloc(0),
    files: {
      "/simple/torch/": Buffer.from(
        JSON.stringify({
          files: [
            { filename: "torch-0.whl", url: "/nothing" },
            { filename: torch, url: `/files/${torch}#sha256=0` },
          ],
        }),
      ),
      "/simple/nvidia-thing/": Buffer.from(
        `<html><a href="nothing">nvidia_thing-0-py3-none-any.whl</a><br><a data-x="1" href='../../files/${thing}#sha256=0'>\n${thing}</a></html>`,
      ),
      ...Object.fromEntries(Object.entries(archives).map(([file, data]) => [`/files/${file}`, data])),
      ...files,
    },
    ...faults,
  });
  try {
    await body(server);
  } finally {
    await server.close();
  }
}
const fetchFrom = (server: FileServer, options: object = {}): Promise<CudaInstalled> =>
  installBuild(manifest, target, { indexUrl: `${server.url}/simple`, ...retry, ...options });

function installed(): void {
  const files = readdirSync(path.join(parent, "small"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(path.join(parent, "small"), path.join(entry.parentPath, entry.name)));
  assert.deepEqual(files.sort(), [
    "licenses/nvidia_thing-1/License.txt",
    "licenses/torch-1/LICENSE",
    "nvidia/cu13/lib/libthing.so.13",
    "torch/include/ATen/ATen.h",
    ...["libc10.so", "libc10_cuda.so", "libtorch.so", "libtorch_cpu.so", "libtorch_cuda.so"].map(
      (name) => `torch/lib/${name}`,
    ),
    "torch/version.py",
  ]);
  assert.equal(readFileSync(path.join(target, "lib", "libtorch_cuda.so"), "utf8"), library);
  assert.deepEqual(readdirSync(parent), ["small"]);
}

test("fetches the wheels from an index, unpacks what is used, and does nothing the second time", linux, () =>
  withIndex(async (server) => {
    const progress: WheelProgress[] = [];
    assert.deepEqual(await fetchFrom(server, { onProgress: (p: WheelProgress) => progress.push(p) }), {
      folder: target,
      version,
      installed: true,
    });
    installed();
    const total = Object.values(archives).reduce((sum, data) => sum + data.length, 0);
    assert.deepEqual(progress.filter(({ stage }) => stage === "download").at(-1), {
      stage: "download",
      file: "nvidia_thing-1-py3-none-any.whl",
      bytes: total,
      total,
    });
    assert.deepEqual(progress.at(-1), {
      stage: "unpack",
      file: "nvidia_thing-1-py3-none-any.whl",
      bytes: library.length + "NVIDIA's".length,
      total: library.length + "NVIDIA's".length,
    });
    const asked = server.seen.length;
    assert.deepEqual(await fetchFrom(server), { folder: target, version, installed: false });
    assert.equal(server.seen.length, asked);
    writeFileSync(path.join(target, "lib", "libtorch_cuda.so"), "damaged");
    assert.equal((await fetchFrom(server, { force: true })).installed, true);
    installed();
  }),
);

test("goes on where an interrupted download stopped, and fetches nothing twice", linux, () =>
  withIndex(
    async (server) => {
      await fails(
        fetchFrom(server, { attempts: 1 }),
        "DOWNLOAD_FAILED",
        /Cannot download .*torch-1-cp311-cp311-any\.whl.*cuda list.*cuda install --from DIR/s,
      );
      assert.deepEqual(readdirSync(path.join(parent, "wheels")), ["torch-1-cp311-cp311-any.whl.part"]);
      assert.ok(!existsSync(target));
      const controller = new AbortController();
      await fails(
        fetchFrom(server, {
          signal: controller.signal,
          onProgress: ({ stage, file }: WheelProgress) =>
            stage === "download" && file.startsWith("nvidia") && controller.abort(),
        }),
        "ABORTED",
        /nothing was changed/,
      );
      assert.equal(server.seen.find(({ range }) => range !== undefined)?.range, "bytes=300-");
      assert.ok(existsSync(path.join(parent, "wheels", "torch-1-cp311-cp311-any.whl")));
      const before = server.seen.length;
      await fetchFrom(server);
      installed();
      assert.ok(!server.seen.slice(before).some(({ url }) => url.includes("torch")));
    },
    // The first two connections, to the index and to the file, break after 300 bytes; the index's page is shorter.
    { breakAfter: 300, breaks: 2 },
  ),
);

test("cancelling while it unpacks leaves no folder; a folder of a killed process is removed", linux, () =>
  withIndex(async (server) => {
    const controller = new AbortController();
    await fails(
      fetchFrom(server, {
        signal: controller.signal,
        onProgress: ({ stage }: WheelProgress) => stage === "unpack" && controller.abort(),
      }),
      "ABORTED",
      /nothing was changed/,
    );
    assert.deepEqual(readdirSync(parent), ["wheels"]);
    mkdirSync(path.join(parent, "small.tmp-99999999-abc", "torch"), { recursive: true });
    await fetchFrom(server);
    installed();
  }),
);

test("a wheel with another checksum is refused, from an index and from a folder", linux, async () => {
  await withIndex(
    (server) =>
      fails(fetchFrom(server), "CHECKSUM_MISMATCH", /nvidia_thing-1-py3-none-any\.whl is not the expected file/),
    {},
    { "/files/nvidia_thing-1-py3-none-any.whl": Buffer.from("<html>login</html>") },
  );
  assert.ok(!existsSync(target));
  const folder = mkdtempSync(path.join(root, "wheels-"));
  for (const [file, data] of Object.entries(archives))
    writeFileSync(path.join(folder, file), file.startsWith("torch") ? data : data.subarray(1));
  await fails(
    installBuild(manifest, target, { from: folder }),
    "CHECKSUM_MISMATCH",
    /nvidia_thing-1-py3-none-any\.whl has SHA-256 \w+ instead of/,
  );
  assert.ok(!existsSync(target));
});

test("from a file where a folder is wanted: the wheels are not in it", linux, async () => {
  const file = path.join(root, "a file");
  writeFileSync(file, "");
  for (const wheels of [manifest.wheels["linux-x64"]!, manifest.wheels["linux-x64"]!.slice(0, 1)])
    await fails(
      installBuild({ ...manifest, wheels: { "linux-x64": wheels } }, target, { from: path.join(file, "inside") }),
      "FILE_NOT_FOUND",
      /wheels are not in .*inside/,
    );
  await fails(installBuild(manifest, target, { from: file }), "FILE_NOT_FOUND", /2 of 2 wheels are not in .*a file/);
});

test("from a folder, without a network: everything must be there, and stays there", linux, async () => {
  const folder = mkdtempSync(path.join(root, "wheels-"));
  writeFileSync(path.join(folder, "torch-1-cp311-cp311-any.whl"), archives["torch-1-cp311-cp311-any.whl"]);
  await fails(
    installBuild(manifest, target, { from: folder }),
    "FILE_NOT_FOUND",
    /1 of 2 wheels are not in .*\n {2}- nvidia_thing-1-py3-none-any\.whl/,
  );
  writeFileSync(path.join(folder, "nvidia_thing-1-py3-none-any.whl"), archives["nvidia_thing-1-py3-none-any.whl"]);
  await installBuild(manifest, target, { from: folder });
  installed();
  assert.equal(readdirSync(folder).length, 2);
});

test(
  "an index without the file, a server that fails for a while, a disk that is too small, another platform",
  linux,
  async () => {
    for (const page of ["<html></html>", '{"errors": ["no such project"]}', "{cut sh"])
      await withIndex(
        (server) =>
          fails(
            fetchFrom(server),
            "DOWNLOAD_FAILED",
            /simple\/torch\/ does not have torch-1-cp311-cp311-any\.whl\. Set SUPERSIMPLENET_WHEELS_URL/,
          ),
        {},
        { "/simple/torch/": Buffer.from(page) },
      );
    await withIndex((server) => fetchFrom(server).then(installed), { statuses: [503, 429] });
    await withIndex((server) =>
      fails(fetchFrom(server, { indexUrl: `${server.url}/other`, force: true }), "DOWNLOAD_FAILED", /answered 404/),
    );
    installed();
    await fails(
      installBuild({ ...manifest, installedBytes: 1e18 }, target, { from: root, force: true }),
      "NO_SPACE",
      /needs 1000000000\.0 GB.*SUPERSIMPLENET_CACHE/,
    );
    await fails(
      installBuild({ ...manifest, wheels: { "plan9-sparc": [] } }, target, {}),
      "LIBTORCH_NOT_FOUND",
      /only for plan9-sparc/,
    );
    await fails(installCuda({ indexUrl: "" }), "INVALID_OPTION", /an http or https address/);
    await fails(installCuda({ indexUrl: "ftp://x" }), "INVALID_OPTION", /an http or https address/);
  },
);

/** Runs `body` with these variables. */
async function withVariables(variables: Record<string, string>, body: () => Promise<void>): Promise<void> {
  const saved = { ...process.env };
  Object.assign(process.env, variables);
  try {
    await body();
  } finally {
    process.env = saved;
  }
}

/** A folder for the PATH whose python3 gets the wheels as pip does, from `files`, and prints `fails` where it has none. */
function pipDouble(files: Record<string, Buffer>, failure: string): string {
  const folder = mkdtempSync(path.join(root, "pip-"));
  for (const [file, data] of Object.entries(files)) writeFileSync(path.join(folder, file), data);
  const script = `#!${process.execPath}
const fs = require("fs"), path = require("path"), args = process.argv.slice(2);
fs.appendFileSync(${JSON.stringify(path.join(folder, "calls"))}, args.slice(0, 3).join(" ") + "\\n");
const project = args.find((arg) => arg.includes("==")).split("==")[0];
const file = fs.readdirSync(${JSON.stringify(folder)}).find((name) => name.startsWith(project + "-"));
if (!file) { console.error(${JSON.stringify(failure)}); process.exit(1); }
fs.copyFileSync(path.join(${JSON.stringify(folder)}, file), path.join(args[args.indexOf("--dest") + 1], file));
`;
  writeFileSync(path.join(folder, "python3"), script, { mode: 0o755 });
  return folder;
}

test("an error does not tell the password of an index", linux, () =>
  withIndex(
    async ({ url }) => {
      const index = `${url.replace("//", "//user:secret@")}/simple`;
      const silent = (wanted: RegExp) => (error: Error) => {
        assert.match(error.message, wanted);
        assert.doesNotMatch(error.message, /user|secret/);
        return true;
      };
      const install = (): Promise<unknown> => installBuild(manifest, target, retry);
      await withVariables({ PIP_INDEX_URL: index }, () =>
        assert.rejects(install(), silent(/http:\/\/localhost:\d+\/simple\/torch\/ does not have/)),
      );
      await withVariables({ PIP_INDEX_URL: `${index}/other` }, () =>
        assert.rejects(install(), silent(/Cannot download http:\/\/localhost:\d+\/simple\/other\//)),
      );
      await withVariables({ PIP_INDEX_URL: index.replace("http", "ftp") }, () =>
        assert.rejects(install(), silent(/PIP_INDEX_URL' but received 'ftp:\/\/localhost/)),
      );
      await withVariables({ PATH: pipDouble({}, `ERROR: no answer from ${index}`) }, () =>
        assert.rejects(install(), silent(/ERROR: no answer from http:\/\/localhost/)),
      );
    },
    {},
    { "/simple/torch/": Buffer.from("<html></html>") },
  ),
);

test("without an index pip downloads, and what it has downloaded is kept", linux, async () => {
  const failing = pipDouble(
    { "torch-1-cp311-cp311-any.whl": archives["torch-1-cp311-cp311-any.whl"] },
    "ERROR: no matching distribution",
  );
  await withVariables({ PATH: failing }, () =>
    fails(
      installBuild(manifest, target, {}),
      "DOWNLOAD_FAILED",
      /Cannot download nvidia_thing-1-py3-none-any\.whl: pip failed:\nERROR: no matching distribution\n\(python3 -m pip download .*cuda install --index URL'.*cuda install --from DIR'/s,
    ),
  );
  assert.deepEqual(readdirSync(path.join(parent, "wheels")), ["torch-1-cp311-cp311-any.whl"]);
  const working = pipDouble(archives, "");
  await withVariables({ PATH: working }, async () => void (await installBuild(manifest, target, {})));
  installed();
  assert.equal(readFileSync(path.join(working, "calls"), "utf8"), "-m pip download\n");
});

test("without an index: another file from pip, and no pip", linux, async () => {
  const other = pipDouble({ "torch-1-cp311-cp311-any.whl": Buffer.from("another") }, "");
  await withVariables({ PATH: other }, () =>
    fails(
      installBuild(manifest, target, {}),
      "CHECKSUM_MISMATCH",
      /torch-1-cp311-cp311-any\.whl has SHA-256 .* not unpacked/,
    ),
  );
  assert.deepEqual(readdirSync(path.join(parent, "wheels")), []);
  await withVariables({ PATH: root }, () =>
    fails(
      installBuild(manifest, target, {}),
      "DOWNLOAD_FAILED",
      /no Python with pip was found\. Where pip does not reach the wheels, run '.*cuda install --index URL'/,
    ),
  );
  assert.ok(!existsSync(target));
});

const pipVersion = spawnSync("python3", ["-m", "pip", "--version"]);
test("pip itself finds the wheel on an index", { skip: pipVersion.status !== 0 && "no pip" }, async () => {
  const file = "nvidia_thing-1.2-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl";
  const info = "nvidia_thing-1.2.dist-info";
  const wheel = zip(
    {
      "nvidia/cu13/lib/libthing.so": library,
      [`${info}/METADATA`]: "Metadata-Version: 2.1\nName: nvidia-thing\nVersion: 1.2\n",
      [`${info}/WHEEL`]: "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
      [`${info}/RECORD`]: "",
    },
    true,
  );
  const server = await fileServer({
    content: wheel,
    files: { "/simple/nvidia-thing/": Buffer.from(`<a href="/${file}">${file}</a>`), [`/${file}`]: wheel },
  });
  const configuration = path.join(parent, "..", "pip.conf");
  writeFileSync(configuration, `[global]\nindex-url = ${server.url}/simple\n`);
  const build = {
    ...manifest,
    wheels: { "linux-x64": [{ project: "nvidia-thing", file, sha256: sha256(wheel), bytes: wheel.length }] },
  };
  try {
    await withVariables(
      { PIP_CONFIG_FILE: configuration, PIP_NO_CACHE_DIR: "1" },
      async () => void (await installBuild(build, target, {})),
    );
    assert.ok(existsSync(path.join(parent, "small", "nvidia", "cu13", "lib", "libthing.so")));
  } finally {
    await server.close();
  }
});

test("what is pinned: one wheel of torch, and libtorch found where it was put", linux, async (t) => {
  const wheels = cudaWheels();
  assert.deepEqual(
    wheels.filter(({ project }) => project === "torch").map(({ file }) => file.split("-")[1]),
    [version],
  );
  for (const { project, file, sha256: hash, bytes } of wheels) {
    assert.match(file, /-(cp311-cp311|py3-none)-/); // what pip is asked for
    assert.ok(file.startsWith(`${project.replaceAll("-", "_")}-`) && file.endsWith("_x86_64.whl"), file);
    assert.match(hash, /^[0-9a-f]{64}$/);
    assert.ok(bytes > 1e5);
  }
  const saved = { ...process.env };
  t.after(() => (process.env = saved));
  process.env = {
    ...saved,
    SUPERSIMPLENET_CACHE: path.join(root, "found"),
    SUPERSIMPLENET_LIBTORCH_CUDA: "",
    SUPERSIMPLENET_LIBTORCH: "",
    PATH: root,
  };
  assert.throws(() => locateCudaLibtorch(version), { code: "LIBTORCH_NOT_FOUND", message: /cuda install' to get it/ });
  await withIndex((server) =>
    installBuild(manifest, cudaCache(), { indexUrl: `${server.url}/simple`, ...retry }).then(() => undefined),
  );
  assert.deepEqual(locateCudaLibtorch(version), { folder: cudaCache(), version: `${version}+cu130`, foundBy: "cache" });
  assert.throws(() => locateCudaLibtorch("2.11.0"), {
    code: "LIBTORCH_NOT_FOUND",
    message: new RegExp(`is version ${minor(version).replace(".", "\\.")}.*pip install torch==2\\.11\\.0`, "s"),
  });
});
