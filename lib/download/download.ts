import { type FileHandle, open, readdir, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { z } from "zod";

import { fileSha256 } from "../checksum.js";
import { SuperSimpleNetError, fileError, shownUrl } from "../errors.js";
import { transferShape, type TransferSettings } from "../schema/downloads.js";
import { makeFolder } from "../write.js";
import { type GetOptions, type Response, TransferError, get } from "./http.js";

export interface Progress {
  /** Bytes on disk so far, those of an earlier, interrupted download included. */
  received: number;
  /** Bytes of the whole file; undefined when the server does not say. */
  total: number | undefined;
}

export interface TransferOptions extends TransferSettings {
  url: string;
  /** What to do without internet access: the end of a sentence, for error messages. */
  otherwise: string;
}

const defaults = z.object(transferShape).parse({});

export interface DownloadOptions extends TransferOptions {
  /** Where the file goes once its checksum is right. Its folder is created. */
  file: string;
  /** First hexadecimal digits of the file's SHA-256. */
  sha256Prefix: string;
  onProgress?: ((progress: Progress) => void) | undefined;
}

/**
 * Downloads a file, resuming what an interrupted download left as `FILE.part`. The file appears under its name only with
 * the right checksum. Throws DOWNLOAD_FAILED (the part is kept), CHECKSUM_MISMATCH (it is removed), ABORTED, NO_SPACE, ...
 */
export async function download(options: DownloadOptions): Promise<{ bytes: number }> {
  await makeFolder(path.dirname(options.file));
  const part = await claimPart(options.file);
  try {
    let resumed = (await sizeOf(part)) > 0;
    for (;;) {
      await transferAll(part, options);
      const sha256 = await fileSha256(part, options.signal);
      if (sha256.startsWith(options.sha256Prefix)) break;
      await rm(part, { force: true });
      // What lay there may have been of another file: once more from the start.
      if (!resumed) {
        throw new SuperSimpleNetError(
          "CHECKSUM_MISMATCH",
          `${shownUrl(options.url)} is not the expected file: its SHA-256 begins with ${sha256.slice(0, options.sha256Prefix.length)} instead of ${options.sha256Prefix}. ` +
            `It was removed. A proxy or mirror may have changed it; without it ${options.otherwise}.`,
          { path: options.file },
        );
      }
      resumed = false;
    }
    const bytes = await sizeOf(part);
    await rename(part, options.file);
    return { bytes };
  } catch (error) {
    await rename(part, `${options.file}.part`).catch(() => undefined); // nothing there: nothing to resume
    throw (error as NodeJS.ErrnoException | null)?.code && !options.signal?.aborted
      ? fileError(error, "write", options.file)
      : translate(error, options);
  }
}

/** A page as text, and the address that gave it in the end. Throws DOWNLOAD_FAILED, ABORTED. */
export async function downloadText(options: TransferOptions & { accept: string }): Promise<{ text: string; url: URL }> {
  try {
    return await retrying(options, () =>
      get(options.url, requestOptions(options, { accept: options.accept }), async (response) => {
        if (response.status !== 200) throw refused(response);
        const chunks: Buffer[] = [];
        for await (const chunk of response.body) chunks.push(chunk);
        return { text: Buffer.concat(chunks).toString("utf8"), url: response.url };
      }),
    );
  } catch (error) {
    throw translate(error, options);
  }
}

function requestOptions(
  { timeoutMs = defaults.timeoutMs, signal }: TransferOptions,
  headers: Record<string, string>,
): GetOptions {
  return { headers: { "accept-encoding": "identity", ...headers }, timeoutMs, signal };
}

function translate(error: unknown, { url, otherwise, signal }: TransferOptions): unknown {
  if (signal?.aborted)
    return new SuperSimpleNetError(
      "ABORTED",
      `The download of ${shownUrl(url)} was cancelled; what has arrived is kept for next time.`,
      { cause: error },
    );
  if (error instanceof TransferError)
    return new SuperSimpleNetError(
      "DOWNLOAD_FAILED",
      `Cannot download ${shownUrl(url)}: ${error.message}. Without internet access ${otherwise}.`,
      { cause: error },
    );
  return error;
}

let claims = 0;

/**
 * A name for the unfinished file that belongs to this call alone, so that two processes never write to one file. Takes
 * over what an earlier call left behind, or one whose process is gone.
 */
async function claimPart(file: string): Promise<string> {
  const folder = path.dirname(file);
  const own = `${file}.part-${process.pid}-${claims++}`;
  const base = `${path.basename(file)}.part`;
  for (const name of await readdir(folder)) {
    if (!name.startsWith(base)) continue;
    const owner = /^-(\d+)-\d+$/.exec(name.slice(base.length));
    if (name !== base && (!owner || isAlive(Number(owner[1])))) continue;
    try {
      await rename(path.join(folder, name), own);
      break;
    } catch {
      continue; // another process was faster
    }
  }
  return own;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Bytes of a file; 0 where there is none. */
export async function sizeOf(file: string): Promise<number> {
  return (await stat(file).catch(() => ({ size: 0 }))).size;
}

async function transferAll(part: string, options: DownloadOptions): Promise<void> {
  const handle = await open(part, "a");
  try {
    const size = async (): Promise<number> => (await handle.stat()).size;
    await retrying(options, async () => transfer(handle, await size(), options), size);
  } finally {
    await handle.close();
  }
}

/** Tries `body` again after what may pass. Only failures between which `size` has not grown count together. */
async function retrying<T>(
  { attempts = defaults.attempts, retryDelayMs = defaults.retryDelayMs, signal }: TransferOptions,
  body: () => Promise<T>,
  size?: () => Promise<number>,
): Promise<T> {
  for (let failures = 0; ;) {
    const before = await size?.();
    try {
      return await body();
    } catch (error) {
      if (signal?.aborted || !(error instanceof TransferError) || !error.retry) throw error;
      failures = before !== undefined && (await size!()) > before ? 1 : failures + 1;
      if (failures >= attempts) throw error;
      await delay(retryDelayMs * 2 ** (failures - 1), undefined, { signal });
    }
  }
}

function refused({ status, statusText }: Response): TransferError {
  const passing = status === 408 || status === 429 || status >= 500;
  return new TransferError(`the server answered ${status} ${statusText}`.trimEnd(), passing);
}

/** One request, from byte `have` on. */
async function transfer(handle: FileHandle, have: number, options: DownloadOptions): Promise<void> {
  const headers: Record<string, string> = have > 0 ? { range: `bytes=${have}-` } : {};
  await get(options.url, requestOptions(options, headers), async (response) => {
    const { status } = response;
    const range = /^bytes (?:(\d+)-\d+|\*)\/(\d+|\*)$/.exec(response.headers["content-range"] ?? "");
    let received = have;
    if (status === 416 && range && Number(range[2]) === have) return; // all of it was there already
    if (status === 416 && have > 0) {
      await handle.truncate(0);
      throw new TransferError("the server has less than what an earlier download left; starting again", true);
    }
    if (status === 200) {
      if (have > 0) await handle.truncate(0); // the server does not resume
      received = 0;
    } else if (status !== 206 || !range || Number(range[1]) !== have) {
      throw refused(response);
    }
    const length = Number(response.headers["content-length"] ?? NaN);
    const total = Number.isFinite(length) ? received + length : undefined;
    options.onProgress?.({ received, total });
    for await (const chunk of response.body) {
      await handle.appendFile(chunk);
      received += chunk.length;
      options.onProgress?.({ received, total });
    }
    if (total !== undefined && received !== total)
      throw new TransferError(`the connection ended after ${received} of ${total} bytes`, true);
  });
}
