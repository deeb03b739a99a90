import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

const root = path.resolve(__dirname, "../../..");

// In dist, so that zod is found.
const folder = mkdtempSync(path.join(root, "dist", "types-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

function compile(source: string): string {
  const file = path.join(folder, "check.ts");
  writeFileSync(file, source);
  const compiler = path.join(root, "node_modules", "typescript", "bin", "tsc");
  const options = ["--noEmit", "--ignoreConfig", "--strict", "--skipLibCheck", "--types", "node"];
  const modules = ["--target", "es2022", "--module", "node16", "--moduleResolution", "node16"];
  const { stdout } = spawnSync(process.execPath, [compiler, ...options, ...modules, file], { encoding: "utf8" });
  return stdout;
}

const source = (published: string): string => `
import type { z } from "zod";
import type { trainerOptions } from "../lib/schema/training.js";
import type { TrainerOptions } from "../lib/schema/types.js";
type Inferred = z.input<typeof trainerOptions>;
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type Deep<T> = T extends readonly unknown[] ? T : T extends object ? { [K in keyof T]: Deep<T[K]> } : T;
export const same: Same<Deep<Inferred>, Deep<${published}>> = true;
`;

test("the published types of options are the ones that the schema infers", () => {
  assert.equal(compile(source("TrainerOptions")), "");
  assert.match(compile(source('Omit<TrainerOptions, "epochs"> & { epochs?: string }')), /error TS2322/);
});
