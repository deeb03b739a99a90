// The packages as a user gets them: packed, installed from the tarballs into an empty folder with nothing but Node and
// npm on the PATH and no network, then used. SUPERSIMPLENET_TEST_NODE=FILE does the using with another Node; SUPERSIMPLENET_TEST_PACKAGES=DIR
// takes the tarballs from there instead of packing.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { after } from "node:test";

import { minor, packageFolder, pinned, platformPackage } from "../../lib/native/locate.js";
import { commonJs, esModule, typescript, worker } from "./consumer.js";

const node = process.env["SUPERSIMPLENET_TEST_NODE"] ?? process.execPath;
const here = realpathSync(mkdtempSync(path.join(os.tmpdir(), "ssn-install-")));
process.umask(0o022); // another user reads it in one of the tests
chmodSync(here, 0o755);
after(() => rmSync(here, { recursive: true, force: true }));

interface Manifest {
  name: string;
  version: string;
  private?: boolean;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}
const manifestOf = (folder: string): Manifest =>
  JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8")) as Manifest;

// --- pack -----------------------------------------------------------------------------------------------------------
const given = process.env["SUPERSIMPLENET_TEST_PACKAGES"];
const packages = given ? path.resolve(given) : path.join(packageFolder, "packages", "trial");
const tarballs = [
  path.join(packages, `supersimplenet-${manifestOf(packageFolder).version}.tgz`),
  path.join(packages, `${platformPackage.slice(1).replace("/", "-")}-${pinned.version}.tgz`),
];
if (!given) {
  const packed = spawnSync(process.execPath, [path.join(packageFolder, "scripts", "pack.mjs"), "all", "--trial"], {
    encoding: "utf8",
  });
  assert.equal(packed.status, 0, packed.stderr);
}

// --- install --------------------------------------------------------------------------------------------------------
const app = path.join(here, "mit Leerzeichen и ünïcode");
const bin = path.join(here, "bin");
const env = {
  PATH: bin,
  HOME: here,
  LANG: "C.UTF-8",
  npm_config_cache: path.join(here, "npm-cache"),
  npm_config_registry: "http://127.0.0.1:9/",
  npm_config_audit: "false",
  npm_config_fund: "false",
  npm_config_update_notifier: "false",
};
const installed = path.join(app, "node_modules", "supersimplenet");
const run = (folder: string, args: string[], more: object = {}) =>
  spawnSync(node, args, { cwd: folder, encoding: "utf8", env, ...more });

function install(): { status: number | null; stdout: string; stderr: string } {
  mkdirSync(app);
  mkdirSync(bin);
  const npm = process.env["PATH"]!.split(path.delimiter)
    .map((folder) => path.join(folder, "npm"))
    .find(existsSync);
  assert.ok(npm, "npm is not on the PATH");
  symlinkSync(process.execPath, path.join(bin, "node"));
  symlinkSync(realpathSync(npm), path.join(bin, "npm"));
  // What the main package depends on, packed from this checkout's node_modules: no registry is asked.
  const { packages: locked } = JSON.parse(readFileSync(path.join(packageFolder, "package-lock.json"), "utf8")) as {
    packages: Record<string, { dev?: boolean }>;
  };
  const dependencies = Object.keys(locked).filter(
    (name) => name && !locked[name]!.dev && existsSync(path.join(packageFolder, name)),
  );
  const others = path.join(here, "dependencies");
  mkdirSync(others);
  const pack = spawnSync(
    "npm",
    ["pack", "--ignore-scripts", "--silent", "--pack-destination", others, ...dependencies.map((name) => `./${name}`)],
    { cwd: packageFolder, encoding: "utf8" },
  );
  assert.equal(pack.status, 0, pack.stderr);
  // Of a package in two versions one lies within its user, and an override says so: npm would ask the registry for it.
  const tarball = (name: string): string => {
    const { name: own, version } = manifestOf(path.join(packageFolder, name));
    return path.join(others, `${own.replace("@", "").replace("/", "-")}-${version}.tgz`);
  };
  const partsOf = (name: string): string[] => name.split(/\/?node_modules\//).slice(1);
  const [nested, top] = [true, false].map((inner) => dependencies.filter((name) => partsOf(name).length > 1 === inner));
  const overrides = Object.fromEntries(
    nested!.map((name) => [partsOf(name).at(-2)!, { [partsOf(name).at(-1)!]: `file:${tarball(name)}` }]),
  );
  writeFileSync(path.join(app, "package.json"), JSON.stringify({ name: "app", version: "1.0.0", overrides }));
  return spawnSync(path.join(bin, "npm"), ["install", "--offline", ...tarballs, ...top!.map(tarball)], {
    cwd: app,
    encoding: "utf8",
    env,
  });
}

const npmInstall = install();
for (const [file, text] of Object.entries({
  "app.cjs": commonJs,
  "app.mjs": esModule,
  "worker.mjs": worker,
  "app.ts": typescript,
}))
  writeFileSync(path.join(app, file), text);

let works = 0;
/** Trains, detects and checks what came out. */
function use(folder: string, file: string, more: object = {}): void {
  const work = path.join(here, `work ${++works}`);
  mkdirSync(work);
  chmodSync(work, 0o777);
  const { status, stdout, stderr } = run(folder, [file, work], more);
  assert.equal(status, 0, stderr);
  const { steps, score, map } = JSON.parse(stdout) as { steps: number; score: number; map: number[] };
  assert.ok(steps >= 1);
  assert.ok(score > 0 && score < 1, String(score));
  assert.deepEqual(map, [32, 32]);
}

test("the platform package is under 150 MB, the main package under 10 MB", () => {
  const [main, libtorch] = tarballs.map((file) => readFileSync(file).length);
  assert.ok(main! < 10e6, `${main}`);
  assert.ok(libtorch! < 150e6, `${libtorch}`);
});

test("npm install of the tarballs works without a network, a compiler or Python", () => {
  assert.equal(npmInstall.status, 0, npmInstall.stderr);
  assert.equal(manifestOf(installed).optionalDependencies?.[platformPackage], pinned.version);
  const libtorch = path.join(app, "node_modules", platformPackage);
  assert.equal(manifestOf(libtorch).version, pinned.version);
  assert.notEqual(
    existsSync(path.join(libtorch, "licenses", "LICENSE")),
    manifestOf(libtorch).private === true,
    "it has its licences, or cannot be published",
  );
});

test("CommonJS: a training step and a detection", () => use(app, "app.cjs"));
test("ES module: a training step and a detection", () => use(app, "app.mjs"));
test("in a worker thread", () => use(app, "worker.mjs"));

test("doctor finds the platform package and nothing wrong", () => {
  const { status, stdout, stderr } = run(app, [
    path.join("node_modules", ".bin", "supersimplenet"),
    "doctor",
    "--json",
  ]);
  assert.equal(status, 0, stderr);
  const found = JSON.parse(stdout) as { ok: boolean; libtorch: { foundBy: string }; addon: { folder: string } };
  assert.equal(found.ok, true);
  assert.equal(found.libtorch.foundBy, "platform package");
  assert.equal(found.addon.folder, path.join(installed, "prebuilds", `${process.platform}-${process.arch}`));
});

for (const [moduleResolution, module] of [
  ["node16", "node16"],
  ["bundler", "esnext"],
] as const) {
  test(`a strict TypeScript program compiles with moduleResolution ${moduleResolution}`, () => {
    const config = {
      compilerOptions: {
        strict: true,
        noEmit: true,
        target: "es2022",
        module,
        moduleResolution,
        types: ["node"],
        typeRoots: [path.join(packageFolder, "node_modules", "@types")],
      },
      files: ["app.ts"],
    };
    writeFileSync(path.join(app, "tsconfig.json"), JSON.stringify(config));
    const { status, stdout } = run(app, [
      path.join(packageFolder, "node_modules", "typescript", "bin", "tsc"),
      "-p",
      app,
    ]);
    assert.equal(status, 0, stdout);
  });
}

test("node_modules that cannot be written", { skip: process.platform === "win32" && "needs Unix file modes" }, (t) => {
  if (process.getuid?.() === 0) {
    const nobody = { uid: 65534, gid: 65534 }; // the folder is root's, and the user is not
    const probe = run(app, ["-e", "require('node:fs').readFileSync('package.json')"], nobody);
    if (probe.status !== 0)
      return t.skip(`root cannot become another user that runs Node here: ${probe.error?.message ?? probe.stderr}`);
    return use(app, "app.cjs", nobody);
  }
  const folders = [
    app,
    ...readdirSync(app, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => path.join(entry.parentPath, entry.name)),
  ];
  try {
    for (const folder of folders) chmodSync(folder, 0o555);
    use(app, "app.cjs");
  } finally {
    for (const folder of folders) chmodSync(folder, 0o755);
  }
});

/** The same packages as pnpm lays them out: real folders under .pnpm, each beside links to what it declares, and nothing else. */
function pnpmLayout(folder: string): (name: string) => string {
  const from = path.join(app, "node_modules");
  const names = readdirSync(from)
    .filter((name) => !name.startsWith("."))
    .flatMap((name) =>
      name.startsWith("@") ? readdirSync(path.join(from, name)).map((inner) => `${name}/${inner}`) : [name],
    );
  const place = (owner: string, name = owner): string =>
    path.join(folder, "node_modules", ".pnpm", owner.replace("/", "+"), "node_modules", name);
  for (const name of names) {
    linkTree(path.join(from, name), place(name));
    const { dependencies, optionalDependencies } = manifestOf(path.join(from, name));
    for (const other of Object.keys({ ...dependencies, ...optionalDependencies })) {
      if (!names.includes(other)) continue; // another platform's
      mkdirSync(path.dirname(place(name, other)), { recursive: true });
      symlinkSync(place(other), place(name, other));
    }
  }
  symlinkSync(place("supersimplenet"), path.join(folder, "node_modules", "supersimplenet"));
  for (const file of ["app.cjs", "app.mjs"]) linkSync(path.join(app, file), path.join(folder, file));
  return (name) => place("supersimplenet", name);
}

function linkTree(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const entry of readdirSync(from, { withFileTypes: true }))
    (entry.isDirectory() ? linkTree : linkSync)(path.join(from, entry.name), path.join(to, entry.name));
}

const linked = path.join(here, "pnpm");
const place = pnpmLayout(linked);

test("symlinked node_modules, as pnpm makes them", () => use(linked, "app.mjs"));

/** The error that opening the engine on `device` gives, and what doctor says of the same. */
function failure(more: Record<string, string> = {}, device = "auto"): { code: string; message: string; fix: string } {
  const script = `import("supersimplenet").then(async ({ Detector, diagnose }) => {
    const fix = diagnose().problems[0]?.fix;
    await Detector.load(${JSON.stringify(path.join(here, "work 1", "model.safetensors"))}, { device: "${device}" }).catch(({ code, message }) => console.log(JSON.stringify({ code, message, fix })));
  });`;
  const { stdout, stderr, status } = run(linked, ["-e", script], { env: { ...env, ...more } });
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as { code: string; message: string; fix: string };
}

/** Runs `body` while something of the installation is not where it was. */
function without(entry: string, body: () => void): void {
  renameSync(entry, `${entry}.away`);
  try {
    body();
  } finally {
    rmSync(entry, { recursive: true, force: true });
    renameSync(`${entry}.away`, entry);
  }
}

test("without the platform package: what left it out, and the command that installs it", () => {
  without(place(platformPackage), () => {
    const { code, message, fix } = failure();
    assert.equal(code, "LIBTORCH_NOT_FOUND");
    assert.match(message, /--omit=optional/);
    assert.match(message, /package-lock\.json made on another platform/);
    assert.equal(fix, `npm install ${platformPackage}@${pinned.version}`);
    assert.ok(message.includes(fix), message);
  });
});

test("without sharp's binary, which the same leaves out: raw pixels still work, files are an error that says what to do", () => {
  without(path.join(linked, "node_modules", ".pnpm", "sharp", "node_modules", "@img"), () => {
    const images = path.join(here, "work 1", "data", "train", "good");
    const script = `import("supersimplenet").then(async ({ Detector, diagnose }) => {
      const detector = await Detector.load(${JSON.stringify(path.join(here, "work 1", "model.safetensors"))});
      const { score } = await detector.detect({ data: new Uint8Array(40 * 40 * 3), width: 40, height: 40, channels: 3 });
      const error = await detector.detect(${JSON.stringify(path.join(images, readdirSync(images)[0]!))}).catch(({ code, message }) => ({ code, message }));
      console.log(JSON.stringify({ score, ...error, problems: diagnose().problems }));
    });`;
    const { stdout, stderr, status } = run(linked, ["-e", script]);
    assert.equal(status, 0, stderr);
    const { score, code, message, problems } = JSON.parse(stdout) as {
      score: number;
      code: string;
      message: string;
      problems: { code: string; fix: string }[];
    };
    assert.ok(score > 0 && score < 1);
    assert.equal(code, "SHARP_MISSING");
    assert.match(message, /--omit=optional.*Run 'npm install --include=optional sharp'\.$/s);
    assert.deepEqual(
      problems.map((problem) => [problem.code, problem.fix]),
      [["SHARP_MISSING", "Run 'npm install --include=optional sharp'."]],
    );
  });
});

test("a platform package of another version", () => {
  without(place(platformPackage), () => {
    const other = place(platformPackage);
    mkdirSync(path.join(other, "lib"), { recursive: true });
    for (const file of pinned.libraries[process.platform]!) writeFileSync(path.join(other, "lib", file), "");
    writeFileSync(
      path.join(other, "package.json"),
      JSON.stringify({ name: platformPackage, version: "2.9.0", libtorch: "2.9.0" }),
    );
    const { code, message, fix } = failure();
    assert.equal(code, "LIBTORCH_VERSION");
    for (const part of ["2.9.0", minor(pinned.version), fix]) assert.ok(message.includes(part), message);
    assert.equal(fix, `npm install ${platformPackage}@${pinned.version}`);
  });
});

test(
  "a glibc that is too old for the prebuilt engine is told before anything is opened",
  { skip: process.platform !== "linux" && "glibc is Linux's" },
  () => {
    const needs = path.join(place("supersimplenet"), "prebuilds", `${process.platform}-${process.arch}`, "needs.json");
    assert.match(readFileSync(needs, "utf8"), /^\{"glibc":"2\.\d+"\}\n$/);
    without(needs, () => {
      writeFileSync(needs, '{"glibc":"99.0"}');
      const { code, message, fix } = failure();
      assert.equal(code, "GLIBC_TOO_OLD");
      assert.match(message, /needs glibc 99\.0 or newer; this system has 2\.\d+\. Use a newer system/);
      assert.match(fix, /newer distribution or container/);
    });
  },
);

test("no prebuilt engine for this platform: what there is, and how to build it", () => {
  without(path.join(place("supersimplenet"), "prebuilds", `${process.platform}-${process.arch}`), () => {
    const { code, message, fix } = failure();
    assert.equal(code, "ENGINE_NOT_BUILT");
    assert.match(message, /No prebuilt engine fits .*npm run pack:all/s);
    assert.match(fix, /npm run pack:all/);
  });
});

test("the wrong libtorch in SUPERSIMPLENET_LIBTORCH", () => {
  const wrong = path.join(here, "wrong");
  mkdirSync(path.join(wrong, "lib"), { recursive: true });
  for (const file of pinned.libraries[process.platform]!) writeFileSync(path.join(wrong, "lib", file), "not a library");
  writeFileSync(path.join(wrong, "build-version"), "1.9.0\n");
  const version = failure({ SUPERSIMPLENET_LIBTORCH: wrong });
  assert.equal(version.code, "LIBTORCH_VERSION");
  assert.match(
    version.message,
    /is version 1\.9\.0.*Set SUPERSIMPLENET_LIBTORCH to a folder with that version, or unset it/s,
  );
  assert.equal(version.fix, `unset SUPERSIMPLENET_LIBTORCH && npm install ${platformPackage}@${pinned.version}`);
  writeFileSync(path.join(wrong, "build-version"), pinned.version);
  const damaged = failure({ SUPERSIMPLENET_LIBTORCH: wrong });
  assert.equal(damaged.code, "LIBTORCH_LOAD_FAILED");
  assert.match(damaged.message, /cannot be opened: .*Set SUPERSIMPLENET_LIBTORCH to another folder, or unset it\.$/s);
  assert.ok(damaged.message.endsWith(damaged.fix));
});

/** An environment in which nothing of this machine's CUDA is found. */
const noCuda = { SUPERSIMPLENET_CACHE: path.join(here, "no cache") };
const hasDriver = existsSync("/proc/driver/nvidia/version") && "there is an NVIDIA driver";
// Packages that were given may have the engine for CUDA; what these tests put there goes away again.
const cudaFolder = path.join(place("supersimplenet"), "prebuilds", `${process.platform}-${process.arch}`, "cuda");

/** Runs `body` with files that stand for a CUDA engine, built for the pinned libtorch; then the CPU's libtorch passes for a CUDA build. */
function withCudaEngine(engineFile: (engine: Buffer) => Buffer, body: (more: Record<string, string>) => void): void {
  const kept = existsSync(cudaFolder);
  if (kept) renameSync(cudaFolder, `${cudaFolder}.away`);
  const libtorch = path.join(here, `cuda libtorch ${++works}`);
  const files = path.join(place("supersimplenet"), "prebuilds", `${process.platform}-${process.arch}`);
  try {
    mkdirSync(cudaFolder);
    copyFileSync(path.join(files, "supersimplenet.node"), path.join(cudaFolder, "supersimplenet.node"));
    writeFileSync(
      path.join(cudaFolder, "supersimplenet_engine.so"),
      engineFile(readFileSync(path.join(files, "supersimplenet_engine.so"))),
    );
    linkTree(path.join(place(platformPackage), "lib"), path.join(libtorch, "lib"));
    for (const file of ["libtorch_cuda.so", "libc10_cuda.so"])
      copyFileSync(path.join(libtorch, "lib", "libtorch.so"), path.join(libtorch, "lib", file));
    writeFileSync(path.join(libtorch, "build-version"), `${pinned.version}+cu130`);
    body({ ...noCuda, SUPERSIMPLENET_LIBTORCH_CUDA: libtorch });
  } finally {
    rmSync(cudaFolder, { recursive: true, force: true });
    rmSync(libtorch, { recursive: true, force: true });
    if (kept) renameSync(`${cudaFolder}.away`, cudaFolder);
  }
}

test(
  "a CUDA engine that crashes ends its trial and not the app; asking for CUDA is an error that says so",
  { skip: process.platform !== "linux" && "CUDA is for Linux only" },
  () => {
    // The part of the file that the dynamic linker writes to is not there: SIGBUS.
    withCudaEngine(
      (engine) => engine.subarray(0, Math.floor(engine.length / 2)),
      (more) => {
        use(linked, "app.mjs", { env: { ...env, ...more } });
        const { code, message, fix } = failure(more, "cuda");
        assert.equal(code, "DEVICE_UNAVAILABLE");
        assert.match(
          message,
          /the process that tried the CUDA engine was ended by SIG(BUS|SEGV)\. Run 'nvidia-smi'.*Available: cpu\./,
        );
        assert.ok(message.includes(fix), fix);
      },
    );
  },
);

test(
  "a CUDA engine that does not open, and one without its libtorch",
  { skip: process.platform !== "linux" && "CUDA is for Linux only" },
  () => {
    withCudaEngine(
      () => Buffer.from("not a library"),
      (more) => {
        const { code, message } = failure(more, "cuda");
        assert.equal(code, "DEVICE_UNAVAILABLE");
        assert.match(
          message,
          /the CUDA engine does not open: .*Fetch libtorch again with 'npx supersimplenet cuda install --force'\./s,
        );
        const missing = failure(noCuda, "cuda");
        assert.equal(missing.code, "DEVICE_UNAVAILABLE");
        assert.match(missing.message, /No CUDA build of libtorch 2\.\d+ was found.*Python torch: not installed/s);
        assert.match(missing.fix, /cuda install|pip install torch/);
        const wrong = failure({ ...more, SUPERSIMPLENET_LIBTORCH_CUDA: here }, "cuda");
        assert.equal(wrong.code, "LIBTORCH_VERSION");
        assert.match(wrong.fix, /or unset it\.$/);
      },
    );
  },
);

test(
  "CUDA asked for where there is neither an engine nor a driver",
  { skip: hasDriver || (existsSync(cudaFolder) && "these packages have the engine") },
  () => {
    const { code, message } = failure(noCuda, "cuda");
    assert.equal(code, "DEVICE_UNAVAILABLE");
    assert.match(
      message,
      /this package was packed without the CUDA engine, and there is no NVIDIA driver\. Install NVIDIA's driver, version 580 or newer .*pack:all -- --cuda/,
    );
    const forced = failure({ ...noCuda, SUPERSIMPLENET_ENGINE: "cuda" });
    assert.equal(forced.code, "ENGINE_NOT_BUILT");
    assert.ok(forced.message.endsWith(forced.fix), forced.message);
  },
);

test("compiling an installed package: why not, and what to do", () => {
  for (const [option, command] of [
    ["--rebuild", "'npm run pack:all -- --out DIR'"],
    ["--cuda", "'npm run pack:all -- --cuda --out DIR'"],
  ] as const) {
    const { status, stderr } = run(app, [path.join(installed, "scripts", "setup.mjs"), option]);
    assert.equal(status, 1);
    assert.match(stderr, /An installed package cannot be compiled: it has no sources/);
    assert.ok(stderr.includes(command), stderr);
  }
});

test("publint has nothing to say about either package", async () => {
  const { publint } = await import("publint");
  for (const folder of [installed, path.join(app, "node_modules", platformPackage)])
    assert.deepEqual((await publint({ pkgDir: folder, pack: false, strict: true })).messages, []);
});

test("arethetypeswrong finds the types right under every module resolution", async () => {
  const { checkPackage, createPackageFromTarballData } = await import("@arethetypeswrong/core");
  const result = await checkPackage(createPackageFromTarballData(readFileSync(tarballs[0]!)));
  assert.ok(result.types);
  assert.deepEqual(result.problems, []);
});
