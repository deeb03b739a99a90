import { fileURLToPath } from "node:url";
import { types } from "node:util";

import { z } from "zod";

import { fileError, invalid, SuperSimpleNetError } from "../errors.js";
import { readRegular } from "../files/input.js";
import { checkNames, checkPath, checkValue } from "../schema/check.js";
import { outOfMemory } from "./budget.js";
import { unreadable } from "./unreadable.js";

/** Pixels that are already decoded: uint8, row-major, channels interleaved. One channel is grey; a fourth (alpha) is dropped. */
export interface RawImage {
  data: Uint8Array;
  width: number;
  height: number;
  channels: 1 | 3 | 4;
}

/** A file's path or `file:` URL, an encoded image, or raw pixels. */
export type ImageSource = string | URL | Uint8Array | ArrayBuffer | Blob | RawImage;

/** A source in one of three forms: a path, the bytes of an encoded image, or raw pixels. */
export type PlainSource = string | Uint8Array | RawImage;

const EXPECTED =
  "a path, a file: URL, an encoded image (Buffer, Uint8Array, ArrayBuffer or Blob), or {data, width, height, channels}";

function refused(received: string, advice?: string): SuperSimpleNetError {
  return new SuperSimpleNetError("INVALID_OPTION", `Expected an image as ${EXPECTED} but received ${received}.`, {
    fix: advice,
  });
}

/** What JavaScript calls an object's kind, in any realm: "Blob", "URL", "Object". */
const kindOf = (value: object): string => Object.prototype.toString.call(value).slice(8, -1);

const isBlob = (value: object): value is Blob => ["Blob", "File"].includes(kindOf(value));
const isUrl = (value: object): value is URL => kindOf(value) === "URL";

/**
 * Settles the form of a source, at once but for a Blob. Throws INVALID_OPTION that names what came instead of an image, and
 * for raw pixels that do not fit together.
 */
export function plainSource(source: unknown): PlainSource | Promise<PlainSource> {
  if (typeof source === "string") {
    checkPath("an image", "path", source);
    return source;
  }
  if (typeof source !== "object" || source === null) throw refused(source === null ? "null" : typeof source);
  if (types.isUint8Array(source)) return source;
  if (types.isArrayBuffer(source)) return new Uint8Array(source);
  if (isBlob(source) && typeof source.arrayBuffer === "function")
    return source.arrayBuffer().then((bytes) => new Uint8Array(bytes));
  if (isUrl(source)) return pathOf(source);
  return checkedRaw(source);
}

/** The file that a source names, if it names one. */
export function pathOfSource(source: ImageSource): string | undefined {
  if (typeof source === "string") return source;
  return isUrl(source) ? pathOf(source) : undefined;
}

function pathOf(url: URL): string {
  if (url.protocol !== "file:")
    throw refused(
      url.host === "" ? `a ${url.protocol} URL` : `the URL ${url.protocol}//${url.host}...`,
      "Fetch it first, and give its bytes.",
    );
  try {
    const file = fileURLToPath(url.href);
    checkPath("an image", "path", file);
    return file;
  } catch (cause) {
    if (cause instanceof SuperSimpleNetError) throw cause;
    throw new SuperSimpleNetError("INVALID_OPTION", `The URL ${url.href} names no file of this machine.`, { cause });
  }
}

const rawNames = ["data", "width", "height", "channels"] as const;
const side = z.int().min(1);

function checkedRaw(source: object): RawImage {
  if (ArrayBuffer.isView(source)) throw refused(kindOf(source));
  if (!rawNames.some((name) => name in source)) refuseObject(source);
  const image = source as RawImage;
  const where = "raw image";
  checkNames(where, image, rawNames);
  checkValue(where, "width", side, image.width);
  checkValue(where, "height", side, image.height);
  if (![1, 3, 4].includes(image.channels)) throw invalid(where, "channels", "1, 3 or 4", image.channels);
  if (!types.isUint8Array(image.data)) throw invalid(where, "data", "a Uint8Array", image.data);
  const expected = image.width * image.height * image.channels;
  if (image.data.length !== expected) {
    const size = `${image.width} x ${image.height} x ${image.channels} = ${expected} bytes`;
    throw invalid(where, "data", size, `${image.data.length} bytes`);
  }
  return image;
}

/** Refuses objects that people take for images by their names. */
function refuseObject(source: object): void {
  const { toBuffer, then } = source as { toBuffer?: unknown; then?: unknown };
  const name = (source as { constructor?: { name?: string } }).constructor?.name ?? "";
  if (typeof then === "function") throw refused("a Promise", "Await it.");
  if (name === "Sharp" && typeof toBuffer === "function")
    throw refused("a sharp object", "Give the bytes of 'await image.png().toBuffer()'.");
  if (Array.isArray(source)) throw refused("a list");
  if (name !== "" && name !== "Object") throw refused(`an object of class ${name}`);
}

/** What stands for an image in messages. */
export const nameOfSource = (source: string | Uint8Array): string =>
  typeof source === "string" ? source : `(buffer of ${source.length} bytes)`;

/** The bytes of an image file. Errors: FILE_NOT_FOUND, NO_PERMISSION, IMAGE_UNREADABLE (no regular file, an empty file). */
export async function readImageFile(file: string): Promise<Buffer> {
  let bytes: Buffer;
  try {
    bytes = await readRegular(file, unreadable);
  } catch (error) {
    throw fileError(allocationFailed(error, file), "read image", file);
  }
  if (bytes.length === 0) throw unreadable(file, "the file is empty (0 bytes). Copy or export it again.");
  return bytes;
}

/** A copy of an encoded image, whose owner may use the buffer again before it is decoded. */
export function copiedAtOnce(source: Uint8Array, name: string): Uint8Array {
  if (source.length === 0) throw unreadable(name, "the buffer is empty (0 bytes).");
  try {
    return new Uint8Array(source);
  } catch (error) {
    throw allocationFailed(error, name);
  }
}

/** Node and V8 throw a RangeError where there is no memory for a buffer. */
const allocationFailed = (error: unknown, name: string): unknown =>
  types.isNativeError(error) && error.name === "RangeError"
    ? outOfMemory(name, `its ${error.message.toLowerCase()}`, error)
    : error;

/** The bytes of an encoded image. */
export const bytesOf = async (source: string | Uint8Array, name: string): Promise<Uint8Array> =>
  typeof source === "string" ? readImageFile(source) : copiedAtOnce(source, name);
