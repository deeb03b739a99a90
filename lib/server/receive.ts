import { open } from "node:fs/promises";
import type { Readable } from "node:stream";

import { fileError } from "../errors.js";
import { HttpError } from "./errors.js";

/**
 * Writes what a request sends to a file that does not exist yet. The connection stays, so that a request which fails here is
 * answered. Errors: TOO_LARGE, NO_SPACE, NO_PERMISSION, FILE_ERROR, and the connection's own.
 */
export async function receiveFile(body: Readable, file: string, mostBytes: number): Promise<void> {
  const writing = <T>(step: Promise<T>): Promise<T> =>
    step.catch((error: unknown) => Promise.reject(fileError(error, "write model", file)));
  const handle = await writing(open(file, "wx", 0o644));
  try {
    let bytes = 0;
    for await (const chunk of body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > mostBytes)
        throw new HttpError("TOO_LARGE", `At most ${mostBytes} bytes are read.`, { connection: "close" });
      await writing(handle.writeFile(chunk));
    }
  } finally {
    await handle.close();
  }
}
