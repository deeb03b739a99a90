import { createHash } from "node:crypto";
import { constants, type Stats } from "node:fs";
import { open, stat } from "node:fs/promises";

import { SuperSimpleNetError, throwIfAborted } from "./errors.js";

const step = 2 ** 20;

/** SHA-256 of a file, as sha256sum prints it. Throws the system's errors, FILE_ERROR for what is no regular file, ABORTED. */
export async function fileSha256(file: string, signal?: AbortSignal): Promise<string> {
  refuseOthers(file, await stat(file)); // before it is opened, which a device would notice
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    refuseOthers(file, await handle.stat());
    const hash = createHash("sha256");
    const chunk = Buffer.allocUnsafe(step);
    for (;;) {
      throwIfAborted(signal);
      const { bytesRead } = await handle.read(chunk, 0, step, null);
      if (bytesRead === 0) return hash.digest("hex");
      hash.update(chunk.subarray(0, bytesRead));
    }
  } finally {
    await handle.close();
  }
}

/** A pipe without a writer, or a device, would be read for ever. */
function refuseOthers(file: string, found: Stats): void {
  if (found.isFile()) return;
  throw new SuperSimpleNetError("FILE_ERROR", `Cannot read ${file}: it is no regular file.`, {
    path: file,
    fix: "Give a regular file.",
  });
}

/** Tells a file from the one that takes its place, and from itself once it was written to. Throws the system's errors. */
export async function fileIdentity(file: string): Promise<string> {
  const { ino, size, mtimeMs, ctimeMs } = await stat(file);
  return [ino, size, mtimeMs, ctimeMs].join(" ");
}
