import { types } from "node:util";

import { hasCode, SuperSimpleNetError } from "../errors.js";
import { addressSpaceLeft } from "../machine.js";
import { outOfMemory } from "./budget.js";

/** What a decoder takes beside the pixels: threads, tables. */
const LITTLE = 64 * 2 ** 20;

/** IMAGE_UNREADABLE: which image, why, and what to do. */
export function unreadable(name: string, reason: string, cause?: unknown): SuperSimpleNetError {
  return new SuperSimpleNetError("IMAGE_UNREADABLE", `Cannot read image ${name}: ${reason}`, { cause, path: name });
}

/** Whether an error is about one image, so that others can still be judged. */
export const isUnreadable = (error: unknown): error is SuperSimpleNetError =>
  hasCode(error, "IMAGE_UNREADABLE", "VIEW_MISMATCH", "OUT_OF_MEMORY", "FILE_NOT_FOUND", "NO_PERMISSION", "FILE_ERROR");

/** IMAGE_UNREADABLE for an image that is whole, but of a kind that is not read. `kind` is a clause: "its compression is ZSTD". */
export const notRead = (name: string, kind: string, convert: string): SuperSimpleNetError =>
  unreadable(name, `${kind}, which is not read. ${convert}`);

/** What a decoder that failed on an image's pixels comes to. Every failed decode goes through here. */
export function decodeFailure(name: string, error: unknown, bytes: number): SuperSimpleNetError {
  if (error instanceof SuperSimpleNetError) return error;
  const memory = memoryFailure(name, error, bytes);
  if (memory) return memory;
  const why = firstLine(error);
  return /not (configured|implemented|supported)/i.test(why)
    ? unreadable(name, `it is of a kind that is not read (${why}). Convert it, for example to PNG.`, error)
    : unreadable(name, `it is damaged or truncated. (${why})`, error);
}

/** OUT_OF_MEMORY where a decoder says that there was none, or may have lacked it. `bytes`: what it needed. */
export function memoryFailure(name: string, error: unknown, bytes = LITTLE): SuperSimpleNetError | undefined {
  const message = types.isNativeError(error) ? error.message : String(error);
  const says =
    /out of memory|creating thread|(not enough|insufficient) memory|alloc.*fail|(unable|cannot|failed|could not) (to )?m?alloc/i;
  if (says.test(message)) return outOfMemory(name, `the decoder says '${firstLine(error)}'`, error);
  // Some decoders do not say what they lacked.
  const left = addressSpaceLeft();
  return left < bytes + LITTLE
    ? outOfMemory(name, `'${firstLine(error)}', with ${Math.floor(left / 2 ** 20)} MiB of address space left`, error)
    : undefined;
}

/** One line of sharp's message, which can repeat itself over several. */
export function firstLine(error: unknown): string {
  return (types.isNativeError(error) ? error.message : String(error)).split("\n")[0]!.trim();
}
