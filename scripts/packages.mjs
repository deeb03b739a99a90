// The npm packages of this platform: libtorch's run-time libraries as a package of their own, and the main package with
// the prebuilt engine. Both are staged in a temporary folder with the manifest that is published, then packed by npm.
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

import { cudaLibtorch, ensureLibtorch, installLibtorch } from "./lib/libtorch.mjs";
import { buildNative, cudaBuildFolder, outputs } from "./lib/native.mjs";
import { root } from "./lib/paths.mjs";
import { Failure, fingerprint, run, stampIs, writeStamp } from "./lib/steps.mjs";

const require = createRequire(import.meta.url);
const platform = `${process.platform}-${process.arch}`;
const read = (file) => JSON.parse(readFileSync(path.join(root, file), "utf8"));
const size = (file) => `${(statSync(file).size / 1e6).toFixed(1)} MB`;

const platformPackageOf = (key) => `@supersimplenet/libtorch-cpu-${key}`;
const tarballName = (name, version) => `${name.replace("@", "").replace("/", "-")}-${version}.tgz`;

/** The names of this platform's tarballs, in the order in which they have to be published. */
export const tarballsHere = () => [
  tarballName(platformPackageOf(platform), read("native/libtorch.json").version),
  tarballName("supersimplenet", read("package.json").version),
];

/**
 * @supersimplenet/libtorch-cpu-<platform>: the libraries, stripped, and their licences. Its version is libtorch's. `home`
 * keeps the tarball, `out` receives it. `trial` lets licences be missing, in a package that cannot be published.
 */
export async function packLibtorch({ home, out, wheel, trial, progress }) {
  const pinned = read("native/libtorch.json");
  mkdirSync(home, { recursive: true });
  const temporary = mkdtempSync(path.join(home, ".tmp-"));
  try {
    const source = wheel ? { wheel: path.resolve(wheel) } : await installedLibtorch({ pinned, trial, progress });
    const manifest = { ...libtorchManifest(pinned), ...(source.wheel || source.licences ? {} : { private: true }) };
    const built = path.join(home, tarballName(manifest.name, manifest.version));
    const stamp = path.join(path.relative(root, home), ".libtorch-fingerprint");
    const entries = source.wheel ? [source.wheel] : [...source.files, ...(source.licences ? [source.licences] : [])];
    const now = fingerprint(
      ["scripts/packages.mjs", "native/libtorch.json"],
      JSON.stringify(entries.map((entry) => [entry, statSync(entry).size, statSync(entry).mtimeMs])),
    );
    let state = "up to date";
    if (!existsSync(built) || !stampIs(stamp, now)) {
      await stageLibtorch({ source, folder: path.join(temporary, "package"), manifest, temporary, progress });
      progress("compressing");
      await npmPack(path.join(temporary, "package"), temporary);
      renameSync(path.join(temporary, path.basename(built)), built);
      writeStamp(stamp, now);
      state = "packed";
    }
    return { state: `${state}, ${size(built)}: ${deliver(built, out)}` };
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** The main package: JavaScript, types, documents and prebuilds/<platform>. `cuda`: with the engine for CUDA. */
export async function packMain({ home, out, cuda, progress }) {
  const manifest = publishedManifest();
  await prebuild(cuda, progress);
  mkdirSync(home, { recursive: true });
  const temporary = mkdtempSync(path.join(home, ".tmp-"));
  try {
    const folder = path.join(temporary, "package");
    mkdirSync(folder);
    for (const entry of [...manifest.files, "README.md", "LICENSE"])
      cpSync(path.join(root, entry), path.join(folder, entry), { recursive: true });
    writeFileSync(path.join(folder, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
    progress("packing");
    await npmPack(folder, temporary);
    const built = path.join(home, tarballName(manifest.name, manifest.version));
    renameSync(path.join(temporary, path.basename(built)), built);
    return { state: `packed, ${size(built)}: ${deliver(built, out)}` };
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/**
 * What is published: without what only a checkout can use, and with libtorch's packages as exact optional dependencies.
 * Those are not in the checkout's own manifest: it needs the headers, which they lack, and 'npm ci' would ask the
 * registry for them.
 */
function publishedManifest() {
  const {
    private: _private,
    scripts: _scripts,
    devDependencies: _devDependencies,
    gypfile: _gypfile,
    binary: _binary,
    ...manifest
  } = read("package.json");
  const pinned = read("native/libtorch.json");
  return {
    ...manifest,
    optionalDependencies: Object.fromEntries(
      Object.keys(pinned.wheels).map((key) => [platformPackageOf(key), pinned.version]),
    ),
  };
}

function libtorchManifest(pinned) {
  const { engines } = read("package.json");
  return {
    name: platformPackageOf(platform),
    version: pinned.version,
    description: `The run-time libraries of libtorch ${pinned.version} (CPU) for ${platform}, for the package supersimplenet.`,
    license: "SEE LICENSE IN licenses",
    type: "commonjs", // nothing of either kind is in it; without this, tools ask
    libtorch: pinned.version,
    os: [process.platform],
    cpu: [process.arch],
    ...(process.platform === "linux" ? { libc: ["glibc"] } : {}),
    engines,
    files: ["lib", "licenses"],
    preferUnplugged: true,
    publishConfig: { access: "public" },
  };
}

/** prebuildify compiles and strips into prebuilds/; beside the two files we write what they need of the system. */
async function prebuild(cuda, progress) {
  progress("prebuildify");
  const folder = path.join(root, "prebuilds", platform);
  rmSync(folder, { recursive: true, force: true });
  // node-gyp asks for Node's headers even for a target without sources: the ones beside this Node save a download.
  const nodedir = path.resolve(path.dirname(process.execPath), "..");
  const env = existsSync(path.join(nodedir, "include", "node", "common.gypi"))
    ? { ...process.env, npm_config_nodedir: nodedir }
    : process.env;
  const { status, output } = await run("npm", ["exec", "--no", "--", "prebuildify", "--napi", "--strip"], { env }); // npm brings node-gyp
  if (status !== 0)
    throw new Failure(
      "prebuildify failed (its output is above).",
      "Correct what it names; 'npm run build' shows errors of the compiler.",
      output,
    );
  const files = outputs.map((file) => path.join(folder, file));
  for (const file of files)
    if (!existsSync(file))
      throw new Failure(
        `prebuildify did not write ${file}.`,
        "Remove build/ and prebuilds/, then run this again.",
        output,
      );
  await writeNeeds(folder);
  if (cuda) await prebuildCuda(path.join(folder, "cuda"), progress);
}

/** The engine for CUDA, in a folder that node-gyp-build does not look into. */
async function prebuildCuda(folder, progress) {
  const { cuda: pinned } = read("native/libtorch.json");
  const libtorch = cudaLibtorch();
  if (libtorch.version.split("+")[0] !== pinned.version)
    throw new Failure(
      `libtorch in ${libtorch.folder} is version ${libtorch.version}; the packed CUDA engine is built for ${pinned.version}, which 'cuda install' fetches.`,
      "Run 'npm run -s supersimplenet -- cuda install', and unset SUPERSIMPLENET_LIBTORCH_CUDA.",
    );
  await buildNative({ libtorch, progress, cuda: true });
  mkdirSync(folder, { recursive: true });
  for (const file of outputs) {
    copyFileSync(path.join(cudaBuildFolder, file), path.join(folder, file));
    const { status, output } = await run("strip", [path.join(folder, file)]); // as prebuildify does it
    if (status !== 0) throw new Failure(`strip failed on ${file}.`, "apt-get install binutils", output);
  }
  await writeNeeds(folder);
}

async function writeNeeds(folder) {
  if (process.platform !== "linux") return;
  const files = outputs.map((file) => path.join(folder, file));
  writeFileSync(
    path.join(folder, "needs.json"),
    `${JSON.stringify(await needs(files, read("native/libtorch.json").glibc))}\n`,
  );
}

/** The newest glibc symbols that the files ask for, or libtorch's own baseline where that is newer. */
async function needs(files, baseline) {
  const { status, output } = await run("readelf", ["--wide", "--version-info", ...files]);
  if (status !== 0)
    throw new Failure(
      "readelf, which tells the glibc that the engine needs, failed.",
      "apt-get install binutils",
      output,
    );
  const versions = [...output.matchAll(/\bGLIBC_([\d.]+)/g)].map((match) => match[1]);
  return { glibc: versions.reduce((a, b) => (a.localeCompare(b, "en", { numeric: true }) < 0 ? b : a), baseline) };
}

/** The libtorch that set-up found, if it may be published: the pinned version, with its licences. */
async function installedLibtorch({ pinned, trial, progress }) {
  const { libtorch } = await ensureLibtorch({ compile: true, progress });
  const { libtorchFiles } = require(path.join(root, "dist", "lib", "native", "locate.js"));
  const parent = path.dirname(libtorch.folder);
  const distInfo = readdirSync(parent).find((name) => name.startsWith(`torch-${libtorch.version}.dist-info`));
  const licences = [
    path.join(libtorch.folder, "licenses"),
    ...(distInfo ? [path.join(parent, distInfo, "licenses")] : []),
  ].find((folder) => existsSync(folder));
  const fix = `Run 'node scripts/pack.mjs libtorch --wheel FILE' with ${pinned.wheels[platform]?.[0].file ?? "PyTorch's wheel"}, or unset SUPERSIMPLENET_LIBTORCH to have it fetched.`;
  if (libtorch.version.split("+")[0] !== pinned.version)
    throw new Failure(
      `libtorch in ${libtorch.folder} is version ${libtorch.version}; only ${pinned.version} is packed.`,
      fix,
    );
  if (existsSync(path.join(libtorch.folder, "lib", "libtorch_cuda.so")))
    throw new Failure(`libtorch in ${libtorch.folder} is a CUDA build; only the CPU build is packed.`, fix);
  if (!licences && !trial)
    throw new Failure(
      `libtorch in ${libtorch.folder} has no folder with its licences, which have to be in the package.`,
      fix,
    );
  return { files: libtorchFiles(libtorch), licences };
}

async function stageLibtorch({ source, folder, manifest, temporary, progress }) {
  let { files, licences } = source;
  if (source.wheel) {
    const unpacked = path.join(temporary, "wheel");
    await installLibtorch(unpacked, { wheel: source.wheel, headers: false, progress });
    files = readdirSync(path.join(unpacked, "lib")).map((file) => path.join(unpacked, "lib", file));
    licences = path.join(unpacked, "licenses");
  }
  mkdirSync(path.join(folder, "lib"), { recursive: true });
  if (licences) cpSync(licences, path.join(folder, "licenses"), { recursive: true });
  let mkl = false;
  for (const file of files) {
    const target = path.join(folder, "lib", path.basename(file));
    copyFileSync(file, target);
    if (path.basename(file).startsWith("libgomp"))
      cpSync(path.join(root, "native", "licenses", "gcc"), path.join(folder, "licenses", "libgomp"), {
        recursive: true,
      });
    if (path.basename(file).startsWith("libtorch_cpu")) mkl = readFileSync(file).includes("Intel oneMKL");
    progress(`stripping ${path.basename(file)}`);
    const strip =
      process.platform === "win32"
        ? { status: 0 }
        : await run("strip", [process.platform === "darwin" ? "-x" : "--strip-unneeded", target]);
    if (strip.status !== 0) throw new Failure(`strip failed on ${target}.`, "apt-get install binutils", strip.output);
  }
  writeFileSync(path.join(folder, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  if (mkl && existsSync(mklLicence)) cpSync(mklLicence, path.join(folder, "licenses", "oneMKL"), { recursive: true });
  writeFileSync(
    path.join(folder, "README.md"),
    readme(
      manifest,
      files.map((file) => path.basename(file)),
      mkl,
    ),
  );
}

/** Of Intel oneMKL, which is linked into PyTorch's CPU build for x64 and whose licence is not in the wheel. */
export const mklLicence = path.join(root, "native", "licenses", "oneMKL");

const readme = (manifest, files, mkl) => `# ${manifest.name}

${manifest.description} It is installed together with that package, on the platforms it fits.

Files: ${files.join(", ")}, taken from PyTorch's own CPU wheel and stripped of debug symbols, otherwise unchanged.
Licences: \`licenses/\`.${files.some((file) => file.startsWith("libgomp")) ? " libgomp is part of GCC (GPL 3 with the GCC Runtime Library Exception, `licenses/libgomp/`); its source is at https://gcc.gnu.org." : ""}${mkl ? " libtorch_cpu.so contains Intel oneMKL (Intel Simplified Software License)." : ""}
`;

/** npm writes the tarball into `out`, so that what goes in is what npm would publish. */
async function npmPack(folder, out) {
  const { status, output } = await run("npm", [
    "pack",
    folder,
    "--pack-destination",
    out,
    "--ignore-scripts",
    "--loglevel=error",
  ]);
  if (status !== 0) throw new Failure("'npm pack' failed (its output is above).", "Correct what it names.", output);
}

/** Copies a tarball to where it was asked for, under its final name only when it is complete. */
function deliver(file, out) {
  if (out === path.dirname(file)) return file;
  mkdirSync(out, { recursive: true });
  const target = path.join(out, path.basename(file));
  copyFileSync(file, `${target}.tmp`);
  renameSync(`${target}.tmp`, target);
  return target;
}
