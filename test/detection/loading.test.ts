import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { before, test } from "node:test";

import { tensorsSha256 } from "../../lib/backbones/check.js";
import { untrainedModel } from "../../lib/benchmark/benchmark.js";
import { writeTensors } from "../../lib/files/tensors.js";
import { type Detection, Detector, type DetectorOptions, Model } from "../../lib/index.js";
import type { TensorMap } from "../../lib/native/binding.js";
import { failure } from "../datasets/files.js";
import { scratchFolder } from "../training/support.js";

/**
 * A model file is read while libtorch is opened, its tensors are lent to the engine instead of copied, and their checksum is
 * computed while the engine lays them out: none of it may let a wrong weight pass, or change a result.
 */
const folder = scratchFolder();
const at = (name: string): string => path.join(folder, name);
const side = 64;
const frame = {
  data: Uint8Array.from({ length: side * side * 3 }, (_, i) => (i * 2654435761) >>> 24),
  width: side,
  height: side,
  channels: 3,
} as const;

let model: Model;
let backbone: TensorMap;
before(async () => {
  model = await untrainedModel("resnet18", [side, side], "random");
  backbone = await model.backbone();
  await model.save(at("embedded.safetensors"));
  // As a training on weights from a file leaves it: the model's file names them and does not hold them.
  const config = { ...model.config, backbone: { ...model.config.backbone, trained: true } };
  await new Model(config, model.heads, { tensors: backbone, embedded: false }).save(at("named.safetensors"));
  await writeTensors(at("weights.safetensors"), backbone, {});
});

/** The same but for one value in the middle of a large tensor. */
function changed(tensors: TensorMap): TensorMap {
  const name = "layer3.1.conv2.weight";
  const data = (tensors[name]!.data as Float32Array).slice();
  data[data.length >> 1] = -data[data.length >> 1]! + 1;
  return { ...tensors, [name]: { ...tensors[name]!, data } as TensorMap[string] };
}

async function detected(source: string | Model, options?: DetectorOptions): Promise<Detection> {
  const detector = await Detector.load(source, options);
  const detection = await detector.detect(frame);
  detector.dispose();
  return detection;
}

test("a file gives the results of its model, to the last bit, with every form of the heads", async () => {
  const options: DetectorOptions[] = [{}, { precision: "bfloat16" }, { heads: "direct" }];
  for (const option of options) {
    const expected = await detected(model, option);
    for (const [name, weights] of [["embedded"], ["named", at("weights.safetensors")]] as const) {
      const { logit, map } = await detected(at(`${name}.safetensors`), {
        ...option,
        backboneWeights: weights ?? "auto",
      });
      assert.equal(logit, expected.logit);
      assert.deepEqual(map.data, expected.map.data);
    }
  }
});

test("a detector keeps nothing of the memory that its file was read into", async () => {
  for (const heads of ["lowResolution", "direct"] as const) {
    const detector = await Detector.load(at("embedded.safetensors"), { heads });
    const { logit, map } = await detector.detect(frame);
    for (const { data } of [...Object.values(detector.model.heads), ...Object.values(await detector.model.backbone())])
      data.fill(0 as never);
    const again = await detector.detect(frame);
    assert.equal(again.logit, logit, heads);
    assert.deepEqual(again.map.data, map.data, heads);
    detector.dispose();
  }
});

test("weights that were replaced under the same name, with the same size and times: CHECKSUM_MISMATCH", async () => {
  const weights = at("replaced.safetensors");
  await writeTensors(weights, backbone, {});
  const load = (): Promise<Detector> => Detector.load(at("named.safetensors"), { backboneWeights: weights });
  (await load()).dispose();
  const { size, atime, mtime } = statSync(weights);
  await writeTensors(weights, changed(backbone), {});
  utimesSync(weights, atime, mtime);
  assert.equal(statSync(weights).size, size);
  await assert.rejects(load(), failure("CHECKSUM_MISMATCH", "replaced.safetensors"));
});

test("a model's file with another backbone than it was trained with: MODEL_INVALID, from both that read it", async () => {
  const file = at("other.safetensors");
  await new Model(model.config, model.heads, { tensors: changed(backbone), embedded: true }).save(file);
  assert.notEqual(await tensorsSha256(changed(backbone)), model.config.backbone.sha256);
  for (const load of [(): Promise<unknown> => Detector.load(file), (): Promise<unknown> => Model.load(file)])
    await assert.rejects(load(), failure("MODEL_INVALID", "trained with"));
});

test("a model's file with a flipped bit: FILE_CORRUPT, and the process goes on", async () => {
  const file = at("flipped.safetensors");
  const bytes = readFileSync(at("embedded.safetensors"));
  bytes[bytes.length >> 1]! ^= 4;
  writeFileSync(file, bytes);
  await assert.rejects(Detector.load(file), failure("FILE_CORRUPT", "checksum"));
  (await Detector.load(at("embedded.safetensors"))).dispose();
});

test("weights that are not finite are refused by the engine too, with the layer's name", async () => {
  const bad = changed(backbone);
  const norm = { ...bad["layer2.0.bn1.weight"]!, data: new Float32Array(128).fill(1e38) } as TensorMap[string];
  const variance = { ...norm, data: new Float32Array(128).fill(Infinity) } as TensorMap[string];
  const { engine } = await import("../../lib/native/engine.js");
  const { detectorConfig } = await import("../support/trainer_config.js");
  const config = detectorConfig({ imageHeight: side, imageWidth: side });
  const make = (tensors: TensorMap): Promise<unknown> => engine().createDetector(config, tensors, model.heads);
  for (const [name, value] of [
    ["layer2.0.bn1.bias", variance],
    ["layer2.0.bn1.weight", variance],
  ] as const)
    await assert.rejects(make({ ...bad, [name]: value }), failure("WEIGHTS_INVALID", "layer2.0.conv1"));
  const weight = (bad["layer2.0.conv1.weight"]!.data as Float32Array).slice();
  weight[weight.length - 1] = NaN;
  const nan = { ...bad["layer2.0.conv1.weight"]!, data: weight } as TensorMap[string];
  await assert.rejects(make({ ...bad, "layer2.0.conv1.weight": nan }), failure("WEIGHTS_INVALID", "layer2.0.conv1"));
  await make({ ...bad, "layer2.0.bn1.weight": norm }); // large, but finite
});

/** Runs statements after `engine` and `openEngine` are there, in a process of its own. */
function run(statements: string): string {
  const lib = path.join(__dirname, "../../lib");
  const script = `const { engine, openEngine } = require(${JSON.stringify(path.join(lib, "native/engine.js"))});
    const { Detector } = require(${JSON.stringify(path.join(lib, "detection/detector.js"))});
    (async () => { ${statements} })();`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ["-e", script], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return stdout;
}

test("libtorch is opened beside the event loop, with the spin limit, which does not stay in the environment", () => {
  const out = run(`
    let turns = 0;
    const count = () => { turns++; next = setImmediate(count); };
    let next = setImmediate(count);
    const both = await Promise.all([openEngine("cpu"), openEngine("cpu")]);
    clearImmediate(next);
    console.log(turns > 10, both[0] === both[1], both[0] === engine(), process.env.GOMP_SPINCOUNT);`);
  assert.equal(out, "true true true undefined\n");
});

test("the engine may be asked for, and the process may end, while libtorch is being opened", () => {
  assert.equal(
    run(`const opening = openEngine("cpu"); const now = engine("cpu"); console.log((await opening) === now);`),
    "true\n",
  );
  const file = JSON.stringify(at("embedded.safetensors"));
  for (const ms of [0, 20, 60, 150])
    run(`Detector.load(${file}, { device: "cpu" }).catch(() => {}); setTimeout(() => process.exit(0), ${ms});`);
});
