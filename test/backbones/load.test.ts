import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { copyFileSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, beforeEach, test } from "node:test";

import { architectures } from "../../lib/schema/common.js";
import { detectArchitecture, tensorsSha256 } from "../../lib/backbones/check.js";
import { importWeights } from "../../lib/backbones/import.js";
import { listWeights } from "../../lib/backbones/catalogue.js";
import { loadBackbone } from "../../lib/backbones/load.js";
import { type ErrorCode, SuperSimpleNetError } from "../../lib/errors.js";
import { writeTensors } from "../../lib/files/tensors.js";
import type { NativeTensor, TensorMap } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { type Storage, orderedDict, tensor, torchLegacy, torchZip } from "../files/torch_save.js";
import { detectorConfig } from "../support/trainer_config.js";

const root = mkdtempSync(path.join(os.tmpdir(), "ssn-load-"));
let weights: TensorMap;
let sha256 = "";
let number = 0;
before(async () => {
  weights = await engine().randomBackbone("resnet18", 3);
  sha256 = await tensorsSha256(weights);
});
beforeEach(() => {
  process.env["SUPERSIMPLENET_CACHE"] = path.join(root, `cache${number++}`);
});
after(() => {
  delete process.env["SUPERSIMPLENET_CACHE"];
  rmSync(root, { recursive: true, force: true });
});

const fails = (promise: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> =>
  assert.rejects(promise, { name: "SuperSimpleNetError", code, message });

async function save(name: string, tensors: TensorMap): Promise<string> {
  const file = path.join(root, name);
  await writeTensors(file, tensors, {});
  return file;
}

function renamed(tensors: TensorMap, prefix: string): TensorMap {
  return Object.fromEntries(Object.entries(tensors).map(([name, t]) => [prefix + name, t]));
}

const float32 = (shape: number[], value = 0): NativeTensor => ({
  dtype: "float32",
  shape,
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value),
});
/** What an official file holds besides. */
const rest: TensorMap = {
  "layer4.0.conv1.weight": float32([4, 4]),
  "fc.weight": float32([10, 4]),
  "bn1.num_batches_tracked": { dtype: "int64", shape: [], data: BigInt64Array.of(1n) },
};

test("a file gives the tensors up to layer3, whatever its format and prefix, with one checksum", async () => {
  const bytes = (t: NativeTensor): Buffer => Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength);
  const storages: Storage[] = Object.values(weights).map((t, i) => ({ key: String(i), type: "Float", data: bytes(t) }));
  const dict = (legacy: boolean) =>
    orderedDict(
      Object.entries(weights).map(([name, t], i) => [name, tensor(storages[i]!, t.shape, undefined, 0, legacy)]),
    );
  const [zip, legacy] = [path.join(root, "zip.pth"), path.join(root, "legacy.pth")];
  writeFileSync(zip, torchZip(dict(false), storages));
  writeFileSync(legacy, torchLegacy(dict(true), storages));
  const files = [zip, legacy, await save("plain.safetensors", { ...weights, ...rest })];
  for (const prefix of ["module.", "backbone.", "model.feature_extractor.", "encoder."])
    files.push(await save(`${prefix}safetensors`, renamed({ ...weights, ...rest }, prefix)));
  for (const file of files) {
    const loaded = await loadBackbone({ architecture: "resnet18", weights: file });
    assert.deepEqual(
      Object.keys(loaded.tensors).sort(),
      Object.keys(engine().backboneTensors("resnet18")).sort(),
      file,
    );
    assert.equal(loaded.sha256, sha256, file);
    assert.deepEqual([loaded.trained, loaded.source], [true, path.basename(file)]);
  }
});

test("the checksum is SHA-256 of the bytes in name order", async () => {
  const hash = createHash("sha256");
  for (const name of Object.keys(weights).sort())
    hash.update(Buffer.from((weights[name]!.data as Float32Array).slice().buffer));
  assert.equal(sha256, hash.digest("hex"));
});

test("random weights repeat by seed and say that they are random", async () => {
  const [one, again, other] = [
    await loadBackbone({ architecture: "resnet18", weights: "random", seed: 3 }),
    await loadBackbone({ architecture: "resnet18", weights: "random", seed: 3 }),
    await loadBackbone({ architecture: "resnet18", weights: "random" }),
  ];
  assert.equal(one.sha256, sha256);
  assert.equal(one.sha256, again.sha256);
  assert.notEqual(one.sha256, other.sha256);
  assert.deepEqual([one.trained, one.source, other.source], [false, "random, seed 3", "random, seed 0"]);
});

test("everything that is wrong is listed at once", async () => {
  const bad: TensorMap = { ...weights };
  delete bad["layer3.1.bn2.bias"];
  bad["conv1.weight"] = float32([64, 1, 7, 7]);
  bad["bn1.bias"] = { dtype: "int32", shape: [64], data: new Int32Array(64) };
  bad["bn1.weight"] = float32([64], NaN);
  bad["layer1.0.bn1.weight"] = { dtype: "float64", shape: [64], data: new Float64Array(64).fill(1e300) };
  bad["bn1.running_var"] = float32([64], -1);
  bad["layer1.2.bn1.bias"] = float32([64]);
  const file = await save("bad.safetensors", bad);
  await assert.rejects(loadBackbone({ architecture: "resnet18", weights: file }), (error: unknown) => {
    assert.ok(error instanceof SuperSimpleNetError);
    assert.equal(error.code, "WEIGHTS_INVALID");
    assert.ok(error.message.startsWith(`${file} does not hold the weights of resnet18 (7 problems): `), error.message);
    const expected = [
      "layer3.1.bn2.bias is missing",
      "conv1.weight is [64, 1, 7, 7] and should be [64, 3, 7, 7]",
      "bn1.bias is int32 and should be floating-point",
      "bn1.weight holds 64 values that are NaN or infinite",
      "layer1.0.bn1.weight holds 64 values that are NaN or infinite",
      "bn1.running_var holds 64 negative variances",
      "layer1.2.bn1.bias does not belong to resnet18",
    ];
    assert.deepEqual([...error.problems].sort(), expected.sort());
    return true;
  });
  await fails(
    loadBackbone({ architecture: "resnet18", weights: await save("none.safetensors", { x: float32([1]) }) }),
    "WEIGHTS_INVALID",
    /\(75 problems\): .*; and 65 more/,
  );
});

test("another architecture's file is named as such", async () => {
  const file = await save("r34.safetensors", await engine().randomBackbone("resnet34", 0));
  await fails(
    loadBackbone({ architecture: "resnet18", weights: file }),
    "WEIGHTS_INVALID",
    /not hold the weights of resnet18 but those of resnet34 \(.*layer1\.2\.conv1\.weight does not belong/,
  );
});

test("every architecture is recognised by its tensors", () => {
  for (const architecture of architectures) {
    const shapes = Object.entries(engine().backboneTensors(architecture));
    const tensors = Object.fromEntries(
      shapes.map(([name, shape]) => [
        `x.${name}`,
        { dtype: "float32", shape, data: new Float32Array(0) } as NativeTensor,
      ]),
    );
    assert.equal(detectArchitecture(tensors), architecture);
    delete tensors["x.layer2.0.conv1.weight"];
    assert.equal(detectArchitecture(tensors), undefined);
  }
});

test("without weights, the message names every way out", async () => {
  await fails(
    loadBackbone({ architecture: "resnet18" }),
    "WEIGHTS_MISSING",
    /weights pull resnet18.*weights import FILE.*'backboneWeights' distilled/,
  );
  await fails(loadBackbone({ architecture: "resnet19" as "resnet18" }), "INVALID_OPTION", /did you mean/);
  await fails(
    loadBackbone({ architecture: "resnet18", weights: path.join(root, "no.pth") }),
    "FILE_NOT_FOUND",
    /no\.pth/,
  );
  await fails(
    loadBackbone({ architecture: "resnet18", weights: "random", signal: AbortSignal.abort() }),
    "ABORTED",
    /cancelled/,
  );
});

test("an imported file is found by auto; the latest import counts", async () => {
  const file = await save("mine.safetensors", weights);
  const imported = await importWeights(file);
  assert.deepEqual(
    [imported.architecture, imported.official, path.basename(imported.path)],
    ["resnet18", false, "resnet18.imported.safetensors"],
  );
  assert.equal((await loadBackbone({ architecture: "resnet18" })).sha256, sha256);
  assert.equal(listWeights().find((w) => w.name === "resnet18")!.used, imported.path);
  assert.equal(listWeights().find((w) => w.name === "resnet50")!.used, null);

  const other = await importWeights(
    await save("other.safetensors", await engine().randomBackbone("resnet18", 4)),
    "resnet18",
  );
  assert.deepEqual(readdirSync(path.dirname(other.path)), ["resnet18.imported.safetensors"]);
  assert.notEqual((await loadBackbone({ architecture: "resnet18" })).sha256, sha256);
});

test("an import must be what it claims", async () => {
  const file = await save("mine2.safetensors", weights);
  const digits = createHash("sha256").update(readFileSync(file)).digest("hex").slice(0, 8);
  const named = (name: string): string => {
    const target = path.join(root, name);
    copyFileSync(file, target);
    return target;
  };
  await fails(
    importWeights(named("resnet18-f37072fd.pth")),
    "CHECKSUM_MISMATCH",
    /promises a SHA-256 that begins with f37072fd/,
  );
  await importWeights(named(`resnet18-${digits}.safetensors`));
  await importWeights(named("resnet18-20240101.safetensors")); // a date
  await fails(
    importWeights(file, "resnet34"),
    "WEIGHTS_INVALID",
    /not hold the weights of resnet34 but those of resnet18/,
  );
  await fails(importWeights(await save("x.safetensors", { x: float32([1]) })), "WEIGHTS_INVALID", /no known backbone/);
  await fails(importWeights(path.join(root, "no.pth")), "FILE_NOT_FOUND", /no\.pth/);
  assert.deepEqual(readdirSync(path.join(process.env["SUPERSIMPLENET_CACHE"]!, "weights")), [
    "resnet18.imported.safetensors",
  ]);
});

test("weights that are finite and whose batch norm is not are refused before they give a score", async () => {
  const config = detectorConfig({ layers: ["layer2"] });
  const heads = await engine().randomHeads(engine().featureShape(config).channels, 0);
  const variance = weights["layer1.0.bn1.running_var"]!;
  const negative = {
    ...weights,
    "layer1.0.bn1.running_var": { ...variance, data: new Float32Array(variance.shape[0]!).fill(-1) },
  };
  await assert.rejects(engine().createDetector(config, negative, heads), {
    code: "WEIGHTS_INVALID",
    message: /layer1\.0\.bn1/,
  });
});
