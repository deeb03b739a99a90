import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import ts from "typescript";

import { packageFolder } from "../lib/native/locate.js";

/** docs/architecture.md, Folders, from the ground up: a file imports from its own floor and from lower ones. */
const page = readFileSync(path.join(packageFolder, "docs", "architecture.md"), "utf8");
const order = /a test keeps that order[^]*?```\n([^]*?)\n```/.exec(page)![1]!;
const floors = order
  .split("\n")
  .map((row) => row.split(", "))
  .reverse();

const lib = path.join(packageFolder, "lib");

/** The folder below lib/, or the name of a file in lib/ itself. */
const roomOf = (file: string): string => path.relative(lib, file).split(path.sep)[0]!.replace(/\.ts$/, "");

function floorOf(file: string): number {
  const floor = floors.findIndex((rooms) => rooms.includes(roomOf(file)));
  assert.notEqual(floor, -1, `lib/${roomOf(file)} has no floor: add it to the list in docs/architecture.md.`);
  return floor;
}

/** What a file imports from lib: statements, types and import() alike. */
function importsOf(file: string): string[] {
  const { importedFiles } = ts.preProcessFile(readFileSync(file, "utf8"), true, true);
  const own = importedFiles.map(({ fileName }) => fileName).filter((name) => name.startsWith("."));
  return own.map((name) => path.resolve(path.dirname(file), name.replace(/\.js$/, ".ts")));
}

const files = readdirSync(lib, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => path.join(lib, name));

test("nothing in lib imports from a floor above its own", () => {
  const shown = (file: string): string => path.relative(packageFolder, file);
  const upwards = files.flatMap((file) =>
    importsOf(file)
      .filter((imported) => floorOf(imported) > floorOf(file))
      .map((imported) => `${shown(file)} imports ${shown(imported)}, which stands above it`),
  );
  assert.deepEqual(upwards, []);
});

test("the schema imports nothing but errors and zod", () => {
  const others = files
    .filter((file) => roomOf(file) === "schema")
    .flatMap((file) => importsOf(file))
    .filter((imported) => !["schema", "errors"].includes(roomOf(imported)));
  assert.deepEqual(others, []);
});

/** A kernel that no file of native/cuda names compiles on a machine without CUDA and fails to link on one with it. */
test("every kernel is made for the GPU too", () => {
  const native = path.join(packageFolder, "native");
  const text = (folder: string, ending: string): string =>
    readdirSync(path.join(native, folder))
      .filter((name) => name.endsWith(ending))
      .map((name) => readFileSync(path.join(native, folder, name), "utf8"))
      .join("\n");
  const structs = text("kernels", ".h").split(/^(?=struct )/m);
  const kernels = structs
    .filter((body) => /SSN_KERNEL (?:void operator\(\)\(int64_t|\w+ partial\()/.test(body))
    .map((body) => /^struct (\w+)/.exec(body)?.[1])
    .filter((name) => name !== undefined);
  assert.ok(kernels.includes("LatentNoise") && kernels.includes("LeakyLogits"));
  const made = text("cuda", ".cu");
  assert.deepEqual(
    kernels.filter((name) => !new RegExp(`\\b${name}\\b`).test(made)),
    [],
  );
});
