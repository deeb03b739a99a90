import { existsSync } from "node:fs";
import path from "node:path";

import { SuperSimpleNetError } from "../errors.js";
import { check, checkValue } from "../schema/check.js";
import { installCudaOptions } from "../schema/downloads.js";
import type { Settings } from "../schema/types.js";
import { type PinnedBuild, type Wheel, cudaCache, cudaInstall, cudaList, isCheckout, pinned } from "./locate.js";
import { type WheelOptions, fromIndex, installWheels, withPip } from "./wheels.js";

/** Options of installCuda. */
export interface CudaInstallOptions extends Settings<typeof installCudaOptions> {
  onProgress?: WheelOptions["onProgress"];
}

export interface CudaInstalled {
  /** The folder that holds lib/. */
  folder: string;
  version: string;
  /** False when it was there already. */
  installed: boolean;
}

/**
 * Puts the pinned CUDA build of libtorch into the cache folder, where the CUDA engine finds it: PyTorch's wheel and those
 * of NVIDIA, by their pinned SHA-256. Downloads resume; HTTPS_PROXY, HTTP_PROXY and NO_PROXY are honoured. The folder
 * appears only when it is complete. Throws INVALID_OPTION, LIBTORCH_NOT_FOUND (none is pinned for this platform),
 * FILE_NOT_FOUND (wheels missing in `from`), CHECKSUM_MISMATCH, DOWNLOAD_FAILED, ABORTED, NO_SPACE, ...
 */
export async function installCuda(options: CudaInstallOptions = {}): Promise<CudaInstalled> {
  check("installCuda", installCudaOptions, options);
  return installBuild(pinned.cuda, cudaCache(), options);
}

/** The wheels of this platform. Throws LIBTORCH_NOT_FOUND where none are pinned. */
export function cudaWheels({ wheels }: PinnedBuild = pinned.cuda): Wheel[] {
  const here = wheels[`${process.platform}-${process.arch}`];
  if (here) return here;
  throw new SuperSimpleNetError(
    "LIBTORCH_NOT_FOUND",
    `There is no CUDA build of libtorch for ${process.platform}-${process.arch}, only for ${Object.keys(wheels).join(", ")}. Use device 'cpu'.`,
  );
}

/** installCuda for any manifest; `target` is the folder that will hold lib/, inside a folder of its own. */
export async function installBuild(
  build: PinnedBuild,
  target: string,
  { from, force, indexUrl, ...options }: CudaInstallOptions,
): Promise<CudaInstalled> {
  const wheels = cudaWheels(build);
  const index = indexUrl ?? indexFromEnvironment();
  const installed = { folder: target, version: build.version };
  if (existsSync(target) && !force) return { ...installed, installed: false };
  await installWheels(
    {
      wheels,
      folder: path.dirname(target),
      installedBytes: build.installedBytes,
      target: targetOf,
      source: from ?? (index === undefined ? withPip(instead) : fromIndex(index, otherwise)),
    },
    options,
  );
  return { ...installed, installed: true };
}

const otherwise = (wheel: Wheel): string =>
  `fetch ${wheel.file} and the others that '${cudaList}' names by other means and run '${cudaInstall} --from DIR' (docs/guides/gpu.md)`;

const instead = (wheel: Wheel): string =>
  `Where pip does not reach the wheels, run '${cudaInstall} --index URL' with the "simple" address of the Python Package Index or of a mirror. Without internet access ${otherwise(wheel)}.`;

function indexFromEnvironment(): string | undefined {
  const name = ["SUPERSIMPLENET_WHEELS_URL", "PIP_INDEX_URL"].find((variable) => process.env[variable]);
  return name && checkValue("installCuda", name, installCudaOptions.shape.indexUrl, process.env[name]);
}

/** Where a wheel's file goes; undefined drops it. Headers stay only where an engine can be compiled. */
function targetOf(name: string): string | undefined {
  const licence = /^([^/]+)\.dist-info\/(?:licenses\/)?(.*(?:LICEN[CS]E|NOTICE).*)$/i.exec(name);
  if (licence) return `licenses/${licence[1]}/${licence[2]}`;
  if (name === "torch/version.py" || /^nvidia\/.*\/LICENSE[^/]*$/.test(name)) return name;
  if (/^(torch|nvidia\/.*)\/include\//.test(name)) return isCheckout ? name : undefined;
  const library = /^(?:torch|nvidia\/.*)\/lib\/([^/]+\.so[.\d]*)$/.exec(name)?.[1];
  return library !== undefined && !unused.test(library) ? name : undefined;
}

/** Python's, linear algebra that the network does not have (it alone needs libcusolver), and NVIDIA's second compiler. */
const unused = /^lib(torch_python|torch_global_deps|shm|torch_cuda_linalg)\.so|\.alt\./;
