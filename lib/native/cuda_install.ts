import { existsSync } from "node:fs";
import { readdir, rename, rm, stat, statfs } from "node:fs/promises";
import path from "node:path";

import { type TransferOptions, download, downloadText, fileSha256, isAlive } from "../download/download.js";
import { extract } from "../download/zip.js";
import { SuperSimpleNetError, fileError } from "../errors.js";
import { check } from "../schema/check.js";
import { installCudaOptions } from "../schema/downloads.js";
import type { Settings } from "../schema/types.js";
import { makeFolder, makeUniqueFolder } from "../write.js";
import { type PinnedCuda, type Wheel, cudaCache, cudaInstall, isCheckout, pinned } from "./locate.js";

/** Options of installCuda. */
export interface CudaInstallOptions extends Settings<typeof installCudaOptions> {
  onProgress?: ((progress: CudaInstallProgress) => void) | undefined;
}

export interface CudaInstallProgress {
  stage: "download" | "check" | "unpack";
  /** The wheel at work. */
  file: string;
  /** Of all wheels; for "unpack" counted in unpacked bytes of this wheel. */
  bytes: number;
  total: number;
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
 * of NVIDIA, by their pinned SHA-256, without Python. Downloads resume; HTTPS_PROXY, HTTP_PROXY and NO_PROXY are honoured.
 * The folder appears only when it is complete. Throws INVALID_OPTION, LIBTORCH_NOT_FOUND (none is pinned for this
 * platform), FILE_NOT_FOUND (wheels missing in `from`), CHECKSUM_MISMATCH, DOWNLOAD_FAILED, ABORTED, NO_SPACE, ...
 */
export async function installCuda(options: CudaInstallOptions = {}): Promise<CudaInstalled> {
  check("installCuda", installCudaOptions, options);
  return installWheels(pinned.cuda, cudaCache(), options);
}

/** The wheels of this platform. Throws LIBTORCH_NOT_FOUND where none are pinned. */
export function cudaWheels({ wheels }: PinnedCuda = pinned.cuda): Wheel[] {
  const here = wheels[`${process.platform}-${process.arch}`];
  if (here) return here;
  throw new SuperSimpleNetError(
    "LIBTORCH_NOT_FOUND",
    `There is no CUDA build of libtorch for ${process.platform}-${process.arch}, only for ${Object.keys(wheels).join(", ")}. Use device 'cpu'.`,
  );
}

/** installCuda for any manifest; `target` is the folder that will hold lib/, inside a folder of its own. */
export async function installWheels(
  cuda: PinnedCuda,
  target: string,
  options: CudaInstallOptions,
): Promise<CudaInstalled> {
  const wheels = cudaWheels(cuda);
  const address =
    options.indexUrl ?? (process.env["SUPERSIMPLENET_WHEELS_URL"] || process.env["PIP_INDEX_URL"] || undefined);
  const index = address === undefined ? undefined : checkIndex(address);
  if (existsSync(target) && !options.force) return { folder: target, version: cuda.version, installed: false };
  if (options.from === undefined && index === undefined)
    throw new SuperSimpleNetError(
      "INVALID_OPTION",
      "installCuda: no Python package index is named to download from. Give the 'simple' address of the Python Package Index or of a mirror ('indexUrl', --index, SUPERSIMPLENET_WHEELS_URL or pip's PIP_INDEX_URL), or a folder that holds the files ('from', --from).",
    );
  const whole = path.dirname(target);
  const parent = path.dirname(whole);
  try {
    await makeFolder(parent);
    await removeLeftovers(whole);
    const kept = options.from ?? path.join(parent, "wheels");
    await checkSpace(parent, cuda.installedBytes + (options.from === undefined ? await missingBytes(wheels, kept) : 0));
    const files =
      options.from === undefined
        ? await fetchWheels(wheels, kept, index!, options)
        : await checkWheels(wheels, kept, options);
    const temporary = await makeUniqueFolder(`${whole}.tmp-${process.pid}-`);
    try {
      for (const file of files)
        await extract(file, temporary, targetOf, {
          signal: options.signal,
          onProgress: (bytes, total) =>
            options.onProgress?.({ stage: "unpack", file: path.basename(file), bytes, total }),
        });
      await replace(whole, temporary);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
    if (options.from === undefined) await rm(kept, { recursive: true, force: true });
    return { folder: target, version: cuda.version, installed: true };
  } catch (error) {
    if (options.signal?.aborted)
      throw new SuperSimpleNetError(
        "ABORTED",
        `The installation was cancelled; nothing was changed. What was downloaded is kept for next time.`,
        { cause: error },
      );
    throw (error as NodeJS.ErrnoException | null)?.code ? fileError(error, "write", parent) : error;
  }
}

const otherwise = (wheel: Wheel): string =>
  `fetch ${wheel.file} and the others that '${cudaInstall.replace("install", "list")}' names by other means and run '${cudaInstall} --from DIR' (docs/cuda.md)`;

function checkIndex(address: string): string {
  if (/^https?:\/\/[^/]/i.test(address) && URL.canParse(address)) return address.replace(/\/*$/, "/");
  throw new SuperSimpleNetError(
    "INVALID_OPTION",
    `installCuda: expected an http or https address for 'indexUrl' (or SUPERSIMPLENET_WHEELS_URL, PIP_INDEX_URL) but received '${address}'.`,
  );
}

/** What of a wheel is kept, at its place: libraries, licences and the version; the headers where an engine can be compiled. */
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

async function fetchWheels(
  wheels: Wheel[],
  folder: string,
  index: string,
  options: CudaInstallOptions,
): Promise<string[]> {
  const { onProgress, from: _from, force: _force, indexUrl: _indexUrl, ...transfer } = options;
  const total = wheels.reduce((sum, wheel) => sum + wheel.bytes, 0);
  let before = 0;
  const files: string[] = [];
  for (const wheel of wheels) {
    const file = path.join(folder, wheel.file);
    const report = (stage: CudaInstallProgress["stage"], received: number): void =>
      onProgress?.({ stage, file: wheel.file, bytes: before + received, total });
    if (existsSync(file)) report("check", 0);
    if (!existsSync(file) || (await fileSha256(file, options.signal)) !== wheel.sha256) {
      const common = { ...transfer, otherwise: otherwise(wheel) };
      const url = await addressOf(wheel, index, common);
      await download({
        ...common,
        url,
        file,
        sha256Prefix: wheel.sha256,
        onProgress: ({ received }) => report("download", received),
      });
    }
    before += wheel.bytes;
    files.push(file);
  }
  return files;
}

/** Where the index has the wheel (Python's "simple repository API", as JSON or as a page of links). */
async function addressOf(wheel: Wheel, index: string, options: Omit<TransferOptions, "url">): Promise<string> {
  const page = new URL(`${wheel.project}/`, index).href;
  const { text, url } = await downloadText({
    ...options,
    url: page,
    accept: "application/vnd.pypi.simple.v1+json, text/html;q=0.5",
  });
  const link = text.trimStart().startsWith("{") ? urlIn(text, wheel.file) : linkIn(text, wheel.file);
  if (link === undefined || !URL.canParse(link, url.href))
    throw new SuperSimpleNetError(
      "DOWNLOAD_FAILED",
      `${page} does not have ${wheel.file}. Set SUPERSIMPLENET_WHEELS_URL to an index that has it, or ${options.otherwise}.`,
    );
  const address = new URL(link, url);
  address.hash = ""; // checksums that the index states; ours are pinned
  return address.href;
}

/** The file's address in the index's JSON; undefined also where that is something else, such as a mirror's error. */
function urlIn(json: string, file: string): string | undefined {
  try {
    const { files } = JSON.parse(json) as { files?: { filename: string; url: string }[] };
    return files?.find(({ filename }) => filename === file)?.url;
  } catch {
    return undefined;
  }
}

/** The address of the link whose text is the file's name. */
function linkIn(html: string, file: string): string | undefined {
  for (const [, attributes, text] of html.matchAll(/<a\s([^>]*)>([^<]*)<\/a>/gi)) {
    const address = text!.trim() === file ? /\bhref\s*=\s*(?:"([^"]*)"|'([^']*)')/i.exec(attributes!) : null;
    if (address) return (address[1] ?? address[2])!.replaceAll("&amp;", "&");
  }
  return undefined;
}

/** The wheels in a folder of the user's, every one of them and each with its checksum. */
async function checkWheels(
  wheels: Wheel[],
  folder: string,
  { signal, onProgress }: CudaInstallOptions,
): Promise<string[]> {
  const missing = wheels.filter(({ file }) => !existsSync(path.join(folder, file)));
  if (missing.length > 0) {
    throw new SuperSimpleNetError(
      "FILE_NOT_FOUND",
      `${missing.length} of ${wheels.length} wheels are not in ${folder}:\n${missing.map(({ file }) => `  - ${file}`).join("\n")}\nDownload them on a machine with internet access (docs/cuda.md).`,
      { path: folder },
    );
  }
  const total = wheels.reduce((sum, wheel) => sum + wheel.bytes, 0);
  let bytes = 0;
  for (const { file, sha256, bytes: size } of wheels) {
    onProgress?.({ stage: "check", file, bytes, total });
    const found = await fileSha256(path.join(folder, file), signal);
    if (found !== sha256)
      throw new SuperSimpleNetError(
        "CHECKSUM_MISMATCH",
        `${path.join(folder, file)} has SHA-256 ${found} instead of ${sha256}: it is damaged or another file. Nothing was unpacked; download it again.`,
        { path: path.join(folder, file) },
      );
    bytes += size;
  }
  return wheels.map(({ file }) => path.join(folder, file));
}

async function missingBytes(wheels: Wheel[], folder: string): Promise<number> {
  const sizes = await Promise.all(
    wheels.map(async ({ file, bytes }) =>
      Math.max(0, bytes - (await sizeOf(path.join(folder, file))) - (await sizeOf(path.join(folder, `${file}.part`)))),
    ),
  );
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}

async function sizeOf(file: string): Promise<number> {
  return (await stat(file).catch(() => ({ size: 0 }))).size;
}

async function checkSpace(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize >= bytes) return;
  const gb = (n: number): string => `${(n / 1e9).toFixed(1)} GB`;
  throw new SuperSimpleNetError(
    "NO_SPACE",
    `${folder} has ${gb(bavail * bsize)} free; the CUDA build of libtorch needs ${gb(bytes)} while it is installed. Free some, or set SUPERSIMPLENET_CACHE to a folder on another disk.`,
    { path: folder },
  );
}

/** Moves `temporary` to `whole`, past what is there. */
async function replace(whole: string, temporary: string): Promise<void> {
  const old = `${temporary}.old`;
  await rename(whole, old).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error; // nothing there: a first installation
  });
  try {
    await rename(temporary, whole);
  } catch (error) {
    await rename(old, whole).catch(() => undefined); // there was none
    throw error;
  }
  await rm(old, { recursive: true, force: true });
}

/** Unfinished folders of processes that are gone. */
async function removeLeftovers(whole: string): Promise<void> {
  for (const name of await readdir(path.dirname(whole))) {
    const owner = name.startsWith(`${path.basename(whole)}.tmp-`) ? Number(/\.tmp-(\d+)-/.exec(name)?.[1]) : NaN;
    if (!Number.isNaN(owner) && !isAlive(owner))
      await rm(path.join(path.dirname(whole), name), { recursive: true, force: true });
  }
}
