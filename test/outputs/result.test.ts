import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { appendFileSync, copyFileSync, readFileSync, renameSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { Model } from "../../lib/index.js";
import type { Detection } from "../../lib/detection/types.js";
import { resultsOf } from "../../lib/outputs/result.js";
import { failure, temporaryFolder } from "../datasets/files.js";
import { modelFile } from "../server/support.js";

const sha256 = (file: string): string => createHash("sha256").update(readFileSync(file)).digest("hex");
const detection = { regions: [], timings: {} } as unknown as Detection;
const checksumOf = async (model: Model): Promise<string | null> =>
  (await resultsOf(model))(detection, { path: "part.png" }).model.checksum;

test("a result names the model file by the checksum that sha256sum prints, or none where no file holds the model", async (t) => {
  const folder = await temporaryFolder(t);
  const file = await modelFile(folder);
  const model = await Model.load(file);
  assert.equal(await checksumOf(model), sha256(file));

  model.setThresholds({ score: 0.9 });
  assert.equal(await checksumOf(model), null);
  const saved = path.join(folder, "saved.safetensors");
  await model.save(saved);
  assert.equal(await checksumOf(model), sha256(saved));
  assert.notEqual(sha256(saved), sha256(file));
  assert.equal(await checksumOf(new Model(model.config, model.heads)), null);

  // Replaced since it was loaded: this is not the file that judges.
  const loaded = await Model.load(file);
  copyFileSync(saved, `${file}.new`);
  renameSync(`${file}.new`, file);
  await assert.rejects(checksumOf(loaded), failure("FILE_CORRUPT", file));
  const again = await Model.load(file);
  appendFileSync(file, "more");
  await assert.rejects(checksumOf(again), failure("FILE_CORRUPT", file));
});
