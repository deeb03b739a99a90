import { randomBytes } from "node:crypto";
import { type FileHandle, open, rm, statfs } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { types } from "node:util";

import { fileError, SuperSimpleNetError } from "../errors.js";
import type { Header } from "./header.js";
import { bytesToDecode } from "./samples.js";
import { sharp } from "./sharp.js";
import { unheeded } from "../turns.js";
import { decodeFailure } from "./unreadable.js";

/** Images with more bytes of samples than this are decoded into a temporary file, from which rows are read. Tests lower it. */
export const spooling = { leastBytes: 256 * 2 ** 20 };

/** Memory that decoding row by row takes. */
export const spoolingBytes = 64 * 2 ** 20;

/** Memory that decoding into a file takes: what cannot be decoded row by row lies in memory until it is written. */
export const bytesToSpool = (header: Header): number =>
  !header.whole && ["png", "jpeg", "tiff"].includes(header.format) ? spoolingBytes : bytesToDecode(header);

/** Samples in a temporary file. */
export interface Spooled {
  rows(first: number, count: number): Promise<Uint8Array | Uint16Array>;
  channels: 1 | 3;
  close(): void;
}

const samplesOf = ({ width, height, bits, colours }: Header): number =>
  (width * height * (colours === "grey" ? 1 : 3) * bits) / 8;

/** Whether an image is large and of a kind that can be decoded into a file. */
export const canSpool = (header: Header): boolean =>
  header.bmp === undefined && header.colours !== "cmyk" && samplesOf(header) > spooling.leastBytes;

/** The header of libvips's own format, which holds the samples as they are. */
const HEADER_BYTES = 64;

/**
 * Decodes an image into a file in the system's folder for temporary files, a few rows at a time. The file goes when it is
 * closed, and with the process. Errors: IMAGE_UNREADABLE, NO_SPACE, those of writing there.
 */
export async function spool(bytes: Uint8Array, header: Header, name: string): Promise<Spooled> {
  const { bits, colours, width, height } = header;
  const file = path.join(os.tmpdir(), `supersimplenet-${randomBytes(8).toString("hex")}.v`);
  const needed = samplesOf(header);
  let handle: FileHandle | undefined;
  try {
    const { bavail, bsize } = await statfs(os.tmpdir());
    if (bavail * bsize < needed)
      throw new SuperSimpleNetError(
        "NO_SPACE",
        `Image ${name} is decoded into ${os.tmpdir()}, which has ${Math.floor((bavail * bsize) / 2 ** 20)} MiB left; it takes ${Math.ceil(needed / 2 ** 20)} MiB.`,
        { path: os.tmpdir(), fix: "Make room there, or name another folder by TMPDIR." },
      );
    const space = colours === "grey" ? (bits === 16 ? "grey16" : "b-w") : bits === 16 ? "rgb16" : "srgb";
    const image = sharp(bytes, { ...header.input, sequentialRead: true }).removeAlpha();
    await image
      .pipelineColourspace(space)
      .toColourspace(space)
      .toFile(file)
      .catch((error: unknown) => Promise.reject(decodeFailure(name, error, bytesToSpool(header))));
    handle = await open(file, "r");
    // It needs no name from here on; where an open file keeps it, it goes when that is closed.
    if (process.platform !== "win32") await rm(file);
    return opened(handle, file, { bits, channels: colours === "grey" ? 1 : 3, width, height });
  } catch (error) {
    await handle?.close();
    await rm(file, { force: true });
    throw types.isNativeError(error) && "syscall" in error ? fileError(error, "decode into", file) : error;
  }
}

function opened(
  handle: FileHandle,
  file: string,
  { bits, channels, width }: { bits: number; channels: 1 | 3; width: number; height: number },
): Spooled {
  const stride = (width * channels * bits) / 8;
  return {
    channels,
    async rows(first, count) {
      const data = new Uint8Array(count * stride);
      for (let at = 0; at < data.length;) {
        const { bytesRead } = await handle.read(data, at, data.length - at, HEADER_BYTES + first * stride + at);
        if (bytesRead === 0) throw fileError(Object.assign(new Error("it ends early"), { code: "EIO" }), "read", file);
        at += bytesRead;
      }
      return bits === 16 ? new Uint16Array(data.buffer) : data;
    },
    close() {
      const remove = async (): Promise<void> => {
        await handle.close();
        if (process.platform === "win32") await rm(file, { force: true });
      };
      void unheeded(remove());
    },
  };
}
