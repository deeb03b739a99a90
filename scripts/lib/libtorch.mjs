// Finds libtorch, or fetches it: PyTorch's wheel is a libtorch. lib/native/locate.ts does the finding, so set-up and run
// time cannot disagree; native/libtorch.json pins version, file and checksum.
import { createHash } from "node:crypto";
import { createReadStream, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

import { root } from "./paths.mjs";
import { Failure, run } from "./steps.mjs";

const require = createRequire(import.meta.url);

/**
 * Resolves to {libtorch, state}. `compile`: headers are needed too, and a Python torch must be exactly the pinned version.
 * An environment variable or platform package that is wrong is an error, never a reason to look elsewhere.
 */
export async function ensureLibtorch({ wheel, compile, progress }) {
  const locate = require(path.join(root, "dist", "lib", "native", "locate.js"));
  const { cacheFolder } = require(path.join(root, "dist", "lib", "native", "cache.js"));
  const pinned = require(path.join(root, "native", "libtorch.json"));
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

  const folder = path.join(cacheFolder(), "libtorch", pinned.cacheName);
  await fetchInto(folder, { wheel, pinned, progress });
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
      "npm run -s supersimplenet -- cuda install, or set SUPERSIMPLENET_LIBTORCH_CUDA to the folder of an installed one (docs/guides/gpu.md).",
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

/** Unpacks the pinned wheel into `folder`, by way of a temporary folder beside it: `folder` is complete or absent. */
async function fetchInto(folder, { wheel, pinned, progress }) {
  const platform = `${process.platform}-${process.arch}`;
  const pin = pinned.wheels[platform];
  if (!pin)
    throw new Failure(
      `No libtorch is pinned for ${platform} (only for ${Object.keys(pinned.wheels).join(", ")}).`,
      `Unpack PyTorch ${pinned.version} for this platform and set SUPERSIMPLENET_LIBTORCH to the folder that holds include/ and lib/, or install it: pip install torch==${pinned.version}.`,
    );
  mkdirSync(path.dirname(folder), { recursive: true });
  const temporary = mkdtempSync(`${folder}.tmp-`);
  const remove = () => rmSync(temporary, { recursive: true, force: true });
  const interrupted = () => (remove(), process.exit(130)); // Ctrl-C would skip the finally below
  process.once("SIGINT", interrupted).once("SIGTERM", interrupted);
  try {
    const file = wheel ? path.resolve(wheel) : await download(pin, pinned, temporary, progress);
    const unpacked = path.join(temporary, "libtorch");
    await unpackWheel(file, unpacked, { pinned, progress });
    rmSync(folder, { recursive: true, force: true }); // what is there was found unusable
    renameSync(unpacked, folder);
  } finally {
    remove();
    process.off("SIGINT", interrupted).off("SIGTERM", interrupted);
  }
}

/** Checks the pinned wheel's SHA-256 and unpacks what a C++ program needs of it, without the headers when `headers` is false. */
export async function unpackWheel(file, folder, { pinned, headers = true, progress }) {
  const pin = pinned.wheels[`${process.platform}-${process.arch}`];
  if (!existsSync(file))
    throw new Failure(
      `The wheel ${file} does not exist.`,
      "Check the path given with --wheel or SUPERSIMPLENET_LIBTORCH_WHEEL.",
    );
  progress("checking SHA-256");
  const sha256 = await sha256Of(file);
  if (sha256 !== pin.sha256)
    throw new Failure(
      `${file} has SHA-256 ${sha256}; ${pin.file} has ${pin.sha256}. It was not unpacked.`,
      offline(pin, pinned),
    );
  const target = (name) =>
    !headers && name.includes("/include/") ? undefined : targetOf(name, pinned.libraries[process.platform]);
  const { extract } = require(path.join(root, "dist", "lib", "download", "zip.js"));
  await extract(file, folder, target, {
    onProgress: (bytes, total) => progress(`unpacking ${Math.round((100 * bytes) / total)} %`),
  });
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

async function download(pin, pinned, folder, progress) {
  const wanted = [
    "download",
    "--no-deps",
    "--only-binary=:all:",
    "--python-version",
    pin.python,
    "--implementation",
    "cp",
    "--abi",
    pin.abi,
    "--platform",
    pin.platform,
    "--dest",
    folder,
    pin.requirement,
  ];
  const attempts = [
    ["pip's own set-up", []],
    [pinned.index, ["--index-url", pinned.index]],
  ];
  let output = "";
  for (const [where, more] of attempts) {
    progress(`downloading ${pin.file} (${Math.round(pin.bytes / 1e6)} MB) with pip from ${where}`);
    for (const python of ["python3", "python"]) {
      const result = await run(python, ["-m", "pip", ...wanted, ...more], { cwd: folder });
      output += `$ ${python} -m pip ${[...wanted, ...more].join(" ")}\n${result.output}\n`;
      if (result.status === undefined) continue; // no such command
      const file = readdirSync(folder).find((name) => name.endsWith(".whl"));
      if (result.status === 0 && file) return path.join(folder, file);
      break;
    }
  }
  const noPip = !/\bpip\b[\s\S]*(Looking|ERROR|Collecting|WARNING)/.test(output);
  throw new Failure(
    noPip
      ? "No Python with pip was found to download libtorch with."
      : `pip could not download ${pin.file} (its output is above).`,
    offline(pin, pinned),
    output,
  );
}

const offline = (pin, pinned) =>
  `any one of
  - with a network: install Python with pip (Debian, Ubuntu: apt-get install python3-pip) and run this again
  - download ${pin.file} from ${pinned.index}/torch/ on another machine, copy it here, and run: node scripts/setup.mjs --wheel ${pin.file}
  - set SUPERSIMPLENET_LIBTORCH to a folder that holds include/ and lib/ of libtorch ${pinned.version}`;

async function sha256Of(file) {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk);
  return hash.digest("hex");
}
