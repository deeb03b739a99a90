import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import { SuperSimpleNetError } from "../errors.js";

const manifest = ownManifest();

/** The package's folder: the one that holds package.json, both in a checkout and when installed. */
export const packageFolder = manifest.folder;

/** This package's version, as package.json states it. */
export const packageVersion = manifest.version;

/** Throws ENGINE_NOT_BUILT where a bundler has moved this code: the engine and the other files stayed behind. */
function ownManifest(): { folder: string; version: string } {
  // A bundle of ES modules has no __dirname.
  const here = typeof __dirname === "undefined" ? process.cwd() : __dirname;
  const folder = path.resolve(here, "../../..");
  try {
    const { name, version } = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8")) as PackageManifest;
    if (name === "supersimplenet" && existsSync(path.join(folder, "native", "libtorch.json")))
      return { folder, version };
  } catch {
    // Another program's folder, or none.
  }
  throw new SuperSimpleNetError(
    "ENGINE_NOT_BUILT",
    `The code of supersimplenet runs in ${here}, without the files of its package: a bundler put it into a program.`,
    {
      path: here,
      fix: "Name supersimplenet an external module, such as 'esbuild --external:supersimplenet', and ship node_modules (docs/guides/bundlers.md).",
    },
  );
}

interface PackageManifest {
  name: string;
  version: string;
}

/** A pinned build of libtorch: PyTorch's wheel, and for CUDA those of NVIDIA whose libraries it needs. */
export interface PinnedBuild {
  version: string;
  /** The folder's name in the cache. */
  cacheName: string;
  /** Of the installed folder; less without the headers. */
  installedBytes: number;
  /** By platform and architecture: what is known to run. */
  wheels: Record<string, Wheel[]>;
}

/** What native/libtorch.json pins; scripts/ reads the same file. */
export interface Pinned extends PinnedBuild {
  /** The oldest glibc that this libtorch runs on. */
  glibc: string;
  /** By platform, in the order in which they are opened. */
  libraries: Record<string, string[]>;
  /** The Python package index that has its wheel. */
  index: string;
  /** The build that 'supersimplenet cuda install' fetches, and that a packed CUDA engine is built against. */
  cuda: PinnedBuild;
}

/** A wheel as a Python package index holds it. */
export interface Wheel {
  /** Its name in the index. */
  project: string;
  file: string;
  sha256: string;
  bytes: number;
}

export const pinned = JSON.parse(readFileSync(path.join(packageFolder, "native", "libtorch.json"), "utf8")) as Pinned;

/** A checkout has the TypeScript sources; an installed package does not. */
export const isCheckout = existsSync(path.join(packageFolder, "tsconfig.json"));

/** The command that fetches libtorch and builds what is missing, as the user has to type it. */
export const setupCommand = isCheckout ? "npm run setup" : `node ${path.join(packageFolder, "scripts", "setup.mjs")}`;

/** How an engine is built where no prebuilt one fits. */
export const sourceBuild = isCheckout
  ? "Run 'npm run build'."
  : "Build it from source: in a clone of the repository run 'npm run pack:all -- --out DIR', then 'npm install DIR/*.tgz' here (docs/guides/install.md).";

export interface Addon {
  /** supersimplenet.node: links nothing but libdl. */
  loader: string;
  /** supersimplenet_engine.so: links libtorch. */
  engine: string;
}

/**
 * The addon's two files. build-cmake comes first because every build in a checkout passes through it, so it is never
 * older than the copy in build/Release; then node-gyp-build's search: build/Release, prebuilds/<platform>-<arch>.
 * Throws ENGINE_NOT_BUILT.
 */
export function locateAddon(): Addon {
  const prebuilds = path.join(packageFolder, "prebuilds");
  const found = nodeGypBuildPath();
  const folders = new Set([
    path.join(packageFolder, "build-cmake"),
    ...(found === undefined ? [] : [path.dirname(found)]),
    path.join(packageFolder, "build", "Release"),
    path.join(prebuilds, `${process.platform}-${process.arch}`),
  ]);
  const addon = firstAddon([...folders]);
  if (addon) return addon;
  const missing = `supersimplenet.node and supersimplenet_engine.so are not in ${[...folders].join(", ")}`;
  if (isCheckout)
    throw new SuperSimpleNetError(
      "ENGINE_NOT_BUILT",
      `The native engine is not built: ${missing}. Run '${setupCommand}'.`,
    );
  const fitting = existsSync(prebuilds) ? readdirSync(prebuilds).join(", ") : "nothing";
  throw new SuperSimpleNetError(
    "ENGINE_NOT_BUILT",
    `No prebuilt engine fits ${process.platform}-${process.arch}: ${missing}; this package has ${fitting}. ${sourceBuild}`,
  );
}

/** The same two files of the CUDA engine: in build-cuda, else in prebuilds/<platform>-<arch>/cuda; undefined when there is none. */
export function locateCudaAddon(): Addon | undefined {
  return firstAddon([
    path.join(packageFolder, "build-cuda"),
    path.join(packageFolder, "prebuilds", `${process.platform}-${process.arch}`, "cuda"),
  ]);
}

/** The addon's two files in the first of the folders that has both. */
const firstAddon = (folders: readonly string[]): Addon | undefined =>
  folders
    .map((folder) => ({
      loader: path.join(folder, "supersimplenet.node"),
      engine: path.join(folder, "supersimplenet_engine.so"),
    }))
    .find((addon) => existsSync(addon.loader) && existsSync(addon.engine));

function nodeGypBuildPath(): string | undefined {
  const { path: resolve } = require("node-gyp-build") as { path(folder: string): string };
  try {
    return resolve(packageFolder);
  } catch {
    return undefined; // its message lists what it looked for; ours does so for both searches
  }
}

export interface Libtorch {
  /** The folder that holds lib/ (and, where one can compile, include/). */
  folder: string;
  /** Such as "2.13.0" or "2.13.0+cu130". */
  version: string;
  foundBy: "SUPERSIMPLENET_LIBTORCH" | "SUPERSIMPLENET_LIBTORCH_CUDA" | "platform package" | "cache" | "python";
}

/** Name of the npm package that may carry libtorch for this platform. */
export const platformPackage = `@supersimplenet/libtorch-cpu-${process.platform}-${process.arch}`;

/** The command that installs it; undefined where there is none to install. */
export const installLibtorch =
  `${process.platform}-${process.arch}` in pinned.wheels
    ? `npm install ${platformPackage}@${pinned.version}`
    : undefined;

/**
 * libtorch for an engine built against version `wanted`. Looks in SUPERSIMPLENET_LIBTORCH, the platform package, the
 * cache folder and an installed Python torch, in this order. The first two are explicit choices, so a wrong version there
 * is an error (LIBTORCH_VERSION); the others are passed over. Throws LIBTORCH_NOT_FOUND with every place looked at.
 * Only reads files, except that the last place costs one start of Python.
 */
export function locateLibtorch(wanted: string = pinned.version): Libtorch {
  const chosen = process.env["SUPERSIMPLENET_LIBTORCH"];
  if (chosen)
    return checked(
      path.resolve(chosen),
      wanted,
      "SUPERSIMPLENET_LIBTORCH",
      "Set SUPERSIMPLENET_LIBTORCH to a folder with that version, or unset it.",
    );
  const looked = ["SUPERSIMPLENET_LIBTORCH: not set"];

  const packaged = platformPackageFolder();
  if (packaged)
    return checked(
      packaged,
      wanted,
      "platform package",
      `Install the version that belongs to this package: npm install ${platformPackage}@${pinned.version}.`,
    );
  const leftOut = isCheckout
    ? ""
    : " (npm leaves it out with --omit=optional, and with a package-lock.json made on another platform)";
  looked.push(`npm package ${platformPackage}: not installed${leftOut}`);

  const cache = findCacheFolder();
  const cached = cache === undefined ? undefined : path.join(cache, "libtorch", pinned.cacheName);
  const inCache = cached === undefined ? { text: noCache } : problem(cached, wanted);
  if (cached !== undefined && !inCache) return { folder: cached, version: readVersion(cached)!, foundBy: "cache" };
  looked.push(`cache folder: ${inCache!.text}`);

  const python = pythonTorch();
  if (python.folder) {
    const inPython = problem(python.folder, wanted);
    if (!inPython) return { folder: python.folder, version: readVersion(python.folder)!, foundBy: "python" };
    looked.push(`Python torch: ${inPython.text}`);
  } else {
    looked.push(`Python torch: ${python.reason}`);
  }
  throw new SuperSimpleNetError(
    "LIBTORCH_NOT_FOUND",
    `libtorch ${minor(wanted)} was not found. Looked at:\n${looked.map((line) => `  - ${line}`).join("\n")}\nRun '${fetchCommand}' to get it, or set SUPERSIMPLENET_LIBTORCH to a folder that holds its lib/.`,
  );
}

/**
 * A CUDA build of libtorch: SUPERSIMPLENET_LIBTORCH_CUDA, SUPERSIMPLENET_LIBTORCH if it is one, the cache folder (where
 * 'supersimplenet cuda install' puts it), an installed Python torch if it is one. `wanted`: the version that the CUDA engine was built against; undefined takes 2.11 to 2.14 (to build).
 * Throws LIBTORCH_VERSION for a wrong SUPERSIMPLENET_LIBTORCH_CUDA, LIBTORCH_NOT_FOUND.
 */
export function locateCudaLibtorch(wanted: string | undefined): Libtorch {
  const variable = process.env["SUPERSIMPLENET_LIBTORCH_CUDA"];
  const candidates: [Libtorch["foundBy"], () => string | undefined][] = [
    ["SUPERSIMPLENET_LIBTORCH_CUDA", () => variable],
    ["SUPERSIMPLENET_LIBTORCH", () => process.env["SUPERSIMPLENET_LIBTORCH"]],
    ["cache", () => (findCacheFolder() === undefined ? undefined : cudaCache())],
    ["python", () => pythonTorch().folder],
  ];
  const looked: string[] = [];
  for (const [foundBy, find] of variable ? candidates.slice(0, 1) : candidates) {
    const place = find();
    if (!place) {
      looked.push(
        foundBy === "python"
          ? "Python torch: not installed"
          : foundBy === "cache"
            ? `cache folder: ${noCache}`
            : `${foundBy}: not set`,
      );
      continue;
    }
    const folder = path.resolve(place);
    const version = readVersion(folder);
    const text =
      problem(folder, wanted ?? version ?? "")?.text ??
      (existsSync(path.join(folder, "lib", "libtorch_cuda.so"))
        ? undefined
        : `${folder} is not a CUDA build: it has no lib/libtorch_cuda.so`) ??
      (supportedForCuda.includes(minor(version!))
        ? undefined
        : `${folder} is version ${version}; ${supportedForCuda.join(", ")} can be used`);
    if (text === undefined) return { folder, version: version!, foundBy };
    if (foundBy === "SUPERSIMPLENET_LIBTORCH_CUDA")
      throw new SuperSimpleNetError("LIBTORCH_VERSION", `libtorch from ${foundBy}: ${text}.`, {
        path: folder,
        fix: `Set it to the folder of a CUDA build of libtorch ${wanted ?? supportedForCuda.join(", ")}, or unset it.`,
      });
    looked.push(`${foundBy === "cache" ? "cache folder" : foundBy}: ${text}`);
  }
  const fix =
    wanted === undefined || minor(wanted) === minor(pinned.cuda.version) ? cudaInstall : `pip install torch==${wanted}`;
  throw new SuperSimpleNetError(
    "LIBTORCH_NOT_FOUND",
    `No CUDA build of libtorch${wanted ? ` ${minor(wanted)}` : ""} was found. Looked at:\n${looked.map((line) => `  - ${line}`).join("\n")}\nRun '${fix}' to get it, or set SUPERSIMPLENET_LIBTORCH_CUDA to its folder`,
    { fix },
  );
}

/** Where 'supersimplenet cuda install' puts libtorch. */
export const cudaCache = (): string => path.join(cacheFolder(), "libtorch", pinned.cuda.cacheName, "torch");

const cudaCommand = isCheckout ? "npm run -s supersimplenet -- cuda" : "npx supersimplenet cuda";

/** The command that does it and the one that lists the wheels, as the user has to type them. */
export const cudaInstall = `${cudaCommand} install`;
export const cudaList = `${cudaCommand} list`;

/** Minor versions of libtorch that have a build for CUDA 13 and the interfaces that the engine uses. */
const supportedForCuda = ["2.11", "2.12", "2.13", "2.14"];

/** What to do about a libtorch that was found and does not open. */
export function repair({ folder, version, foundBy }: Libtorch): string {
  switch (foundBy) {
    case "SUPERSIMPLENET_LIBTORCH":
    case "SUPERSIMPLENET_LIBTORCH_CUDA":
      return `Set ${foundBy} to another folder, or unset it.`;
    case "platform package":
      return `If it is damaged, remove ${folder} and run 'npm install ${platformPackage}@${pinned.version}'.`;
    case "cache":
      return folder === cudaCache()
        ? `If it is damaged, run '${cudaInstall} --force'.`
        : `If it is damaged, remove ${folder} and run '${setupCommand}'.`;
    case "python":
      return `If it is damaged, run 'pip install --force-reinstall torch==${version}'.`;
  }
}

/** What puts libtorch where it is missing: in an installed package npm, where there is a package for this platform. */
export const fetchCommand = (!isCheckout && installLibtorch) || setupCommand;

/** The files to open, absolute, in dependency order. A CUDA build's own libraries come before libtorch, which needs them. */
export function libtorchFiles(libtorch: Libtorch): string[] {
  const lib = path.join(libtorch.folder, "lib");
  const present = readdirSync(lib);
  // PyTorch's wheels carry their own OpenMP; the name may have a hash in it (libgomp-a34b3233.so.1).
  const openmp = present.filter((file) => /^lib(gomp|iomp5|omp)\b.*\.(so(\.\d+)*|dylib)$/.test(file));
  const cuda = ["libc10_cuda.so", "libtorch_cuda.so"].filter((file) => present.includes(file));
  const [c10, cpu, ...rest] = librariesHere();
  return [...openmp, c10!, ...cuda.slice(0, 1), cpu!, ...cuda.slice(1), ...rest].map((file) => path.join(lib, file));
}

/** The version that a libtorch folder states, without opening any library; undefined when it states none. */
export function readVersion(folder: string): string | undefined {
  const read = (file: string, pattern: RegExp): string | undefined => {
    try {
      return pattern.exec(readFileSync(path.join(folder, file), "utf8"))?.[1];
    } catch {
      return undefined; // absent: the next kind of folder
    }
  };
  return (
    read("build-version", /^\s*(\d[^\s]*)/) ?? // libtorch-*.zip
    read("version.py", /^__version__ = ['"]([^'"]+)['"]/m) ?? // the torch folder of a wheel
    read("package.json", /"libtorch"\s*:\s*"([^"]+)"/) // the platform package
  );
}

/** "2.13.0+cpu" -> "2.13": the C++ interface of libtorch is stable only within one minor version. */
export function minor(version: string): string {
  return version.split("+")[0]!.split(".").slice(0, 2).join(".");
}

/**
 * The folder of the torch that the first Python on the PATH would import, without importing it. Never one in the current
 * folder, where `-c` looks first, and PYTHONPATH may too: it may be a folder that came with somebody's images.
 */
function pythonTorch(): { folder: string | undefined; reason: string } {
  const script = [
    "import os, sys", // os is loaded already
    "here = os.path.realpath(os.getcwd())",
    "sys.path = [p for p in sys.path if os.path.realpath(p) != here]",
    "import importlib.util as u",
    "s = u.find_spec('torch')",
    "print(s.submodule_search_locations[0] if s else '')",
  ].join("\n");
  for (const command of ["python3", "python"]) {
    const run = spawnSync(command, ["-c", script], { encoding: "utf8", timeout: 20_000 });
    if (run.error || run.status !== 0) continue;
    const folder = run.stdout.trim();
    return { folder: folder || undefined, reason: `${command} has no torch` };
  }
  return { folder: undefined, reason: "no Python" };
}

function platformPackageFolder(): string | undefined {
  try {
    return path.dirname(require.resolve(`${platformPackage}/package.json`, { paths: [packageFolder] }));
  } catch {
    return undefined; // an optional package: absence is normal
  }
}

function librariesHere(): string[] {
  const files = pinned.libraries[process.platform];
  if (!files)
    throw new SuperSimpleNetError(
      "LIBTORCH_NOT_FOUND",
      `There is no native engine for ${process.platform}. It runs on: ${Object.keys(pinned.libraries).join(", ")}.`,
    );
  return files;
}

function checked(folder: string, wanted: string, foundBy: Libtorch["foundBy"], fix: string): Libtorch {
  const wrong = problem(folder, wanted);
  if (wrong)
    throw new SuperSimpleNetError(
      wrong.code,
      `libtorch from ${foundBy}: ${wrong.text}. This build needs ${minor(wanted)}. ${fix}`,
      { path: folder },
    );
  return { folder, version: readVersion(folder)!, foundBy };
}

function problem(
  folder: string,
  wanted: string,
): { code: "LIBTORCH_NOT_FOUND" | "LIBTORCH_VERSION"; text: string } | undefined {
  const notFound = (text: string) => ({ code: "LIBTORCH_NOT_FOUND", text }) as const;
  const wrongVersion = (text: string) => ({ code: "LIBTORCH_VERSION", text }) as const;
  if (!existsSync(folder) || !statSync(folder).isDirectory()) return notFound(`${folder} does not exist`);
  const missing = librariesHere().filter((file) => !existsSync(path.join(folder, "lib", file)));
  if (missing.length > 0) return notFound(`${folder} has no lib/${missing[0]} (it must be the folder that holds lib/)`);
  const version = readVersion(folder);
  if (version === undefined)
    return wrongVersion(`${folder} states no version (no build-version, version.py or package.json)`);
  return minor(version) === minor(wanted) ? undefined : wrongVersion(`${folder} is version ${version}, not ${wanted}`);
}

/**
 * The folder that keeps what is fetched once: libtorch and backbone weights. `SUPERSIMPLENET_CACHE`, else the platform's
 * cache folder (`XDG_CACHE_HOME` or ~/.cache, ~/Library/Caches, %LOCALAPPDATA%) / supersimplenet. It may not exist yet.
 * Throws FILE_NOT_FOUND for a user without a home folder.
 */
export function cacheFolder(): string {
  const folder = findCacheFolder();
  if (folder !== undefined) return folder;
  throw new SuperSimpleNetError("FILE_NOT_FOUND", `There is no cache folder: ${noCache}.`, {
    fix: "Set SUPERSIMPLENET_CACHE to a folder that may be written.",
  });
}

/** As cacheFolder; undefined for a user without a home folder, where the cache is only one of the places to look at. */
export function findCacheFolder(): string | undefined {
  const own = process.env["SUPERSIMPLENET_CACHE"];
  if (own) return path.resolve(own);
  const platform = platformCache();
  return platform === undefined ? undefined : path.join(platform, "supersimplenet");
}

const noCache = "this user has no home folder (no HOME, no passwd entry), and SUPERSIMPLENET_CACHE is not set";

function platformCache(): string | undefined {
  const xdg = process.env["XDG_CACHE_HOME"];
  if (xdg && path.isAbsolute(xdg)) return xdg; // the XDG specification: relative paths are invalid and ignored
  const local = process.env["LOCALAPPDATA"];
  if (process.platform === "win32" && local) return local;
  const home = homeFolder();
  if (home === undefined) return undefined;
  if (process.platform === "darwin") return path.join(home, "Library", "Caches");
  return process.platform === "win32" ? path.join(home, "AppData", "Local") : path.join(home, ".cache");
}

/** Containers run with user ids that have neither HOME nor a passwd entry: Node throws then. */
function homeFolder(): string | undefined {
  try {
    const home = os.homedir();
    return path.isAbsolute(home) ? home : undefined;
  } catch {
    return undefined;
  }
}
