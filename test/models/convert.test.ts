import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";

import { writeTensors } from "../../lib/files/tensors.js";
import type { NativeTensor, TensorMap } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { convertCheckpoint } from "../../lib/models/convert.js";

const folder = mkdtempSync(path.join(os.tmpdir(), "ssn-convert-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const channels = 4;
let fill = 1;
const heads: TensorMap = Object.fromEntries(
  Object.entries(engine().headTensors(channels)).map(([name, shape]) => [
    name,
    { dtype: "float32", shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(fill++) } as NativeTensor,
  ]),
);
const counter: NativeTensor = { dtype: "int64", shape: [], data: BigInt64Array.of(5n) };

/** anomalib's names, written out here so that the mapping is checked against something else than itself. */
const anomalibNames: Record<string, string> = {
  "feature_adaptor.projection.weight": "adaptor.projection.weight",
  "feature_adaptor.projection.bias": "adaptor.projection.bias",
  "discriminator.seg.0.weight": "segdec.seg_head.0.weight",
  "discriminator.seg.0.bias": "segdec.seg_head.0.bias",
  "discriminator.seg.1.weight": "segdec.seg_head.1.weight",
  "discriminator.seg.1.bias": "segdec.seg_head.1.bias",
  "discriminator.seg.1.running_mean": "segdec.seg_head.1.running_mean",
  "discriminator.seg.1.running_var": "segdec.seg_head.1.running_var",
  "discriminator.seg.3.weight": "segdec.seg_head.3.weight",
  "discriminator.dec_head.0.weight": "segdec.cls_conv.0.weight",
  "discriminator.dec_head.0.bias": "segdec.cls_conv.0.bias",
  "discriminator.dec_head.1.weight": "segdec.cls_conv.1.weight",
  "discriminator.dec_head.1.bias": "segdec.cls_conv.1.bias",
  "discriminator.dec_head.1.running_mean": "segdec.cls_conv.1.running_mean",
  "discriminator.dec_head.1.running_var": "segdec.cls_conv.1.running_var",
  "discriminator.fc_score.weight": "segdec.cls_fc.weight",
  "discriminator.fc_score.bias": "segdec.cls_fc.bias",
};
const renamed = (tensors: TensorMap, rename: (name: string) => string): TensorMap =>
  Object.fromEntries(Object.entries(tensors).map(([name, t]) => [rename(name), t]));
const anomalib = renamed(heads, (name) => anomalibNames[name]!);

async function save(tensors: TensorMap): Promise<string> {
  const file = path.join(folder, "checkpoint");
  await writeTensors(file, tensors, {});
  return file;
}

test("the authors' names, with and without a prefix", async () => {
  for (const prefix of ["", "model.", "module."]) {
    const file = await save(
      renamed({ ...heads, "discriminator.seg.1.num_batches_tracked": counter }, (name) => prefix + name),
    );
    for (const layout of ["auto", "authors"] as const)
      assert.deepEqual(await convertCheckpoint({ path: file, layout, channels }), { heads, layout: "authors" });
    await assert.rejects(convertCheckpoint({ path: file, layout: "anomalib", channels }), {
      code: "WEIGHTS_INVALID",
      message: /no heads in the anomalib layout.*adaptor\.projection\.weight/,
    });
  }
});

test("anomalib's names become the authors'; its backbone comes along when complete", async () => {
  const backbone = await engine().randomBackbone("resnet18", 1);
  assert.deepEqual(await convertCheckpoint({ path: await save(anomalib), channels }), { heads, layout: "anomalib" });
  for (const wrapper of ["feature_extractor.", "feature_extractor.feature_extractor."]) {
    const all = {
      ...anomalib,
      ...renamed(backbone, (name) => wrapper + name),
      [`${wrapper}bn1.num_batches_tracked`]: counter,
      "loss.x": counter,
    };
    const converted = await convertCheckpoint({ path: await save(renamed(all, (name) => `model.${name}`)), channels });
    assert.deepEqual(converted.heads, heads);
    assert.equal(converted.backbone!.architecture, "resnet18");
    assert.deepEqual(converted.backbone!.tensors, backbone);
    delete (all as TensorMap)[`${wrapper}layer3.0.conv1.weight`];
    assert.equal((await convertCheckpoint({ path: await save(all), channels })).backbone, undefined);
  }
});

test("everything that is wrong is listed at once", async () => {
  const bad: TensorMap = {
    ...anomalib,
    "segdec.cls_fc.bias": { dtype: "float32", shape: [1], data: Float32Array.of(Infinity) } as NativeTensor,
  };
  delete bad["segdec.seg_head.1.running_var"];
  await assert.rejects(convertCheckpoint({ path: await save(bad), channels: 5 }), {
    code: "WEIGHTS_INVALID",
    message:
      /heads for 5 feature channels in the anomalib layout \(6 problems\): .*segdec\.cls_fc\.bias holds 1 value that is NaN.*segdec\.seg_head\.1\.running_var is missing.*adaptor\.projection\.weight is \[4, 4, 1, 1\] and should be \[5, 5, 1, 1\]/,
  });
  await assert.rejects(convertCheckpoint({ path: await save({ x: counter }), channels }), {
    code: "WEIGHTS_INVALID",
    message: /holds no SuperSimpleNet heads.*found x/,
  });
  await assert.rejects(convertCheckpoint({ path: "x", layout: "author" as "authors", channels }), {
    code: "INVALID_OPTION",
    message: /did you mean 'authors'/,
  });
});

const real = path.resolve("../shared/golden/heads.pt");
test("a real checkpoint", { skip: !existsSync(real) && "../shared is absent" }, async () => {
  const converted = await convertCheckpoint({ path: real, channels: 384 });
  assert.equal(converted.layout, "authors");
  assert.equal(Object.keys(converted.heads).length, 17);
  await assert.rejects(convertCheckpoint({ path: real, channels: 1536 }), {
    code: "WEIGHTS_INVALID",
    message: /\[384, 384, 1, 1\] and should be \[1536, 1536, 1, 1\]/,
  });
});
