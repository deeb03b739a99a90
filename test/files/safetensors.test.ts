import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { packaged } from "../../lib/backbones/catalogue.js";
import { SuperSimpleNetError } from "../../lib/errors.js";
import { readMetadata, readTensors, writeTensors } from "../../lib/files/tensors.js";
import type { TensorMap } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { failure } from "../datasets/files.js";
import { failsWith, mutate, temporaryFolder } from "./support.js";
import { torchZip } from "./torch_save.js";

const folder = temporaryFolder();

const tensors: TensorMap = {
  b: { dtype: "float32", shape: [2, 3], data: Float32Array.of(1, 2, 3, -4, 5.5, NaN) },
  a: { dtype: "bool", shape: [3], data: Uint8Array.of(1, 0, 1) },
  'ü"\\\n': { dtype: "float64", shape: [], data: Float64Array.of(Math.PI) },
  half: { dtype: "float16", shape: [1], data: Uint16Array.of(0x3c00) },
  bf: { dtype: "bfloat16", shape: [1], data: Uint16Array.of(0x3f80) },
  long: { dtype: "int64", shape: [1], data: BigInt64Array.of(-(2n ** 60n)) },
  int: { dtype: "int32", shape: [1], data: Int32Array.of(-7) },
  short: { dtype: "int16", shape: [1], data: Int16Array.of(-300) },
  char: { dtype: "int8", shape: [1], data: Int8Array.of(-3) },
  byte: { dtype: "uint8", shape: [2], data: Uint8Array.of(3, 250) },
  empty: { dtype: "float32", shape: [0, 4], data: new Float32Array(0) },
};
const metadata = { z: "last", a: 'quote " and\nline' };

/** A file with the given JSON header and data. */
function withHeader(header: string | Buffer | object, data = Buffer.alloc(0)): Buffer {
  const json = Buffer.isBuffer(header)
    ? header
    : Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, data]);
}

test("every element type and the metadata survive a round trip", async () => {
  const file = path.join(folder, "all.safetensors");
  await writeTensors(file, tensors, metadata);
  const read = await readTensors(file);
  assert.equal(read.format, "safetensors");
  assert.deepEqual(read.metadata, metadata);
  assert.deepEqual(read.tensors, Object.fromEntries(Object.entries(tensors).sort(([x], [y]) => (x < y ? -1 : 1))));
  assert.deepEqual(Object.keys((await readTensors(file, ["b", "lo"])).tensors), ["b", "bf", "byte", "long"]);
});

test("tensors in shared memory, in the middle of a buffer, and of more than a MiB", async () => {
  const file = path.join(folder, "memory.safetensors");
  const shared = new Float32Array(new SharedArrayBuffer(24), 8, 3);
  shared.set([1, 2, 3]);
  const large = new Float32Array(300_001).map((_, i) => i);
  await writeTensors(
    file,
    {
      shared: { dtype: "float32", shape: [3], data: shared },
      large: { dtype: "float32", shape: [300_000], data: large.subarray(1) },
    },
    {},
  );
  const read = (await readTensors(file)).tensors;
  assert.deepEqual(read["shared"]!.data, Float32Array.of(1, 2, 3));
  assert.deepEqual(read["large"]!.data, large.slice(1));
  structuredClone(large.buffer, { transfer: [large.buffer] });
  await assert.rejects(
    writeTensors(file, { w: { dtype: "float32", shape: [300_000], data: large } }, {}),
    failure("WEIGHTS_INVALID", "'w'", "0 elements, not 300000", "transferred"),
  );
});

test("the same content gives the same bytes, aligned, and the header parses as JSON", async () => {
  const [one, two] = [path.join(folder, "1"), path.join(folder, "2")];
  await writeTensors(one, tensors, metadata);
  await writeTensors(two, Object.fromEntries(Object.entries(tensors).reverse()), {
    a: metadata.a,
    z: metadata.z,
  });
  const bytes = readFileSync(one);
  assert.deepEqual(bytes, readFileSync(two));
  const length = Number(bytes.readBigUInt64LE());
  assert.equal(length % 8, 0);
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<
    string,
    { dtype: string; data_offsets: [number, number] }
  >;
  const { "supersimplenet.checksum": checksum, ...own } = header["__metadata__"] as unknown as Record<string, string>;
  assert.deepEqual(own, metadata);
  assert.match(checksum!, /^[0-9a-f]{16}$/);
  for (const [name, entry] of Object.entries(header))
    if (entry.dtype === "F32") assert.equal(entry.data_offsets[0] % 4, 0, name);
});

test("the metadata is read alone", async () => {
  const file = path.join(folder, "metadata.safetensors");
  await writeTensors(file, tensors, metadata);
  assert.deepEqual(await readMetadata(file), metadata);
  writeFileSync(file, torchZip({ dict: [] }, []));
  assert.deepEqual(await readMetadata(file), {});
  writeFileSync(file, "neither");
  await failsWith(readMetadata(file), "FILE_CORRUPT", /neither a safetensors file nor a PyTorch file/);
});

test("the tensors that are written are those of the call, whatever becomes of them", async () => {
  const file = path.join(folder, "changed.safetensors");
  const data = new Float32Array(300_000).fill(1);
  const written = writeTensors(file, { x: { dtype: "float32", shape: [300_000], data } }, {});
  data.fill(2);
  await written;
  assert.equal((await readTensors(file)).tensors["x"]!.data.at(-1), 1);
});

test("many writers of one file: the last one wins, and nothing else is left", async () => {
  const own = path.join(folder, "many");
  mkdirSync(own);
  const file = path.join(own, "m.safetensors");
  const of = (value: number): TensorMap => ({ x: { dtype: "int8", shape: [1], data: Int8Array.of(value) } });
  await Promise.all(Array.from({ length: 8 }, (_, i) => writeTensors(file, of(i), {})));
  assert.deepEqual(Object.keys((await readTensors(file)).tensors), ["x"]);
  assert.deepEqual(readdirSync(own), ["m.safetensors"]);
});

test("a tensor that no memory can hold", { skip: process.platform === "win32" && "no sparse files" }, async () => {
  const file = path.join(folder, "sparse");
  const bytes = 2 ** 42;
  const head = withHeader({ x: { dtype: "U8", shape: [bytes], data_offsets: [0, bytes] } });
  writeFileSync(file, head);
  truncateSync(file, head.length + bytes);
  await failsWith(readTensors(file), "OUT_OF_MEMORY", /no memory for 4398046511104 bytes of .*sparse/);
});

test("a bit that has changed, anywhere in a file that was written here, is found", async () => {
  const file = path.join(folder, "flipped");
  await writeTensors(file, tensors, metadata);
  const bytes = readFileSync(file);
  assert.deepEqual((await readTensors(file)).metadata, metadata);
  const harmless: number[] = []; // but for the checksum's own name: under another it is metadata like any other
  for (let at = 0; at < bytes.length; at++) {
    const damaged = Buffer.from(bytes);
    damaged[at]! ^= 1 << (at % 8);
    writeFileSync(file, damaged);
    await readTensors(file).then(
      ({ metadata: found }) => void (Object.keys(found).length === Object.keys(metadata).length && harmless.push(at)),
      (error: unknown) =>
        assert.ok(
          error instanceof SuperSimpleNetError && /^(FILE_CORRUPT|WEIGHTS_INVALID|MODEL_INVALID)$/.test(error.code),
          String(error),
        ),
    );
  }
  assert.deepEqual(harmless, []);
});

test("empty tensors, which lie where another one begins, do not change the checksum's order", async () => {
  const file = path.join(folder, "empty tensors");
  const byte = (length: number): TensorMap[string] => ({
    dtype: "uint8",
    shape: [length],
    data: new Uint8Array(length).fill(7),
  });
  const wide = (length: number): TensorMap[string] => ({
    dtype: "int64",
    shape: [length],
    data: new BigInt64Array(length),
  });
  const cases: TensorMap[] = [
    { a: byte(5), b: wide(0) },
    { a: wide(0), b: byte(5), c: byte(0) },
    { a: byte(0), b: byte(3), c: wide(2), d: wide(0) },
  ];
  for (const some of cases) {
    await writeTensors(file, some, {});
    assert.deepEqual((await readTensors(file)).tensors, some);
  }
});

test("an existing file is replaced and no temporary file stays", async () => {
  const own = path.join(folder, "replace");
  mkdirSync(own);
  const file = path.join(own, "m.safetensors");
  writeFileSync(file, "old");
  await writeTensors(file, { x: { dtype: "int8", shape: [1], data: Int8Array.of(1) } }, {});
  assert.equal((await readTensors(file)).tensors["x"]!.data[0], 1);
  assert.deepEqual(readdirSync(own), ["m.safetensors"]);
});

test("file system failures have their codes", async () => {
  await failsWith(readTensors(path.join(folder, "none")), "FILE_NOT_FOUND", /none: it does not exist/);
  await failsWith(readTensors(folder), "FILE_ERROR", /it is a folder/);
  await failsWith(writeTensors(path.join(folder, "no/such/x"), tensors, {}), "FILE_NOT_FOUND", /folder does not exist/);
  await failsWith(writeTensors(folder, tensors, {}), "FILE_ERROR", /it is a folder/);
  for (const file of ["\0", path.join(folder, "all.safetensors\0.bak")]) {
    const refused = failure("INVALID_OPTION", `'${file.replace("\0", "\\0")}' is no path`, "NUL");
    await assert.rejects(readTensors(file), refused);
    await assert.rejects(engine().readPickle(file), refused);
    await assert.rejects(writeTensors(file, tensors, {}), refused);
  }
  if (existsSync("/dev/null")) await failsWith(readTensors("/dev/null"), "FILE_ERROR", /it is a device/);
});

test(
  "a write that fails half way leaves the old file and nothing else",
  { skip: process.platform === "win32" && "needs ulimit" },
  () => {
    const own = path.join(folder, "full");
    mkdirSync(own);
    const file = path.join(own, "m.safetensors");
    writeFileSync(file, "old");
    // A file size limit of 8 blocks fails in the middle of the write, as a full disk does.
    const script = `require(${JSON.stringify(require.resolve("../../lib/files/tensors.js"))})
    .writeTensors(${JSON.stringify(file)}, { x: { dtype: "float32", shape: [1 << 20], data: new Float32Array(1 << 20) } }, {})
    .then(() => console.log("written"), (error) => console.log(error.code, error.message))`;
    const child = spawnSync("sh", ["-c", 'ulimit -f 8; exec "$0" -e "$1"', process.execPath, script], {
      encoding: "utf8",
    });
    assert.match(child.stdout, /^FILE_ERROR Cannot write .*m\.safetensors: EFBIG: file too large/);
    assert.deepEqual(readdirSync(own), ["m.safetensors"]);
    assert.equal(readFileSync(file, "utf8"), "old");
  },
);

test("malformed headers are refused by name", async () => {
  const file = path.join(folder, "bad");
  const entry = { dtype: "F32", shape: [2], data_offsets: [0, 8] };
  const data = Buffer.alloc(8);
  const huge = Buffer.alloc(16, "{");
  huge.writeBigUInt64LE(2n ** 63n);
  const cases: [Buffer, RegExp][] = [
    [huge, /header claims 9223372036854775808 bytes/],
    [withHeader({ x: { ...entry, shape: [3] } }, data), /'x' needs 12 bytes, its data has 8/],
    [withHeader({ x: { ...entry, shape: [2 ** 53, 2 ** 53, 2 ** 53] } }, data), /shape of 'x' overflows/],
    [withHeader({ x: { ...entry, shape: [0, 2 ** 52, 2 ** 52], data_offsets: [0, 0] } }), /shape of 'x' overflows/],
    [withHeader({ x: { ...entry, data_offsets: [8, 16] } }, data), /'x' lies at 8\.\.16 of 8/],
    [withHeader({ x: { ...entry, data_offsets: [8, 0] } }, data), /'x' lies at 8\.\.0/],
    [withHeader({ x: entry, y: entry }, data), /before 'y' overlaps|before 'x' overlaps/],
    [withHeader({ x: entry }, Buffer.alloc(12)), /4 bytes follow the last tensor/],
    [
      withHeader(
        '{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"x":{"dtype":"F32","shape":[0],"data_offsets":[8,8]}}',
        data,
      ),
      /'x' appears twice/,
    ],
    [withHeader({ x: { ...entry, dtype: "F31" } }, data), /unknown type 'F31'/],
    [withHeader({ x: { dtype: "F32", shape: [2] } }, data), /lacks dtype, shape or data_offsets/],
    [withHeader({ x: { ...entry, shape: [-2] } }, data), /non-negative whole number/],
    [withHeader({ x: { ...entry, shape: ["2"] } }, data), /non-negative whole number/],
    [withHeader(`{"x":${"[".repeat(100000)}`), /nests too deep/],
    [withHeader(`{"x":{"shape":[${"0,".repeat(2_000_001)}`), /more than 2 million values/],
    [withHeader('{"x":{}'), /header is not JSON/],
    [withHeader('{"x":{}}'), /'x' lacks dtype/],
    [withHeader('{"x":5}'), /'x' is no object/],
    [withHeader({ x: { ...entry, shape: 2 } }, data), /non-negative whole number/],
    [withHeader({ x: { ...entry, data_offsets: [0, 4, 8] } }, data), /'x' needs two data_offsets/],
    [withHeader({ x: { ...entry, size: 2 } }, data), /'x' has an unexpected 'size'/],
    [withHeader({ x: { ...entry, shape: Array(65).fill(1) } }, data), /'x' has 65 dimensions/],
    [withHeader('{"x":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}', data), /whole number is missing, '\.'/],
    [withHeader('{"x":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}}', data), /'shape' appears twice/],
    [withHeader('{"__metadata__":{"a":"1","\\u0061":"2"}}'), /'a' appears twice/],
    [withHeader('{"__metadata__":{},"__metadata__":{}}'), /'__metadata__' appears twice/],
    [withHeader({ __metadata__: { a: 1 } }), /metadata 'a' is no text/],
    [withHeader({ __metadata__: [] }), /__metadata__ is no object/],
    [withHeader('{"__metadata__":null}'), /whole number is missing, 'n'/],
    [withHeader('{"__metadata__":{"__proto__":"x"}}'), /__proto__/],
    [withHeader('{"__metadata__":{"a":"\\uDC00"}}'), /metadata 'a' is no text/],
    [withHeader('{"a\\q":{}}'), /header is not JSON/],
    [withHeader('{"a\tb":{}}'), /header is not JSON/],
    [withHeader("{} {}"), /header is not JSON/],
    [withHeader(Buffer.from('{"\xff":{}}', "latin1")), /not UTF-8/],
    [withHeader('{"a\\uD800":{}}'), /surrogate/],
    [withHeader({ x: entry }, data.subarray(0, 7)), /'x' lies at 0\.\.8 of 7/],
    [withHeader(`{"__proto__":${JSON.stringify(entry)}}`, data), /__proto__/],
    [Buffer.from("version https://git-lfs.github.com/spec/v1"), /Git LFS pointer/],
    [Buffer.from("<!DOCTYPE html><html>"), /web page/],
    [Buffer.alloc(0), /empty/],
  ];
  for (const [bytes, message] of cases) {
    writeFileSync(file, bytes);
    await failsWith(readTensors(file), "FILE_CORRUPT", message);
  }
  writeFileSync(file, withHeader({ x: { dtype: "F8_E4M3", shape: [1], data_offsets: [0, 1] } }, Buffer.alloc(1)));
  await failsWith(readTensors(file), "WEIGHTS_INVALID", /'x' has the type F8_E4M3/);
});

test("cut and changed files are read or refused, never worse", async () => {
  const file = path.join(folder, "fuzz");
  await writeTensors(file, { x: tensors["b"]!, y: tensors["a"]! }, { k: "v" });
  const outcome = await mutate(file, readFileSync(file), 4000, (path) => readTensors(path));
  assert.ok(outcome.read > 50 && outcome.refused > 500, JSON.stringify(outcome));
});

test("a file that the safetensors library wrote", async () => {
  const { tensors: read } = await readTensors(packaged.path, ["layer3."]);
  assert.equal(Object.keys(read).length, 25);
  assert.deepEqual(read["layer3.0.conv1.weight"]!.shape, [256, 128, 3, 3]);
});
