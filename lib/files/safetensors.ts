/**
 * safetensors: 8 bytes of header length (little-endian), a JSON header, then the tensors' bytes without gaps.
 *
 *   {"__metadata__": {name: text}, tensor: {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}}
 *
 * Files that are written here hold a checksum of header and tensors in the metadata; a whole file that has one is
 * verified. Source: https://huggingface.co/docs/safetensors (format).
 */
import { isUtf8 } from "node:buffer";

import { SuperSimpleNetError } from "../errors.js";
import type { Dtype, NativeTensor, TensorMap } from "../native/binding.js";
import { openEngine } from "../native/engine.js";
import { pieceEnds, turns } from "../turns.js";
import { allocate, type InputFile } from "./input.js";

interface ElementType {
  bytes: number;
  /** Undefined: the format knows the type, this package does not. */
  dtype?: Dtype;
  array?: new (buffer: ArrayBuffer) => NativeTensor["data"];
}

const elementTypes: Record<string, ElementType> = {
  F32: { bytes: 4, dtype: "float32", array: Float32Array },
  F64: { bytes: 8, dtype: "float64", array: Float64Array },
  F16: { bytes: 2, dtype: "float16", array: Uint16Array },
  BF16: { bytes: 2, dtype: "bfloat16", array: Uint16Array },
  I64: { bytes: 8, dtype: "int64", array: BigInt64Array },
  I32: { bytes: 4, dtype: "int32", array: Int32Array },
  I16: { bytes: 2, dtype: "int16", array: Int16Array },
  I8: { bytes: 1, dtype: "int8", array: Int8Array },
  U8: { bytes: 1, dtype: "uint8", array: Uint8Array },
  BOOL: { bytes: 1, dtype: "bool", array: Uint8Array },
  U16: { bytes: 2 },
  U32: { bytes: 4 },
  U64: { bytes: 8 },
  F8_E5M2: { bytes: 1 },
  F8_E4M3: { bytes: 1 },
  C64: { bytes: 8 },
};

interface Entry {
  name: string;
  /** Key of elementTypes. */
  type: string;
  shape: number[];
  begin: number;
  end: number;
}

interface Header {
  entries: Entry[];
  metadata: Record<string, string>;
  /** As they stand in the file. */
  bytes: Buffer;
}

/** Of a tensor that is written: its owner may change the rest of a larger one before that is copied. */
const copiedAtOnce = 2 ** 22;
const checksumName = "supersimplenet.checksum";
const noChecksum = "0".repeat(16);

/** Reads the header alone. Throws FILE_CORRUPT. */
export async function readSafetensorsMetadata(file: InputFile): Promise<Record<string, string>> {
  return withoutChecksum((await readHeader(file)).metadata);
}

/**
 * Reads the tensors. With `names`, only those whose name starts with one of them: a part cannot be verified. `onRead`
 * gets the tensors before they are. `device`: for openEngine. Throws FILE_CORRUPT, WEIGHTS_INVALID for a wanted tensor
 * whose element type has no form here, and OUT_OF_MEMORY.
 */
export async function readSafetensors(
  file: InputFile,
  names?: readonly string[],
  onRead?: (tensors: TensorMap) => void,
  device?: string,
): Promise<{ tensors: TensorMap; metadata: Record<string, string> }> {
  const header = await readHeader(file);
  const data = 8 + header.bytes.length;
  const tensors: TensorMap = {};
  for (const { name, type, shape, begin, end } of header.entries) {
    if (names && !names.some((start) => name.startsWith(start))) continue;
    const { dtype, array } = elementTypes[type]!;
    if (!dtype || !array) {
      const message = `${file.path}: tensor '${name}' has the type ${type}, which is not supported; convert it to float32.`;
      throw new SuperSimpleNetError("WEIGHTS_INVALID", message, { path: file.path });
    }
    tensors[name] = { dtype, shape, data: new array((await file.read(data + begin, end - begin)).buffer) };
  }
  onRead?.(tensors);
  if (!names) await verify(file, header, tensors, device);
  // Another byte than 0 and 1 in a bool is undefined behaviour in C++. Not before: the checksum is of the file's bytes.
  for (const { dtype, data } of Object.values(tensors))
    if (dtype === "bool") for (let i = 0; i < data.length; i++) data[i] = data[i] ? 1 : 0;
  return { tensors, metadata: withoutChecksum(header.metadata) };
}

function withoutChecksum(metadata: Record<string, string>): Record<string, string> {
  const { [checksumName]: _, ...own } = metadata;
  return own;
}

async function readHeader(file: InputFile): Promise<Header> {
  const limit = 100_000_000; // of the reference implementation
  const length = (await file.read(0, 8)).readBigUInt64LE();
  if (length > limit || length > file.size - 8)
    throw file.corrupt(`its header claims ${length} bytes, the file has ${file.size}`);
  const bytes = await file.read(8, Number(length));
  const { __metadata__: metadata = {}, ...tensors } = parseHeader(file, bytes);
  const entries = Object.entries(tensors).map(([name, value]) => entryOf(file, name, value));
  checkLayout(file, entries, file.size - 8 - bytes.length);
  checkMetadata(file, metadata);
  return { entries, metadata, bytes };
}

function parseHeader(file: InputFile, bytes: Buffer): Record<string, unknown> {
  if (!isUtf8(bytes)) throw file.corrupt("its header is not UTF-8");
  const text = bytes.toString();
  try {
    checkTokens(file, text);
    return JSON.parse(text) as Record<string, unknown>; // an object: it begins with a brace
  } catch (error) {
    if (error instanceof SuperSimpleNetError) throw error;
    throw file.corrupt(`its header is not JSON: ${(error as Error).message}`, error);
  }
}

/**
 * Refuses what JSON.parse accepts and the format does not: a name twice, any other number, deep nesting. Also more values
 * than any network has: V8 ends the process where its heap is full.
 */
function checkTokens(file: InputFile, text: string): void {
  const fail = (at: number, what: string): never => {
    throw file.corrupt(`its header is wrong at character ${at}: ${what}`);
  };
  const open: (Set<string> | undefined)[] = []; // names of each open object; undefined for an array
  let before = "";
  let commas = 0;
  for (let at = 0; at < text.length; at++) {
    const start = at;
    const token = text[at]!;
    if (" \n\r\t".includes(token)) continue;
    if (token === '"') {
      for (at++; at < text.length && text[at] !== '"'; at++) if (text[at] === "\\") at++;
      const names = before === "{" || before === "," ? open.at(-1) : undefined;
      if (names) {
        const name = JSON.parse(text.slice(start, at + 1)) as string;
        if (names.has(name)) fail(start, `'${name}' appears twice`);
        if (/\p{Surrogate}/u.test(name)) fail(start, "half of a surrogate pair is missing");
        if (name === "__proto__") fail(start, "a tensor or metadata is named '__proto__'");
        names.add(name);
      }
    } else if (token === "{" || token === "[") {
      if (open.push(token === "{" ? new Set() : undefined) > 3) fail(at, "it nests too deep");
    } else if (token === "}" || token === "]") {
      open.pop();
    } else if (token === ",") {
      if (++commas > 2_000_000) fail(at, "it holds more than 2 million values");
    } else if (!":0123456789".includes(token)) {
      fail(at, `a non-negative whole number is missing, '${token}' is there`);
    }
    before = token;
  }
}

function checkMetadata(file: InputFile, metadata: unknown): asserts metadata is Record<string, string> {
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata))
    throw file.corrupt("its __metadata__ is no object");
  for (const [key, value] of Object.entries(metadata))
    if (typeof value !== "string" || /\p{Surrogate}/u.test(value))
      throw file.corrupt(`the metadata '${key}' is no text`);
}

function entryOf(file: InputFile, name: string, value: unknown): Entry {
  const fail = (what: string): never => {
    throw file.corrupt(`its header is wrong: '${name}' ${what}`);
  };
  if (typeof value !== "object" || value === null) return fail("is no object");
  const { dtype, shape, data_offsets: offsets, ...others } = value as Record<string, unknown>;
  const [unexpected] = Object.keys(others);
  if (unexpected !== undefined) fail(`has an unexpected '${unexpected}'`);
  if (dtype === undefined || shape === undefined || offsets === undefined) fail("lacks dtype, shape or data_offsets");
  if (typeof dtype !== "string" || !Object.hasOwn(elementTypes, dtype)) return fail(`has the unknown type '${dtype}'`);
  for (const list of [shape, offsets])
    if (!Array.isArray(list) || list.some((item) => typeof item !== "number"))
      fail("has a shape or data_offsets in which a non-negative whole number is missing");
  const [begin, end, more] = offsets as number[];
  if (begin === undefined || end === undefined || more !== undefined) return fail("needs two data_offsets");
  if ((shape as number[]).length > 64) fail(`has ${(shape as number[]).length} dimensions`);
  return { name, type: dtype, shape: shape as number[], begin, end };
}

/** Every tensor has the bytes that its shape needs, and together they fill the data: no overlap, no gap. */
function checkLayout(file: InputFile, entries: readonly Entry[], dataBytes: number): void {
  for (const { name, type, shape, begin, end } of entries) {
    if (begin > end || end > dataBytes)
      throw file.corrupt(`'${name}' lies at ${begin}..${end} of ${dataBytes} bytes of data`);
    // Sizes behind a zero must not overflow either: libtorch multiplies them.
    const nonzero = shape
      .filter((size) => size > 0)
      .reduce((product, size) => product * size, elementTypes[type]!.bytes);
    if (nonzero > Number.MAX_SAFE_INTEGER) throw file.corrupt(`the shape of '${name}' overflows`);
    const bytes = shape.includes(0) ? 0 : nonzero;
    if (bytes !== end - begin)
      throw file.corrupt(`the shape of '${name}' needs ${bytes} bytes, its data has ${end - begin}`);
  }
  let position = 0;
  for (const { name, begin, end } of byPosition(entries)) {
    if (begin !== position) throw file.corrupt(`the data before '${name}' overlaps or has a gap`);
    position = end;
  }
  if (position !== dataBytes) throw file.corrupt(`${dataBytes - position} bytes follow the last tensor`);
}

const byPosition = (entries: readonly Entry[]): Entry[] =>
  [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end);

async function verify(
  file: InputFile,
  { entries, metadata, bytes }: Header,
  tensors: TensorMap,
  device: string | undefined,
): Promise<void> {
  const written = metadata[checksumName];
  if (written === undefined) return;
  const header = Buffer.from(bytes);
  const at = header.indexOf(checksumEntry(written));
  if (at >= 0) header.write(checksumEntry(noChecksum), at);
  const data = byPosition(entries).map(({ name }) => bytesOf(tensors[name]!.data));
  if ((await checksum([header, ...data], device)) !== written)
    throw file.corrupt(
      "its checksum is not that of its contents, which have changed since they were written (a tool that changes them " +
        `on purpose has to leave the entry ${checksumName} out)`,
    );
}

/** As it stands in a header; within a text its quotes would be escaped. */
const checksumEntry = (value: string): string => `${quoted(checksumName)}:${quoted(value)}`;

/** Of the header, in which the checksum itself counts as zeros, and then of the tensors as they lie. */
async function checksum(parts: readonly Uint8Array[], device?: string): Promise<string> {
  const native = await openEngine(device);
  let sum = 0n;
  const breathe = turns();
  for (const part of parts) {
    sum = native.checksum(part, sum);
    await breathe(part.length);
  }
  return sum.toString(16).padStart(16, "0");
}

/** A whole file in memory, but for its checksum. */
export interface Encoded {
  file: Buffer;
  header: Buffer;
  /** In the order in which they lie. */
  tensors: Buffer[];
}

/**
 * Copies the tensors, so that the file is what its checksum says even if their owner changes them while it is written.
 * The same tensors and metadata always give
 * the same bytes: the header lists names in byte order, the data lies by falling element size and then by name (so that
 * every tensor is aligned), and the header is padded to 8 bytes. Throws WEIGHTS_INVALID for data that do not fit their
 * shape, and OUT_OF_MEMORY.
 */
export async function encodeSafetensors(
  path: string,
  tensors: TensorMap,
  metadata: Record<string, string>,
): Promise<Encoded> {
  const named = inByteOrder(tensors).map(([name, tensor]) => ({ name, tensor, type: typeOf(name, tensor) }));
  const order = [...named].sort((a, b) => elementTypes[b.type]!.bytes - elementTypes[a.type]!.bytes);
  const offsets = new Map<string, [number, number]>();
  let dataBytes = 0;
  for (const { name, tensor } of order) offsets.set(name, [dataBytes, (dataBytes += tensor.data.byteLength)]);

  const texts = [...inByteOrder(metadata), [checksumName, noChecksum] as const];
  const entries = named.map(
    ({ name, tensor, type }) =>
      `${quoted(name)}:{"dtype":"${type}","shape":[${tensor.shape.join()}],"data_offsets":[${offsets.get(name)!.join()}]}`,
  );
  const own = texts.map(([key, value]) => `${quoted(key)}:${quoted(value)}`).join();
  const header = Buffer.from(`{${[`"__metadata__":{${own}}`, ...entries].join()}}`);
  const start = 8 + Math.ceil(header.length / 8) * 8;

  const file = allocate(start + dataBytes, path);
  file.writeBigUInt64LE(BigInt(start - 8));
  file.fill(" ", 8, start).set(header, 8);
  const copies: Buffer[] = [];
  const breathe = turns();
  for (const { name, tensor } of order) {
    const [begin, end] = offsets.get(name)!;
    for (const [from, to] of pieceEnds(end - begin, copiedAtOnce)) {
      typeOf(name, tensor); // again: the buffer may have been transferred in an earlier turn
      file.set(bytesOf(tensor.data).subarray(from, to), start + begin + from);
      await breathe(to - from);
    }
    copies.push(file.subarray(start + begin, start + end));
  }
  return { file, header: file.subarray(8, start), tensors: copies };
}

/** Puts the checksum in its place. */
export async function sealSafetensors({ header, tensors }: Encoded): Promise<void> {
  const value = await checksum([header, ...tensors]);
  header.write(checksumEntry(value), header.indexOf(checksumEntry(noChecksum)));
}

/** Key of elementTypes. */
function typeOf(name: string, { dtype, shape, data }: NativeTensor): string {
  const [type, { array }] = Object.entries(elementTypes).find(([, known]) => known.dtype === dtype)!;
  const elements = shape.reduce((product, size) => product * size, 1);
  // Not instanceof: the array may come from another realm.
  if (data[Symbol.toStringTag] !== array!.name || data.length !== elements)
    throw new SuperSimpleNetError(
      "WEIGHTS_INVALID",
      `The data of tensor '${name}' does not fit its dtype ${dtype} and its shape: it has ${data.length} elements, not ` +
        `${elements}${data.length === 0 ? ". Was its buffer transferred to another thread?" : "."}`,
    );
  return type;
}

const bytesOf = (data: NativeTensor["data"]): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

const inByteOrder = <T>(record: Record<string, T>): [string, T][] =>
  Object.entries(record).sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

/** Not JSON.stringify, which has short escapes for some characters: files keep their bytes. */
function quoted(text: string): string {
  const escaped = text.replace(/[\0-\x1f"\\]/g, (c) =>
    c < " " ? `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}` : `\\${c}`,
  );
  return `"${escaped}"`;
}
