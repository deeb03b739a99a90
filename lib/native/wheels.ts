// The one installer of libtorch: set-up uses it for the CPU build, 'cuda install' for the CUDA build.
import { execFile } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { readdir, rename, rm, rmdir, statfs } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

import { fileSha256 } from "../checksum.js";
import { type TransferOptions, download, downloadText, isAlive, sizeOf } from "../download/download.js";
import { extract } from "../download/zip.js";
import { SuperSimpleNetError, fileError, shownUrl } from "../errors.js";
import type { TransferSettings } from "../schema/downloads.js";
import { makeFolder, makeUniqueFolder } from "../write.js";
import { prepareCache } from "./cache.js";
import type { Wheel } from "./locate.js";

export interface WheelProgress {
  stage: "download" | "check" | "unpack";
  /** The wheel at work. */
  file: string;
  /** Of all wheels; for "unpack" counted in unpacked bytes of this wheel. */
  bytes: number;
  total: number;
}

export interface WheelOptions extends TransferSettings {
  onProgress?: ((progress: WheelProgress) => void) | undefined;
}

export interface Installation {
  wheels: Wheel[];
  /** Appears when it is complete, and replaces what was there. */
  folder: string;
  /** Of the folder. */
  installedBytes: number;
  /** Where an entry of a wheel goes in the folder; undefined leaves it out. */
  target(name: string): string | undefined;
  /** The user's folder with the wheels, or the file of the only one; else how they are fetched. */
  source: string | Fetch;
}

/** Puts a wheel with the right SHA-256 into `folder`, under its name. Throws DOWNLOAD_FAILED, CHECKSUM_MISMATCH. */
export type Fetch = (
  wheel: Wheel,
  folder: string,
  options: Omit<WheelOptions, "onProgress"> & { onReceived(bytes: number): void },
) => Promise<void>;

/**
 * Unpacks wheels into a folder that is complete or absent. Fetched wheels are kept in the folder "wheels" beside it until
 * then, so that an interrupted call goes on where it stopped. Throws FILE_NOT_FOUND (wheels missing in the user's folder),
 * CHECKSUM_MISMATCH, DOWNLOAD_FAILED, ABORTED, NO_SPACE, ...
 */
export async function installWheels(installation: Installation, options: WheelOptions = {}): Promise<void> {
  const { wheels, folder, installedBytes, target, source } = installation;
  const parent = path.dirname(folder);
  const kept = path.join(parent, "wheels");
  try {
    await prepareCache(parent);
    await removeLeftovers(folder);
    const toFetch = typeof source === "string" ? 0 : await missingBytes(wheels, kept);
    await checkSpace(parent, installedBytes + toFetch);
    const files =
      typeof source === "string"
        ? await takeWheels(wheels, source, options)
        : await fetchWheels(wheels, kept, source, options);
    await unpack(files, folder, target, options);
    if (typeof source === "string") return;
    await Promise.all(files.map((file) => rm(file, { force: true })));
    await rmdir(kept).catch(() => undefined); // another installation keeps its wheels there
  } catch (error) {
    if (options.signal?.aborted)
      throw new SuperSimpleNetError(
        "ABORTED",
        "The installation was cancelled; nothing was changed. What was downloaded is kept for next time.",
        { cause: error },
      );
    throw (error as NodeJS.ErrnoException | null)?.code ? fileError(error, "write", parent) : error;
  }
}

/**
 * Fetches from a Python package index: its "simple" address, answered as JSON or as a page of links. `otherwise`: what to
 * do without internet access, the end of a sentence.
 */
export function fromIndex(index: string, otherwise: (wheel: Wheel) => string): Fetch {
  return async (wheel, folder, { onReceived, ...transfer }) => {
    const common = { ...transfer, otherwise: otherwise(wheel) };
    await download({
      ...common,
      url: await addressOf(wheel, index, common),
      file: path.join(folder, wheel.file),
      sha256Prefix: wheel.sha256,
      onProgress: ({ received }) => onReceived(received),
    });
  };
}

/** Fetches with pip, from where pip is set up to download. `remedy`: what to do when it cannot, a sentence. */
export function withPip(remedy: (wheel: Wheel) => string): Fetch {
  return async (wheel, folder, { signal }) => {
    const file = path.join(folder, wheel.file);
    await makeFolder(folder);
    await rm(file, { force: true }); // pip would take it for what it was asked for
    const failure = await runPip(["download", ...pipArguments(wheel.file), "--dest", folder], signal);
    if (!existsSync(file))
      throw new SuperSimpleNetError(
        "DOWNLOAD_FAILED",
        `Cannot download ${wheel.file}: ${failure ?? "pip downloaded another file"}. ${remedy(wheel)}`,
      );
    await checkWheel(file, wheel, signal).catch(async (error: unknown) => {
      await rm(file, { force: true });
      throw error;
    });
  };
}

/** Every pinned wheel is for this Python, or for any; what we use of it needs none. */
const python = { version: "3.11", abi: "cp311" };

function pipArguments(file: string): string[] {
  const [project, version, , , platforms] = file.replace(/\.whl$/, "").split("-");
  return [
    ...["--no-deps", "--only-binary=:all:", "--implementation", "cp"],
    ...["--python-version", python.version, "--abi", python.abi],
    ...platforms!.split(".").flatMap((platform) => ["--platform", platform]),
    `${project}==${version}`,
  ];
}

/** Why pip failed; undefined when it did not. */
async function runPip(options: string[], signal: AbortSignal | undefined): Promise<string | undefined> {
  for (const command of ["python3", "python"])
    try {
      await promisify(execFile)(command, ["-m", "pip", ...options], { signal, maxBuffer: 1 << 26 });
      return undefined;
    } catch (error) {
      const { code, stdout = "", stderr = "" } = error as { code?: unknown; stdout?: string; stderr?: string };
      if (signal?.aborted) throw error;
      if (code === "ENOENT" || /No module named pip/.test(stderr)) continue;
      return `pip failed:\n${shownUrl((stdout + stderr).trimEnd())}\n(${command} -m pip ${options.join(" ")})`;
    }
  return "no Python with pip was found";
}

/** Where the index has the wheel (Python's "simple repository API"). */
async function addressOf(wheel: Wheel, index: string, options: Omit<TransferOptions, "url">): Promise<string> {
  const page = new URL(`${wheel.project}/`, index.replace(/\/*$/, "/")).href;
  const { text, url } = await downloadText({
    ...options,
    url: page,
    accept: "application/vnd.pypi.simple.v1+json, text/html;q=0.5",
  });
  const link = text.trimStart().startsWith("{") ? urlIn(text, wheel.file) : linkIn(text, wheel.file);
  if (link === undefined || !URL.canParse(link, url.href))
    throw new SuperSimpleNetError(
      "DOWNLOAD_FAILED",
      `${shownUrl(page)} does not have ${wheel.file}. Set SUPERSIMPLENET_WHEELS_URL to an index that has it, or ${options.otherwise}.`,
    );
  const address = new URL(link, url);
  address.hash = ""; // the index's checksum; ours are pinned
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

async function fetchWheels(
  wheels: Wheel[],
  folder: string,
  fetch: Fetch,
  { onProgress, ...transfer }: WheelOptions,
): Promise<string[]> {
  return inTurn(wheels, async (wheel, before, total) => {
    const file = path.join(folder, wheel.file);
    const report = (stage: WheelProgress["stage"], received: number): void =>
      onProgress?.({ stage, file: wheel.file, bytes: before + received, total });
    if (existsSync(file)) {
      report("check", 0);
      if ((await fileSha256(file, transfer.signal)) === wheel.sha256) return file;
    }
    report("download", 0);
    await fetch(wheel, folder, { ...transfer, onReceived: (bytes) => report("download", bytes) });
    return file;
  });
}

/** Throws what forbids to look, such as NO_PERMISSION; in a file that is no folder there is nothing. */
function isFile(name: string): boolean {
  try {
    return statSync(name).isFile();
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw fileError(error, "open", name);
  }
}

/** The user's own files, every one of them and each with its checksum. */
async function takeWheels(wheels: Wheel[], source: string, { signal, onProgress }: WheelOptions): Promise<string[]> {
  const isWheel = wheels.length === 1 && isFile(source);
  const place = ({ file }: Wheel): string => (isWheel ? source : path.join(source, file));
  const missing = wheels.filter((wheel) => !isFile(place(wheel)));
  if (missing.length > 0)
    throw new SuperSimpleNetError(
      "FILE_NOT_FOUND",
      `${missing.length} of ${wheels.length} wheels are not in ${source}:\n${missing.map(({ file }) => `  - ${file}`).join("\n")}\nDownload them on a machine with internet access (docs/guides/gpu.md).`,
      { path: source },
    );
  return inTurn(wheels, async (wheel, bytes, total) => {
    onProgress?.({ stage: "check", file: wheel.file, bytes, total });
    await checkWheel(place(wheel), wheel, signal);
    return place(wheel);
  });
}

/** Runs `body` for one wheel after the other, with the bytes of those before and of all. */
async function inTurn(
  wheels: Wheel[],
  body: (wheel: Wheel, before: number, total: number) => Promise<string>,
): Promise<string[]> {
  const total = wheels.reduce((sum, { bytes }) => sum + bytes, 0);
  const files: string[] = [];
  let before = 0;
  for (const wheel of wheels) {
    files.push(await body(wheel, before, total));
    before += wheel.bytes;
  }
  return files;
}

async function checkWheel(file: string, wheel: Wheel, signal: AbortSignal | undefined): Promise<void> {
  const found = await fileSha256(file, signal);
  if (found === wheel.sha256) return;
  throw new SuperSimpleNetError(
    "CHECKSUM_MISMATCH",
    `${file} has SHA-256 ${found} instead of ${wheel.sha256} (${wheel.file}): it is damaged or another file. It was not unpacked; download it again.`,
    { path: file },
  );
}

async function unpack(
  files: string[],
  folder: string,
  target: Installation["target"],
  { signal, onProgress }: WheelOptions,
): Promise<void> {
  const temporary = await makeUniqueFolder(`${folder}.tmp-${process.pid}-`);
  try {
    for (const file of files)
      await extract(file, temporary, target, {
        signal,
        onProgress: (bytes, total) => onProgress?.({ stage: "unpack", file: path.basename(file), bytes, total }),
      });
    await replace(folder, temporary);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function missingBytes(wheels: Wheel[], folder: string): Promise<number> {
  const sizes = await Promise.all(
    wheels.map(async ({ file, bytes }) =>
      Math.max(0, bytes - (await sizeOf(path.join(folder, file))) - (await sizeOf(path.join(folder, `${file}.part`)))),
    ),
  );
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}

async function checkSpace(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize >= bytes) return;
  const gb = (n: number): string => `${(n / 1e9).toFixed(1)} GB`;
  throw new SuperSimpleNetError(
    "NO_SPACE",
    `${folder} has ${gb(bavail * bsize)} free; libtorch needs ${gb(bytes)} while it is installed. Free some, or set SUPERSIMPLENET_CACHE to a folder on another disk.`,
    { path: folder },
  );
}

/** Moves `temporary` to `folder`, past what is there. */
async function replace(folder: string, temporary: string): Promise<void> {
  const old = `${temporary}.old`;
  await rename(folder, old).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error; // nothing there: a first installation
  });
  try {
    await rename(temporary, folder);
  } catch (error) {
    await rename(old, folder).catch(() => undefined); // there was none
    throw error;
  }
  await rm(old, { recursive: true, force: true });
}

/** Removes unfinished folders of processes that are gone. */
async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(path.dirname(folder))) {
    const owner = name.startsWith(`${path.basename(folder)}.tmp-`) ? Number(/\.tmp-(\d+)-/.exec(name)?.[1]) : NaN;
    if (!Number.isNaN(owner) && !isAlive(owner))
      await rm(path.join(path.dirname(folder), name), { recursive: true, force: true });
  }
}
