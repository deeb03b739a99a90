// Test runners (Jest, vitest's vmThreads) run a program in a context of its own, whose Array, Error and Float32Array are not those of
// Node's own modules and of native addons. They share Uint8Array and ArrayBuffer, without which Buffer would not be one.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { test } from "node:test";
import vm from "node:vm";

import type * as supersimplenet from "../../lib/index.js";
import { scratchFolder, tinier } from "../training/support.js";

const library = path.resolve(__dirname, "../../lib");

/** The library's modules as such a runner loads them: their code in `context`, everything else from here. */
function loadInside(context: vm.Context, file: string, loaded = new Map<string, { exports: unknown }>()): unknown {
  const known = loaded.get(file);
  if (known) return known.exports;
  const module = { exports: {} as unknown };
  loaded.set(file, module);
  const outer = createRequire(file);
  const inner = Object.assign(
    (name: string): unknown =>
      outer.resolve(name).startsWith(library)
        ? loadInside(context, outer.resolve(name), loaded)
        : (outer(name) as unknown),
    { resolve: outer.resolve },
  );
  const body = vm.runInContext(
    `(function (exports, require, module, __filename, __dirname) {${readFileSync(file, "utf8")}\n})`,
    context,
    { filename: file },
  ) as (...args: unknown[]) => void;
  body(module.exports, inner, module, file, path.dirname(file));
  return module.exports;
}

test("in another realm: train, save, load, detect, evaluate, fail", async () => {
  const folder = scratchFolder();
  const context = vm.createContext({
    console,
    process,
    Buffer,
    Uint8Array,
    ArrayBuffer,
    URL,
    performance,
    setTimeout,
    clearTimeout,
    setImmediate,
    structuredClone,
    AbortSignal,
    AbortController,
  });
  const library = loadInside(context, require.resolve("../../lib/index.js")) as typeof supersimplenet;
  const inside = { folder, tinier, library, file: path.join(folder, "model.safetensors") };
  // The program that uses it is in that realm too.
  const program = vm.runInContext(
    `(async ({ folder, tinier, library: { datasets, Trainer, Model, Detector, evaluate, evaluateMaps, SuperSimpleNetError }, file }) => {
      const data = await datasets.generated(folder + "/data", { imageSize: [64, 64], trainNormal: 6, trainAnomalous: 2, testNormal: 2, testAnomalous: 2, seed: 3 });
      const model = await new Trainer({ ...tinier, imageSize: [32, 32] }).fit(data, { out: folder + "/run" });
      await model.save(file);
      await new Trainer({ ...tinier, imageSize: [32, 32] }).fit(data, { out: folder + "/run", resume: true });
      const detector = await Detector.load(file);
      const images = [{ data: new Uint8Array(32 * 32 * 3), width: 32, height: 32, channels: 3 }, data.samples[0].image];
      const [{ map }] = await detector.detect(images);
      await detector.detect(new Uint8Array(8)).then(() => null, (error) => { if (error.code !== "IMAGE_UNREADABLE") throw error; });
      const { metrics } = await evaluate(detector, data);
      await evaluateMaps([{ label: "anomalous", map: new Float32Array(4), mask: Uint8Array.of(1, 0, 0, 0) }], { height: 2, width: 2 });
      detector.dispose();
      const failed = await Model.load(folder + "/none").catch((error) => error);
      return { mapSize: map.data.length, auroc: metrics.imageAuroc, typed: failed instanceof SuperSimpleNetError && failed instanceof Error, code: failed.code };
    })`,
    context,
  ) as (given: typeof inside) => Promise<Record<string, unknown>>;
  const { mapSize, auroc, typed, code } = await program(inside);
  assert.deepEqual({ mapSize, typed, code }, { mapSize: 32 * 32, typed: true, code: "FILE_NOT_FOUND" });
  assert.ok(typeof auroc === "number" && auroc >= 0 && auroc <= 1);
});
