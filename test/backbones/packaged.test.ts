import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, beforeEach, test } from "node:test";

import { cachedWeights, catalogueEntry, listWeights, packaged, weightsFolder } from "../../lib/backbones/catalogue.js";
import { chooseBackbone } from "../../lib/backbones/choose.js";
import { loadBackbone } from "../../lib/backbones/load.js";
import { readTensors } from "../../lib/files/tensors.js";
import { Detector, Model, type StartEvent, Trainer, type TrainerOptions } from "../../lib/index.js";
import { engine } from "../../lib/native/engine.js";
import { packageFolder } from "../../lib/native/locate.js";
import { paperBackbone } from "../../lib/schema/common.js";
import { failure } from "../datasets/files.js";
import { scratchFolder, smallDataset } from "../training/support.js";

const folder = scratchFolder();
let number = 0;
before(() => void engine()); // libtorch may lie in the cache folder that the tests look away from
beforeEach(() => {
  process.env["SUPERSIMPLENET_CACHE"] = path.join(folder, `cache${number++}`);
});
after(() => delete process.env["SUPERSIMPLENET_CACHE"]);

/** A file where "auto" finds the weights of an architecture; nothing here reads it. */
function placeInCache(architecture: string): void {
  mkdirSync(weightsFolder(), { recursive: true });
  writeFileSync(path.join(weightsFolder(), catalogueEntry(architecture).file), "");
}

/** Lets `body` see another file as the package's own. */
async function withFile(file: string, body: () => Promise<void>): Promise<void> {
  const changeable = packaged as { path: string };
  const before = changeable.path;
  changeable.path = file;
  try {
    await body();
  } finally {
    changeable.path = before;
  }
}

test("the file is the one that the catalogue and the model card describe", async () => {
  const bytes = readFileSync(packaged.path);
  assert.equal(createHash("sha256").update(bytes).digest("hex"), packaged.sha256);
  assert.ok(bytes.length <= 6e6 && Math.abs(bytes.length / 2 ** 20 - packaged.sizeMiB) < 0.05, String(bytes.length));
  const card = readFileSync(path.join(packageFolder, "docs", "weights.md"), "utf8");
  assert.ok(card.includes(packaged.sha256) && card.includes(packaged.name));
  assert.match(readFileSync(path.join(packageFolder, "weights", "LICENSE"), "utf8"), /BSD 3-Clause.*Soumith Chintala/s);
  const { tensors } = await readTensors(packaged.path);
  const types = new Set(Object.values(tensors).map(({ dtype, shape }) => `${shape.length > 1} ${dtype}`));
  assert.deepEqual([...types].sort(), ["false float32", "true float16"]);
});

test("it is loaded by its name, whatever lies in the cache folder", async () => {
  placeInCache("resnet18");
  const loaded = await loadBackbone({ architecture: "resnet18", weights: "distilled" });
  const { trained, source, sha256 } = loaded;
  assert.deepEqual([trained, source, sha256], [true, packaged.name, packaged.tensorsSha256]);
  assert.equal(Object.keys(loaded.tensors).length, 75);
  const [own, ...others] = listWeights();
  assert.deepEqual([own!.name, own!.used, own!.url], [packaged.name, packaged.path, null]);
  assert.ok(others.every(({ name, architecture, url }) => name === architecture && url !== null));
});

test("other architectures have none", async () => {
  const wrong = failure("INVALID_OPTION", "'resnet18', for which alone there are distilled weights");
  await assert.rejects(loadBackbone({ architecture: "resnet34", weights: "distilled" }), wrong);
  assert.throws(() => new Trainer({ backbone: "wide_resnet50_2", backboneWeights: "distilled" }), wrong);
});

test("a package of which the file is missing or changed says so", async () => {
  const broken = path.join(folder, "broken.safetensors");
  await withFile(broken, () =>
    assert.rejects(
      loadBackbone({ architecture: "resnet18", weights: "distilled" }),
      failure("FILE_NOT_FOUND", "Install the package again"),
    ),
  );
  copyFileSync(packaged.path, broken);
  const bytes = readFileSync(broken);
  bytes[statSync(broken).size - 1]! ^= 1;
  writeFileSync(broken, bytes);
  await withFile(broken, () =>
    assert.rejects(
      loadBackbone({ architecture: "resnet18", weights: "distilled" }),
      failure("CHECKSUM_MISMATCH", "Install the package again"),
    ),
  );
});

test("without a name: the paper's backbone if it is there, else the package's own, with the reason", () => {
  const auto = { backboneWeights: "auto" };
  const own = chooseBackbone(auto);
  assert.deepEqual([own.backbone, own.backboneWeights], ["resnet18", "distilled"]);
  assert.match(own.reason!, /no trained weights of the paper's wide_resnet50_2 .*weights pull wide_resnet50_2/);
  // What is resumed stays, whatever was downloaded or removed since.
  assert.equal(chooseBackbone(auto, paperBackbone).backbone, paperBackbone);
  placeInCache(paperBackbone);
  assert.ok(cachedWeights(paperBackbone));
  assert.deepEqual(chooseBackbone(auto), { backbone: paperBackbone, backboneWeights: "auto", reason: null });
  assert.equal(chooseBackbone(auto, "resnet18").backboneWeights, "distilled");
  // Whoever names one gets it, or an error later.
  assert.deepEqual(chooseBackbone({ ...auto, backbone: "resnet18" }).backboneWeights, "auto");
  assert.equal(chooseBackbone({ backboneWeights: "distilled" }).backbone, "resnet18");
  assert.equal(chooseBackbone({ backboneWeights: "random" }).backbone, paperBackbone);
  assert.equal(chooseBackbone({ backboneWeights: "w.pth" }).backbone, paperBackbone);
});

test("a training without options of its backbone works offline; its model needs the package only", async () => {
  const data = await smallDataset(folder);
  const out = path.join(folder, "run");
  const options: TrainerOptions = { imageSize: [32, 32], epochs: 2, threads: 1, calibration: { fraction: 0 } };
  const starts: StartEvent[] = [];
  const stop = new AbortController();
  const onStart = (event: StartEvent): void => void starts.push(event);
  const interrupted = new Trainer(options).fit(data, {
    out,
    onStart,
    signal: stop.signal,
    onEpoch: () => stop.abort(),
  });
  await assert.rejects(interrupted, failure("ABORTED", ""));
  placeInCache(paperBackbone);
  const model = await new Trainer(options).fit(data, { out, resume: true, onStart });
  assert.deepEqual(
    starts.map(({ backbone: { architecture, source, trained }, epochsDone }) => [
      architecture,
      source,
      trained,
      epochsDone,
    ]),
    [
      ["resnet18", packaged.name, true, 0],
      ["resnet18", packaged.name, true, 1],
    ],
  );
  assert.match(starts[0]!.backbone.reason!, /weights pull wide_resnet50_2/);
  assert.match(starts[1]!.backbone.reason!, /resumed/);

  const file = path.join(folder, "model.safetensors");
  await model.save(file);
  const { tensors } = await readTensors(file);
  assert.ok(Object.keys(tensors).every((name) => !name.startsWith("backbone.")));
  placeInCache("resnet18"); // not what the model was trained with
  const read = await Model.load(file);
  assert.equal(read.config.backbone.sha256, packaged.tensorsSha256);
  const sample = data.samples[0]!.image;
  const scores = await Promise.all(
    [model, file].map(async (source) => {
      const detector = await Detector.load(source);
      const { score } = await detector.detect(sample);
      detector.dispose();
      return score;
    }),
  );
  assert.equal(scores[0], scores[1]);
  rmSync(out, { recursive: true });
});
