import { open } from "node:fs/promises";

import { fileError } from "../errors.js";
import { engine } from "../native/engine.js";

/**
 * Keeps other programs out of a folder until the returned function is called or the process ends, however it does.
 * Undefined: another one has the folder.
 */
export async function tryLockFolder(folder: string): Promise<(() => Promise<void>) | undefined> {
  const handle = await open(folder, "r").catch((error: unknown) => Promise.reject(fileError(error, "open", folder)));
  if (engine().tryLock(handle.fd)) return () => handle.close();
  await handle.close();
  return undefined;
}
