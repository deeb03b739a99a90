// Finds libtorch, or fetches it: PyTorch's wheel is a libtorch. lib/native/locate.ts does the finding and
// lib/native/wheels.ts the installing; native/libtorch.json pins version, file and checksum.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

import { root } from "./paths.mjs";
import { Failure } from "./steps.mjs";

const require = createRequire(import.meta.url);

/**
 * Resolves to {libtorch, state}. `compile`: headers are needed too, and a Python torch must be exactly the pinned version.
 * An environment variable or platform package that is wrong is an error, never a reason to look elsewhere.
 */
export async function ensureLibtorch({ wheel, compile, progress }) {
  const locate = require(path.join(root, "dist", "lib", "native", "locate.js"));
  const { pinned } = locate;
  let found;
  try {
    found = locate.locateLibtorch(pinned.version);
  } catch (error) {
    const unset = process.env.SUPERSIMPLENET_LIBTORCH
      ? "Correct SUPERSIMPLENET_LIBTORCH, or unset it to have libtorch fetched."
      : `Remove or replace the npm package ${locate.platformPackage}.`;
    if (error.code === "LIBTORCH_VERSION" || process.env.SUPERSIMPLENET_LIBTORCH)
      throw new Failure(error.message, unset);
    if (error.code !== "LIBTORCH_NOT_FOUND") throw error;
  }
  if (found && compile && !usableForCompiling(found, pinned)) {
    if (found.foundBy === "SUPERSIMPLENET_LIBTORCH")
      throw new Failure(
        `SUPERSIMPLENET_LIBTORCH is ${found.folder}, which has no include/ATen: the engine cannot be compiled with it.`,
        "Set it to a folder with both include/ and lib/, or unset it.",
      );
    found = undefined; // the platform package has libraries only; a Python torch of another patch version is not what was tested
  }
  if (found) return { libtorch: found, state: `${found.version} in ${found.folder} (${found.foundBy})` };

  const folder = path.join(locate.cacheFolder(), "libtorch", pinned.cacheName);
  await installLibtorch(folder, { wheel, progress });
  return {
    libtorch: { folder, version: pinned.version, foundBy: "cache" },
    state: `${pinned.version} unpacked into ${folder}`,
  };
}

/** The CUDA build of libtorch to compile against; it is found, never fetched: it is large, and only 'cuda install' asks for it. */
export function cudaLibtorch() {
  const { locateCudaLibtorch } = require(path.join(root, "dist", "lib", "native", "locate.js"));
  let found;
  try {
    found = locateCudaLibtorch(undefined);
  } catch (error) {
    if (!/^LIBTORCH/.test(error.code ?? "")) throw error;
    throw new Failure(
      error.message,
      "run 'npm run -s supersimplenet -- cuda install', or set SUPERSIMPLENET_LIBTORCH_CUDA to the folder of an installed one (docs/guides/gpu.md).",
    );
  }
  if (!existsSync(path.join(found.folder, "include", "ATen", "ATen.h")))
    throw new Failure(
      `${found.folder} has no include/ATen: the engine cannot be compiled with it.`,
      "Take a complete PyTorch wheel or libtorch archive.",
    );
  return found;
}

function usableForCompiling(found, pinned) {
  if (!existsSync(path.join(found.folder, "include", "ATen", "ATen.h"))) return false;
  return found.foundBy !== "python" || found.version.split("+")[0] === pinned.version;
}

/**
 * Installs the pinned CPU build into `folder`: from the file `wheel`, else fetched with pip as it is set up, else from the
 * pinned index. `headers`: also what a compiler needs.
 */
export async function installLibtorch(folder, { wheel, headers = true, progress }) {
  const { pinned } = require(path.join(root, "dist", "lib", "native", "locate.js"));
  const { fromIndex, installWheels, withPip } = require(path.join(root, "dist", "lib", "native", "wheels.js"));
  const platform = `${process.platform}-${process.arch}`;
  const wheels = pinned.wheels[platform];
  if (!wheels)
    throw new Failure(
      `No libtorch is pinned for ${platform} (only for ${Object.keys(pinned.wheels).join(", ")}).`,
      `Unpack PyTorch ${pinned.version} for this platform and set SUPERSIMPLENET_LIBTORCH to the folder that holds include/ and lib/, or install it: pip install torch==${pinned.version}.`,
    );
  if (wheel && !existsSync(wheel))
    throw new Failure(
      `The wheel ${wheel} does not exist.`,
      "Check the path given with --wheel or SUPERSIMPLENET_LIBTORCH_WHEEL.",
    );
  let output = "";
  const fetch = async (...args) => {
    try {
      await withPip(() => `Now from ${pinned.index}.`)(...args);
    } catch (error) {
      if (error.code !== "DOWNLOAD_FAILED") throw error;
      output = error.message;
      progress(`pip could not download ${wheels[0].file}; downloading from ${pinned.index}`);
      await fromIndex(pinned.index, ({ file }) => `run: node scripts/setup.mjs --wheel ${file}`)(...args);
    }
  };
  const target = (name) =>
    !headers && name.includes("/include/") ? undefined : targetOf(name, pinned.libraries[process.platform]);
  const { installedBytes } = pinned;
  const interrupt = new AbortController();
  const stop = () => interrupt.abort();
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    await installWheels(
      { wheels, folder, installedBytes, target, source: wheel ? path.resolve(wheel) : fetch },
      { signal: interrupt.signal, onProgress: (at) => progress(shown(at)), attempts: 2 },
    );
  } catch (error) {
    if (error.code === "ABORTED") process.exit(130);
    throw error.name === "SuperSimpleNetError" ? new Failure(error.message, offline(wheels[0], pinned), output) : error;
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}

function shown({ stage, file, bytes, total }) {
  if (stage === "check") return "checking SHA-256";
  return `${stage === "download" ? `downloading ${file}` : "unpacking"}, ${Math.round((100 * bytes) / total)} % of ${Math.round(total / 1e6)} MB`;
}

/** Which files of the wheel are kept, and where: headers, the libraries that a C++ program needs, version, licences. */
function targetOf(name, libraries) {
  const licence = /^torch-[^/]+\.dist-info\/(licenses\/.*|LICENSE|NOTICE)$/.exec(name);
  if (licence) return licence[1];
  if (!name.startsWith("torch/")) return undefined;
  const inside = name.slice("torch/".length);
  if (inside === "version.py" || inside.startsWith("include/")) return inside;
  const library = /^lib\/([^/]+)$/.exec(inside)?.[1];
  return library && (libraries.includes(library) || /^lib(gomp|iomp5|omp)\b/.test(library)) ? inside : undefined;
}

const offline = ({ file }, pinned) =>
  `any one of
  - with a network: run this again, behind a proxy with HTTPS_PROXY set; where only pip reaches a mirror, install Python with pip first
  - download ${file} from ${pinned.index}/torch/ on another machine, copy it here, and run: node scripts/setup.mjs --wheel ${file}
  - set SUPERSIMPLENET_LIBTORCH to a folder that holds include/ and lib/ of libtorch ${pinned.version}`;
