import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

import { datasets, Model } from "../../lib/index.js";
import { type Finished, supersimplenet } from "./run.js";

/** A second training with --init, on a tiny data set with a test split. */
let folder: string;
const at = (...parts: string[]): string => path.join(folder, ...parts);
const first = (): string => at("first", "model.safetensors");

interface Evaluated {
  model: { path: string; thresholds: { scoreMethod: string } };
  metrics: Record<string, number>;
  decisions: Record<string, number>;
}

interface Document {
  start: { init: string | null; epochs: number; warnings: string[] };
  evaluation: Evaluated | null;
  before: Evaluated | null;
}

const train = (out: string, ...more: string[]): Promise<Finished> =>
  supersimplenet(["train", "--data", at("data"), "--out", at(out), "--threads", "1", ...more]);

before(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-init-"));
  const count = { trainNormal: 8, trainAnomalous: 2, testNormal: 3, testAnomalous: 5 };
  await datasets.generated(at("data"), { imageSize: [64, 64], ...count, seed: 1 });
  const network = ["--backbone", "resnet18", "--backbone-weights", "random", "--image-size", "32x32"];
  const { code, stderr } = await train("first", ...network, "--epochs", "1", "--calibration", "none");
  assert.equal(code, 0, stderr);
});
after(() => rmSync(folder, { recursive: true, force: true }));

test("--init: before and after on the same test split, as JSON", async () => {
  const { code, stdout, stderr } = await train("second", "--init", first(), "--epochs", "2", "--json");
  assert.equal(code, 0, stderr);
  const { start, evaluation, before } = JSON.parse(stdout) as Document;
  assert.deepEqual([start.init, start.epochs], ["model.safetensors", 2]);
  assert.match(stderr, /^begins with the heads of model\.safetensors \(its thresholds stay\)$/m);
  assert.match(stderr, /^warning: .*supersimplenet calibrate/m);
  const metrics = (run: string): Evaluated => JSON.parse(readFileSync(at(run, "metrics.json"), "utf8")) as Evaluated;
  assert.deepEqual(before, metrics("first"), "what the first training wrote");
  assert.deepEqual(evaluation, metrics("second"));
  assert.notDeepEqual(evaluation!.metrics, before!.metrics);
  assert.equal((await Model.load(at("second", "model.safetensors"))).config.imageSize[0], 32);
  assert.ok(!stdout.includes('"before":null') && Object.keys(before!).join() === Object.keys(evaluation!).join());
});

test("--init for people: a table, with the decisions", async () => {
  const { code, stdout, stderr } = await train("third", "--init", first(), "--epochs", "1");
  assert.equal(code, 0, stderr);
  assert.match(stdout, /that of the model which the training began with|not calibrated/);
  const [table] = /^on the test split.*(\n {2}.*)+/m.exec(stdout)!;
  assert.match(table, /^on the test split +before +after$/m);
  for (const name of ["I-AUROC", "P-AUROC"])
    assert.match(table, new RegExp(`^ {2}${name} +[01]\\.\\d{4} +[01]\\.\\d{4}$`, "m"));
  const { decisions } = JSON.parse(readFileSync(at("first", "metrics.json"), "utf8")) as Evaluated;
  assert.match(table, new RegExp(`^ {2}defects found +${decisions["truePositive"]} of 5 +\\d of 5$`, "m"));
  assert.match(table, new RegExp(`^ {2}good parts rejected +${decisions["falsePositive"]} of 3 +\\d of 3$`, "m"));
});

test("without --init there is no before", async () => {
  const { stdout } = await train("plain", "--backbone", "resnet18", "--backbone-weights", "random", "--image-size", "32x32",
    "--epochs", "1", "--calibration", "none", "--json"); // prettier-ignore
  const document = JSON.parse(stdout) as Document;
  assert.equal(document.before, null);
  assert.equal(document.start.init, null);
  assert.ok(document.evaluation);
});

test("--init: what the first training wrote is never written over", async () => {
  const before = readFileSync(first());
  const { code, stderr } = await train("first", "--init", first(), "--overwrite");
  assert.equal(code, 2);
  assert.match(stderr, /--out would write over .*model\.safetensors, which is an input/);
  assert.deepEqual(readFileSync(first()), before);
});

test("--init: wrong usage names the flags; a file that is no model is found before the data are read", async () => {
  const failing = async (...more: string[]): Promise<string> => {
    const { code, stderr } = await train("never", ...more);
    assert.notEqual(code, 0);
    return stderr;
  };
  const conflict = await failing("--init", first(), "--image-size", "64x64");
  assert.match(conflict, /INVALID_OPTION.*--image-size is \[64, 64\], but \[32, 32\].*Leave --image-size away/);
  const thresholds = await failing("--init", first(), "--false-reject", "0.05");
  assert.match(thresholds, /INVALID_OPTION.*--false-reject is 0\.05.*--init.*calibrate/);
  writeFileSync(at("text.safetensors"), "no model");
  const missing = ["train", "--data", at("no-data"), "--out", at("never"), "--init"];
  assert.match((await supersimplenet([...missing, at("absent.safetensors")])).stderr, /FILE_NOT_FOUND.*absent/);
  assert.match((await supersimplenet([...missing, at("text.safetensors")])).stderr, /FILE_CORRUPT.*text/);
});

test("--init on a published data set: the model's size wins over the published one", async () => {
  const count = { trainNormal: 4, testNormal: 1, testAnomalous: 2 };
  await datasets.generated(at("mvtec", "bottle"), { imageSize: [64, 64], ...count, seed: 2 });
  const args = ["--data", at("mvtec"), "--dataset", "mvtec", "--category", "bottle", "--out", at("published")];
  const more = ["--init", first(), "--epochs", "1", "--threads", "1"];
  const { code, stderr } = await supersimplenet(["train", ...args, ...more]);
  assert.equal(code, 0, stderr);
  const settings = 'noiseVectors "independent", perlinThreshold 0.2';
  assert.ok(stderr.split("\n").includes(`bottle: published settings ${settings}`), stderr);
  assert.equal((await Model.load(at("published", "model.safetensors"))).config.imageSize[0], 32);
});
