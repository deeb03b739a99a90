// The native half of the set-up: CMakeLists.txt through cmake-js into build-cmake/.
import { existsSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";

import { root } from "./paths.mjs";
import { Failure, filesUnder, fingerprint, run, stampIs, writeStamp } from "./steps.mjs";

export const outputs = ["supersimplenet.node", "supersimplenet_engine.so"];
export const buildFolder = path.join(root, "build-cmake");
export const cudaBuildFolder = path.join(root, "build-cuda");

/** The folders that may hold a built addon. */
export const nativeOutputs = () => [
  buildFolder,
  path.join(root, "build", "Release"),
  path.join(root, "prebuilds", `${process.platform}-${process.arch}`),
];

/** `cuda`: the engine for CUDA, in a folder of its own beside the CPU engine; `libtorch` is a CUDA build then. */
export async function buildNative({ libtorch, rebuild, progress, cuda = false }) {
  const folder = cuda ? cudaBuildFolder : buildFolder;
  const stamp = path.join(path.relative(root, folder), ".fingerprint");
  const versionHeader = path.join(libtorch.folder, "include", "torch", "headeronly", "version.h");
  const headers = ["node_modules/node-addon-api/package.json", "node_modules/node-api-headers/package.json"];
  const sources = filesUnder(["native", "CMakeLists.txt", ...headers]);
  const now = fingerprint(
    sources,
    `${libtorch.folder}\0${existsSync(versionHeader) ? readFileSync(versionHeader, "utf8") : ""}`,
  );
  if (!rebuild && stampIs(stamp, now) && outputs.every((file) => existsSync(path.join(folder, file))))
    return { state: "up to date" };

  await checkTools();
  discardForeignCache(folder);
  progress("configuring");
  // Not 'cmake-js compile': after an error of the compiler that removes the folder and builds everything a second time.
  const cmakeJs = path.join(
    path.dirname(createRequire(import.meta.url).resolve("cmake-js/package.json")),
    "bin",
    "cmake-js",
  );
  const common = [
    "--out",
    folder,
    `--CDSUPERSIMPLENET_LIBTORCH=${libtorch.folder}`,
    `--CDSUPERSIMPLENET_CUDA=${cuda ? "ON" : "OFF"}`,
  ];
  const configured = await run(process.execPath, [cmakeJs, "configure", ...common]);
  if (configured.status !== 0)
    throw new Failure(
      "CMake could not configure the native engine (its output is above).",
      `Correct what it names; if it is about an earlier build, remove ${path.relative(root, folder)}/ and run this again.`,
      configured.output,
    );
  const onLine = (line) => {
    const at = /^\[ *(\d+)(?:\/(\d+)|%)\]/.exec(line);
    if (at) progress(at[2] ? `compiling ${at[1]} of ${at[2]}` : `compiling ${at[1]} %`);
  };
  const built = await run(process.execPath, [cmakeJs, "build", ...common, "--parallel", String(parallelJobs())], {
    onLine,
  });
  if (built.status !== 0)
    throw new Failure(
      "The native engine does not compile (the compiler's output is above).",
      "Correct the error. 'Killed' or 'out of memory' means: set CMAKE_BUILD_PARALLEL_LEVEL=1 and run this again.",
      built.output,
    );
  writeStamp(stamp, now);
  return { state: `built in ${path.relative(root, folder)} for libtorch ${libtorch.version}` };
}

/** libtorch's headers take up to 1.5 GB per compiler: as many as there are cores, but no more than fit. */
function parallelJobs() {
  const chosen = Number(process.env.CMAKE_BUILD_PARALLEL_LEVEL);
  if (chosen > 0) return chosen;
  return Math.max(1, Math.min(os.availableParallelism(), Math.floor(os.totalmem() / 1.5e9)));
}

async function checkTools() {
  const install = {
    linux: {
      cmake: "apt-get install cmake ninja-build (or: pip install cmake ninja)",
      compiler: "apt-get install g++",
    },
    darwin: { cmake: "brew install cmake ninja", compiler: "xcode-select --install" },
    win32: { cmake: "winget install Kitware.CMake", compiler: "install Visual Studio Build Tools with C++" },
  }[process.platform] ?? { cmake: "install CMake 3.22 or newer", compiler: "install a C++20 compiler" };
  const cmake = await run("cmake", ["--version"]);
  const version = /(\d+)\.(\d+)/.exec(cmake.output);
  if (cmake.status !== 0 || !version)
    throw new Failure("CMake is not installed; the native engine cannot be built.", install.cmake);
  if (Number(version[1]) * 1000 + Number(version[2]) < 3022)
    throw new Failure(`CMake ${version[0]} is too old: 3.22 or newer is needed.`, install.cmake);
  if (process.platform === "win32") return; // CMake finds Visual Studio itself
  for (const compiler of [process.env.CXX, "c++", "g++", "clang++"])
    if (compiler && (await run(compiler, ["--version"])).status === 0) return;
  throw new Failure(
    "No C++ compiler was found; the native engine needs one that knows C++20 (GCC 11, Clang 14 or newer).",
    install.compiler,
  );
}

/** A build folder that was copied or moved here belongs to another source folder, and CMake refuses it. */
function discardForeignCache(folder) {
  const cache = path.join(folder, "CMakeCache.txt");
  if (!existsSync(cache)) return;
  const home = /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m.exec(readFileSync(cache, "utf8"))?.[1];
  if (home !== undefined && path.resolve(home) !== root) rmSync(folder, { recursive: true, force: true });
}
